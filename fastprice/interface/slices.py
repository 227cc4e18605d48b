"""Work that is too long for one turn of the event loop, cut into slices."""

import asyncio
from collections import deque
from collections.abc import Iterator


class Slices:
    """Jobs, each an iterator that yields where other jobs may run; they take turns, one slice per turn of the loop."""

    def __init__(self) -> None:
        self._jobs: deque[Iterator[None]] = deque()

    def begin(self, job: Iterator[None]) -> None:
        self._jobs.append(job)
        if len(self._jobs) == 1:
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        job, goes_on = self._jobs[0], False
        try:
            goes_on = next(job, self) is None
        finally:  # A job that fails is over, and the others go on.
            self._jobs.popleft()
            if goes_on:
                self._jobs.append(job)
            if self._jobs:
                asyncio.get_running_loop().call_soon(self._turn)
