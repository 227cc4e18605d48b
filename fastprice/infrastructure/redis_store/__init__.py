"""The shared L2: Redis, with a short time limit on every operation, so that its failures do not spread."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from fastprice.application.events import StoreAsked
from fastprice.application.ports import LEADER, Clock, Events, Stored
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import MAX_SKEW_MS
from fastprice.infrastructure.records import Records
from fastprice.infrastructure.redis_store.limit import limit
from fastprice.infrastructure.redis_store.link import RedisLink
from fastprice.infrastructure.redis_store.scripts import CLAIM, RELEASE, WRITE

Result = TypeVar("Result")

# Part of every key: raised when the stored format changes, so that old and new replicas do not read each other's data.
LAYOUT = "v3"
# Followers call `news` repeatedly, for about a second each; a round may be read just before its notification arrives.
MAX_PAUSE_SECONDS, MOST_UNTOLD = 5.0, 2


class RedisStore:
    """A PriceStore in Redis; data that nobody renews is deleted after `keep_seconds`.

    All keys begin with `prefix`; a hash tag in it (a part in braces) keeps them together in a Cluster.
    A turn costs a follower one command and the leader twelve, including those inside scripts. With many pairs the
    reports are most of the stored data, and they seldom change: a stamp tells a follower when to read them again.
    """

    def __init__(
        self, url: str, prefix: str, records: Records, timeout_seconds: float, keep_seconds: float, clock: Clock,
        events: Events,
    ) -> None:  # fmt: skip
        self._prefix = f"{prefix}:{LAYOUT}"
        self._link = RedisLink(url, timeout_seconds, self._prefix)
        self._records = records
        self._timeout = timeout_seconds
        self._keep_ms = round(keep_seconds * 1000)
        self._clock = clock
        self._events = events
        self._redis = self._link.servers.redis
        # Each database number has its own keys, but channels are common to all numbers.
        self._channel = f"{self._prefix}:news:{self._link.number}"
        names = "round", "reports", "bans", "reports-stamp"
        self._keys = [self._claim_key(LEADER), *(f"{self._prefix}:{name}" for name in names)]
        # The reports that were read or written last, and their stamp.
        self._reports: tuple[Any, Any] = None, b"never read"
        self._subscription: PubSub | None = None
        self._doubtful = False
        self._listened_at = 0.0
        # The round that was read last, and how many rounds came without a notification.
        self._round, self._untold = b"", 0

    async def read(self) -> tuple[str | None, Stored]:
        async def look() -> list[bytes | None]:
            claim, round_, reports, bans, stamp = self._keys
            found = await self._mget(claim, round_, bans, stamp)
            if found[3] != self._reports[1]:
                # If the leader stores newer reports between the two reads, the stamp differs again at the next turn.
                self._reports = (await self._mget(reports))[0], found[3]
            self._hold_against_news(found[1] or b"")
            return found

        holder, round_, bans, _ = await self._do("read", look)
        return _text(holder), await self._records.load((round_, self._reports[0], bans))

    async def write(self, holder: str, stored: Stored) -> bool:
        now_ms = self._clock.wall_ms()
        bans_ms = max([self._keep_ms, *(ban.until_ms - now_ms for ban in stored.bans)])
        round_, reports, bans = await self._records.dump(stored)
        has_news = reports != self._reports[0]
        stamp = b"%d" % stored.made_at_ms if has_news else self._reports[1] or b""
        args: list[Any] = [holder, round_, b"", bans, self._keep_ms, bans_ms, self._channel, stamp]
        result = 2 if has_news else await self._do("write", lambda: self._eval(WRITE, self._keys, args))
        if result == 2:  # The reports are new, or Redis has lost them.
            args[2] = reports
            result = await self._do("write", lambda: self._eval(WRITE, self._keys, args))
        if result:
            self._reports = reports, stamp
        return bool(result)

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        lasts_ms = round(seconds * 1000)
        args = [holder, lasts_ms, lasts_ms + MAX_SKEW_MS]
        return bool(await self._do("claim", lambda: self._eval(CLAIM, [self._claim_key(name)], args)))

    async def holder(self, name: str) -> str | None:
        return _text((await self._do("holder", lambda: self._mget(self._claim_key(name))))[0])

    async def release(self, holder: str, name: str = LEADER) -> None:
        await self._do("release", lambda: self._eval(RELEASE, [self._claim_key(name)], [holder]))

    async def news(self, seconds: float) -> bool:
        """See PriceStore; while the subscription is lost, only instant notifications are missing."""
        started = self._clock.monotonic()
        try:
            # After a failed operation the subscription's own connection may have died too, without an error. After a
            # pause, for example while this worker led, each message from that time would be taken for a new one.
            if self._doubtful or started - self._listened_at > MAX_PAUSE_SECONDS:
                await self._unsubscribe()
                self._doubtful = False
            if self._subscription is None:
                self._subscription = self._link.servers.pubsub()
                async with limit(self._timeout):
                    await self._link.servers.check()
                    await self._subscription.subscribe(self._channel)
            message: dict[str, Any] | None = await self._subscription.get_message(timeout=seconds)
        except Exception:  # As in _do.
            self._events(StoreAsked("news", "error", self._clock.monotonic() - started))
            await self._unsubscribe()
            await self._clock.sleep(seconds)
            return False
        self._listened_at = self._clock.monotonic()
        if is_news := message is not None and message["type"] == "message":
            self._untold = 0
        return is_news

    async def close(self) -> None:
        with contextlib.suppress(RedisError, OSError):
            async with limit(self._timeout):
                await self._unsubscribe()
                await self._link.servers.close()

    async def _mget(self, *keys: str) -> list[bytes | None]:
        """The values of the keys; not by GET, which fails on a key of another type."""
        found = await self._redis.mget(keys)
        if not isinstance(found, list) or len(found) != len(keys) or not {*map(type, found)} <= {bytes, type(None)}:
            raise RedisError("what was answered to MGET is no answer to it")
        return found

    async def _eval(self, script: str, keys: list[str], args: list[Any]) -> Any:
        """Send the script itself: not every user may load scripts, and a failover may lose loaded ones."""
        return await self._redis.eval(script, len(keys), *keys, *args)

    def _claim_key(self, name: str) -> str:
        return f"{self._prefix}:claim:{name}"

    async def _do(self, op: str, operation: Callable[[], Awaitable[Result]]) -> Result:
        started = self._clock.monotonic()
        try:
            # For the whole operation: the client's own limits apply to each read and each write.
            async with limit(self._timeout):
                await self._link.servers.check()
                result = await operation()
        except Exception as error:  # A strange answer can make the client raise other errors than its own.
            self._events(StoreAsked(op, "error", self._clock.monotonic() - started))
            self._doubtful = True
            raise StoreUnavailable(f"Redis at {self._link.place}: {await self._link.failed(error)}") from None
        self._events(StoreAsked(op, "ok", self._clock.monotonic() - started))
        return result

    def _hold_against_news(self, round_: bytes) -> None:
        """Doubt the subscription when new rounds come without a notification.

        1. An address moves to another server. 2. The connection for commands is reopened, and reaches the new server.
        3. The subscription's connection stays with the old server, healthy but silent.
        """
        if round_ != self._round:
            self._round, self._untold = round_, self._untold + 1
        self._doubtful = self._doubtful or self._untold > MOST_UNTOLD

    async def _unsubscribe(self) -> None:
        subscription, self._subscription = self._subscription, None
        self._untold = 0
        if subscription is not None:
            # It may be broken already: that is why it is given up.
            with contextlib.suppress(Exception):
                async with limit(self._timeout):
                    await subscription.aclose()  # type: ignore[no-untyped-call]


def _text(value: bytes | None) -> str | None:
    return value.decode("utf-8", "replace") if value else None
