"""The shared store of one worker: a PriceStore on the fake Redis."""

import asyncio
from typing import Any

from bench.fleet.fake_redis import Link, Run, answer
from bench.fleet.virtual_time import Process
from fastprice.application.ports import LEADER, Clock, Stored
from fastprice.domain.errors import StoreUnavailable
from tests.memory_store import MemoryStore


class SharedStore:
    """A PriceStore of one worker on the fake Redis, which behaves as infrastructure/redis_store does."""

    def __init__(self, link: Link, process: Process, clock: Clock) -> None:
        self._link = link
        self._process = process
        self._clock = clock
        self._connected = False
        self._subscribed_at = -1
        self._heard = False
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> tuple[str | None, Stored]:
        found: tuple[str | None, Stored] = await self._ask("read", lambda memory: memory.read())
        return found

    async def write(self, holder: str, stored: Stored) -> bool:
        return bool(await self._ask("write", lambda memory: memory.write(holder, stored)))

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        return bool(await self._ask("claim", lambda memory: memory.claim(holder, seconds, name)))

    async def holder(self, name: str) -> str | None:
        found: str | None = await self._ask("holder", lambda memory: memory.holder(name))
        return found

    async def release(self, holder: str, name: str = LEADER) -> None:
        await self._ask("release", lambda memory: memory.release(holder, name))

    async def news(self, seconds: float) -> bool:
        """See PriceStore; a broken subscription is given up, and made again after a pause."""
        redis = self._link.redis
        if self._subscribed_at != redis.epoch:
            broke, self._subscribed_at = self._subscribed_at >= 0, -1
            if broke or not await self._subscribe():
                await self._clock.sleep(seconds)
            return False
        if not self._heard:
            await self._wait(seconds)
        if self._process.paused:
            await self._process.going()
        heard, self._heard = self._heard, False
        return heard

    async def close(self) -> None:
        self._link.redis.subscribers[self._process.machine].pop(self, None)

    def hear(self) -> None:
        """Handle a message that has arrived; it is lost if the network is cut."""
        if not self._link.cut and not self._process.dead:
            self._heard = True
            if self._waiter is not None:
                answer(self._waiter, None)

    async def _subscribe(self) -> bool:
        async def subscribe(memory: MemoryStore) -> None:
            self._link.redis.subscribers[self._process.machine][self] = None

        try:
            await self._ask("subscribe", subscribe)
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
