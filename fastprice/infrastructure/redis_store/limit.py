"""A deadline for operations of other processes that does not count the time in which this worker did not run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

SLICES = 10


@contextlib.asynccontextmanager
async def limit(seconds: float) -> AsyncIterator[None]:
    """Like asyncio.timeout, including TimeoutError, but time in which the event loop does not run hardly counts.

    A worker may be late because its machine is busy or it was stopped. 1. The answer comes while the event loop does
    not run. 2. The loop runs again, and finds an answer and an expired deadline. 3. It handles the deadline first, and
    reports that nobody has answered. So the time is counted in slices, each from when the end of the previous one was
    noticed: a pause costs one slice, however long it is. And the last slice must not end in a pause.
    """
    async with asyncio.timeout(None) as deadline:
        slices = _Slices(deadline, seconds / SLICES)
        try:
            yield
        finally:
            slices.timer.cancel()


class _Slices:
    def __init__(self, deadline: asyncio.Timeout, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._deadline = deadline
        self._seconds = seconds
        self._left = SLICES
        self.timer = self._next()

    def _next(self) -> asyncio.TimerHandle:
        return self._loop.call_later(self._seconds, self._over, self._loop.time() + self._seconds)

    def _over(self, due: float) -> None:
        self._left -= 1
        was_late = self._loop.time() - due > self._seconds
        # A worker that is late at every slice waits for at most twice as many slices.
        if self._left > 0 or (was_late and self._left > -SLICES):
            self.timer = self._next()
        else:
            self._deadline.reschedule(self._loop.time())
