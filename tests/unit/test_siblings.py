"""How many connections each worker has, as workers tell each other in shared memory."""

import math
import os

from fastprice.server.siblings import ALIVE_SECONDS, MAX_WORKERS, WINDOW_SECONDS, Siblings


def test_the_fewest_are_those_of_a_living_sibling_and_never_ones_own() -> None:
    siblings = Siblings(3)
    siblings.tell(0, 2, 0, 10.0)
    assert siblings.fewest(0, 10.0) == math.inf, "alone"
    siblings.tell(1, 9, 0, 10.0)
    siblings.tell(2, 5, 0, 10.0)
    assert [siblings.fewest(slot, 10.0) for slot in range(3)] == [5, 2, 2]


def test_what_was_taken_counts_in_its_window_only() -> None:
    siblings = Siblings(2)
    begin = 100.1 * WINDOW_SECONDS
    siblings.tell(1, 3, 40, begin)
    assert siblings.fewest(0, begin + WINDOW_SECONDS / 2) == 43
    assert siblings.fewest(0, begin + WINDOW_SECONDS) == 3


def test_a_worker_that_tells_nothing_any_more_or_has_ended_is_not_waited_for() -> None:
    siblings = Siblings(3)
    for slot in 1, 2:
        siblings.tell(slot, 1, 0, 10.0)
    assert siblings.fewest(0, 10.0 + ALIVE_SECONDS * 0.9) == 1
    assert siblings.fewest(0, 10.0 + ALIVE_SECONDS) == math.inf
    siblings.tell(1, 4, 0, 12.0)
    siblings.tell(2, 1, 0, 12.0)
    siblings.forget(2)
    assert siblings.fewest(0, 12.0) == 4


def test_a_fork_shares_the_rows_and_more_workers_than_there_are_rows_harm_nobody() -> None:
    siblings = Siblings(MAX_WORKERS + 5)
    siblings.tell(MAX_WORKERS + 1, 7, 0, 10.0)
    siblings.forget(MAX_WORKERS + 1)
    if (child := os.fork()) == 0:
        siblings.tell(1, 6, 0, 10.0)
        os._exit(0)
    os.waitpid(child, 0)
    assert siblings.fewest(0, 10.0) == 6
