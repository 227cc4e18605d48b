"""The machine's clocks."""

import asyncio
import time
from functools import partial


class SystemClock:
    """Wall time, and a monotonic clock that goes on while the machine sleeps, so that prices age meanwhile."""

    def __init__(self) -> None:
        # Not a method: it is called twice per request, and this saves a Python frame each time.
        self.monotonic = partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
