"""A round of median mode: all sources are called at once, enough must agree, and a wrong one is outvoted."""

from dataclasses import replace
from typing import Any

import pytest

from fastprice.application.events import SourceBack, SourceDistrusted, SourceLost, SourceTrusted
from fastprice.application.median import MedianRound, Quorum
from fastprice.application.ports import Limit
from fastprice.application.round import Round
from fastprice.application.source_health import Patience, SourceHealth
from fastprice.domain.errors import SourceDown, SourceTimeout
from fastprice.domain.quote import Quote
from fastprice.infrastructure.circuit_breaker import SourceBreaker
from tests.fakes import BTC, ETH, START_MS
from tests.unit.test_round import STALL, TOLERANCE, World, outcome

COUNTS_MS = 4_000


class All(World):
    """A World whose rounds are medians of at least `least` sources, one second apart."""

    def __init__(self, *answers: list[Any], least: int = 3, **other: Any) -> None:
        super().__init__(*answers, **other)
        self.least = least
        self.tolerance = replace(TOLERANCE, agreeing=0.005)

    def begin(self, *pairs: Any) -> Round:
        quorum = Quorum(self.least, COUNTS_MS)
        return MedianRound(
            pairs or (ETH,), self.healths, self.tolerance, self._limits, quorum, self.held.get, self.clock.now
        )

    def round(self, *pairs: Any) -> Round:
        round_ = super().round(*pairs)
        self.clock.now += 1.0
        return round_

    def price(self) -> Quote | None:
        return self.round().accepted.get(ETH)

    def limit(self, index: int, per_second: float) -> None:
        source = self.sources[index]
        source.limit = Limit(1.0, per_second)
        breaker = SourceBreaker(source.name, 5, 20.0, self.events)
        self.healths[index] = SourceHealth(source, breaker, Patience(1, 0.1, STALL), lambda: 1.0, self.clock.now)


def sources(quote: Quote | None) -> str:
    return "".join(quote.agreement.sources) if quote and quote.agreement else "-"


def test_all_are_asked_at_once_and_the_median_says_so() -> None:
    world = All(["100"], ["102"], ["101"])
    asks = world.begin().next(world.clock.now, world.clock.wall_ms())
    assert [ask.health.name for ask in asks] == ["a", "b", "c"]
    price = world.price()
    assert price and (price.price, price.source, sources(price)) == ("101", "median", "abc")
    assert world.calls == "1/1/1"


def test_the_sources_are_named_in_their_order_whoever_answers_first() -> None:
    world = All(["100"], ["102"], ["101"])
    round_ = world.begin()
    for ask in reversed(round_.next(world.clock.now, world.clock.wall_ms())):
        round_.answered(ask, [outcome(ask)], world.clock.now, world.clock.wall_ms())
    round_.close(world.clock.now, world.clock.wall_ms())
    assert sources(round_.accepted[ETH]) == "abc"


@pytest.mark.parametrize(("prices", "middle", "counted"), [
    (["100", "100.1", "104"], "100.1", "abc"),
    (["100", "100.1", "140", "99.9"], "100", "abd"),
    (["1", "100", "100", "100", "10000"], "100", "bcd"),
])
def test_outliers_beyond_the_deviation_are_left_out(prices: list[str], middle: str, counted: str) -> None:
    price = All(*([each] for each in prices)).price()
    assert price and (price.price, sources(price)) == (middle, counted)


def test_with_fewer_than_enough_the_pair_goes_without_a_price_as_if_nobody_had_answered() -> None:
    world = All(["100"], ["100"], [SourceDown("refused")])
    round_ = world.round()
    assert not round_.accepted and list(round_.missing) == [ETH]
    assert round_.why(ETH).startswith("2 sources gave a price that can be true, 3 are needed; ")
    assert world.price() is None
    world = All(["100"], ["100"], ["140"])
    assert world.price() is None, "nor with an outlier"


def test_a_source_that_may_be_asked_every_two_seconds_counts_with_its_last_answer_meanwhile() -> None:
    world = All(["100"], ["102"], ["101"])
    world.limit(2, 0.5)
    said = [world.price() for _ in range(10)]
    assert [sources(price) for price in said] == ["abc"] * 10
    assert len(world.sources[2].asked) == 5
    ages = [price and price.made_at_ms - price.fetched_at_ms for price in said]
    assert ages == [0, 1_000] * 5, "the oldest that counts is the age of all"


def test_a_source_that_is_gone_counts_only_while_it_stays_fresh_until_the_next_round() -> None:
    world = All(["100"], ["102"], ["101"], least=2)
    world.price()
    world.sources[2].answers = [SourceDown("refused")]
    assert [sources(world.price()) for _ in range(6)] == ["abc"] * 4 + ["ab"] * 2


def test_what_was_said_in_this_round_counts_however_short_prices_stay_fresh() -> None:
    world = All(["100"], ["102"], ["101"])
    world.step = 2 * COUNTS_MS / 1000
    assert sources(world.price()) == "abc"


def test_nothing_is_made_of_what_was_said_before_alone() -> None:
    world = All(["100"], ["102"], ["101"])
    world.price()
    for source in world.sources:
        source.answers = [SourceDown("refused")]
    assert world.price() is None


def test_a_stalled_source_is_left_out_while_the_others_are_enough_and_asked_where_they_are_not() -> None:
    world = All(["100"], ["102"], ["101"], [SourceTimeout("no answer"), "100"])
    assert [sources(world.price()) for _ in range(5)] == ["abc"] * 5
    assert len(world.sources[3].asked) == 1
    world.sources[0].answers = [SourceDown("refused")]
    world.clock.now += COUNTS_MS / 1000
    assert sources(world.price()) == "bcd"


def test_most_answers_are_enough_where_the_others_are_slow() -> None:
    world = All(["100"], ["102"], ["101"], ["100"], ["100"])
    round_ = world.begin()
    asks = round_.next(world.clock.now, world.clock.wall_ms())
    for number, ask in enumerate(asks[:3]):
        round_.settle(world.clock.now, world.clock.wall_ms())
        assert not round_.accepted, number
        round_.answered(ask, [outcome(ask)], world.clock.now, world.clock.wall_ms())
    round_.settle(world.clock.now, world.clock.wall_ms())
    assert sources(round_.accepted[ETH]) == "abc"


def test_a_move_of_all_is_served_at_once_however_large() -> None:
    world = All(["100"], ["100"], ["100"], held="100")
    world.price()
    for source in world.sources:
        source.answers = ["130"]
    price = world.price()
    assert price and price.price == "130"


def test_who_is_not_with_the_most_is_told_of_and_when_it_is_again_but_counts_while_it_is_no_outlier() -> None:
    world = All(["100"], ["100"], ["100"], ["101"])
    assert [sources(world.price()) for _ in range(5)] == ["abcd"] * 5
    assert [event.source for event in world.events.of(SourceDistrusted)] == ["d"]
    world.sources[3].answers = ["100.1"]
    world.round()
    assert world.events.of(SourceTrusted) == []
    world.round()
    assert world.events.of(SourceTrusted) == [SourceTrusted("d", (ETH,))]
    assert world.events.of(SourceLost, SourceBack) == []


def test_up_to_half_may_lie_together_and_none_of_it_is_served() -> None:
    liars = [["104"]] * 4
    price = All(*liars, *[["100"]] * 5).price()
    assert price and price.price == "100"


def test_each_pair_has_its_own_median() -> None:
    world = All([{ETH: "100", BTC: "7"}], [{ETH: "102"}], ["101"])
    world.sources[2].answers = [{ETH: "101", BTC: "8"}]
    round_ = world.round(ETH, BTC)
    assert round_.accepted[ETH].price == "101" and list(round_.missing) == [BTC]


def test_the_reports_tell_what_each_source_said_beside_the_median() -> None:
    world = All(["100"], ["102"], ["101"])
    world.round()
    told = [world.report(name).of(ETH) for name in "abc"]
    assert [each.quote and each.quote.price for each in told] == ["100", "102", "101"]
    assert [each.deviation and round(each.deviation, 4) for each in told] == [-0.0099, 0.0099, 0.0]
    assert told[0].quote and told[0].quote.fetched_at_ms == START_MS
