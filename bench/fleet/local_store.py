"""The embedded store of one worker: a MemoryStore on the simulated disk of its machine."""

import asyncio
from random import Random

from bench.fleet.virtual_time import Process
from fastprice.application.ports import LEADER, Clock, Stored
from fastprice.domain.errors import StoreUnavailable
from tests.memory_store import MemoryStore, Shelf

# How often sqlite_store.py looks for changes.
POLL_SECONDS = 0.02


class Disk(Shelf):
    """What the embedded stores of one machine share; `broken` is a disk that fails every operation."""

    broken = False


class LocalStore(MemoryStore):
    """A MemoryStore of one worker on its machine's disk; it notices changes as infrastructure/sqlite_store.py does."""

    def __init__(self, disk: Disk, process: Process, clock: Clock, random: Random) -> None:
        super().__init__(clock, disk)
        self._disk = disk
        self._process = process
        self._random = random

    async def read(self) -> tuple[str | None, Stored]:
        self._check()
        return await super().read()

    async def write(self, holder: str, stored: Stored) -> bool:
        self._check()
        return await super().write(holder, stored)

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        self._check()
        return await super().claim(holder, seconds, name)

    async def holder(self, name: str) -> str | None:
        self._check()
        return await super().holder(name)

    async def release(self, holder: str, name: str = LEADER) -> None:
        self._check()
        await super().release(holder, name)

    async def news(self, seconds: float) -> bool:
        """A change is seen at the next look, which is up to one poll away."""
        self._check()
        news = await super().news(seconds)
        if news:
            await asyncio.sleep(self._random.random() * POLL_SECONDS)
        if self._process.paused:
            await self._process.going()
        return news

    def _check(self) -> None:
        if self._process.dead or self._disk.broken:
            raise StoreUnavailable("the embedded store failed")
