"""The embedded store of one worker: a QuoteStore on what the workers of a machine share."""

import asyncio
from random import Random

from bench.fleet.fake_redis import answer
from bench.fleet.virtual_time import Process
from fastprice.application.ports import Ban, Clock, SourceReport
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote

# sqlite_store.py looks for news so often.
POLL_SECONDS = 0.02


class Disk:
    """What the embedded stores of one machine share; `broken` is a disk that takes nothing."""

    def __init__(self) -> None:
        self.broken = False
        self.quotes: dict[Pair, tuple[Quote, int]] = {}
        self.reports: dict[Pair, tuple[SourceReport, ...]] = {}
        self.bans: dict[tuple[str, Pair | None], Ban] = {}
        self.claims: dict[str, tuple[str, int]] = {}
        self.changes = 0
        self.waiting: dict[LocalStore, None] = {}


class LocalStore:
    """A QuoteStore of one worker on its machine's disk, behaving as infrastructure/sqlite_store.py does."""

    def __init__(self, disk: Disk, process: Process, clock: Clock, random: Random) -> None:
        self._disk = disk
        self._process = process
        self._clock = clock
        self._random = random
        self._seen = 0
        self._waiter: asyncio.Future[None] | None = None

    async def get(self, pair: Pair) -> Quote | None:
        return self._open().quotes.get(pair, (None, 0))[0]

    async def put(self, quote: Quote) -> bool:
        disk = self._open()
        if not quote.replaces(disk.quotes.get(quote.pair, (None, 0))[0], self._clock.wall_ms()):
            return False
        disk.changes += 1
        disk.quotes[quote.pair] = quote, disk.changes
        for store in disk.waiting:
            store.wake()
        return True

    async def get_reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        return self._open().reports.get(pair, ())

    async def put_reports(self, pair: Pair, reports: tuple[SourceReport, ...]) -> None:
        self._open().reports[pair] = reports

    async def get_bans(self) -> tuple[Ban, ...]:
        now_ms = self._clock.wall_ms()
        return tuple(ban for ban in self._open().bans.values() if ban.until_ms > now_ms)

    async def put_ban(self, ban: Ban) -> None:
        bans = self._open().bans
        if (held := bans.get((ban.source, ban.pair))) is None or held.until_ms < ban.until_ms:
            bans[ban.source, ban.pair] = ban

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        claims, now_ms = self._open().claims, self._clock.wall_ms()
        held_by, until_ms = claims.get(name, (holder, 0))
        ends_ms = now_ms + round(seconds * 1000)
        if held_by != holder and now_ms < until_ms <= ends_ms + MAX_SKEW_MS:
            return False
        claims[name] = holder, ends_ms
        return True

    async def release(self, name: str, holder: str) -> None:
        claims = self._open().claims
        if claims.get(name, ("", 0))[0] == holder:
            del claims[name]

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        disk = self._open()
        if self._seen == disk.changes:
            await self._wait(seconds)
            disk = self._open()
        seen, self._seen = self._seen, disk.changes
        return tuple(quote for quote, change in disk.quotes.values() if change > seen)

    async def close(self) -> None:
        self._disk.waiting.pop(self, None)

    def wake(self) -> None:
        """A change was made; it is seen at the next look, which is up to one poll away."""
        if self._waiter is not None:
            later = self._random.random() * POLL_SECONDS
            asyncio.get_running_loop().call_later(later, answer, self._waiter, None)

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        self._disk.waiting[self] = None
        timer = loop.call_later(seconds, answer, waiter, None)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None
            self._disk.waiting.pop(self, None)
        if self._process.paused:
            await self._process.going()

    def _open(self) -> Disk:
        if self._process.dead or self._disk.broken:
            raise StoreUnavailable("the embedded store failed")
        return self._disk
