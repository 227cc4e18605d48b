"""The simulated fleet: every run is the same, and the promises about a fleet hold in it."""

from functools import partial
from typing import Any

import pytest

from bench.fleet import plays
from bench.fleet.measure import most_callers, most_within, played
from bench.fleet.scenarios import Play, Scenario

TIMES = (0.0, 0.5, 1.0, 1.2, 1.3)


def row(play: Play, workers: int = 12, machines: int = 3) -> dict[str, Any]:
    return played(Scenario("a small fleet", workers, machines, play, machines), seed="test")


def failing(during: Play) -> dict[str, Any]:
    return row(partial(plays.failure, during=during))


@pytest.fixture(scope="module")
def grown() -> dict[str, Any]:
    return row(partial(plays.growth, seconds=10))


@pytest.fixture(scope="module")
def killed() -> dict[str, Any]:
    return failing(partial(plays.kill_holders, times=10))


def test_the_same_seed_gives_the_same_result(grown: dict[str, Any]) -> None:
    assert row(partial(plays.growth, seconds=10)) == grown


def test_another_seed_gives_another_result(grown: dict[str, Any]) -> None:
    scenario = Scenario("a small fleet", 12, 3, partial(plays.growth, seconds=10), 3)
    assert played(scenario, seed="other") != grown


def test_a_steady_fleet_is_one_caller_and_one_call_an_interval(grown: dict[str, Any]) -> None:
    steady = grown["phases"]["steady"]
    assert (steady["calls"], steady["most_calls"], steady["most_callers"]) == (10, 1, 1)


def test_every_follower_hears_of_every_round(grown: dict[str, Any]) -> None:
    assert grown["phases"]["steady"]["deliveries_per_s"] == 11


def test_without_redis_each_machine_is_one_caller(grown: dict[str, Any]) -> None:
    gone = grown["phases"]["Redis gone"]
    assert gone["most_callers"] == 3
    assert 2.9 <= gone["calls_per_interval"] <= 3.1
    assert gone["redis_per_s"] == 0


def test_there_is_one_caller_again_when_redis_is_back(grown: dict[str, Any]) -> None:
    after = grown["phases"]["after"]
    assert (after["calls"], after["most_callers"]) == (10, 1)


def test_a_killed_leader_is_replaced_within_its_claim_and_a_second(killed: dict[str, Any]) -> None:
    takeovers = killed["takeovers"]
    assert (takeovers["count"], takeovers["never"]) == (10, 0)
    assert takeovers["max_s"] <= killed["claim_seconds"] + 1


def test_killing_leaders_never_makes_two_callers(killed: dict[str, Any]) -> None:
    assert {phase["most_callers"] for phase in killed["phases"].values()} == {1}


def test_a_leader_that_was_paused_does_not_ask_beside_its_successor() -> None:
    paused = failing(partial(plays.pause_holders, times=3, seconds=10))
    assert paused["takeovers"]["count"] == 3
    assert {phase["most_callers"] for phase in paused["phases"].values()} == {1}


def test_machines_that_are_cut_off_are_one_caller_each_and_join_again() -> None:
    cut = failing(partial(plays.cut_machines, seconds=20, count=2))
    assert cut["phases"]["during"]["most_callers"] == 3
    assert cut["phases"]["after"]["most_callers"] == 1


@pytest.mark.parametrize("play", [
    partial(plays.ban_and_kill, seconds=30, times=5), partial(plays.ban_and_lose_redis, seconds=20),
])  # fmt: skip
def test_nobody_asks_a_source_that_banned_one_of_them(play: Play) -> None:
    banned = failing(play)
    assert banned["calls_despite_ban"] == 0
    assert banned["calls_by_source"]["okx"] > 10


def test_lost_messages_cost_at_most_an_interval_of_age() -> None:
    lost = failing(partial(plays.lose_messages, seconds=20, share=1.0))
    before, during = (lost["phases"][name]["ages"]["max_ms"] for name in ("before", "during"))
    assert before + 500 < during <= before + 1_200


def test_every_price_is_there_and_nothing_is_younger_than_it_says(grown: dict[str, Any]) -> None:
    assert sum(phase["without_price"] for phase in grown["phases"].values()) == 0
    assert grown["understated_ms"] <= 1


def test_calls_in_one_stretch_are_counted() -> None:
    assert most_within(TIMES, 0.4) == 3
    assert most_within((), 1.0) == most_callers((), 1.0) == 0
