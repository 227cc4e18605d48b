"""A QuoteStore made of two: the one that all machines share, and this machine's own while that one fails."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastprice.application.events import StoreBack, StoreLost
from fastprice.application.ports import Ban, Clock, Events, QuoteStore, SourceReport
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import Pair, Quote

Result = TypeVar("Result")

# While the shared store is lost it is tried once a second: one cheap operation, and back well within five.
RETRY_SECONDS = 1.0
# The claim under which one worker of the machine gets to announce that the shared store went or came.
ANNOUNCE_CLAIM = "announce"
ANNOUNCE_SECONDS = 5.0


class FallbackStore:
    """Uses the shared store; from its first failure on the local one, trying the shared one again once a second.

    Only a claim tries it: it writes, so a store that is full or read-only is not taken for back because it answers.
    """

    def __init__(self, shared: QuoteStore, local: QuoteStore, holder: str, clock: Clock, events: Events) -> None:
        self.lost: str | None = None
        self._shared = shared
        self._local = local
        self._holder = holder
        self._clock = clock
        self._events = events
        self._retry_at = 0.0

    async def get(self, pair: Pair) -> Quote | None:
        return await self._either(lambda store: store.get(pair))

    async def put(self, quote: Quote) -> bool:
        return await self._either(lambda store: store.put(quote))

    async def get_reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        return await self._either(lambda store: store.get_reports(pair))

    async def put_reports(self, pair: Pair, reports: tuple[SourceReport, ...]) -> None:
        await self._either(lambda store: store.put_reports(pair, reports))

    async def get_bans(self) -> tuple[Ban, ...]:
        return await self._either(lambda store: store.get_bans())

    async def put_ban(self, ban: Ban) -> None:
        await self._either(lambda store: store.put_ban(ban))

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        return await self._either(lambda store: store.claim(name, holder, seconds), probe=True)

    async def release(self, name: str, holder: str) -> None:
        await self._either(lambda store: store.release(name, holder))

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        # Waiting is no probe: it must not find out that the shared store is gone by waiting on it.
        return await (self._local if self.lost else self._shared).news(seconds)

    async def close(self) -> None:
        await self._shared.close()
        await self._local.close()

    async def _either(self, operation: Callable[[QuoteStore], Awaitable[Result]], probe: bool = False) -> Result:
        if self.lost and not (probe and self._clock.monotonic() >= self._retry_at):
            return await operation(self._local)
        self._retry_at = self._clock.monotonic() + RETRY_SECONDS
        try:
            result = await operation(self._shared)
        except StoreUnavailable as error:
            await self._went(str(error))
            return await operation(self._local)
        if probe:
            await self._came()
        return result

    async def _went(self, reason: str) -> None:
        if self.lost is None:
            self.lost = reason
            self._events(StoreLost(reason, await self._may_announce()))
        self.lost = reason

    async def _came(self) -> None:
        if self.lost is not None:
            self.lost = None
            self._events(StoreBack(await self._may_announce()))

    async def _may_announce(self) -> bool:
        try:
            return await self._local.claim(ANNOUNCE_CLAIM, self._holder, ANNOUNCE_SECONDS)
        except StoreUnavailable:
            return True
