"""No exchange is believed alone: who is cross-checked, who is distrusted, and who is trusted again."""

from dataclasses import replace
from typing import Any

import pytest

from fastprice.application.cross_checks import SURPRISES, SURPRISES_PER_ROUND, CrossChecks
from fastprice.application.events import SourceBack, SourceDistrusted, SourceLost, SourceTrusted
from fastprice.application.round import Round
from fastprice.domain.errors import SourceDown, SourceTimeout, UnknownSymbol
from fastprice.domain.quote import SourceTime
from tests.fakes import BTC, ETH
from tests.unit.test_round import TOLERANCE, World, outcome, stamped

INTERVAL, SHARE = 10.0, 0.005


class Checked(World):
    """A World with cross-checks and rounds one second apart; accepted quotes are the held ones in the next round."""

    def __init__(self, *answers: list[Any], held: str | None = None, **other: Any) -> None:
        super().__init__(*answers, held=held, **other)
        self.tolerance = replace(TOLERANCE, agreeing=SHARE)
        self.checks = CrossChecks(INTERVAL, SHARE)

    def round(self, *pairs: Any) -> Round:
        round_ = super().round(*pairs)
        self.held = {**self.held, **round_.accepted}
        self.clock.now += 1.0
        return round_

    def rounds(self, count: int) -> list[str]:
        """The sources of the accepted prices in each of so many rounds."""
        return ["".join(quote.source for quote in self.round().accepted.values()) or "-" for _ in range(count)]

    def say(self, *prices: Any) -> None:
        """Set what each source answers from now on."""
        for source, price in zip(self.sources, prices, strict=True):
            source.answers = [price]


def test_the_first_round_and_then_one_per_interval_asks_a_second_source_each_time_another_one() -> None:
    world = Checked(["100"], ["100"], ["100"], ["100"])
    assert set(world.rounds(1)) == {"a"} and world.calls == "1/1/0/0"
    world.rounds(9)
    assert world.calls == "10/1/0/0"
    world.rounds(1)
    assert world.calls == "11/1/1/0"
    world.rounds(29)
    assert world.calls == "40/2/1/1", "rotating, and one call in ten more than without checks"


def test_checks_that_are_switched_off_cost_no_call() -> None:
    world = Checked(["100"], ["101"])
    world.checks = CrossChecks(0, SHARE)
    world.rounds(100)
    assert world.calls == "100/0"


def test_within_the_share_both_are_well_and_beyond_it_the_majority_decides() -> None:
    world = Checked(["100"], ["100.5"], ["100"])
    world.rounds(1)
    assert world.calls == "1/1/0"
    world = Checked(["100"], ["100.51"], ["100.6"])
    assert world.rounds(1) == ["b"] and world.calls == "1/1/1"
    assert world.events.of(SourceDistrusted) == [SourceDistrusted("a", (ETH,), "100 is 0.51% off, others say 100.51")]


def test_whoever_is_distrusted_is_asked_last_until_it_has_agreed_in_two_checks() -> None:
    world = Checked(["104"], ["100"], ["100"])
    assert world.rounds(1) == ["b"]
    world.say("100", "100", "100")
    asked = len(world.sources[0].asked)
    assert world.rounds(9) == ["b"] * 9 and len(world.sources[0].asked) == asked
    told = []
    for _ in range(100):
        world.round()
        told.append(world.events.of(SourceTrusted) != [])
        if told[-1]:
            break
    assert len(world.sources[0].asked) == asked + 2
    assert world.events.of(SourceTrusted) == [SourceTrusted("a", (ETH,))]
    assert world.rounds(1) == ["a"]
    assert world.events.of(SourceLost, SourceBack) == [], "it answered all the time"


def test_one_agreement_between_two_lies_is_not_enough() -> None:
    world = Checked(["104"], ["100"], ["100"])
    world.rounds(1)
    for lie in range(200):
        world.sources[0].answers = ["104" if len(world.sources[0].asked) % 2 else "100"]
        assert world.rounds(1) == ["b"], lie
    assert len(world.events.of(SourceDistrusted)) == 1, "one line, however often it lies"


def test_a_distrusted_source_is_better_than_none() -> None:
    world = Checked(["104"], ["100"], ["100"])
    world.rounds(1)
    world.say("100.1", SourceDown("refused"), SourceDown("refused"))
    assert world.rounds(1) == ["a"]


def test_a_source_whose_price_stands_still_while_others_move_is_frozen_and_must_move_to_be_trusted() -> None:
    world = Checked(["100"], ["100"], ["100"])
    world.rounds(10)
    world.say("100", "100.6", "100.6")
    world.rounds(1)
    distrusted, = world.events.of(SourceDistrusted)
    assert distrusted.reason == "frozen: still 100 after 10 s, others say 100.6"
    world.say("100", "100.1", "100.1")
    assert "a" not in world.rounds(100), "others have come back to it by chance"
    world.say("100.1", "100.1", "100.1")
    assert "a" in world.rounds(70)


def test_a_step_is_checked_at_once_and_never_served_where_the_others_deny_it() -> None:
    world = Checked(["100"], ["100"], ["100"])
    world.rounds(5)
    world.say("100.6", "100", "100")
    assert world.rounds(1) == ["b"]
    assert [event.source for event in world.events.of(SourceDistrusted)] == ["a"]


def test_a_step_that_the_next_source_confirms_is_served_in_the_same_round() -> None:
    world = Checked(["100"], ["100"], ["100"])
    world.rounds(5)
    world.say("130", "130", "100")
    assert world.rounds(1) == ["a"] and world.held[ETH].price == "130"
    assert world.events.of(SourceDistrusted) == []


def test_a_step_of_all_sources_that_are_not_quite_agreed_is_served_too() -> None:
    world = Checked(["100"], ["100"], ["100"], ["100"])
    world.rounds(5)
    world.say("130", "132", "134", "128")
    assert world.rounds(1) == ["a"]


def test_surprises_are_checked_as_long_as_they_are_rare() -> None:
    world = Checked(["100"], ["100"])
    for number in range(1_000):
        world.say(*(["100", "100.9"][number % 2],) * 2)
        world.round()
    calls = len(world.sources[1].asked)
    assert calls <= 100 + SURPRISES + 1_000 * SURPRISES_PER_ROUND + 1
    assert len(world.sources[0].asked) == 1_000


def test_two_liars_out_of_five_are_outvoted_even_where_one_checks_the_other() -> None:
    world = Checked(["104"], ["104"], ["100"], ["100"], ["100"])
    assert world.rounds(1) == ["a"], "they agree"
    world.rounds(9)
    assert set(world.rounds(200)) == {"c"}
    assert {event.source for event in world.events.of(SourceDistrusted)} == {"a", "b"}


def test_where_there_is_no_majority_nobody_is_distrusted_and_all_are_asked_less_and_less_often() -> None:
    world = Checked(["100"], ["101"], ["102"], ["103"])
    assert set(world.rounds(2_000)) == {"a"}
    assert world.events.of(SourceDistrusted) == []
    assert sum(len(source.asked) for source in world.sources[1:]) < 200 + 8 * 3


def test_what_is_contested_is_one_pair_and_the_others_are_served_by_the_first_source() -> None:
    world = Checked([{ETH: "104", BTC: "60000"}], [{ETH: "100", BTC: "60000"}], ["100"])
    world.say({ETH: "104", BTC: "60000"}, {ETH: "100", BTC: "60000"}, {ETH: "100", BTC: "60000"})
    accepted = world.round(ETH, BTC).accepted
    assert {pair: quote.source for pair, quote in accepted.items()} == {ETH: "b", BTC: "a"}
    assert world.sources[2].asked == [(ETH,)]


def test_a_checker_that_fails_or_stalls_keeps_nothing_back() -> None:
    for failure in SourceDown("refused"), SourceTimeout("no answer"):
        world = Checked(["100"], [failure], ["100"])
        assert world.rounds(20) == ["a"] * 20


def test_a_checker_whose_turn_comes_is_not_asked_twice() -> None:
    world = Checked([SourceDown("refused")], ["100"], ["100"])
    assert world.rounds(1) == ["b"]
    assert world.calls == "1/1/0"


def test_a_round_that_publishes_early_takes_back_what_the_checker_denies() -> None:
    world = Checked(["104"], ["100"], ["100"])
    round_ = world.begin(ETH)
    first, checker = round_.next(world.clock.now, world.clock.wall_ms())
    round_.answered(first, [outcome(first)], world.clock.now, 0)
    round_.settle(world.clock.now, world.clock.wall_ms())
    assert round_.accepted[ETH].source == "a", "the checker is slow: its word is not waited for"
    round_.answered(checker, [outcome(checker)], world.clock.now, 0)
    others = round_.next(world.clock.now, world.clock.wall_ms())
    assert [ask.health.name for ask in others] == ["c"]
    round_.answered(others[0], [outcome(others[0])], world.clock.now, 0)
    round_.close(world.clock.now, world.clock.wall_ms())
    assert round_.accepted[ETH].source == "b"


def test_the_first_few_who_answer_when_all_are_asked_are_no_majority() -> None:
    world = Checked(["104"], ["100"], ["104"], ["100"], ["100"])
    round_, now, wall_ms = world.begin(ETH), world.clock.now, world.clock.wall_ms()
    for ask in round_.next(now, wall_ms):
        round_.answered(ask, [outcome(ask)], now, wall_ms)
    for ask in round_.next(now, wall_ms):
        round_.answered(ask, [outcome(ask)], now, wall_ms)
        round_.settle(now, wall_ms)
        assert not round_.accepted, ask.health.name
    assert round_.next(now, wall_ms) == [] and round_.accepted[ETH].source == "b"
    round_.close(now, wall_ms)
    assert [event.source for event in round_.events if isinstance(event, SourceDistrusted)] == ["a", "c"]


def test_no_liar_takes_over_a_pair_on_which_the_exchanges_disagree() -> None:
    world = Checked(["100"], ["101"], ["102"], ["103"], ["104"])
    world.rounds(30)
    for number in range(200):
        world.say(f"{100 * 1.0015 ** number:.2f}", "101", "101.1", "101.2", "101.3")
        world.round()
    assert {event.source for event in world.events.of(SourceDistrusted)} == {"a"}
    assert world.held[ETH].price != world.sources[0].answers[0] and world.held[ETH].source == "b"


def test_liars_that_had_an_honest_source_distrusted_are_outvoted_when_they_are_fewer() -> None:
    world = Checked(["104"], ["104"], ["104"], ["100"], ["100"])
    world.rounds(30)
    assert {event.source for event in world.events.of(SourceDistrusted)} == {"d", "e"}
    world.say("104", "104", "100", "100", "100")
    assert world.rounds(60)[-1] == "c"


def test_a_check_that_brings_nothing_is_made_up_for_in_the_next_round_by_another_source() -> None:
    down = SourceDown("refused")
    world = Checked(["100"], [down], [down], ["100"])
    world.rounds(3)
    assert world.calls == "3/1/1/1", "and none of them is asked twice in a round"


def test_a_first_price_is_served_though_the_only_two_sources_are_far_apart() -> None:
    world = Checked(["100"], ["106"])
    assert set(world.rounds(30)) == {"a"}
    assert world.events.of(SourceDistrusted, SourceLost) == []


def test_a_step_of_its_own_is_not_called_frozen() -> None:
    world = Checked(["100"], ["100"], ["100"])
    world.checks = CrossChecks(INTERVAL, SHARE)
    world.rounds(10)
    for _ in range(100):
        world.checks.may_doubt()
    world.say("104", "100", "100")
    world.rounds(3)
    distrusted, = world.events.of(SourceDistrusted)
    assert distrusted.reason == "104 is 4.00% off, others say 100"


def test_a_pair_that_is_delisted_where_it_was_distrusted_is_not_distrusted_there_for_ever() -> None:
    world = Checked(["104"], ["100"], ["100"])
    world.rounds(1)
    assert world.report("a").distrusted == 1
    world.say(UnknownSymbol("no such symbol"), "100", "100")
    world.sources[0].answers = [{ETH: UnknownSymbol("no such symbol")}]
    world.rounds(60)
    assert world.report("a").distrusted == 0


def test_without_checks_a_first_source_that_stays_far_off_costs_one_more_call_and_not_one_of_each() -> None:
    world = Checked(["106"], ["100"], ["100"], ["100"], held="100")
    world.checks = CrossChecks(0, 0.05)
    assert set(world.rounds(10)) == {"b"} and world.calls == "10/10/0/0"


@pytest.mark.parametrize("prices", [("100", "100.1"), ("100", "104")])
def test_with_two_sources_nobody_can_say_who_is_right_and_the_first_is_served(prices: tuple[str, str]) -> None:
    world = Checked([prices[0]], [prices[1]])
    assert set(world.rounds(50)) == {"a"}
    assert world.events.of(SourceDistrusted) == []


def test_a_price_that_lags_does_not_check_anybody() -> None:
    world = Checked(["100"], [None], ["100"])
    world.sources[1].source_time = SourceTime.PRICE
    world.sources[1].answers = [stamped(-30_000, "104")(world.clock)]
    assert world.rounds(1) == ["a"] and world.calls == "1/1/0"


def test_what_every_source_last_said_and_how_far_it_was_off_is_reported() -> None:
    world = Checked(["100"], ["100.2"], ["90"])
    world.rounds(11)
    reports = {name: world.report(name) for name in "abc"}
    assert [report.of(ETH).deviation for report in reports.values()] == [0.0, pytest.approx(0.002), pytest.approx(-0.1)]
    quotes = [report.of(ETH).quote for report in reports.values()]
    assert [quote and quote.price for quote in quotes] == ["100", "100.2", "90"]
    assert [report.distrusted for report in reports.values()] == [0, 0, 1]
    assert reports["c"].of(ETH).distrusted == "90 is 10.00% off, others say 100"
    assert reports["c"].deviation == pytest.approx(-0.1)
