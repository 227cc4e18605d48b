"""Virtual time, which passes only while every task waits: the normal asyncio on our own clock."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")

# 2025-07-23, a wall time like any other; monotonic time starts at 0.
START_MS = 1_753_300_000_000


class _NoWaiting(selectors.SelectSelector):
    """Nothing ever comes from outside, so `select` does not wait: it advances the time to the next timer."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("everything waits and nothing is due: time would stand still for ever")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own event loop, except that an hour takes only as long as the work in it."""

    def __init__(self) -> None:
        self._waiting = _NoWaiting()
        super().__init__(self._waiting)

    def time(self) -> float:
        return self._waiting.now


def run(main: Coroutine[Any, Any, Result]) -> Result:
    """asyncio.run in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


class Process:
    """A worker's process: it runs, is paused as by SIGSTOP, or is dead. After every wait it awaits `going`."""

    def __init__(self, name: str, machine: int) -> None:
        self.name = name
        self.machine = machine
        self.dead = False
        self.paused = False
        self._resumed = asyncio.Event()

    def pause(self) -> None:
        self.paused = True
        self._resumed.clear()

    def resume(self) -> None:
        self.paused = False
        self._resumed.set()

    async def going(self) -> None:
        """Return when the process runs."""
        while self.paused:
            await self._resumed.wait()


class VirtualClock:
    """The Clock of one process, on a machine whose wall clock is `ahead` by that many seconds."""

    def __init__(self, process: Process, ahead: float) -> None:
        self.monotonic = asyncio.get_running_loop().time
        self._process = process
        self._ahead_ms = ahead * 1000

    def wall_ms(self) -> int:
        return START_MS + int(self.monotonic() * 1000 + self._ahead_ms)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._process.paused:
            await self._process.going()
