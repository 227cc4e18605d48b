"""The pulse of the event loop, so that data that waited while the loop stood still does not seem newer than it is."""

import asyncio

from fastprice.application.ports import Clock
from fastprice.infrastructure.exchanges.watch import BEAT_SECONDS, LATE_SECONDS


class Pulse:
    """Beats from `start` to `stop`.

    1. A message comes. 2. The loop does not turn, so the bytes wait in the kernel, which does not tell since when.
    3. The loop turns again: it runs the timers first, then handles the data. So until the beat after next, data counts
    as read before the loop stood still.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._beaten_at = clock.monotonic()
        # The last beat before the loop stood still, since data may be that old; None if it did not stand still.
        self._stood_from: float | None = None
        self._beating: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._beaten_at, self._stood_from = self._clock.monotonic(), None
        if self._beating is not None:  # The stream was opened again while it was closing.
            self._beating.cancel()
        self._beating = asyncio.create_task(self._beat(), name="pulse")

    async def stop(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            await asyncio.gather(self._beating, return_exceptions=True)
            self._beating = None

    def read_at_ms(self) -> int:
        """The wall time that counts as the reading of data now: that before the loop stood still, if it did."""
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
