"""What a source's breaker lets through, what it counts, and which events it emits; every time is passed in."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprice.application.events import BreakerMoved
from fastprice.infrastructure.circuit_breaker import SourceBreaker
from tests.fakes import RecordingEvents

FAIL_MAX = 3
RESET = 30.0


class World:
    """A breaker, the events that it emitted, and the time."""

    def __init__(self, fail_max: int = FAIL_MAX) -> None:
        self.events = RecordingEvents()
        self.breaker = SourceBreaker("a", fail_max, RESET, self.events)
        self.now = 1_000.0

    @property
    def moves(self) -> list[tuple[str, str]]:
        return [(event.before, event.state) for event in self.events.of(BreakerMoved)]

    def ask(self, failed: bool | None) -> bool:
        """Do one round if the breaker allows it; returns whether it did."""
        if self.breaker.refusal(self.now) is not None:
            return False
        self.breaker.admit(self.now)
        self.breaker.record(failed, self.now)
        return True

    def open(self) -> None:
        for _ in range(FAIL_MAX):
            assert self.ask(failed=True)


def test_failures_in_a_row_open_it_and_nothing_less_does() -> None:
    world = World()
    for _ in range(5):
        for failed in (True, True, False):
            assert world.ask(failed)
    assert world.breaker.state == "closed" and world.moves == []
    world.open()
    assert world.breaker.state == "open" and world.moves == [("closed", "open")]


def test_while_it_is_open_nobody_is_let_through_and_is_told_for_how_long() -> None:
    world = World()
    world.open()
    assert world.breaker.refusal(world.now + 10.0) == "its circuit breaker is open for 20 s more"
    world.now += RESET - 0.001
    assert not world.ask(failed=False)
    world.now += 0.001
    assert world.ask(failed=False)


def test_a_probe_that_succeeds_closes_it_and_the_count_starts_again() -> None:
    world = World()
    world.open()
    world.now += RESET
    assert world.ask(failed=False) and world.breaker.state == "closed"
    for _ in range(FAIL_MAX - 1):
        world.ask(failed=True)
    assert world.breaker.state == "closed"
    assert world.moves == [("closed", "open"), ("open", "half_open"), ("half_open", "closed")]


def test_a_probe_that_fails_opens_it_for_another_whole_pause() -> None:
    world = World()
    world.open()
    for _ in range(3):
        world.now += RESET
        assert world.ask(failed=True) and world.breaker.state == "open"
        world.now += RESET - 0.001
        assert not world.ask(failed=False)
        world.now -= RESET - 0.001


def test_a_probe_that_proves_nothing_leaves_it_open_for_another_pause() -> None:
    world = World()
    world.open()
    world.now += RESET
    assert world.ask(failed=None) and world.breaker.state == "open"
    assert not world.ask(failed=False)


def test_what_proves_nothing_does_not_count() -> None:
    world = World()
    for failed in (True, True, None, True):
        assert world.ask(failed)
    assert world.breaker.state == "open"


def test_a_probe_that_was_abandoned_is_made_up_for_by_the_next_round() -> None:
    world = World()
    world.open()
    world.now += RESET
    world.breaker.admit(world.now)  # Then the worker stopped leading.
    assert world.breaker.state == "half_open"
    assert world.ask(failed=False) and world.breaker.state == "closed"


@pytest.mark.parametrize("fail_max", [1, 2, 50])
def test_as_many_failures_as_the_setting_says(fail_max: int) -> None:
    world = World(fail_max)
    for _ in range(fail_max - 1):
        world.ask(failed=True)
    assert world.breaker.state == "closed"
    world.ask(failed=True)
    assert world.breaker.state == "open"


@given(st.lists(st.tuples(st.sampled_from([True, False, None]), st.sampled_from([0.0, 1.0, RESET / 2, RESET]))))
def test_whatever_happens_it_is_asked_at_most_once_per_pause_while_open_and_moves_are_told_one_after_the_other(
    rounds: list[tuple[bool | None, float]],
) -> None:
    world = World()
    asked_open: list[float] = []
    for failed, pause in rounds:
        world.now += pause
        was_open = world.breaker.state == "open"
        if world.ask(failed) and was_open:
            asked_open.append(world.now)
        elif world.breaker.state == "closed":
            asked_open.clear()
    assert all(later - earlier >= RESET for earlier, later in pairwise(asked_open))
    assert all(earlier[1] == later[0] for earlier, later in pairwise(world.moves))
