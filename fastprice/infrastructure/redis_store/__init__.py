"""The shared L2: Redis, with its own short limits on time, so that its troubles stay its own."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError, ResponseError

from fastprice.application.events import StoreAsked
from fastprice.application.ports import MAX_BAN_SECONDS, Ban, Clock, Events, SourceReport
from fastprice.application.records import (
    MAX_RECORD, dump_ban, dump_quote, dump_reports, load_ban, load_quote, load_reports
)
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote
from fastprice.infrastructure.redis_store.link import RedisLink

# Part of every key: raised when what is stored changes, so that old and new replicas do not read each other.
LAYOUT = "v1"

# Both scripts survive a key of the wrong type, and a claim with no end or one that none of us can have set: what is not
# ours is overwritten. Who may not publish, for want of a right to the channel, has stored the quote all the same.
_PUT = f"""
local held = redis.pcall('GETRANGE', KEYS[1], 0, {MAX_RECORD})
if type(held) == 'string' then
  local ok, record = pcall(cjson.decode, held)
  local at = ok and type(record) == 'table' and tonumber(record.fetched_at_ms)
  if at and at >= tonumber(ARGV[2]) and at <= tonumber(ARGV[3]) then return 0 end
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[4])
redis.pcall('PUBLISH', KEYS[2], ARGV[5])
return 1
"""
_CLAIM = """
local holder = redis.pcall('GET', KEYS[1])
local left = redis.call('PTTL', KEYS[1])
if type(holder) == 'string' and holder ~= ARGV[1] and left >= 0 and left <= tonumber(ARGV[3]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
"""
# One hash for all, because there are few; it stays for as long as the longest ban in it.
_PUT_BAN = """
local held = redis.pcall('HGET', KEYS[1], ARGV[1])
if type(held) == 'table' then redis.call('DEL', KEYS[1]) end
local ok, record = pcall(cjson.decode, held)
local until_ms = ok and type(record) == 'table' and tonumber(record.until_ms)
if until_ms and until_ms >= tonumber(ARGV[3]) and until_ms <= tonumber(ARGV[5]) then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then redis.call('PEXPIRE', KEYS[1], ARGV[4]) end
return 1
"""
_RELEASE = "if redis.pcall('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"


class RedisStore:
    """A QuoteStore in Redis; `keep_seconds` is how long a value that nobody renews stays there."""

    def __init__(
        self, url: str, prefix: str, timeout_seconds: float, keep_seconds: float, clock: Clock, events: Events
    ) -> None:
        self._link = RedisLink(url, timeout_seconds)
        self._prefix = f"{prefix}:{LAYOUT}"
        self._timeout = timeout_seconds
        self._keep_ms = round(keep_seconds * 1000)
        self._clock = clock
        self._events = events
        self._redis = self._link.redis
        self._put = self._redis.register_script(_PUT)
        self._claim = self._redis.register_script(_CLAIM)
        self._put_ban = self._redis.register_script(_PUT_BAN)
        self._release = self._redis.register_script(_RELEASE)
        self._subscription: PubSub | None = None
        self._doubtful = False

    async def get(self, pair: Pair) -> Quote | None:
        return load_quote(await self._read("get", self._key("quote", pair.slug)), pair)

    async def put(self, quote: Quote) -> bool:
        future = self._clock.wall_ms() + MAX_SKEW_MS
        keys = [self._key("quote", quote.pair.slug), self._channel]
        record = dump_quote(quote)
        args: list[str | int] = [record, quote.fetched_at_ms, future, self._keep_ms, f"{quote.pair.slug} {record}"]
        return bool(await self._do("put", lambda: self._put(keys, args)))

    async def get_reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        return load_reports(await self._read("get_reports", self._key("sources", pair.slug)), pair)

    async def put_reports(self, pair: Pair, reports: tuple[SourceReport, ...]) -> None:
        key, record = self._key("sources", pair.slug), dump_reports(reports)
        await self._do("put_reports", lambda: self._redis.set(key, record, px=self._keep_ms))

    async def get_bans(self) -> tuple[Ban, ...]:
        records = await self._do("get_bans", lambda: self._untyped(self._redis.hgetall(self._bans))) or {}
        bans = (load_ban(record) for record in records.values())
        return tuple(ban for ban in bans if ban is not None and ban.until_ms > self._clock.wall_ms())

    async def put_ban(self, ban: Ban) -> None:
        now_ms = self._clock.wall_ms()
        left_ms = ban.until_ms - now_ms
        if left_ms <= 0:
            return
        field = f"{ban.source}/{ban.pair.slug if ban.pair else ''}"
        latest_ms = now_ms + round(MAX_BAN_SECONDS * 1000)
        args: list[str | int] = [field, dump_ban(ban), ban.until_ms, left_ms, latest_ms]
        await self._do("put_ban", lambda: self._put_ban([self._bans], args))

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        key = self._key("claim", name)
        lasts_ms = round(seconds * 1000)
        args: list[str | int] = [holder, lasts_ms, lasts_ms + MAX_SKEW_MS]
        return bool(await self._do("claim", lambda: self._claim([key], args)))

    async def release(self, name: str, holder: str) -> None:
        await self._do("release", lambda: self._release([self._key("claim", name)], [holder]))

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        """See QuoteStore; a lost subscription costs nothing but the hint until it stands again."""
        started = self._clock.monotonic()
        try:
            message = await self._listen(seconds)
        except Exception:  # As in _do.
            self._events(StoreAsked("news", "error", self._clock.monotonic() - started))
            await self._unsubscribe()
            await self._clock.sleep(seconds)
            return ()
        if message is None or message["type"] != "message" or not isinstance(message["data"], bytes):
            return ()
        _, _, record = message["data"].partition(b" ")
        quote = load_quote(record)
        return (quote,) if quote else ()

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            async with asyncio.timeout(self._timeout):
                await self._unsubscribe()
                await self._redis.aclose()
                await self._redis.connection_pool.disconnect()

    @property
    def _bans(self) -> str:
        return f"{self._prefix}:bans"

    @property
    def _channel(self) -> str:
        # Keys are apart in databases of different numbers; channels are not.
        return f"{self._prefix}:news:{self._link.db}"

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}:{kind}:{name}"

    async def _read(self, op: str, key: str) -> bytes:
        """The record at a key, empty where there is none; what is longer than any of ours is not read to its end."""
        return await self._do(op, lambda: self._untyped(self._redis.getrange(key, 0, MAX_RECORD))) or b""

    async def _untyped(self, reading: Awaitable[Any]) -> Any:
        try:
            return await reading
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return None  # Not a record of ours: our next one overwrites it.

    async def _do(self, op: str, operation: Callable[[], Awaitable[Any]]) -> Any:
        started = self._clock.monotonic()
        try:
            # The client's own limit is per read and per write; this one is for the operation, its connect included.
            async with asyncio.timeout(self._timeout):
                await self._link.check()
                result = await operation()
        except Exception as error:  # A strange answer makes the client raise what is no error of its own.
            self._events(StoreAsked(op, "error", self._clock.monotonic() - started))
            self._doubtful = True
            raise StoreUnavailable(f"Redis at {self._link.place}: {await self._link.failed(error)}") from None
        self._events(StoreAsked(op, "ok", self._clock.monotonic() - started))
        return result

    async def _listen(self, seconds: float) -> dict[str, Any] | None:
        if self._doubtful:
            # The subscription's own connection may have died too, and would be silent about it for ever.
            await self._unsubscribe()
            self._doubtful = False
        if self._subscription is None:
            self._subscription = self._redis.pubsub()
            async with asyncio.timeout(self._timeout):
                await self._subscription.subscribe(self._channel)
        message: dict[str, Any] | None = await self._subscription.get_message(timeout=seconds)
        return message

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            # It may be broken already: that is why it is given up.
            with contextlib.suppress(Exception):
                async with asyncio.timeout(self._timeout):
                    await subscription.aclose()  # type: ignore[no-untyped-call]
