"""Moments at an interval, for the servers and the publisher in Python."""

import time
from collections.abc import Iterator


def waits(interval: float) -> Iterator[float]:
    """How many seconds to wait for each next moment; there is no wait for a moment that has passed."""
    due = time.monotonic()
    while True:
        due += interval
        yield max(due - time.monotonic(), 0.0)


def now_ms() -> str:
    return str(time.time_ns() // 1_000_000)
