"""When an answer came, as far as a process can know that may have been stopped, asleep or busy while it came."""

import asyncio

from fastprice.application.ports import Clock

BEAT_SECONDS = 0.05
# A gap this long between two signs of life is more than a timer's usual delay.
LATE_SECONDS = 0.1


class Watch:
    """The signs of life of the event loop during one call, from `async with` to its end.

    1. The answer comes. 2. The loop does not turn, so the bytes wait in the kernel, which does not tell since when.
    3. The loop turns again and reads them. Dated by step 3, the price would seem younger than it is.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked_at = self._seen_at = clock.monotonic()
        self._stood_still = False
        self._beating: asyncio.Task[None]

    async def __aenter__(self) -> "Watch":
        self._beating = asyncio.create_task(self._beat())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._beating.cancel()

    def answered_at_ms(self) -> int:
        """The wall time now, or that of the request, if the loop stood still since then."""
        # Wall time first: if the process is stopped between the two readings, that is seen as a gap.
        now_ms = self._clock.wall_ms()
        self._look()
        # By the monotonic clock, because the wall clock may have been set meanwhile.
        return now_ms - round((self._seen_at - self._asked_at) * 1000) if self._stood_still else now_ms

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            self._look()

    def _look(self) -> None:
        now = self._clock.monotonic()
        # The gap is remembered, because after it the timers may run before the bytes are read.
        self._stood_still |= now - self._seen_at > LATE_SECONDS
        self._seen_at = now
