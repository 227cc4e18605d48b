"""A message that waited on its way counts as read at the time when it would have been read without the wait."""

from fastprice.application.live_ports import Update
from fastprice.infrastructure.exchanges.delays import LATE_MS, WINDOW_MS, Delays
from tests.fakes import ETH, START_MS


def read_at(delays: Delays, stamp: int | None, read: int, taken: int | None = None, channel: str = "ticker") -> int:
    """When a message counts as read; times in milliseconds since the start."""
    time_ms = None if stamp is None else START_MS + stamp
    update = Update(ETH, "100", None, None, time_ms, START_MS + read)
    now_ms = START_MS + (read if taken is None else taken)
    return delays.judged(channel, update, now_ms).read_at_ms - START_MS


def test_what_waited_in_a_connection_is_as_old_as_it_is() -> None:
    delays = Delays()
    assert read_at(delays, 0, 40) == 40
    assert read_at(delays, 1000, 3000) == 1040
    assert read_at(delays, 2990, 3030) == 3030


def test_what_differs_by_little_is_as_networks_are() -> None:
    delays = Delays()
    read_at(delays, 0, 40)
    assert read_at(delays, 1000, 1040 + LATE_MS) == 1040 + LATE_MS


def test_clocks_may_differ_in_either_direction() -> None:
    for ahead in -1500, 1500:
        delays = Delays()
        assert read_at(delays, ahead, 40) == 40
        assert read_at(delays, 1000 + ahead, 1041) == 1041
        assert read_at(delays, 2000 + ahead, 3000) == 2040


def test_channels_are_told_apart_and_those_without_a_stamp_are_left_alone() -> None:
    delays = Delays()
    read_at(delays, 0, 40, channel="book")
    assert read_at(delays, 0, 900) == 900
    assert read_at(delays, None, 5000) == 5000


def test_a_message_that_counts_as_read_before_the_loop_stood_still_teaches_nothing_wrong() -> None:
    """1. The loop is blocked from 1000 to 2000. 2. A message of 1500 counts as read at 1000. 3. All goes on."""
    delays = Delays()
    read_at(delays, 0, 40)
    assert read_at(delays, 1500, 1000, taken=2000) == 1000
    assert read_at(delays, 2100, 2140) == 2140


def test_a_clock_that_was_set_is_learned_again() -> None:
    delays = Delays()
    read_at(delays, 0, 40)
    assert read_at(delays, 1000, 2040) == 1040
    for number in 1, 2:
        read_at(delays, number * WINDOW_MS, number * WINDOW_MS + 1040)
    assert read_at(delays, 2 * WINDOW_MS + 5, 2 * WINDOW_MS + 1045) == 2 * WINDOW_MS + 1045
