"""A deadline for what others may take, which does not count the time in which this worker itself did not run."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

SLICES = 10


@contextlib.asynccontextmanager
async def limit(seconds: float) -> AsyncIterator[None]:
    """As asyncio.timeout, TimeoutError included, but the time is that of the event loop's own turns.

    A worker may be late, because its machine is busy or it was stopped. Then 1. the answer comes while the event loop
    does not run, 2. it runs again, and finds an answer and a deadline that has long passed, 3. it looks at the deadline
    first, and says that nobody has answered. So the time is counted in slices, each from when the one before it was
    seen to be over: a pause costs one of them, however long it is. And the last one must not end in a pause.
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
        # Who is late at every slice waits twice as many of them at most.
        if self._left > 0 or (was_late and self._left > -SLICES):
            self.timer = self._next()
        else:
            self._deadline.reschedule(self._loop.time())
