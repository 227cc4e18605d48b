"""Who asks, how often, and what happens when the one who asks dies: a fleet of workers on one store and one clock."""

import asyncio
import logging
import random
from collections import Counter

import pytest

from fastprice.application.bans import Bans
from fastprice.application.events import ClaimMoved, CoordinationBack, CoordinationLost, FreshnessMoved
from fastprice.application.failover import Failover, FailoverLimits
from fastprice.application.latest_price import LatestPrice
from fastprice.application.leases import LeasedSource, Leases
from fastprice.application.refresh_loop import CLAIM_INTERVALS, FOLLOWER_JITTER, Pace, RefreshLoop
from fastprice.application.refresh_price import RefreshPrice
from fastprice.domain.errors import ClaimOver, RateLimited, SourceDown
from fastprice.domain.quote import AgeLimits, Pair, Quote
from tests.fakes import BTC, ETH, FakeClock, FakeSource, FakeStore, RecordingEvents, Shelf, a_quote

pytestmark = pytest.mark.anyio

INTERVAL = 1.0
CLAIM = CLAIM_INTERVALS * INTERVAL
LONGEST_LOOK = (1 + FOLLOWER_JITTER) * INTERVAL
LIMITS = AgeLimits(fresh_ms=5_000, stale_ms=60_000)


class Worker:
    """One worker's refresh loop with everything it drives; all workers ask the one source of the fleet."""

    def __init__(self, name: str, fleet: "Fleet", pairs: tuple[Pair, ...]) -> None:
        self.name = name
        self.rendered: list[Quote] = []
        self.defects = 0
        self.events = RecordingEvents()
        self.store = FakeStore(fleet.clock, fleet.shelf)
        self.latest = LatestPrice(pairs, LIMITS, self._render, fleet.clock, self.events)
        self.leases = Leases(fleet.clock)
        bans = Bans(self.store, INTERVAL, fleet.clock, self.events)
        self.failover = Failover(
            [LeasedSource(fleet.source, self.leases)], FailoverLimits(600.0, 0.0, 30.0, 7_000, 60_000, 0.05), self.latest.held, lambda name: "closed",
            bans, fleet.clock, self.events,
        )
        refresh = RefreshPrice(self.failover, bans, self.store, self.latest, INTERVAL, fleet.clock, self.events)
        pace = Pace(name, INTERVAL, random.Random(name).random)
        self.loop = RefreshLoop(refresh, self.store, self.latest, pace, self.leases, fleet.clock, self.events)
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.loop.run())

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def die(self) -> None:
        """End as after kill -9: nothing is handed over any more."""
        self.store.failure = "dead"
        await self.stop()

    @property
    def price(self) -> str | None:
        snapshot = self.latest.by_slug.get(ETH.slug)
        return snapshot.quote.price if snapshot else None

    def _render(self, quote: Quote) -> bytes:
        if self.defects:
            self.defects -= 1
            raise RuntimeError("a defect")
        return quote.price.encode()


class Fleet:
    """Workers that share a shelf, a clock and a source whose prices count up from 1000."""

    def __init__(self, count: int, pairs: tuple[Pair, ...] = (ETH,)) -> None:
        self.clock = FakeClock()
        self.shelf = Shelf()
        self.source = FakeSource("a", self.clock, self._next)
        self.workers = [Worker(f"worker {number}", self, pairs) for number in range(count)]

    def _next(self) -> Quote:
        return a_quote(str(1_000 + self.source.calls), self.clock.wall_ms(), "a")

    @property
    def calls(self) -> int:
        return self.source.calls

    @property
    def holder(self) -> Worker:
        return next(worker for worker in self.workers if worker.name == self.shelf.claims[ETH.slug][0])

    @property
    def prices(self) -> set[str | None]:
        return {worker.price for worker in self.workers}

    async def __aenter__(self) -> "Fleet":
        for worker in self.workers:
            worker.start()
        await self.clock.advance(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        for worker in self.workers:
            await worker.stop()


async def test_eight_workers_make_exactly_one_call_per_interval_and_all_serve_its_answer() -> None:
    async with Fleet(8) as fleet:
        for turn in range(1, 61):
            assert fleet.calls == turn
            assert fleet.prices == {str(1_000 + turn)}
            await fleet.clock.advance(INTERVAL)


async def test_the_holder_keeps_the_claim_as_long_as_it_lives() -> None:
    async with Fleet(4) as fleet:
        first = fleet.holder
        for _ in range(30):
            await fleet.clock.advance(INTERVAL)
            assert fleet.holder is first


async def test_each_pair_has_one_caller() -> None:
    fleet = Fleet(4, (ETH, BTC))
    fleet.source.answers = ["100"]
    async with fleet:
        await fleet.clock.advance(20 * INTERVAL)
        assert Counter(quote.pair for quote in fleet.shelf.puts) == {ETH: 21, BTC: 21}
        assert fleet.calls == 42
        assert all(worker.latest.everything_held() == fleet.workers[0].latest.everything_held() for worker in fleet.workers)


async def test_a_dead_holder_is_replaced_once_its_claim_is_over() -> None:
    async with Fleet(8) as fleet:
        await fleet.clock.advance(10 * INTERVAL)
        dead, calls = fleet.holder, fleet.calls
        await dead.die()
        await fleet.clock.advance(CLAIM - 0.001)
        assert fleet.calls == calls
        await fleet.clock.advance(LONGEST_LOOK + 0.001)
        assert fleet.calls > calls and fleet.holder is not dead
        calls = fleet.calls
        await fleet.clock.advance(10 * INTERVAL)
        assert fleet.calls == calls + 10
        assert {worker.price for worker in fleet.workers if worker is not dead} == {str(1_000 + fleet.calls)}


async def test_a_lease_ends_no_later_than_the_claim_however_long_the_store_took_to_grant_it() -> None:
    fleet = Fleet(1)
    (worker,) = fleet.workers
    granted = worker.store.claim

    async def slowly(name: str, holder: str, seconds: float) -> bool:
        claimed = await granted(name, holder, seconds)
        fleet.clock.now += 0.5
        return claimed

    worker.store.claim = slowly  # type: ignore[method-assign]
    assert await worker.loop.tick(ETH)
    fleet.clock.now += CLAIM - 0.501
    assert worker.leases.holds(ETH)
    fleet.clock.now += 0.001
    assert not worker.leases.holds(ETH)
    await worker.stop()


async def test_a_worker_that_was_refused_the_claim_asks_nobody() -> None:
    async with Fleet(2) as fleet:
        follower = next(worker for worker in fleet.workers if worker is not fleet.holder)
        await fleet.clock.advance(5 * INTERVAL)
        calls = fleet.calls
        with pytest.raises(ClaimOver):
            await follower.failover.fetch(ETH)
        assert fleet.calls == calls


async def test_a_holder_whose_claim_was_taken_asks_nobody_for_the_rest_of_it() -> None:
    fleet = Fleet(1)
    (worker,) = fleet.workers
    assert await worker.loop.tick(ETH)
    assert worker.leases.holds(ETH)
    fleet.shelf.claims[ETH.slug] = ("another", fleet.clock.wall_ms() + 1_000)
    assert not await worker.loop.tick(ETH)
    assert not worker.leases.holds(ETH)
    await worker.stop()


async def test_a_holder_that_stops_cleanly_hands_its_claim_over() -> None:
    async with Fleet(8) as fleet:
        await fleet.clock.advance(10 * INTERVAL)
        left, calls = fleet.holder, fleet.calls
        await left.stop()
        assert ETH.slug not in fleet.shelf.claims
        await fleet.clock.advance(LONGEST_LOOK)
        assert fleet.calls > calls and fleet.holder is not left


async def test_tells_once_of_every_claim_taken_lost_and_given_back() -> None:
    async with Fleet(1) as fleet:
        worker, = fleet.workers
        await fleet.clock.advance(3 * INTERVAL)
        fleet.shelf.claims[ETH.slug] = ("someone else", fleet.clock.wall_ms() + 2_500)
        await fleet.clock.advance(10 * INTERVAL)
    assert [event.held for event in worker.events.of(ClaimMoved)] == [True, False, True, False]


async def test_a_stopping_follower_leaves_the_claim_alone() -> None:
    async with Fleet(2) as fleet:
        holder = fleet.holder
        await next(worker for worker in fleet.workers if worker is not holder).stop()
        assert fleet.holder is holder


async def test_stopping_ends_the_flight_under_way() -> None:
    fleet = Fleet(1)
    fleet.source.gate = asyncio.Event()
    async with fleet:
        assert fleet.calls == 1
    fleet.source.gate.set()
    await fleet.clock.advance(10 * INTERVAL)
    assert (fleet.calls, fleet.shelf.puts, fleet.prices) == (1, [], {None})


async def test_a_slow_source_costs_no_claim_and_starts_no_second_flight() -> None:
    async with Fleet(4) as fleet:
        holder, calls = fleet.holder, fleet.calls
        gate = fleet.source.gate = asyncio.Event()
        for _ in range(10):
            await fleet.clock.advance(INTERVAL)
            assert (fleet.calls, fleet.holder) == (calls + 1, holder)
        gate.set()
        await fleet.clock.advance(INTERVAL)
        assert fleet.calls == calls + 2
        assert fleet.prices == {str(1_000 + fleet.calls)}


async def test_with_no_store_at_all_every_worker_refreshes_for_itself() -> None:
    fleet = Fleet(3)
    for worker in fleet.workers:
        worker.store.failure = "no such place"
    async with fleet:
        for turn in range(1, 21):
            assert fleet.calls == 3 * turn
            await fleet.clock.advance(INTERVAL)
            assert None not in fleet.prices


async def test_once_the_store_is_back_there_is_one_caller_again() -> None:
    async with Fleet(3) as fleet:
        for worker in fleet.workers:
            worker.store.failure = "gone"
        await fleet.clock.advance(5 * INTERVAL)
        for worker in fleet.workers:
            worker.store.failure = None
        await fleet.clock.advance(2 * INTERVAL)
        calls = fleet.calls
        await fleet.clock.advance(10 * INTERVAL)
        assert fleet.calls == calls + 10
        assert len(fleet.prices) == 1


async def test_being_without_a_store_and_with_one_again_is_told_once() -> None:
    async with Fleet(2) as fleet:
        for failure in ("gone", None):
            for worker in fleet.workers:
                worker.store.failure = failure
            await fleet.clock.advance(5 * INTERVAL)
        for worker in fleet.workers:
            told = worker.events.of(CoordinationLost, CoordinationBack)
            assert told == [CoordinationLost("gone"), CoordinationBack()]


async def test_a_change_of_freshness_is_told_once_and_by_the_holder_only() -> None:
    async with Fleet(4) as fleet:
        await fleet.clock.advance(2 * INTERVAL)
        price, fleet.source.answers = fleet._next, [SourceDown("refused")]
        await fleet.clock.advance(70 * INTERVAL)
        fleet.source.answers = [price]
        await fleet.clock.advance(2 * INTERVAL)
        told = {worker.name: worker.events.of(FreshnessMoved) for worker in fleet.workers}
        holder = told.pop(fleet.holder.name)
        assert [event.freshness for event in holder] == ["stale", "expired", "fresh"], "the first is no news"
        assert [event.age_ms // 1_000 for event in holder] == [6, 61, 1]
        assert list(told.values()) == [[], [], []]


async def test_a_new_holder_leaves_alone_what_the_one_before_it_was_told_to_leave_alone() -> None:
    async with Fleet(4) as fleet:
        fleet.source.answers = [RateLimited("asked too often", 30.0)]
        await fleet.clock.advance(3 * INTERVAL)
        calls = fleet.calls
        await fleet.holder.die()
        await fleet.clock.advance(20 * INTERVAL)
        assert (fleet.calls, fleet.holder.store.failure) == (calls, None)
        await fleet.clock.advance(15 * INTERVAL)
        assert fleet.calls > calls


async def test_a_defect_in_a_source_ends_neither_the_loop_nor_the_claim(caplog: pytest.LogCaptureFixture) -> None:
    def defect() -> Quote:
        raise RuntimeError("a defect")

    async with Fleet(2) as fleet:
        holder, price = fleet.holder, fleet._next
        fleet.source.answers = [defect, defect, price]
        await fleet.clock.advance(3 * INTERVAL)
        assert fleet.prices == {str(1_000 + fleet.calls)} and fleet.holder is holder
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


async def test_a_defect_in_taking_what_others_stored_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async with Fleet(3) as fleet:
        fleet.shelf.put(a_quote("999", fleet.clock.wall_ms() + 1, "a"))
        for worker in fleet.workers:
            worker.defects = 3
        await fleet.clock.advance(10 * INTERVAL)
        assert fleet.prices == {str(1_000 + fleet.calls)}
        assert all(worker.task is not None and not worker.task.done() for worker in fleet.workers)
        assert caplog.records


async def test_a_defect_in_taking_the_first_quote_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    fleet = Fleet(2)
    fleet.shelf.put(a_quote("999", fleet.clock.wall_ms() - 1_500, "a"))
    for worker in fleet.workers:
        worker.defects = 2
    async with fleet:
        await fleet.clock.advance(3 * INTERVAL)
        assert fleet.prices == {str(1_000 + fleet.calls)}
        assert caplog.records


async def test_pairs_of_others_on_the_same_store_are_none_of_our_business(caplog: pytest.LogCaptureFixture) -> None:
    async with Fleet(2) as fleet:
        for _ in range(3):
            fleet.shelf.put(a_quote("60000", fleet.clock.wall_ms(), "a", pair=BTC))
            await fleet.clock.advance(INTERVAL)
        assert fleet.prices == {str(1_000 + fleet.calls)}
        assert all(list(worker.latest.by_slug) == [ETH.slug] for worker in fleet.workers)
        assert not caplog.records


def test_a_holder_keeps_its_beat_and_the_others_look_a_little_later() -> None:
    loop = Fleet(1).workers[0].loop
    assert loop.next_due(1_000.0, holds=True) == 1_000.0 + INTERVAL
    looks = [loop.next_due(1_000.0, holds=False) for _ in range(100)]
    assert 1_000.0 + INTERVAL <= min(looks) < max(looks) <= 1_000.0 + LONGEST_LOOK


def test_turns_that_were_slept_through_are_not_made_up_for() -> None:
    fleet = Fleet(1)
    fleet.clock.now += 3600
    assert fleet.workers[0].loop.next_due(1_000.0, holds=True) == fleet.clock.now
