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
# Claimed by nobody in particular from the telling of a loss to the telling of the return: each is told once, in turns,
# by every service to its own log. Claims of a service that has ended mean nothing to the next one.
TOLD_CLAIM, TOLD_BY, TOLD_SECONDS = "loss told by {}", "any worker", 86_400.0
# Held while a worker finds out whether it is to tell; of those that do so at the same moment, one gets to.
ANNOUNCE_CLAIM, ANNOUNCE_SECONDS = "announcer of {}", 0.5
FOLLOWED = "another worker of this machine cannot use it"


class FallbackStore:
    """Uses the shared store until it fails one worker of this machine; then all of them use the local one.

    Together, because a failure may well strike only some of them, as that of a server which takes no more clients:
    apart they would be two callers on one machine.
    """

    def __init__(
        self, shared: QuoteStore, local: QuoteStore, holder: str, service: str, clock: Clock, events: Events
    ) -> None:
        self.lost: str | None = None
        self._shared = shared
        self._local = local
        self._holder = holder
        self._told_claim = TOLD_CLAIM.format(service)
        self._announce_claim = ANNOUNCE_CLAIM.format(service)
        self._clock = clock
        self._events = events
        self._fails = False
        self._told_loss = False
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
            if await self._works():
                # Those that are still cut off have a turn to claim that before we take the store for back.
                self._fails, self.lost = False, FOLLOWED
                await self._nobody_else_is_cut_off()
        elif not await self._nobody_else_is_cut_off():
            self._went(FOLLOWED, announce=False)
        # Whoever only followed tries as well. Otherwise, after a restart over a dead Redis: 1. the claim of a worker
        # that has ended says "cut off", and we follow; 2. it lapses, and we say that Redis is back; 3. our first
        # operation fails, and we say that Redis is lost.
        elif self.lost is not None and await self._works() and not self._fails:
            self.lost = None
            self._events(StoreBack(await self._may_tell(is_loss=False)))
        if self._fails:
            await self._is_mine(CUT_OFF_CLAIM, CUT_OFF_SECONDS)
            if await self._may_tell(is_loss=True):
                self._events(StoreLost(self.lost or FOLLOWED, announce=True))

    async def _works(self) -> bool:
        try:
            # Of a name of its own, so that it writes: a store that is full or read-only is not back because it answers.
            await self._shared.claim(f"retry {self._holder}", self._holder, TURN_SECONDS)
        except StoreUnavailable as error:
            self._fails, self.lost = True, str(error)
            return False
        return True

    async def _failed(self, reason: str) -> None:
        if self._fails:
            return  # Another operation was under way at the same time.
        self._fails = True
        await self._is_mine(CUT_OFF_CLAIM, CUT_OFF_SECONDS)
        self._went(reason, await self._may_tell(is_loss=True))

    def _went(self, reason: str, announce: bool) -> None:
        if self.lost is None:
            self.lost = reason
            self._events(StoreLost(reason, announce))

    async def _may_tell(self, is_loss: bool) -> bool:
        """Whether nobody has told what we are to tell; from now on it is told."""
        was_lost = self._told_loss  # Of use only where there is no local store, and so nobody to agree with.
        with contextlib.suppress(StoreUnavailable):
            if not await self._local.claim(self._announce_claim, self._holder, ANNOUNCE_SECONDS):
                return False
            was_lost = not await self._local.claim(self._told_claim, self._holder, TOLD_SECONDS)
            if not was_lost:
                await self._local.release(self._told_claim, self._holder)
            if is_loss:
                await self._local.claim(self._told_claim, TOLD_BY, TOLD_SECONDS)
            else:
                await self._local.release(self._told_claim, TOLD_BY)
            await self._local.release(self._announce_claim, self._holder)
        self._told_loss = is_loss
        return was_lost is not is_loss

    async def _nobody_else_is_cut_off(self) -> bool:
        """Ends our own claim, if it is we who were."""
        return await self._is_mine(CUT_OFF_CLAIM, LOOK_SECONDS)

    async def _is_mine(self, claim: str, seconds: float) -> bool:
        try:
            return await self._local.claim(claim, self._holder, seconds)
        except StoreUnavailable:
            return True  # With no local store there is nobody to agree with.
