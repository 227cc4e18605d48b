"""Which source is asked, how often, and whether what it says is believed."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from fastprice.application.bans import Bans
from fastprice.application.events import SourceBack, SourceCooling, SourceLost, SourceSkipped
from fastprice.application.failover import MAX_TRADE_LAG_MS, Failover, FailoverLimits
from fastprice.application.ports import Ban, SourceReport
from fastprice.domain.errors import (
    Banned, Blocked, ClaimOver, InvalidQuote, LocalFailure, NoSource, RateLimited, SourceDown, SourceError,
    SourceRefused, SourceRejected, SourceTimeout, UnknownSymbol
)
from fastprice.domain.quote import Pair, Quote, SourceTime
from tests.fakes import BTC, ETH, START_MS, FakeClock, FakeSource, FakeStore, RecordingEvents, a_quote, settle

pytestmark = pytest.mark.anyio

STALL = 30.0
FRESH_LAG_MS, LAG_MS = 7_000, 20_000


class World:
    """A Failover over fake sources named a, b, c …, each given as its list of answers; `held` is the served price."""

    def __init__(
        self, *answers: list[Any], held: str | None = None, deadline: float = 60.0, attempt: float = 0.0
    ) -> None:
        self.clock = FakeClock()
        self.events = RecordingEvents()
        self.sources = [FakeSource(name, self.clock, *each) for name, each in zip("abcd", answers, strict=False)]
        self.held = a_quote(held) if held else None
        self.breakers = {source.name: "closed" for source in self.sources}
        limits = FailoverLimits(deadline, attempt, STALL, FRESH_LAG_MS, LAG_MS, max_deviation=0.05)
        self.store = FakeStore(self.clock)
        bans = Bans(self.store, 1.0, self.clock, self.events)
        self.failover = Failover(
            self.sources, limits, lambda pair: self.held, self.breakers.__getitem__, bans, self.clock, self.events
        )

    @property
    def calls(self) -> str:
        """How often each source was called so far, such as `1/0/2`."""
        return "/".join(str(source.calls) for source in self.sources)

    async def fetch(self, pair: Pair = ETH) -> Quote:
        return await self.failover.fetch(pair)

    async def refused(self, pair: Pair = ETH) -> dict[str, str]:
        """The reasons of a round that nobody answered."""
        with pytest.raises(NoSource) as caught:
            await self.fetch(pair)
        return caught.value.reasons

    def report(self, name: str, pair: Pair = ETH) -> SourceReport:
        return next(report for report in self.failover.reports(pair) if report.source == name)


async def test_the_first_source_in_order_is_asked_and_no_other() -> None:
    world = World(["100"], ["101"], ["102"])
    assert [(await world.fetch()).source for _ in range(3)] == ["a", "a", "a"]
    assert world.calls == "3/0/0"


@pytest.mark.parametrize(
    "error", [SourceDown("x"), SourceRefused("x"), SourceTimeout("x"), InvalidQuote("x"), SourceRejected("x"),
              RateLimited("x", 9), Banned("x", 9), Blocked("x", 9), UnknownSymbol("x")], ids=lambda e: type(e).__name__
)
async def test_whatever_error_a_source_gives_the_next_one_is_asked_at_once(error: SourceError) -> None:
    world = World([error], ["101"])
    quote = await world.fetch()
    assert (quote.source, quote.price, world.calls) == ("b", "101", "1/1")
    assert world.clock.slept == []


async def test_a_source_that_failed_fast_is_asked_first_again_next_time() -> None:
    world = World([SourceDown("refused"), "100"], ["101"])
    assert [(await world.fetch()).source for _ in range(2)] == ["b", "a"]
    assert world.calls == "2/1"


async def test_a_stalled_source_is_asked_last_until_its_time_is_over() -> None:
    world = World([SourceTimeout("no answer"), "100"], ["101"], ["102"])
    assert (await world.fetch()).source == "b"
    await world.clock.advance(STALL - 0.001)
    assert (await world.fetch()).source == "b"
    assert world.calls == "1/2/0"
    await world.clock.advance(0.001)
    assert (await world.fetch()).source == "a"


async def test_a_stalled_source_is_still_there_when_all_others_fail() -> None:
    world = World([SourceTimeout("no answer"), "100"], ["101", SourceDown("refused")])
    await world.fetch()
    assert (await world.fetch()).source == "a"
    assert world.calls == "2/2"


async def test_an_answer_ends_the_time_of_a_stalled_source_at_the_end_of_the_line() -> None:
    world = World([SourceTimeout("no answer"), "100"], ["101", SourceDown("refused"), "101"])
    assert [(await world.fetch()).source for _ in range(3)] == ["b", "a", "a"]


async def test_the_only_source_is_asked_in_every_round_though_it_stalls() -> None:
    world = World([SourceTimeout("no answer")])
    for _ in range(3):
        assert await world.refused() == {"a": "no answer"}
    assert world.calls == "3"


@pytest.mark.parametrize("kind", [RateLimited, Banned, Blocked])
async def test_a_cool_down_is_obeyed_to_the_second_and_ended(kind: type[RateLimited]) -> None:
    world = World([kind("asked too often", 7.0), "100"], ["101"])
    assert (await world.fetch()).source == "b"
    assert world.events.of(SourceCooling) == [SourceCooling("a", START_MS + 7_000)]
    await world.clock.advance(6.999)
    assert (await world.fetch()).source == "b"
    assert world.events.of(SourceSkipped) == [SourceSkipped("a")]
    await world.clock.advance(0.001)
    assert (await world.fetch()).source == "a"
    assert world.calls == "2/2"
    assert (world.report("a").cooldown_until_ms or 0) <= world.clock.wall_ms(), "an ended one refuses nothing"


async def test_neither_an_answer_under_way_nor_a_shorter_one_ends_a_cool_down() -> None:
    world = World([RateLimited("asked too often", 3600.0)], ["101"])
    source = world.sources[0]
    gate = source.gate = asyncio.Event()
    source.answers = ["100"]
    under_way = asyncio.create_task(world.fetch(BTC))
    await settle()
    source.gate, source.answers = None, [RateLimited("asked too often", 3600.0)]
    await world.fetch(ETH)
    gate.set()
    assert (await under_way).source == "a"
    source.answers = [RateLimited("again", 1.0)]
    await world.clock.advance(10)
    assert (await world.fetch(ETH)).source == (await world.fetch(BTC)).source == "b"
    assert world.report("a").cooldown_until_ms == START_MS + 3_600_000


async def test_what_a_source_says_of_one_pair_is_not_held_against_it_for_another() -> None:
    world = World(["100"])
    source, = world.sources
    for _ in range(3):
        source.answers = ["100"]
        await world.fetch(ETH)
        source.answers = [InvalidQuote("nonsense")]
        await world.refused(BTC)
    assert world.events.of(SourceLost) == [SourceLost("a", BTC, "nonsense")]
    assert world.events.of(SourceBack) == []
    assert world.report("a").last_error is None


async def test_a_price_that_lags_by_its_own_stamp_is_taken_only_if_no_source_has_a_newer_one() -> None:
    world = World([None], ["101", SourceDown("refused")])
    frozen = world.sources[0]
    frozen.source_time = SourceTime.PRICE
    frozen.answers = [stamped(-FRESH_LAG_MS)(world.clock), stamped(-FRESH_LAG_MS - 1)(world.clock)]
    assert (await world.fetch()).source == "a"
    await world.clock.advance(1)
    assert (await world.fetch()).source == "b"
    assert [event.reason for event in world.events.of(SourceLost) if event.source == "a"] == [
        "its price is 7 s old by its own time stamp"
    ]
    await world.clock.advance(1)
    assert (await world.fetch()).source == "a"


async def test_a_source_is_not_asked_when_its_time_would_be_cut_short() -> None:
    world = World([SourceDown("refused")], ["100"], deadline=0.5, attempt=0.5)
    world.sources[0].gate = gate = asyncio.Event()
    asked = asyncio.create_task(world.refused())
    await settle()
    world.clock.now += 0.1
    gate.set()
    assert await asked == {"a": "refused", "b": "no time left in this round"}
    assert world.calls == "1/0"


async def test_a_cool_down_counts_for_every_pair() -> None:
    world = World([RateLimited("asked too often", 7.0), "100"], ["101"])
    await world.fetch(ETH)
    assert (await world.fetch(BTC)).source == "b"
    assert world.calls == "1/2"


async def test_a_ban_is_reported_and_stored_before_the_next_source_is_asked() -> None:
    world = World([Banned("banned for a while", 60.0)], ["101"])
    world.sources[1].gate = asyncio.Event()
    fetching = asyncio.create_task(world.fetch())
    await settle()
    assert await world.store.get_bans() == (Ban("a", None, START_MS + 60_000, "banned for a while"),)
    world.sources[1].gate.set()
    await fetching
    report = world.report("a")
    assert (report.cooldown_until_ms, report.cooldown_reason) == (START_MS + 60_000, "banned for a while")
    await world.clock.advance(60)
    assert world.report("a").cooldown_until_ms is None


async def test_a_round_whose_claim_is_over_ends_at_once_and_is_no_sources_fault() -> None:
    world = World([ClaimOver("over")], ["101"])
    with pytest.raises(ClaimOver):
        await world.fetch()
    assert world.calls == "1/0"
    assert world.events.of(SourceLost) == [] and world.report("a").last_error is None


async def test_a_cooling_source_gives_its_reason_when_nobody_answers() -> None:
    world = World([Banned("banned for a while", 60.0)], [SourceDown("refused")])
    await world.refused()
    reasons = await world.refused()
    assert reasons == {"a": "left alone for 60 s more: banned for a while", "b": "refused"}
    assert world.calls == "1/2"


async def asked_at(world: World, seconds: int) -> list[int]:
    """The seconds from now at which the first source is asked, while a round is made once a second."""
    times = []
    for second in range(seconds):
        before = world.sources[0].calls
        with contextlib.suppress(NoSource):
            await world.fetch()
        times += [second] if world.sources[0].calls > before else []
        await world.clock.advance(1)
    return times


async def test_a_pair_that_a_source_has_never_priced_and_does_not_list_is_asked_for_every_ten_minutes() -> None:
    world = World([UnknownSymbol("no such symbol")], ["101"])
    assert await asked_at(world, 1801) == [0, 600, 1200, 1800]


async def test_a_pair_that_a_source_has_priced_is_asked_for_after_30_s_doubling_to_ten_minutes() -> None:
    world = World(["100", UnknownSymbol("no such symbol")], ["101"])
    assert await asked_at(world, 2200) == [0, 1, 31, 91, 211, 451, 931, 1531, 2131]


async def test_a_source_that_prices_the_pair_again_is_given_the_short_time_anew() -> None:
    unlisted = UnknownSymbol("no such symbol")
    world = World(["100", unlisted, unlisted, "100", unlisted], ["101"])
    assert await asked_at(world, 200) == [0, 1, 31, 91, 92, 122, 182]


async def test_the_source_of_a_held_price_has_priced_the_pair_though_this_worker_never_asked_it() -> None:
    world = World([UnknownSymbol("no such symbol")], ["101"])
    world.held = a_quote("100", source="a")
    assert await asked_at(world, 100) == [0, 30, 90]


async def test_that_a_pair_is_not_listed_is_reported_for_that_pair_until_it_is_asked_for_again() -> None:
    world = World(["100", UnknownSymbol("no such symbol"), "100"], ["101"])
    assert [(await world.fetch(ETH)).source for _ in range(2)] == ["a", "b"]
    report = world.report("a", ETH)
    assert (report.cooldown_until_ms, report.cooldown_reason, report.cooldown_scope) == (
        START_MS + 30_000, "no such symbol", "pair"
    )
    assert report.last_error == "no such symbol" and report.quote is not None
    assert world.report("a", BTC).cooldown_until_ms is None
    assert (await world.fetch(BTC)).source == "a"
    await world.clock.advance(30)
    assert (await world.fetch(ETH)).source == "a"
    assert world.report("a", ETH).cooldown_scope is None


# Prices by source against a held price of 100 and a deviation of 5 %: the source believed, or None.
JUMPS: dict[str, tuple[list[str], str | None, str]] = {
    "within the limit": (["104.9", "1"], "a", "1/0"),
    "exactly at the limit": (["105", "1"], "a", "1/0"),
    "two agree: the quote that came first in order": (["120", "121"], "a", "1/1"),
    "the third agrees with the second": (["200", "120", "121"], "b", "1/1/1"),
    "the second agrees with the held price": (["120", "101"], "b", "1/1"),
    "all differ": (["120", "140", "80"], None, "1/1/1"),
    "alone": (["120"], None, "1"),
    "a fall is a jump": (["94", "94.5"], "a", "1/1"),
}


@pytest.mark.parametrize(("prices", "believed", "calls"), JUMPS.values(), ids=JUMPS)
async def test_a_jump_is_believed_only_when_a_second_source_agrees(
    prices: list[str], believed: str | None, calls: str
) -> None:
    world = World(*([price] for price in prices), held="100")
    if believed is None:
        reasons = await world.refused()
        assert reasons == {
            name: f"{price} is far from the held price and no second source agrees"
            for name, price in zip("abc", prices, strict=False)
        }
    else:
        assert (await world.fetch()).source == believed
    assert world.calls == calls


async def test_the_source_that_stood_alone_is_told_of_and_the_others_are_not() -> None:
    world = World(["120"], ["101"], held="100")
    await world.fetch()
    assert world.events.of(SourceLost) == [SourceLost("a", ETH, "120 is far from what another source says")]
    assert world.report("a").quote is None and world.report("b").quote is not None


async def test_both_sources_that_agree_on_a_jump_stand_well() -> None:
    world = World(["120"], ["121"], held="100")
    assert (await world.fetch()).price == "120"
    assert [report.quote and report.quote.price for report in world.failover.reports(ETH)] == ["120", "121"]
    assert world.events.of(SourceLost) == []


async def test_without_a_held_price_any_price_is_believed() -> None:
    world = World(["120"], held="100")
    await world.refused()
    world.held = None  # As LatestPrice gives it once the price has expired.
    assert (await world.fetch()).price == "120"


def stamped(ms: int | None, price: str = "100") -> Callable[[FakeClock], Callable[[], Quote]]:
    """A quote fetched now whose source's own stamp lies so far from now."""
    return lambda clock: lambda: a_quote(
        price, clock.wall_ms(), "a", source_time_ms=None if ms is None else clock.wall_ms() + ms
    )


# Meaning of the stamp, its distance from our clock in ms, whether it is believed.
STAMPS = [
    (SourceTime.PRICE, -LAG_MS, True), (SourceTime.PRICE, -LAG_MS - 1, False), (SourceTime.PRICE, LAG_MS, True),
    (SourceTime.PRICE, LAG_MS + 1, False), (SourceTime.PRICE, None, True),
    (SourceTime.TRADE, -LAG_MS - 1, True), (SourceTime.TRADE, -MAX_TRADE_LAG_MS, True),
    (SourceTime.TRADE, -MAX_TRADE_LAG_MS - 1, False), (SourceTime.TRADE, LAG_MS + 1, False),
    (SourceTime.REPLY, -10 * MAX_TRADE_LAG_MS, True), (SourceTime.REPLY, 10 * MAX_TRADE_LAG_MS, True),
    (SourceTime.NONE, -10 * MAX_TRADE_LAG_MS, True), (SourceTime.NONE, 10 * MAX_TRADE_LAG_MS, True),
]


@pytest.mark.parametrize(("meaning", "ms", "believed"), STAMPS, ids=lambda value: getattr(value, "name", str(value)))
async def test_a_stamp_is_held_against_our_clock_only_as_far_as_it_means_something(
    meaning: SourceTime, ms: int | None, believed: bool
) -> None:
    world = World([None])
    source, = world.sources
    source.source_time, source.answers = meaning, [stamped(ms)(world.clock)]
    if believed:
        assert (await world.fetch()).source == "a"
    else:
        side = "behind" if (ms or 0) < 0 else "ahead of"
        assert f"s {side} this machine's clock" in (await world.refused())["a"]


# Stamps of one source as distances from the clock in ms, a second apart, and whether each is believed.
RUNS: dict[str, list[tuple[int, bool]]] = {
    "one far ahead": [(-100, True), (15_000, True), (-100, True), (-100, True)],
    "one ahead by what clocks differ": [(2_000, True), (-100, False), (-100, False), (-100, True)],
    "a clock that is always ahead": [(5_000, True), (5_000, True), (5_000, True)],
    "an old one behind one far ahead": [(-100, True), (15_000, True), (-2_101, False), (-2_100, True)],
    "ahead first of all": [(20_000, True), (-100, True)],
    "too far ahead, then honest": [(20_001, False), (-100, True)],
    "ahead, and then what it told before": [(15_000, True), (-900, True), (-1_901, False)],
    "the laggard, and then a newer one": [(-8_000, True), (-100, True), (-9_000, False)],
    "frozen": [(-100, True), (-1_100, True), (-2_100, True)],
}


@pytest.mark.parametrize("meaning", [SourceTime.PRICE, SourceTime.TRADE], ids=lambda meaning: meaning.name)
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
async def test_a_wrong_stamp_is_not_held_against_the_honest_ones_after_it(
    run: list[tuple[int, bool]], meaning: SourceTime
) -> None:
    world = World([None])
    source, = world.sources
    source.source_time = meaning
    believed = []
    for ms, _ in run:
        source.answers = [stamped(ms)(world.clock)]
        try:
            await world.fetch()
            believed.append((ms, True))
        except NoSource:
            believed.append((ms, False))
        await world.clock.advance(1)
    assert believed == run


# What was held after a restart: its source, its stamp's distance from now in ms; and whether one 1 s old is believed.
HELD = [("a", -2_000, True), ("a", -1_000, True), ("a", -999, False), ("b", -999, True), ("a", 15_000, True)]


@pytest.mark.parametrize(("source", "ms", "believed"), HELD)
async def test_after_a_restart_the_held_price_tells_what_stamp_its_source_has_shown(
    source: str, ms: int, believed: bool
) -> None:
    world = World([None])
    world.sources[0].source_time = SourceTime.PRICE
    world.held = a_quote("100", START_MS - 500, source, source_time_ms=START_MS + ms)
    world.sources[0].answers = [stamped(-1_000)(world.clock)]
    if believed:
        assert (await world.fetch()).source == "a"
    else:
        assert await world.refused() == {"a": "its time stamp ran backwards"}


async def test_a_stamp_of_before_our_clock_was_set_back_is_not_held_against_those_after_it() -> None:
    world = World([None])
    source, = world.sources
    source.source_time = SourceTime.PRICE
    source.answers = [stamped(0)(world.clock)]
    await world.fetch()
    world.clock.step_wall(-15)
    for _ in range(20):
        source.answers = [stamped(0)(world.clock)]
        await world.fetch()
        await world.clock.advance(1)


@pytest.mark.parametrize("meaning", SourceTime, ids=lambda meaning: meaning.name)
async def test_a_stamp_that_runs_backwards_is_refused_where_stamps_are_truthful(meaning: SourceTime) -> None:
    world = World([None])
    source, = world.sources
    source.source_time = meaning
    source.answers = [stamped(ms)(world.clock) for ms in (-100, -100, -101)]
    await world.fetch()
    await world.fetch()  # Twice the same stamp is no step back.
    if meaning in (SourceTime.PRICE, SourceTime.TRADE):
        assert await world.refused() == {"a": "its time stamp ran backwards"}
    else:
        await world.fetch()


async def test_stamps_of_one_pair_say_nothing_about_another() -> None:
    world = World([None])
    source, = world.sources
    source.source_time = SourceTime.PRICE
    source.answers = [
        a_quote(source="a", source_time_ms=START_MS),
        a_quote(source="a", source_time_ms=START_MS - 50, pair=BTC),
    ]
    await world.fetch(ETH)
    assert (await world.fetch(BTC)).pair == BTC


async def test_a_round_ends_at_its_deadline_names_the_asked_source_and_asks_it_last_next_time() -> None:
    world = World([SourceDown("refused")], ["100"], ["101"], deadline=0.01)
    world.sources[1].gate = asyncio.Event()
    reasons = await world.refused()
    assert reasons == {"a": "refused", "b": "no answer before the round ended"}
    assert world.report("b").last_error == "no answer within the 0.01 s of a round"
    assert (await world.fetch()).source == "c"
    assert world.calls == "2/1/1"


async def test_a_cancelled_round_is_cancelled_and_no_sources_fault() -> None:
    world = World(["100"])
    world.sources[0].gate = asyncio.Event()
    task = asyncio.create_task(world.fetch())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert world.events.all == []


async def test_a_source_is_told_lost_once_and_back_once() -> None:
    down = SourceDown("refused")
    world = World([down, down, InvalidQuote("nonsense"), "100", "100", down], ["101"])
    for _ in range(6):
        await world.fetch()
    assert world.events.all == [SourceLost("a", ETH, "refused"), SourceBack("a", ETH), SourceLost("a", ETH, "refused")]


async def test_what_this_machine_lacks_is_told_as_a_reason_and_held_against_no_source() -> None:
    here = LocalFailure("this machine cannot ask it: Too many open files")
    world = World([here, here, "100"], [here, "101"])
    assert await world.refused() == {"a": str(here), "b": str(here)}
    assert world.report("a").last_error == str(here)
    assert (await world.fetch()).source == "b"
    assert (await world.fetch()).source == "a", "neither lost nor last in line"
    assert world.events.all == []


async def test_a_breakers_refusal_is_skipped_in_silence_and_leaves_the_last_error_standing() -> None:
    world = World([SourceDown("refused"), SourceRejected("its breaker is open")], ["101"])
    await world.fetch()
    await world.fetch()
    assert world.events.all == [SourceLost("a", ETH, "refused"), SourceSkipped("a")]
    assert world.report("a").last_error == "refused"


async def test_reports_hold_the_last_error_its_time_the_last_quote_and_the_breakers_state() -> None:
    world = World(["100", SourceDown("refused")], ["101"])
    world.breakers["b"] = "half_open"
    first = await world.fetch()
    await world.clock.advance(5)
    second = await world.fetch()
    assert world.failover.reports(ETH) == (
        SourceReport("a", "closed", first, last_error="refused", last_error_at_ms=START_MS + 5_000),
        SourceReport("b", "half_open", second),
    )
    assert [report.quote for report in world.failover.reports(BTC)] == [None, None]


async def test_without_a_source_there_is_no_price_and_a_reason() -> None:
    with pytest.raises(NoSource, match="no source to ask"):
        await World().fetch()
