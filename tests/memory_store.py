"""L2 within one process: for tests, simulations, and as the plainest statement of what a PriceStore does."""

import asyncio

from fastprice.application.ports import LEADER, Clock, Stored
from fastprice.domain.quote import MAX_SKEW_MS


class Shelf:
    """What the stores of one fleet share."""

    def __init__(self) -> None:
        self.stored = Stored()
        self.claims: dict[str, tuple[str, int, int]] = {}
        self.writes = 0
        self.changed = asyncio.Event()


class MemoryStore:
    """A PriceStore on a shelf; workers share what they store by sharing the shelf."""

    def __init__(self, clock: Clock, shelf: Shelf | None = None) -> None:
        self.shelf = shelf or Shelf()
        self._clock = clock
        self._seen = 0

    async def read(self) -> tuple[str | None, Stored]:
        self._seen = self.shelf.writes
        return self._holder(), self.shelf.stored

    async def write(self, holder: str, stored: Stored) -> bool:
        if self._holder() not in (None, holder):
            return False
        self.shelf.stored = stored
        self.shelf.writes += 1
        self.shelf.changed.set()
        self.shelf.changed = asyncio.Event()
        return True

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        if self._holder(name) not in (None, holder):
            return False
        lasts_ms = round(seconds * 1000)
        self.shelf.claims[name] = holder, self._clock.wall_ms() + lasts_ms, lasts_ms
        return True

    async def holder(self, name: str) -> str | None:
        return self._holder(name)

    async def release(self, holder: str, name: str = LEADER) -> None:
        if self._holder(name) == holder:
            del self.shelf.claims[name]

    async def news(self, seconds: float) -> bool:
        if self._seen == self.shelf.writes:
            waits = [asyncio.ensure_future(self.shelf.changed.wait()), asyncio.ensure_future(self._nap(seconds))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        return self._seen != self.shelf.writes

    async def close(self) -> None:
        """Nothing is held open."""

    async def _nap(self, seconds: float) -> bool:
        await self._clock.sleep(seconds)
        return True

    def _holder(self, name: str = LEADER) -> str | None:
        """A claim that lasts longer than a new one would was made before the clock was set back, and does not count."""
        holder, until_ms, lasts_ms = self.shelf.claims.get(name, ("", 0, 0))
        left_ms = until_ms - self._clock.wall_ms()
        return holder if 0 < left_ms <= lasts_ms + MAX_SKEW_MS else None
