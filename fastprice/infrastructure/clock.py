"""The machine's clocks."""

import asyncio
import time


class SystemClock:
    """Wall time, and the monotonic clock that goes on while the machine sleeps, so that no price survives a nap."""

    def __init__(self) -> None:
        self._source = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        return time.clock_gettime(self._source)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
