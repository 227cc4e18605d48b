"""A PriceStore made of two: the one that all machines share, and this machine's own while that one fails."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastprice.application.events import StoreBack, StoreLost
from fastprice.application.ports import LEADER, Clock, Events, PriceStore, Stored
from fastprice.domain.errors import StoreUnavailable

Result = TypeVar("Result")

# How often a worker tries the shared store that fails it, and looks how the others of its machine fare. All of them are
# back after two turns, which is within two seconds.
TURN_SECONDS = 0.75
# A worker that listens to the local store looks so often whether the shared one is back.
LISTEN_SECONDS = 0.1
# Held in the local store by one of those whom the shared one fails, for as long as it does. It lasts well above a turn:
# a worker that takes its turn late must not send the others back and forth.
CUT_OFF, CUT_OFF_SECONDS = "cut off", 2.2
# Held by nobody in particular from the telling of a loss to the telling of the return: each is told once, in turns, by
# every service to its own log. Claims of a service that has ended mean nothing to the next one.
TOLD, TOLD_BY, TOLD_SECONDS = "loss told by {}", "any worker", 86_400.0
# Held while a worker finds out whether it is to tell; of those that do so at the same moment, one gets to.
ANNOUNCE, ANNOUNCE_SECONDS = "announcer of {}", 0.5
FOLLOWED = "another worker of this machine cannot use it"


class FallbackStore:
    """Uses the shared store until it fails one worker of this machine; then all of them use the local one.

    Together, because a failure may well strike only some of them, as that of a server which takes no more clients:
    apart they would be two leaders on one machine. `keep` must run beside the operations.
    """

    def __init__(
        self, shared: PriceStore, local: PriceStore, holder: str, service: str, clock: Clock, events: Events
    ) -> None:
        self.lost: str | None = None
        self._shared = shared
        self._local = local
        self._me = holder
        self._told, self._announce = TOLD.format(service), ANNOUNCE.format(service)
        self._clock = clock
        self._events = events
        self._fails = False
        self._told_loss = False

    async def read(self) -> tuple[str | None, Stored]:
        return await self._either(lambda store: store.read())

    async def write(self, holder: str, stored: Stored) -> bool:
        return await self._either(lambda store: store.write(holder, stored))

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        return await self._either(lambda store: store.claim(holder, seconds, name))

    async def holder(self, name: str) -> str | None:
        return await self._either(lambda store: store.holder(name))

    async def release(self, holder: str, name: str = LEADER) -> None:
        await self._either(lambda store: store.release(holder, name))

    async def news(self, seconds: float) -> bool:
        """See PriceStore; over sooner where the shared store is back, to be listened to from then on."""
        if self.lost is None:
            return await self._shared.news(seconds)
        left, end = seconds, self._clock.monotonic() + seconds
        while not (is_news := await self._local.news(min(left, LISTEN_SECONDS))):
            left = end - self._clock.monotonic()
            if left <= 0 or self.lost is None:
                break
        return is_news

    async def close(self) -> None:
        await self._shared.close()
        await self._local.close()

    async def keep(self) -> None:
        """Take turns until cancelled, whatever the interval of refreshing is; nothing else waits on a turn."""
        while True:
            await self._clock.sleep(TURN_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """Look whether this worker, or another one of this machine, is cut off from the shared store."""
        # Before we look who is cut off: whoever tells of a loss holds that first.
        is_told = await self._is_told()
        if self._fails:
            await self._hold_cut_off()
            if await self._works():
                # Those that are still cut off have a turn to say so before we take the store for back.
                self._fails, self.lost = False, FOLLOWED
                await self._release_cut_off()
        elif await self._another_is_cut_off():
            self._went(FOLLOWED, announce=False)
        # Whoever only followed tries as well. Otherwise, after a restart over a dead Redis: 1. the claim of a worker
        # that has ended says "cut off", and we follow; 2. it lapses, and we say that Redis is back; 3. our first
        # operation fails, and we say that Redis is lost.
        elif self.lost is not None and await self._works() and not self._fails:
            self.lost = None
            self._events(StoreBack(await self._may_tell(is_loss=False)))
        # A loss was told, and nobody tells of its end: who told of it has ended, or was telling when we came back.
        elif self.lost is None and is_told and await self._may_tell(is_loss=False):
            self._events(StoreBack(announce=True))
        if self._fails:
            await self._hold_cut_off()
            self._went(self.lost or FOLLOWED, await self._may_tell(is_loss=True))

    async def _either(self, operation: Callable[[PriceStore], Awaitable[Result]]) -> Result:
        if self.lost is None:
            try:
                return await operation(self._shared)
            except StoreUnavailable as error:
                await self._failed(str(error))
        return await operation(self._local)

    async def _works(self) -> bool:
        try:
            # A claim of its own, so that it writes: a store that is full or read-only is not back because it answers.
            await self._shared.claim(self._me, TURN_SECONDS, f"retry {self._me}")
        except StoreUnavailable as error:
            self._fails, self.lost = True, str(error)
            return False
        return True

    async def _failed(self, reason: str) -> None:
        if self._fails:
            return  # Another operation was under way at the same time.
        self._fails = True
        await self._hold_cut_off()
        self._went(reason, await self._may_tell(is_loss=True))

    def _went(self, reason: str, announce: bool) -> None:
        """Use the local store from now on; also where we do so already, a loss that is to be announced is told."""
        if self.lost is None or announce:
            self.lost = reason
            self._events(StoreLost(reason, announce))

    async def _may_tell(self, is_loss: bool) -> bool:
        """Whether nobody has told what we are to tell; from now on it is told."""
        was_lost = self._told_loss  # Of use only where there is no local store, and so nobody to agree with.
        with contextlib.suppress(StoreUnavailable):
            if not await self._local.claim(self._me, ANNOUNCE_SECONDS, self._announce):
                return False
            was_lost = await self._local.holder(self._told) is not None
            if is_loss:
                await self._local.claim(TOLD_BY, TOLD_SECONDS, self._told)
            else:
                await self._local.release(TOLD_BY, self._told)
            await self._local.release(self._me, self._announce)
        self._told_loss = is_loss
        return was_lost is not is_loss

    async def _is_told(self) -> bool:
        with contextlib.suppress(StoreUnavailable):
            return await self._local.holder(self._told) is not None
        return False

    async def _another_is_cut_off(self) -> bool:
        with contextlib.suppress(StoreUnavailable):
            return await self._local.holder(CUT_OFF) not in (None, self._me)
        return False  # With no local store there is nobody to follow.

    async def _hold_cut_off(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._local.claim(self._me, CUT_OFF_SECONDS, CUT_OFF)

    async def _release_cut_off(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._local.release(self._me, CUT_OFF)
