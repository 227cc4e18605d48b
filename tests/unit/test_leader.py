"""Who calls the sources, how often, and what happens when the leader dies: workers with one store and one clock."""

import asyncio
import logging
import random
from typing import Any

import pytest

from fastprice.application.events import (
    CoordinationBack, CoordinationLost, FreshnessMoved, LeaderMoved, Refreshed, RefreshFailing, RefreshRecovered,
    SourceLost
)
from fastprice.application.latest_price import Snapshot
from fastprice.application.leader import CLAIM_TURNS, FOLLOWER_JITTER, MAX_TURN_SECONDS, Pace
from fastprice.application.ports import LEADER, Limit, Stored
from fastprice.domain.errors import RateLimited, SourceDown, StoreUnavailable, UnknownSymbol
from fastprice.domain.quote import Pair, Quote
from fastprice.engine import engine
from fastprice.settings import Settings
from tests.fakes import BTC, ETH, FakeClock, FakeSource, RecordingEvents, a_quote, settle
from tests.memory_store import MemoryStore, Shelf

pytestmark = pytest.mark.anyio

INTERVAL = 1.0
CLAIM = CLAIM_TURNS * INTERVAL
LONGEST_LOOK = (1 + FOLLOWER_JITTER) * INTERVAL


class Store(MemoryStore):
    """A MemoryStore that counts its operations, and fails with the reason in `failure` while there is one."""

    failure: str | None = None
    operations = 0

    async def read(self) -> tuple[str | None, Stored]:
        self._operate()
        return await super().read()

    async def write(self, holder: str, stored: Stored) -> bool:
        self._operate()
        return await super().write(holder, stored)

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        self._operate()
        return await super().claim(holder, seconds, name)

    async def release(self, holder: str, name: str = LEADER) -> None:
        self._operate()
        await super().release(holder, name)

    async def news(self, seconds: float) -> bool:
        if self.failure:
            raise StoreUnavailable(self.failure)
        return await super().news(seconds)

    def _operate(self) -> None:
        self.operations += 1
        if self.failure:
            raise StoreUnavailable(self.failure)


class Worker:
    """One worker's engine; all workers ask the sources of the fleet."""

    def __init__(self, name: str, fleet: "Fleet") -> None:
        self.name = name
        self.defects = 0
        self.events = RecordingEvents()
        self.store = Store(fleet.clock, fleet.shelf)
        share = random.Random(name).random
        made = engine(fleet.settings, fleet.sources, self.store, self._snapshot, name, fleet.clock, self.events, share)
        self.latest, self.rounds, self.leader = made.latest, made.rounds, made.leader
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.leader.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def die(self) -> None:
        """End as after kill -9: the lead is not handed over."""
        self.store.failure = "dead"
        await self.stop()

    def price(self, pair: Pair = ETH) -> str | None:
        snapshot = self.latest.by_slug[pair.slug].snapshot
        return snapshot.quote.price if snapshot else None

    def _snapshot(self, *fields: Any) -> Snapshot:
        if self.defects:
            self.defects -= 1
            raise RuntimeError("a defect")
        return Snapshot(*fields)


class Fleet:
    """Workers that share a shelf, a clock and a source whose prices count up from 1001."""

    def __init__(self, count: int, *others: Any, pairs: str = "eth-usdt", **environ: str) -> None:
        self.settings = Settings.from_env({"PAIRS": pairs, "RETRY_ATTEMPTS": "1", "CROSS_CHECK_INTERVAL": "0", **environ})
        self.clock = FakeClock()
        self.shelf = Shelf()
        self.source = FakeSource("a", self.clock, self.next)
        self.sources = [self.source, *(FakeSource(name, self.clock, *each) for name, each in zip("bcd", others, strict=False))]
        self.workers = [Worker(f"worker {number}", self) for number in range(count)]

    def next(self) -> Quote:
        return a_quote(str(1_000 + self.calls), self.clock.wall_ms(), "a")

    @property
    def calls(self) -> int:
        return len(self.source.asked)

    @property
    def leader(self) -> Worker:
        return next(worker for worker in self.workers if worker.name == self.shelf.claims["leader"][0])

    @property
    def followers(self) -> list[Worker]:
        return [worker for worker in self.workers if worker is not self.leader]

    @property
    def prices(self) -> set[str | None]:
        return {worker.price() for worker in self.workers}

    async def __aenter__(self) -> "Fleet":
        for worker in self.workers:
            worker.start()
        await self.clock.advance(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            await worker.stop()


# One leader


async def test_eight_workers_make_exactly_one_call_per_interval_and_all_serve_its_answer() -> None:
    async with Fleet(8) as fleet:
        for turn in range(1, 61):
            assert fleet.calls == turn
            assert fleet.prices == {str(1_000 + turn)}
            await fleet.clock.advance(INTERVAL)


async def test_a_hundred_pairs_are_one_call_one_write_and_one_look_per_worker_and_interval() -> None:
    fleet = Fleet(4, pairs=",".join(f"p{number}-usdt" for number in range(100)))
    fleet.source.answers = ["100"]
    async with fleet:
        await fleet.clock.advance(5 * INTERVAL)
        before = {worker.name: worker.store.operations for worker in fleet.workers}
        calls, writes = fleet.calls, fleet.shelf.writes
        await fleet.clock.advance(20 * INTERVAL)
        assert (fleet.calls - calls, fleet.shelf.writes - writes) == (20, 20)
        for worker in fleet.followers:
            assert worker.store.operations - before[worker.name] == 20
            assert worker.latest.everything_held() == fleet.leader.latest.everything_held()
        assert fleet.leader.store.operations - before[fleet.leader.name] == 60, "a look, the claim and a write"


async def test_the_leader_leads_as_long_as_it_lives() -> None:
    async with Fleet(4) as fleet:
        first = fleet.leader
        for _ in range(30):
            await fleet.clock.advance(INTERVAL)
            assert fleet.leader is first


async def test_a_dead_leader_is_replaced_once_its_claim_is_over() -> None:
    async with Fleet(8) as fleet:
        await fleet.clock.advance(10 * INTERVAL)
        dead, calls = fleet.leader, fleet.calls
        await dead.die()
        await fleet.clock.advance(CLAIM - 0.001)
        assert fleet.calls == calls
        await fleet.clock.advance(LONGEST_LOOK + 0.001)
        assert fleet.calls > calls and fleet.leader is not dead
        calls = fleet.calls
        await fleet.clock.advance(10 * INTERVAL)
        assert fleet.calls == calls + 10
        assert {worker.price() for worker in fleet.workers if worker is not dead} == {str(1_000 + fleet.calls)}


async def test_a_leader_that_stops_cleanly_hands_its_claim_over() -> None:
    async with Fleet(8) as fleet:
        await fleet.clock.advance(10 * INTERVAL)
        left, calls = fleet.leader, fleet.calls
        await left.stop()
        assert fleet.shelf.claims == {}
        await fleet.clock.advance(LONGEST_LOOK)
        assert fleet.calls > calls and fleet.leader is not left


async def test_a_stopping_follower_leaves_the_claim_alone() -> None:
    async with Fleet(2) as fleet:
        leader = fleet.leader
        await fleet.followers[0].stop()
        assert fleet.leader is leader


async def test_a_leader_that_was_paused_and_comes_back_late_asks_nobody_else_and_stores_nothing() -> None:
    async with Fleet(2, ["200"]) as fleet:
        worker = fleet.leader
        gate = fleet.source.gate = asyncio.Event()
        fleet.source.answers = [SourceDown("refused")]
        await fleet.clock.advance(INTERVAL)
        fleet.clock.now += 10 * INTERVAL
        fleet.shelf.claims["leader"] = ("another", fleet.clock.wall_ms() + 60_000, 600_000)
        writes = fleet.shelf.writes
        gate.set()
        await settle()
        await fleet.clock.advance(5 * INTERVAL)
        assert (fleet.calls, fleet.sources[1].asked, fleet.shelf.writes) == (2, [], writes)
        assert not worker.leader.leads and worker.events.of(RefreshFailing) == []


async def test_tells_once_of_every_change_of_leader() -> None:
    async with Fleet(1) as fleet:
        worker, = fleet.workers
        await fleet.clock.advance(3 * INTERVAL)
        fleet.shelf.claims["leader"] = ("someone else", fleet.clock.wall_ms() + 2_500, 2_500)
        await fleet.clock.advance(10 * INTERVAL)
    assert [event.leads for event in worker.events.of(LeaderMoved)] == [True, False, True, False]


async def test_a_claim_that_never_ends_and_under_which_nothing_is_stored_is_tried() -> None:
    async with Fleet(2) as fleet:
        for worker in fleet.workers:
            worker.store._holder = lambda name="": "a stranger"  # type: ignore[method-assign]
        await fleet.clock.advance(60 * INTERVAL)
        looks = fleet.workers[0].store.operations
        await fleet.clock.advance(10 * INTERVAL)
        assert fleet.workers[0].store.operations - looks > 15, "it looks, and tries the claim"


async def test_a_new_leader_takes_what_was_stored_a_moment_ago_and_asks_one_interval_later() -> None:
    fleet = Fleet(1)
    fleet.shelf.stored = Stored(fleet.clock.wall_ms() - 300, (a_quote("999", fleet.clock.wall_ms() - 400),))
    async with fleet:
        assert (fleet.calls, fleet.prices) == (0, {"999"})
        await fleet.clock.advance(INTERVAL)
        assert fleet.calls == 1


@pytest.mark.parametrize("age_ms", [1_000, 5_000, 10**9, -5_000])
async def test_a_new_leader_asks_at_once_where_what_is_stored_is_old_or_from_a_wrong_clock(age_ms: int) -> None:
    fleet = Fleet(1)
    stored_ms = fleet.clock.wall_ms() - age_ms
    fleet.shelf.stored = Stored(stored_ms, (a_quote("999", stored_ms),))
    async with fleet:
        assert fleet.calls == 1


async def test_a_new_leader_asks_at_once_for_a_pair_that_has_no_price_yet() -> None:
    fleet = Fleet(1, pairs="eth-usdt,btc-usdt")
    fleet.source.answers = ["100"]
    fleet.shelf.stored = Stored(fleet.clock.wall_ms(), (a_quote("999", fleet.clock.wall_ms()),))
    async with fleet:
        assert fleet.calls == 1


# One beat


@pytest.mark.parametrize("interval", [0.25, 2.5, 60.0])
async def test_rounds_begin_once_per_interval_while_the_claim_is_renewed_at_least_every_second(interval: float) -> None:
    async with Fleet(3, REFRESH_INTERVAL=str(interval), CACHE_TTL="7200", MAX_STALE="7200") as fleet:
        leader = fleet.leader
        for turn in range(1, 4):
            assert fleet.calls == turn and fleet.leader is leader
            await fleet.clock.advance(interval)
        await leader.die()
        await fleet.clock.advance(2 * min(interval, MAX_TURN_SECONDS) + 2 * LONGEST_LOOK)
        assert fleet.leader is not leader


async def test_a_slow_source_costs_no_claim_and_begins_no_second_round() -> None:
    async with Fleet(4) as fleet:
        leader, calls = fleet.leader, fleet.calls
        gate = fleet.source.gate = asyncio.Event()
        for _ in range(3):
            await fleet.clock.advance(INTERVAL)
            assert (fleet.calls, fleet.leader) == (calls, leader)
        gate.set()
        await settle()
        assert fleet.calls == calls + 1
        await fleet.clock.advance(INTERVAL)
        assert fleet.prices == {str(1_000 + fleet.calls)}


async def test_what_was_answered_does_not_wait_for_a_source_that_is_slow_for_other_pairs() -> None:
    fleet = Fleet(3, ["200"], pairs="eth-usdt,btc-usdt")
    fleet.source.answers = [{ETH: "100", BTC: UnknownSymbol("no such symbol")}]
    fleet.sources[1].gate = asyncio.Event()
    async with fleet:
        assert fleet.prices == {None}
        await fleet.clock.advance(INTERVAL)
        assert fleet.prices == {"100"}
        fleet.sources[1].gate.set()
        await settle()
        assert {worker.price(BTC) for worker in fleet.workers} == {"200"}


async def test_stopping_ends_the_round_under_way() -> None:
    fleet = Fleet(1)
    fleet.source.gate = asyncio.Event()
    async with fleet:
        pass
    fleet.source.gate.set()
    await fleet.clock.advance(10 * INTERVAL)
    assert (fleet.calls, fleet.shelf.writes, fleet.prices) == (0, 0, {None})


def test_turns_that_were_slept_through_are_not_made_up_for() -> None:
    fleet = Fleet(1)
    fleet.clock.now += 3600
    leader = fleet.workers[0].leader
    leader.leads = True
    assert leader.next_due(1_000.0) == fleet.clock.now


def test_a_leader_keeps_its_beat_and_followers_look_a_little_later() -> None:
    leader = Fleet(1).workers[0].leader
    looks = [leader.next_due(1_000.0) for _ in range(100)]
    assert 1_000.0 + INTERVAL <= min(looks) < max(looks) <= 1_000.0 + LONGEST_LOOK
    leader.leads = True
    assert leader.next_due(1_000.0) == 1_000.0 + INTERVAL


@pytest.mark.parametrize(("interval", "turns"), [(0.02, 1), (1.0, 1), (1.5, 2), (60.0, 60)])
def test_a_turn_is_a_second_at_most(interval: float, turns: int) -> None:
    pace = Pace("me", interval, random.random)
    assert (pace.turns, pace.turn_seconds) == (turns, interval / turns)


# Stores that fail


async def test_with_no_store_at_all_every_worker_asks_for_itself() -> None:
    fleet = Fleet(3)
    for worker in fleet.workers:
        worker.store.failure = "no such place"
    async with fleet:
        for turn in range(1, 21):
            assert fleet.calls == 3 * turn
            assert None not in fleet.prices
            await fleet.clock.advance(INTERVAL)


async def test_once_the_store_is_back_there_is_one_caller_again_and_both_are_told_once() -> None:
    async with Fleet(3) as fleet:
        for worker in fleet.workers:
            worker.store.failure = "gone"
        await fleet.clock.advance(5 * INTERVAL)
        for worker in fleet.workers:
            worker.store.failure = None
        await fleet.clock.advance(3 * INTERVAL)
        calls = fleet.calls
        await fleet.clock.advance(10 * INTERVAL)
        assert fleet.calls == calls + 10
        assert len(fleet.prices) == 1
        for worker in fleet.workers:
            told = worker.events.of(CoordinationLost, CoordinationBack)
            assert told == [CoordinationLost("gone"), CoordinationBack()]


async def test_a_newer_quote_that_another_stored_meanwhile_is_not_overwritten() -> None:
    async with Fleet(1) as fleet:
        worker, = fleet.workers
        fleet.source.answers = [SourceDown("refused")]
        newer = a_quote("999", fleet.clock.wall_ms() + 500, "b")
        fleet.shelf.stored = Stored(fleet.clock.wall_ms() + 500, (newer,))
        await fleet.clock.advance(2 * INTERVAL)
        assert fleet.shelf.stored.quotes == (newer,) and worker.price() == "999"


async def test_pairs_of_others_on_the_same_store_are_none_of_our_business(caplog: pytest.LogCaptureFixture) -> None:
    async with Fleet(2) as fleet:
        stranger = a_quote("60000", fleet.clock.wall_ms(), "a", pair=BTC)
        fleet.shelf.stored = Stored(fleet.clock.wall_ms() + 1, (stranger,))
        await fleet.clock.advance(3 * INTERVAL)
        assert fleet.prices == {str(1_000 + fleet.calls)}
        assert all([held.quote.pair for held in worker.latest.everything_held()] == [ETH] for worker in fleet.workers)
        assert not caplog.records


# What all workers know


async def test_reports_and_failing_pairs_reach_the_followers() -> None:
    async with Fleet(2, ["1001"]) as fleet:
        fleet.source.answers = [SourceDown("refused")]
        await fleet.clock.advance(2 * INTERVAL)
        for worker in fleet.workers:
            first, second = worker.rounds.reports
            assert (first.source, first.error, first.of(ETH).error) == ("a", "refused", "refused")
            assert second.of(ETH).quote is None, "it is the one that is served"
            quote = worker.rounds.standing(ETH)[1][1].quote
            assert quote and (quote.price, quote.source) == ("1001", "b")


async def test_a_new_leader_leaves_alone_what_the_one_before_it_was_told_to_leave_alone() -> None:
    async with Fleet(4) as fleet:
        fleet.source.answers = [RateLimited("asked too often", 30.0)]
        await fleet.clock.advance(3 * INTERVAL)
        calls = fleet.calls
        await fleet.leader.die()
        await fleet.clock.advance(20 * INTERVAL)
        assert (fleet.calls, fleet.leader.store.failure) == (calls, None)
        await fleet.clock.advance(15 * INTERVAL)
        assert fleet.calls > calls


async def test_a_store_that_was_emptied_is_told_of_bans_again() -> None:
    async with Fleet(2) as fleet:
        fleet.source.answers = [RateLimited("asked too often", 30.0)]
        await fleet.clock.advance(2 * INTERVAL)
        fleet.shelf.stored = Stored()
        await fleet.clock.advance(2 * INTERVAL)
        assert [ban.source for ban in fleet.shelf.stored.bans] == ["a"]


async def test_trouble_is_told_once_and_its_end_too_also_when_another_worker_leads_by_then() -> None:
    async with Fleet(3) as fleet:
        fleet.source.answers = [SourceDown("refused")]
        await fleet.clock.advance(5 * INTERVAL)
        first = fleet.leader
        assert first.events.of(RefreshFailing) == [RefreshFailing((ETH,), "a: refused")]
        assert first.events.of(Refreshed)[-1] == Refreshed("failed", 1)
        await first.stop()
        await fleet.clock.advance(5 * INTERVAL)
        fleet.source.answers = [fleet.next]
        await fleet.clock.advance(2 * INTERVAL)
        second = fleet.leader
        assert second is not first
        assert second.events.of(RefreshFailing, RefreshRecovered) == [RefreshRecovered((ETH,))]


async def test_every_worker_tells_once_for_all_pairs_that_freshness_has_changed() -> None:
    fleet = Fleet(4, pairs="eth-usdt,btc-usdt")
    fleet.source.answers = ["100"]
    async with fleet:
        await fleet.clock.advance(2 * INTERVAL)
        fleet.source.answers = [SourceDown("refused")]
        await fleet.clock.advance(70 * INTERVAL)
        fleet.source.answers = ["100"]
        await fleet.clock.advance(40 * INTERVAL)
        for worker in fleet.workers:
            told = worker.events.of(FreshnessMoved)
            assert [(event.pairs, event.freshness) for event in told] == [
                ((ETH, BTC), "stale"), ((ETH, BTC), "expired"), ((ETH, BTC), "fresh"),
            ], "the first price is no news"
            assert all(abs(event.age_ms - limit) <= 2_000 for event, limit in zip(told, (6_000, 61_000), strict=False))


async def test_every_worker_tells_that_there_is_no_first_price_and_when_there_is_one() -> None:
    fleet = Fleet(2, pairs="eth-usdt,btc-usdt")
    fleet.source.answers = [SourceDown("refused")]
    async with fleet:
        await fleet.clock.advance(4 * INTERVAL)
        assert not any(worker.events.of(FreshnessMoved) for worker in fleet.workers), "a start takes a moment"
        await fleet.clock.advance(10 * INTERVAL)
        fleet.source.answers = ["100"]
        await fleet.clock.advance(40 * INTERVAL)
        for worker in fleet.workers:
            told = worker.events.of(FreshnessMoved)
            assert [(event.pairs, event.freshness) for event in told] == [((ETH, BTC), None), ((ETH, BTC), "fresh")]
            assert 5_000 < told[0].age_ms <= 6_500


# Defects


async def test_a_defect_in_reading_one_source_is_that_sources_failure_and_the_next_one_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def defect() -> Quote:
        raise RuntimeError("a defect")

    async with Fleet(2, ["1001"]) as fleet:
        fleet.source.answers = [defect]
        await fleet.clock.advance(INTERVAL)
        assert fleet.prices == {"1001"}
        assert [event.source for event in fleet.leader.events.of(SourceLost)] == ["a"]
        assert [record.levelno for record in caplog.records] == [logging.ERROR]
        assert caplog.records[0].exc_info


async def test_an_answer_for_which_there_is_no_memory_is_no_defect_and_not_the_sources_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def too_little() -> Quote:
        raise MemoryError

    async with Fleet(2, ["1001"]) as fleet:
        fleet.source.answers = [too_little]
        await fleet.clock.advance(INTERVAL)
        assert fleet.prices == {"1001"}
        assert not fleet.leader.events.of(SourceLost) and not caplog.records


async def test_a_defect_in_taking_a_quote_does_not_end_the_beat(caplog: pytest.LogCaptureFixture) -> None:
    async with Fleet(3) as fleet:
        for worker in fleet.workers:
            worker.defects = 3
        await fleet.clock.advance(10 * INTERVAL)
        assert fleet.prices == {str(1_000 + fleet.calls)}
        assert all(worker.task is not None and not worker.task.done() for worker in fleet.workers)
        assert caplog.records


async def test_calls_of_one_round_to_a_source_are_made_at_the_same_time() -> None:
    fleet = Fleet(1, pairs="eth-usdt,btc-usdt")
    source = FakeSource("a", fleet.clock, "100", per_call=1, limit=Limit(2.0, 2.0))
    fleet.sources[0] = source
    fleet.workers = [Worker("worker", fleet)]
    source.gate = asyncio.Event()
    async with fleet:
        source.gate.set()
        await settle()
        assert source.asked == [(ETH,), (BTC,)]
        assert len(fleet.workers[0].latest.everything_held()) == 2
