"""The shared store of one worker: a QuoteStore on the fake Redis."""

import asyncio
from collections import deque
from typing import Any

from bench.fleet.fake_redis import Link, Run, answer
from bench.fleet.virtual_time import Process
from fastprice.application.ports import MAX_BAN_SECONDS, Ban, Clock, SourceReport
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import Pair, Quote


class SharedStore:
    """A QuoteStore of one worker on that Redis, behaving as infrastructure/redis_store does."""

    def __init__(self, link: Link, process: Process, clock: Clock, keep_seconds: float) -> None:
        self._link = link
        self._process = process
        self._clock = clock
        self._keep = keep_seconds
        self._connected = False
        self._subscribed_at = -1
        self._inbox: deque[Quote] = deque()
        self._waiter: asyncio.Future[None] | None = None

    async def get(self, pair: Pair) -> Quote | None:
        quote: Quote | None = await self._ask("get", lambda redis: redis.get(f"quote:{pair.slug}"))
        return quote

    async def put(self, quote: Quote) -> bool:
        key, now_ms = f"quote:{quote.pair.slug}", self._clock.wall_ms()
        return bool(await self._ask("put", lambda redis: redis.put(key, quote, now_ms, self._keep)))

    async def get_reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        return await self._ask("get_reports", lambda redis: redis.get(f"sources:{pair.slug}")) or ()

    async def put_reports(self, pair: Pair, reports: tuple[SourceReport, ...]) -> None:
        await self._ask("put_reports", lambda redis: redis.set(f"sources:{pair.slug}", reports, self._keep))

    async def get_bans(self) -> tuple[Ban, ...]:
        bans = await self._ask("get_bans", lambda redis: redis.get("bans")) or {}
        return tuple(ban for ban in bans.values() if ban.until_ms > self._clock.wall_ms())

    async def put_ban(self, ban: Ban) -> None:
        now_ms = self._clock.wall_ms()
        if now_ms < ban.until_ms <= now_ms + MAX_BAN_SECONDS * 1000:
            await self._ask("put_ban", lambda redis: redis.put_ban(ban, (ban.until_ms - now_ms) / 1000))

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        return bool(await self._ask("claim", lambda redis: redis.claim(f"claim:{name}", holder, seconds)))

    async def release(self, name: str, holder: str) -> None:
        await self._ask("release", lambda redis: redis.release(f"claim:{name}", holder))

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        """See QuoteStore; a subscription that broke is given up, and made anew after a pause."""
        redis = self._link.redis
        if self._subscribed_at != redis.epoch:
            broke, self._subscribed_at = self._subscribed_at >= 0, -1
            if broke or not await self._subscribe():
                await self._clock.sleep(seconds)
            return ()
        if not self._inbox:
            await self._wait(seconds)
        if self._process.paused:
            await self._process.going()
        return (self._inbox.popleft(),) if self._inbox else ()

    async def close(self) -> None:
        self._link.redis.subscribers[self._process.machine].pop(self, None)

    def hear(self, quote: Quote) -> None:
        """A message has arrived; one that a cut network carried is lost."""
        if not self._link.cut and not self._process.dead:
            self._inbox.append(quote)
            if self._waiter is not None:
                answer(self._waiter, None)

    async def _subscribe(self) -> bool:
        try:
            await self._ask("subscribe", lambda redis: redis.subscribers[self._process.machine].update({self: None}))
        except StoreUnavailable:
            return False
        self._subscribed_at = self._link.redis.epoch
        return True

    async def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        waiter = self._waiter = loop.create_future()
        timer = loop.call_later(seconds, answer, waiter, None)
        try:
            await waiter
        finally:
            timer.cancel()
            self._waiter = None

    async def _ask(self, op: str, run: Run) -> Any:
        if self._process.paused:
            await self._process.going()
        if self._process.dead:
            raise StoreUnavailable("the process is dead")
        try:
            result = await self._link.send(op, run, self._connected)
            self._connected = True
        except StoreUnavailable:
            self._connected = False
            raise
        finally:
            if self._process.paused:
                await self._process.going()
        return result
