"""One refresh: who shares it, what it spares the sources, and what it does when something fails."""

import asyncio
import logging
from typing import Any

import pytest

from fastprice.application.bans import Bans
from fastprice.application.events import CacheRead, Refreshed, RefreshFailing, RefreshRecovered
from fastprice.application.failover import Failover, FailoverLimits
from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Ban
from fastprice.application.refresh_price import RefreshPrice
from fastprice.domain.errors import ClaimOver, RateLimited, SourceDown
from fastprice.domain.quote import AgeLimits, Quote
from tests.fakes import BTC, ETH, START_MS, FakeClock, FakeSource, FakeStore, RecordingEvents, a_quote, settle

pytestmark = pytest.mark.anyio

INTERVAL = 1.0


class World:
    """One worker's refresh of a source `a` with these answers; `other` is the store as another worker sees it."""

    def __init__(self, *answers: Any) -> None:
        self.clock = FakeClock()
        self.events = RecordingEvents()
        self.source = FakeSource("a", self.clock, *answers)
        self.store = FakeStore(self.clock)
        self.other = FakeStore(self.clock, self.store.shelf)
        self.latest = LatestPrice((ETH, BTC), AgeLimits(5_000, 60_000), str, self.clock, self.events)
        bans = Bans(self.store, INTERVAL, self.clock, self.events)
        failover = Failover(
            [self.source], FailoverLimits(600.0, 0.0, 30.0, 7_000, 60_000, 0.05), self.latest.held, lambda name: "closed",
            bans, self.clock, self.events,
        )
        self.refresh = RefreshPrice(failover, bans, self.store, self.latest, INTERVAL, self.clock, self.events)

    @property
    def price(self) -> str | None:
        quote = self.latest.held(ETH)
        return quote.price if quote else None

    @property
    def results(self) -> list[str]:
        return [event.result for event in self.events.of(Refreshed)]

    async def fly(self) -> None:
        await self.refresh.flight(ETH)

    async def store_aged(self, age_ms: int, price: str = "99") -> None:
        await self.other.put(a_quote(price, self.clock.wall_ms() - age_ms, "b"))


async def test_a_refresh_asks_stores_and_serves() -> None:
    world = World("100")
    await world.fly()
    assert (world.price, world.results, world.source.calls) == ("100", ["fetched"], 1)
    assert world.latest.held(ETH) == await world.other.get(ETH)


async def test_a_hundred_callers_share_one_flight() -> None:
    world = World("100")
    world.source.gate = asyncio.Event()
    flights = [world.refresh.flight(ETH) for _ in range(100)]
    await settle()
    flights += [world.refresh.flight(ETH) for _ in range(100)]
    world.source.gate.set()
    await asyncio.gather(*flights)
    assert (len(set(flights)), world.source.calls) == (1, 1)
    await world.clock.advance(INTERVAL)
    await world.fly()
    assert world.source.calls == 2


async def test_each_pair_has_its_own_flight() -> None:
    world = World("100")
    await asyncio.gather(world.refresh.flight(ETH), world.refresh.flight(BTC))
    assert all(world.latest.held(pair) for pair in (ETH, BTC))


async def test_a_cancelled_waiter_cancels_nobody_else() -> None:
    world = World("100")
    world.source.gate = asyncio.Event()

    async def wait() -> str | None:
        await asyncio.shield(world.refresh.flight(ETH))
        return world.price

    waiters = [asyncio.create_task(wait()) for _ in range(10)]
    await settle()
    waiters[0].cancel()
    await settle()
    world.source.gate.set()
    results = await asyncio.gather(*waiters, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)
    assert (results[1:], world.source.calls) == (["100"] * 9, 1)


@pytest.mark.parametrize(("age_ms", "calls"), [(0, 0), (999, 0), (1_000, 1), (4_000, 1)])
async def test_a_quote_another_worker_just_stored_spares_the_source(age_ms: int, calls: int) -> None:
    world = World("100")
    await world.store_aged(age_ms)
    await world.fly()
    assert world.source.calls == calls
    assert world.price == ("100" if calls else "99")
    assert world.results == ["adopted", "fetched"][: 1 + calls]
    assert world.events.of(CacheRead) == [CacheRead("l2", "hit")]


async def test_our_own_last_quote_spares_the_source_nothing() -> None:
    world = World("100", "101")
    await world.fly()
    await world.clock.advance(0.5)
    await world.fly()
    assert (world.price, world.source.calls) == ("101", 2)
    assert world.events.of(CacheRead) == [CacheRead("l2", "miss"), CacheRead("l2", "hit")]


async def test_an_older_stored_quote_than_ours_is_not_taken() -> None:
    world = World("100")
    world.latest.offer(a_quote("98", START_MS - 10))
    await world.store_aged(20)
    world.source.answers = [SourceDown("refused")]
    await world.fly()
    assert (world.price, world.results, world.source.calls) == ("98", ["failed"], 1)


async def test_a_newer_quote_stored_meanwhile_is_not_overwritten() -> None:
    world = World("100")
    world.source.gate = asyncio.Event()
    world.source.answers = [a_quote("100", START_MS, "a")]
    flight = world.refresh.flight(ETH)
    await settle()
    newer = a_quote("105", START_MS + 1)
    await world.other.put(newer)
    assert world.refresh.take(newer) is True
    world.source.gate.set()
    await flight
    assert (world.price, await world.other.get(ETH)) == ("105", newer)


async def test_a_store_that_fails_never_prevents_serving() -> None:
    world = World("100")
    world.store.failure = "no answer in time"
    await world.fly()
    assert (world.price, world.results) == ("100", ["fetched"])
    assert [op for op in world.store.operations if op != "get_reports"] == ["get", "get_bans", "put", "put_reports"]
    assert world.refresh.reports[ETH][0].quote == world.latest.held(ETH)
    assert world.events.of(CacheRead) == []


async def test_without_any_source_the_held_price_stays_and_trouble_is_told_once_until_it_ends() -> None:
    down = SourceDown("refused")
    world = World("100", down, down, down, "101", "102", down)
    for _ in range(7):
        await world.fly()
        await world.clock.advance(INTERVAL)
    assert world.price == "102"
    assert world.results == ["fetched", "failed", "failed", "failed", "fetched", "fetched", "failed"]
    assert world.events.of(RefreshFailing, RefreshRecovered) == [
        RefreshFailing(ETH, "a: refused"), RefreshRecovered(ETH, "a"), RefreshFailing(ETH, "a: refused"),
    ]


async def test_a_defect_is_logged_and_the_next_flight_starts_anew(caplog: pytest.LogCaptureFixture) -> None:
    def defect() -> Quote:
        raise RuntimeError("a defect")

    world = World(defect, "100")
    with pytest.raises(RuntimeError):
        await world.fly()
    await settle()
    assert [(record.levelno, record.exc_info is not None) for record in caplog.records] == [(logging.ERROR, True)]
    await world.fly()
    assert world.price == "100"


async def test_reports_reach_the_other_workers_after_good_and_bad_rounds() -> None:
    world = World("100", SourceDown("refused"))
    other = World("1")
    bans = Bans(world.other, INTERVAL, other.clock, other.events)
    other.refresh = RefreshPrice(
        Failover([], FailoverLimits(1, 0, 1, 1, 1, 1), other.latest.held, str, bans, other.clock, other.events),
        bans, world.other, other.latest, INTERVAL, other.clock, other.events,
    )
    await world.fly()
    await other.refresh.adopt(ETH)
    assert other.refresh.reports == world.refresh.reports
    assert other.latest.held(ETH) == world.latest.held(ETH)
    await world.fly()
    await other.refresh.adopt(ETH)
    assert other.refresh.reports[ETH][0].last_error == "refused"
    assert other.results == ["adopted"]


async def test_adopting_from_a_store_that_fails_keeps_what_we_have() -> None:
    world = World("100")
    await world.fly()
    before = dict(world.refresh.reports)
    world.store.failure = "gone"
    await world.refresh.adopt(ETH)
    assert (world.price, world.refresh.reports) == ("100", before)


async def test_whom_another_worker_was_told_to_leave_alone_is_left_alone() -> None:
    world = World("100")
    await world.other.put_ban(Ban("a", None, START_MS + 5_000, "asked too often"))
    await world.fly()
    assert (world.source.calls, world.results) == (0, ["failed"])
    await world.clock.advance(5)
    await world.fly()
    assert (world.source.calls, world.price) == (1, "100")


async def test_a_flight_whose_claim_is_over_stores_nothing_and_is_no_failure() -> None:
    world = World("100", ClaimOver("over"))
    await world.fly()
    await world.clock.advance(INTERVAL)
    await world.fly()
    assert world.results == ["fetched"] and len(world.store.shelf.puts) == 1
    assert world.events.of(RefreshFailing) == []


async def test_closing_ends_every_flight_and_leaves_none_behind() -> None:
    world = World("100", RateLimited("asked too often", 1))
    world.source.gate = asyncio.Event()
    flights = [world.refresh.flight(pair) for pair in (ETH, BTC)]
    await settle()
    await world.refresh.close()
    assert all(flight.cancelled() for flight in flights)
    assert world.latest.everything_held() == [] and world.store.shelf.puts == []
    await world.refresh.close()
