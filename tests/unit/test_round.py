"""What a round decides: which sources it calls for which pairs, what it believes, who is to blame; nothing waits."""

from collections.abc import Callable
from itertools import cycle
from typing import Any

import pytest

from fastprice.application.ask import Ask, Outcome, RoundLimits
from fastprice.application.belief import MAX_TRADE_LAG_MS, Tolerance
from fastprice.application.cross_checks import CrossChecks
from fastprice.application.events import (
    BreakerMoved, SourceBack, SourceCooling, SourceDistrusted, SourceLost, SourceSkipped
)
from fastprice.application.failover import FailoverRound
from fastprice.application.ports import Ban, Limit, SourceReport
from fastprice.application.round import Round
from fastprice.application.source_health import Patience, SourceHealth
from fastprice.application.words import FIRST_UNLISTED_SECONDS, MAX_UNLISTED_SECONDS
from fastprice.domain.errors import (
    Banned, Blocked, InvalidQuote, LocalFailure, PairRefused, RateLimited, SourceDown, SourceError, SourceRefused,
    SourceTimeout, UnknownSymbol, UnlistedAmong
)
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.circuit_breaker import SourceBreaker
from tests.fakes import BTC, ETH, START_MS, FakeClock, FakeSource, RecordingEvents, a_quote

SOL = Pair("SOL", "USDT")
STALL, FAIL_MAX, RESET = 30.0, 5, 20.0
LAG_MS, CURRENT_MS = 60_000, 7_000
LONG = RoundLimits(60.0, 2.0)
TOLERANCE = Tolerance(LAG_MS, CURRENT_MS, max_deviation=0.05, agreeing=0.05)


class World:
    """Sources named a, b, c …, each given as its list of answers, and rounds with them; no real time passes.

    `held` holds the served price of each pair; `step` is how long each call takes.
    """

    def __init__(
        self, *answers: list[Any], held: str | None = None, attempts: int = 1, per_call: int = 1000,
        limits: RoundLimits = LONG,
    ) -> None:
        self.clock = FakeClock()
        self.events = RecordingEvents()
        self.sources = [
            FakeSource(name, self.clock, *each, per_call=per_call)
            for name, each in zip("abcdefghi", answers, strict=False)
        ]
        self.held = {pair: a_quote(held, pair=pair) for pair in (ETH, BTC)} if held else {}
        self.step = 0.0
        self.tolerance, self.checks = TOLERANCE, CrossChecks(0, TOLERANCE.agreeing)
        self.pauses: list[float] = []
        self._limits = limits
        patience = Patience(attempts, 0.1, STALL)
        shares = cycle((1.0, 0.5))
        self.healths = [
            SourceHealth(source, SourceBreaker(source.name, FAIL_MAX, RESET, self.events), patience,
                         lambda: next(shares), self.clock.now)
            for source in self.sources
        ]

    def round(self, *pairs: Pair) -> Round:
        """A whole round, for ETH unless other pairs are given."""
        round_ = self.begin(*pairs)
        while asks := round_.next(self.clock.now, self.clock.wall_ms()):
            for ask in asks:
                self.clock.now += ask.pause_seconds
                self.pauses += [ask.pause_seconds] if ask.pause_seconds else []
                outcomes = [outcome(ask, number) for number in range(len(ask.calls))]
                self.clock.now += self.step
                round_.answered(ask, outcomes, self.clock.now, self.clock.wall_ms())
        round_.close(self.clock.now, self.clock.wall_ms())
        for event in round_.events:
            self.events(event)
        return round_

    def begin(self, *pairs: Pair) -> Round:
        return FailoverRound(
            pairs or (ETH,), self.healths, self.tolerance, self._limits, self.checks, self.held.get, self.clock.now
        )

    def chosen(self, pair: Pair = ETH) -> str | None:
        """The source whose quote of this pair the round chooses."""
        quote = self.round(pair).accepted.get(pair)
        return quote.source if quote else None

    def reasons(self, pair: Pair = ETH) -> dict[str, str]:
        """Why a round found no quote of this pair."""
        round_ = self.round(pair)
        assert not round_.accepted
        return round_.reasons(pair)

    @property
    def calls(self) -> str:
        """How often each source was called so far, such as `1/0/2`."""
        return "/".join(str(len(source.asked)) for source in self.sources)

    def report(self, name: str) -> SourceReport:
        health = next(health for health in self.healths if health.name == name)
        return health.report(self.clock.now, self.clock.wall_ms(), {})


def outcome(ask: Ask, number: int = 0) -> Outcome:
    source = ask.health.source
    assert isinstance(source, FakeSource)
    try:
        return source.answer(ask.calls[number])
    except SourceError as error:
        return error


# Which sources a round calls


def test_one_call_to_the_first_source_brings_all_pairs_and_no_other_source_is_asked() -> None:
    world = World(["100"], ["101"], ["102"])
    for _ in range(3):
        round_ = world.round(ETH, BTC, SOL)
        assert {quote.source for quote in round_.accepted.values()} == {"a"} and not round_.missing
    assert world.calls == "3/0/0" and set(world.sources[0].asked) == {(ETH, BTC, SOL)}


def test_what_a_source_did_not_give_or_was_not_believed_goes_to_the_next_one_and_nothing_else_does() -> None:
    world = World([{ETH: "100", BTC: InvalidQuote("nonsense")}], ["101"], held="100")
    world.sources[0].answers = [{ETH: "100", BTC: InvalidQuote("nonsense"), SOL: "100"}, {ETH: "120", SOL: "100"}]
    assert {pair: quote.source for pair, quote in world.round(ETH, BTC, SOL).accepted.items()} == {
        ETH: "a", SOL: "a", BTC: "b",
    }
    assert world.round(ETH, BTC, SOL).accepted[ETH].source == "b"
    assert [source.asked[-1] for source in world.sources] == [(ETH, BTC, SOL), (ETH, BTC)]


@pytest.mark.parametrize(
    "error", [SourceDown("x"), SourceRefused("x"), SourceTimeout("x"), InvalidQuote("x"), LocalFailure("x"),
              RateLimited("x", 9), Banned("x", 9), Blocked("x", 9), UnknownSymbol("x")], ids=lambda e: type(e).__name__
)
def test_whatever_error_a_source_gives_the_next_one_is_asked_at_once(error: SourceError) -> None:
    world = World([error], ["101"])
    assert (world.chosen(), world.calls, world.pauses) == ("b", "1/1", [])


def test_a_source_that_failed_fast_is_asked_first_again_next_time() -> None:
    world = World([SourceDown("refused"), "100"], ["101"])
    assert [world.chosen(), world.chosen(), world.calls] == ["b", "a", "2/1"]


def test_a_stalled_source_is_asked_last_until_its_time_is_over_or_it_answers() -> None:
    world = World([SourceTimeout("no answer"), "100"], ["101", "101", SourceDown("refused"), "101"])
    assert world.chosen() == "b"
    world.clock.now += STALL - 0.001
    assert (world.chosen(), world.calls) == ("b", "1/2")
    assert (world.chosen(), world.calls) == ("a", "2/3")
    assert (world.chosen(), world.calls) == ("a", "3/3")


def test_the_only_source_is_asked_in_every_round_though_it_stalls() -> None:
    world = World([SourceTimeout("no answer")])
    assert [world.reasons() for _ in range(3)] == [{"a": "no answer"}] * 3
    assert world.calls == "3"


def test_a_source_is_not_asked_when_its_time_would_be_cut_short() -> None:
    world = World([SourceDown("refused")], ["100"], limits=RoundLimits(5.0, 2.0))
    world.step = 3.001
    assert world.reasons() == {"a": "refused", "b": "no time left in this round"}
    assert world.calls == "1/0"


def test_a_fast_failure_is_asked_again_after_pauses_that_double_with_full_jitter() -> None:
    world = World([SourceDown("refused")], ["101"], attempts=4)
    assert (world.chosen(), world.calls) == ("b", "4/1")
    assert world.pauses == [pytest.approx(pause) for pause in (0.1, 0.1, 0.4)]


@pytest.mark.parametrize("error", [SourceTimeout("x"), SourceRefused("x"), InvalidQuote("x"), LocalFailure("x")],
                         ids=lambda error: type(error).__name__)
def test_nothing_else_is_asked_again(error: SourceError) -> None:
    world = World([error], ["101"], attempts=3)
    assert (world.chosen(), world.calls) == ("b", "1/1")


@pytest.mark.parametrize("error", [SourceDown("refused"), UnlistedAmong("one of them")], ids=lambda e: type(e).__name__)
def test_a_source_whose_second_attempt_brings_the_quotes_was_not_lost(error: SourceError) -> None:
    world = World([error, "100"], ["101"], attempts=2)
    round_ = world.round(ETH, BTC)
    assert {quote.source for quote in round_.accepted.values()} == {"a"} and world.calls == "2/0"
    assert round_.events == []
    world.sources[0].answers = [SourceDown("refused"), {ETH: "100", BTC: InvalidQuote("nonsense")}]
    assert world.round(ETH, BTC).events == [SourceLost("a", (BTC,), "refused")]


def test_asking_again_ends_with_the_time_of_the_round() -> None:
    world = World([SourceDown("refused")], attempts=10, limits=RoundLimits(5.0, 2.0))
    world.step = 1.0
    assert world.reasons() == {"a": "refused"}
    assert world.calls == "3"


def test_a_second_attempt_asks_for_what_is_missing_only() -> None:
    world = World([SourceDown("refused"), "100"], per_call=1, attempts=2)
    world.sources[0].answers = [SourceDown("refused"), SourceDown("refused"), "100"]
    assert set(world.round(ETH, BTC).accepted) == {ETH, BTC}
    assert world.sources[0].asked == [(ETH,), (BTC,), (ETH,), (BTC,)]


# Bans and limits


@pytest.mark.parametrize("kind", [RateLimited, Banned, Blocked])
def test_a_cool_down_is_obeyed_to_the_second_for_every_pair_and_ended(kind: type[RateLimited]) -> None:
    world = World([kind("asked too often", 7.0), "100"], ["101"])
    assert world.chosen() == "b"
    assert world.events.of(SourceCooling) == [SourceCooling("a", START_MS + 7_000)]
    world.clock.now += 6.999
    assert (world.chosen(BTC), world.events.of(SourceSkipped)) == ("b", [SourceSkipped("a")])
    assert world.report("a").cooldown_until_ms == START_MS + 7_000
    world.clock.now += 0.001
    assert (world.chosen(), world.calls, world.report("a").cooldown_until_ms) == ("a", "2/2", None)


def test_the_longest_ban_holds_whoever_learned_of_it() -> None:
    world = World(["100"], ["101"])
    health, wall_ms = world.healths[0], world.clock.wall_ms()
    health.take(Ban("a", START_MS + 60_000, "far too often"), world.clock.now, wall_ms)
    health.take(Ban("a", START_MS + 1_000, "too often"), world.clock.now, wall_ms)
    health.take(Ban("a", START_MS + 10**10, "for ever"), world.clock.now, wall_ms)
    world.sources[1].answers = [SourceDown("refused")]
    assert world.reasons() == {"a": "left alone for 60 s more: far too often", "b": "refused"}
    world.clock.step_wall(-3600)
    world.clock.now += 60
    assert world.chosen() == "a"


def test_no_call_goes_above_the_documented_limit_and_what_does_not_fit_goes_to_the_next_source() -> None:
    world = World(["100"], ["101"], per_call=1)
    world.sources[0].limit = Limit(burst=2.0, per_second=1.0)
    world.healths[0] = SourceHealth(world.sources[0], SourceBreaker("a", 5, 9.0, world.events),
                                    Patience(1, 0.1, STALL), lambda: 1.0, world.clock.now)
    assert {pair: quote.source for pair, quote in world.round(ETH, BTC, SOL).accepted.items()} == {
        ETH: "a", BTC: "a", SOL: "b",
    }
    assert world.chosen() == "b", "nothing is left of the limit"
    made = len(world.sources[0].asked)
    for _ in range(600):
        world.clock.now += 0.1
        world.round(ETH, BTC, SOL)
    assert len(world.sources[0].asked) - made == 60


def test_a_beat_that_comes_a_little_early_still_fits_a_limit_of_one_call_a_beat() -> None:
    world = World(["100"], ["101"])
    world.sources[0].limit = Limit(burst=1.0, per_second=1.0)
    world.healths[0] = SourceHealth(world.sources[0], SourceBreaker("a", 5, 9.0, world.events),
                                    Patience(1, 0.1, STALL), lambda: 1.0, world.clock.now)
    for pause in (0.0, 0.99, 1.01, 0.95, 1.05) * 10:
        world.clock.now += pause or 1.0
        assert world.chosen() == "a"


# Pairs that a source does not list


def test_an_unlisted_pair_costs_no_call_and_is_asked_for_again_after_ten_minutes() -> None:
    world = World([{ETH: UnknownSymbol("no such symbol"), BTC: "100"}], ["101"])
    assert world.round(ETH, BTC).accepted[ETH].source == "b"
    world.clock.now += MAX_UNLISTED_SECONDS - 0.001
    assert world.round(ETH, BTC).accepted[ETH].source == "b"
    assert [source.asked[-1] for source in world.sources] == [(BTC,), (ETH,)]
    world.clock.now += 0.001
    world.round(ETH, BTC)
    assert world.sources[0].asked[-1] == (ETH, BTC)


def test_a_source_that_lists_none_of_the_pairs_is_not_called() -> None:
    world = World([UnknownSymbol("no such symbol")], ["101"])
    world.sources[0].answers = [{ETH: UnknownSymbol("no such symbol")}]
    assert [world.chosen() for _ in range(20)] == ["b"] * 20
    assert world.calls == "1/20" and world.report("a").breaker == "closed"


def test_a_pair_that_was_priced_before_is_asked_for_again_soon_then_less_and_less_often() -> None:
    world = World([{ETH: "100"}], ["101"])
    world.chosen()
    world.sources[0].answers = [{ETH: UnknownSymbol("no such symbol")}]
    asked_at = []
    for _ in range(3_000):
        before = len(world.sources[0].asked)
        world.chosen()
        asked_at += [world.clock.now] if len(world.sources[0].asked) > before else []
        world.clock.now += 1.0
    pauses = [later - earlier for earlier, later in zip(asked_at, asked_at[1:], strict=False)]
    assert pauses[:6] == [FIRST_UNLISTED_SECONDS * 2**n for n in range(5)] + [MAX_UNLISTED_SECONDS]
    report = world.report("a").of(ETH)
    assert report.unlisted_until_ms and report.unlisted_until_ms > world.clock.wall_ms()
    world.sources[0].answers = ["100"]
    world.clock.now += MAX_UNLISTED_SECONDS
    assert (world.chosen(), world.report("a").of(ETH).unlisted_until_ms) == ("a", None)


# The breaker counts rounds, not pairs


def test_failed_rounds_open_the_breaker_and_one_probe_closes_it() -> None:
    world = World([SourceDown("refused")], ["101"])
    for _ in range(FAIL_MAX + 3):
        world.round(ETH, BTC, SOL)
    assert world.calls == f"{FAIL_MAX}/{FAIL_MAX + 3}" and world.report("a").breaker == "open"
    world.clock.now += RESET
    world.chosen()
    assert world.calls == f"{FAIL_MAX + 1}/{FAIL_MAX + 4}" and world.report("a").breaker == "open"
    world.clock.now += RESET
    world.sources[0].answers = ["100"]
    assert world.chosen() == "a"
    assert [(event.before, event.state) for event in world.events.of(BreakerMoved)] == [
        ("closed", "open"), ("open", "half_open"), ("half_open", "open"), ("open", "half_open"),
        ("half_open", "closed"),
    ]


def test_pairs_that_fail_do_not_open_the_breaker_for_the_others() -> None:
    halted = {ETH: "100", BTC: PairRefused("halted"), SOL: InvalidQuote("nonsense")}
    world = World([halted], ["101"])
    for _ in range(3 * FAIL_MAX):
        assert world.round(ETH, BTC, SOL).accepted[ETH].source == "a"
    assert world.report("a").breaker == "closed"


@pytest.mark.parametrize("error", [InvalidQuote("nonsense"), PairRefused("halted")], ids=lambda e: type(e).__name__)
def test_what_a_source_says_of_single_pairs_never_opens_the_breaker_and_as_a_probe_closes_it(error: SourceError) -> None:
    world = World([error])
    for _ in range(3 * FAIL_MAX):
        world.round(ETH, BTC)
    assert world.report("a").breaker == "closed"
    down = SourceDown("refused")
    world.sources[0].answers = [down, error, down, down, down, down]
    for _ in range(FAIL_MAX + 1):
        world.round(ETH, BTC)
    assert world.report("a").breaker == "open", "it did not reset the count either"
    world.sources[0].answers = [error]
    world.clock.now += RESET
    world.round(ETH, BTC)
    assert world.report("a").breaker == "closed"


@pytest.mark.parametrize("error", [RateLimited("x", 1.0), LocalFailure("no descriptors"), UnlistedAmong("one of them")],
                         ids=lambda error: type(error).__name__)
def test_what_proves_nothing_neither_opens_nor_closes_the_breaker(error: SourceError) -> None:
    world = World([error])
    for _ in range(3 * FAIL_MAX):
        world.clock.now += 2
        world.chosen()
    assert world.report("a").breaker == "closed"
    world.sources[0].answers = [SourceDown("refused")]
    world.clock.now += MAX_UNLISTED_SECONDS
    for _ in range(FAIL_MAX):
        world.chosen()
    world.sources[0].answers = [error]
    world.clock.now += RESET
    world.chosen()
    assert world.report("a").breaker == "open"


# What is believed

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
def test_a_jump_is_believed_only_when_a_second_source_agrees(
    prices: list[str], believed: str | None, calls: str
) -> None:
    world = World(*([price] for price in prices), held="100")
    if believed is None:
        assert world.reasons() == {
            name: f"{price} is far from the held price and no second source agrees"
            for name, price in zip("abc", prices, strict=False)
        }
    else:
        assert world.chosen() == believed
    assert world.calls == calls


def test_the_source_that_stood_alone_is_told_of_and_the_others_are_not() -> None:
    world = World(["120"], ["101"], held="100")
    world.chosen()
    assert world.events.of(SourceLost) == [SourceLost("a", (ETH,), "120 is far from what another source says")]
    assert world.report("a").of(ETH).quote is None and world.report("b").of(ETH).quote is not None


def test_without_checks_nobody_is_distrusted_because_nobody_would_ever_be_trusted_again() -> None:
    world = World(["120", "120", "100"], ["101"], held="100")
    assert [world.chosen() for _ in range(3)] == ["b", "b", "a"]
    assert world.events.of(SourceLost, SourceBack, SourceDistrusted) == [
        SourceLost("a", (ETH,), "120 is far from what another source says"), SourceBack("a", (ETH,)),
    ]


def test_both_sources_that_agree_on_a_jump_stand_well() -> None:
    world = World(["120"], ["121"], held="100")
    assert world.round().accepted[ETH].price == "120"
    quotes = [world.report(name).of(ETH).quote for name in "ab"]
    assert [quote and quote.price for quote in quotes] == ["120", "121"]
    assert world.events.of(SourceLost) == []


def test_without_a_held_price_any_price_is_believed() -> None:
    world = World(["120"], held="100")
    world.reasons()
    world.held = {}  # This is what L1 gives once the price has expired.
    assert world.chosen() == "a"


def test_a_price_that_lags_by_its_own_stamp_is_taken_only_if_no_source_has_a_newer_one() -> None:
    world = World([None], ["101", SourceDown("refused")])
    frozen = world.sources[0]
    frozen.source_time = SourceTime.PRICE
    frozen.answers = [stamped(-CURRENT_MS)(world.clock), stamped(-CURRENT_MS - 1)(world.clock)]
    assert world.chosen() == "a"
    world.clock.now += 1
    assert world.chosen() == "b"
    assert [event.reason for event in world.events.of(SourceLost) if event.source == "a"] == [
        "its price is 7 s old by its own time stamp"
    ]
    world.clock.now += 1
    assert world.chosen() == "a"


def stamped(ms: int | None, price: str = "100") -> Callable[[FakeClock], Callable[[], Quote]]:
    """A quote fetched now whose source's own time stamp has this offset from now."""
    return lambda clock: lambda: a_quote(
        price, clock.wall_ms(), "a", source_time_ms=None if ms is None else clock.wall_ms() + ms
    )


# Meaning of the time stamp, its distance from our clock in ms, and whether the quote is believed.
STAMPS = [
    (SourceTime.PRICE, -LAG_MS, True), (SourceTime.PRICE, -LAG_MS - 1, False), (SourceTime.PRICE, LAG_MS, True),
    (SourceTime.PRICE, LAG_MS + 1, False), (SourceTime.PRICE, None, True),
    (SourceTime.TRADE, -LAG_MS - 1, True), (SourceTime.TRADE, -MAX_TRADE_LAG_MS, True),
    (SourceTime.TRADE, -MAX_TRADE_LAG_MS - 1, False), (SourceTime.TRADE, LAG_MS + 1, False),
    (SourceTime.REPLY, -10 * MAX_TRADE_LAG_MS, True), (SourceTime.REPLY, 10 * MAX_TRADE_LAG_MS, True),
    (SourceTime.NONE, -10 * MAX_TRADE_LAG_MS, True), (SourceTime.NONE, 10 * MAX_TRADE_LAG_MS, True),
]


@pytest.mark.parametrize(("meaning", "ms", "believed"), STAMPS, ids=lambda value: getattr(value, "name", str(value)))
def test_a_stamp_is_held_against_our_clock_only_as_far_as_it_means_something(
    meaning: SourceTime, ms: int | None, believed: bool
) -> None:
    world = World([None])
    source, = world.sources
    source.source_time, source.answers = meaning, [stamped(ms)(world.clock)]
    if believed:
        assert world.chosen() == "a"
    else:
        side = "behind" if (ms or 0) < 0 else "ahead of"
        assert f"s {side} this machine's clock" in world.reasons()["a"]


@pytest.mark.parametrize("meaning", SourceTime, ids=lambda meaning: meaning.name)
def test_a_stamp_that_runs_backwards_is_refused_where_stamps_are_truthful(meaning: SourceTime) -> None:
    world = World([None])
    source, = world.sources
    source.source_time = meaning
    source.answers = [stamped(ms)(world.clock) for ms in (-100, -100, -101)]
    assert [world.chosen(), world.chosen()] == ["a", "a"], "twice the same stamp is no step back"
    if meaning in (SourceTime.PRICE, SourceTime.TRADE):
        assert world.reasons() == {"a": "its time stamp ran backwards"}
    else:
        assert world.chosen() == "a"


@pytest.mark.parametrize("meaning", [SourceTime.PRICE, SourceTime.TRADE], ids=lambda meaning: meaning.name)
@pytest.mark.parametrize("ahead_ms", [2_001, 50_000])
def test_a_stamp_far_ahead_is_not_remembered_so_that_the_honest_ones_after_it_are_believed(
    meaning: SourceTime, ahead_ms: int
) -> None:
    world = World([None])
    source, = world.sources
    source.source_time = meaning
    source.answers = [stamped(ms)(world.clock) for ms in (ahead_ms, 0, 0)]
    assert [world.chosen() for _ in range(3)] == ["a", "a", "a"]


def test_after_a_restart_the_stamp_of_the_held_quote_counts_for_its_own_source_only() -> None:
    world = World([None], ["101"], held="100")
    world.held = {ETH: a_quote("100", source="a", source_time_ms=START_MS)}
    first, second = world.sources
    first.source_time = second.source_time = SourceTime.PRICE
    first.answers = [stamped(-1)(world.clock)]
    second.answers = [lambda: a_quote("101", world.clock.wall_ms(), "b", source_time_ms=START_MS - 1)]
    assert world.chosen() == "b"
    assert world.report("a").of(ETH).error == "its time stamp ran backwards"


def test_the_first_source_is_asked_though_an_attempt_may_take_as_long_as_a_round() -> None:
    world = World(["100"], limits=RoundLimits(2.0, 2.0))
    world.clock.now += 0.001
    round_ = world.begin(ETH)
    assert round_.next(world.clock.now + 0.001, world.clock.wall_ms())


def test_stamps_of_one_pair_say_nothing_about_another() -> None:
    world = World([None])
    source, = world.sources
    source.source_time = SourceTime.PRICE
    source.answers = [{
        ETH: a_quote(source="a", source_time_ms=START_MS),
        BTC: a_quote(source="a", source_time_ms=START_MS - 50, pair=BTC),
    }]
    assert set(world.round(ETH, BTC).accepted) == {ETH, BTC}


# Who is to blame, and which events are emitted


def test_all_pairs_that_a_source_loses_for_one_reason_are_one_event_and_one_when_they_are_back() -> None:
    down = SourceDown("refused")
    world = World([down, down, InvalidQuote("nonsense"), "100", "100", down], ["101"])
    for _ in range(6):
        world.round(ETH, BTC)
    assert world.events.of(SourceLost, SourceBack) == [
        SourceLost("a", (ETH, BTC), "refused"), SourceBack("a", (ETH, BTC)), SourceLost("a", (ETH, BTC), "refused"),
    ]


def test_what_a_source_says_of_one_pair_is_not_held_against_it_for_another() -> None:
    world = World([{ETH: "100", BTC: InvalidQuote("nonsense")}])
    for _ in range(3):
        world.round(ETH, BTC)
    assert world.events.of(SourceLost, SourceBack) == [SourceLost("a", (BTC,), "nonsense")]
    assert world.report("a").of(ETH).error is None


def test_a_pair_that_the_answer_leaves_out_is_missing_and_no_other_one_is() -> None:
    world = World([{ETH: "100"}])
    round_ = world.round(ETH, BTC)
    assert list(round_.missing) == [BTC]
    assert round_.reasons(BTC) == {"a": "the answer says nothing of this pair"}


def test_reports_hold_the_last_error_its_time_the_last_quote_and_the_breakers_state() -> None:
    world = World(["100", SourceDown("refused")], ["101"])
    first = world.round().accepted[ETH]
    world.clock.now += 5
    second = world.round().accepted[ETH]
    report = world.report("a")
    assert (report.source, report.breaker, report.error, report.error_at_ms) == (
        "a", "closed", "refused", START_MS + 5_000
    )
    assert (report.of(ETH).quote, report.of(ETH).error, report.of(ETH).error_at_ms) == (
        first, "refused", START_MS + 5_000
    )
    assert world.report("b").of(ETH).quote == second and world.report("b").error is None
    assert world.report("a").of(BTC).quote is None


def test_without_a_source_there_is_no_price_and_a_reason() -> None:
    assert World().round().why(ETH) == "no source to ask"
