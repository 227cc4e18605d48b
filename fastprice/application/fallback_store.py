"""A QuoteStore made of two: the one that all machines share, and this machine's own while that one fails."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastprice.application.events import StoreBack, StoreLost
from fastprice.application.ports import Ban, Clock, Events, QuoteStore, SourceReport
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import Pair, Quote

Result = TypeVar("Result")

# How often a worker tries the shared store that fails it, and looks how the others of its machine fare: well within
# the five seconds after which all of them are to be back.
TURN_SECONDS = 1.0
# Claimed in the local store by one of those whom the shared one fails, for as long as it does.
CUT_OFF_CLAIM = "cut off"
CUT_OFF_SECONDS = 1.8
# Over before it begins: it tells whether somebody holds a claim, and keeps nobody from it.
LOOK_SECONDS = -0.05
# Claimed by nobody in particular from the telling of a loss to the telling of the return: neither is told twice.
TOLD_CLAIM, TOLD_BY, TOLD_SECONDS = "loss told", "machine", 86_400.0
# Of those who find at the same moment that the shared store is back, one gets to tell.
ANNOUNCE_CLAIM = "announce"
ANNOUNCE_SECONDS = 0.5
FOLLOWED = "another worker of this machine cannot use it"


class FallbackStore:
    """Uses the shared store until it fails one worker of this machine; then all of them use the local one.

    Together, because a failure may well strike only some of them, as that of a server which takes no more clients:
    apart they would be two callers on one machine.
    """

    def __init__(self, shared: QuoteStore, local: QuoteStore, holder: str, clock: Clock, events: Events) -> None:
        self.lost: str | None = None
        self._shared = shared
        self._local = local
        self._holder = holder
        self._clock = clock
        self._events = events
        self._fails = False
        self._turn_at = clock.monotonic()

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
        return await self._either(lambda store: store.claim(name, holder, seconds))

    async def release(self, name: str, holder: str) -> None:
        await self._either(lambda store: store.release(name, holder))

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        # What every worker does all the time, whatever its interval; no request and no claim waits on a turn.
        if self._clock.monotonic() >= self._turn_at:
            await self._turn()
            self._turn_at = self._clock.monotonic() + TURN_SECONDS
        wait = min(seconds, self._turn_at - self._clock.monotonic())
        return await (self._local if self.lost else self._shared).news(wait)

    async def close(self) -> None:
        await self._shared.close()
        await self._local.close()

    async def _either(self, operation: Callable[[QuoteStore], Awaitable[Result]]) -> Result:
        if self.lost is None:
            try:
                return await operation(self._shared)
            except StoreUnavailable as error:
                await self._failed(str(error))
        return await operation(self._local)

    async def _turn(self) -> None:
        if self._fails:
            await self._is_mine(CUT_OFF_CLAIM, CUT_OFF_SECONDS)
            await self._retry()
        if self._fails:
            await self._is_mine(CUT_OFF_CLAIM, CUT_OFF_SECONDS)
        elif not await self._is_mine(CUT_OFF_CLAIM, LOOK_SECONDS):
            self._went(FOLLOWED, announce=False)
        elif self.lost is not None and not self._fails:
            self.lost = None
            self._events(StoreBack(await self._may_tell_of_return()))

    async def _retry(self) -> None:
        try:
            # Of a name of its own, so that it writes: a store that is full or read-only is not back because it answers.
            await self._shared.claim(f"retry {self._holder}", self._holder, TURN_SECONDS)
        except StoreUnavailable as error:
            self.lost = str(error)
        else:
            self._fails, self.lost = False, FOLLOWED

    async def _failed(self, reason: str) -> None:
        """Whoever is the first of the machine to be failed tells of it; those that fail or follow later do not."""
        if self._fails:
            return  # Another operation was under way at the same time.
        self._fails = True
        is_first = await self._is_mine(CUT_OFF_CLAIM, CUT_OFF_SECONDS)
        if is_first and self.lost is None:
            await self._mark_told()
        self._went(reason, is_first)

    def _went(self, reason: str, announce: bool) -> None:
        if self.lost is None:
            self.lost = reason
            self._events(StoreLost(reason, announce))

    async def _mark_told(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._local.claim(TOLD_CLAIM, TOLD_BY, TOLD_SECONDS)

    async def _may_tell_of_return(self) -> bool:
        """Whether the loss was told, and we are the one to take it back."""
        try:
            if await self._local.claim(TOLD_CLAIM, self._holder, TOLD_SECONDS):
                # Nobody held it: somebody was quicker, or it was never told.
                await self._local.release(TOLD_CLAIM, self._holder)
                return False
            if not await self._local.claim(ANNOUNCE_CLAIM, self._holder, ANNOUNCE_SECONDS):
                return False
            await self._local.release(TOLD_CLAIM, TOLD_BY)
        except StoreUnavailable:
            pass  # With no local store there is nobody to agree with.
        return True

    async def _is_mine(self, claim: str, seconds: float) -> bool:
        try:
            return await self._local.claim(claim, self._holder, seconds)
        except StoreUnavailable:
            return True  # With no local store there is nobody to agree with.
