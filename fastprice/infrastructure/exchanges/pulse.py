"""The pulse of the event loop, so that what lay in the kernel while it stood still does not seem younger than it is."""

import asyncio

from fastprice.application.ports import Clock
from fastprice.infrastructure.exchanges.watch import BEAT_SECONDS, LATE_SECONDS


class Pulse:
    """Beats from `start` to `stop`.

    1. A message comes. 2. The loop does not turn, so the bytes wait in the kernel, which does not tell since when.
    3. The loop turns again: first the timers, then what was read. So until the beat after next what is read counts as
    read before the loop stood still.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beaten_at = clock.monotonic()
        # How much older than now what is read may be, after the loop stood still.
        self._stood_from: float | None = None
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._beaten_at, self._stood_from = self._clock.monotonic(), None
        if self._beating is not None:  # It was opened again while it closes.
            self._beating.cancel()
        self._beating = asyncio.create_task(self._beat(), name="pulse")

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None

    def read_at_ms(self) -> int:
        """When something that is read now was there at the latest, in wall time."""
        now_ms, now = self._clock.wall_ms(), self._clock.monotonic()
        since = self._stood_from
        if since is None and now - self._beaten_at > LATE_SECONDS:
            since = self._beaten_at
        return now_ms if since is None else now_ms - round((now - since) * 1000)

    async def _beat(self) -> None:
        while True:
            await self._clock.sleep(BEAT_SECONDS)
            now = self._clock.monotonic()
            self._stood_from = self._beaten_at if now - self._beaten_at > LATE_SECONDS else None
            self._beaten_at = now
