"""A PriceStore made of two: the one that all machines share, and this machine's own while the shared one fails."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from fastprice.application.events import StoreBack, StoreLost
from fastprice.application.ports import LEADER, Clock, Events, PriceStore, Stored
from fastprice.domain.errors import StoreUnavailable

Result = TypeVar("Result")

# How often a worker retries the shared store that failed, and checks whether others of its machine are cut off. When
# the store is back, all of them use it again after two or three turns, which is within two seconds.
TURN_SECONDS = 0.5
# How often a worker that listens to the local store checks whether the shared one is back.
LISTEN_SECONDS = 0.1
# A claim in the local store, held by one of the workers that cannot use the shared one, and renewed until it can. It
# outlives a turn by far: a worker whose turn is late must not make the others switch back and forth.
CUT_OFF, CUT_OFF_SECONDS = "cut off", 2.2
# A claim by no particular worker, from the announcement of a loss to that of the return. Every service announces each
# once, alternately, in its own log. Claims of a service that has ended mean nothing to the next one.
TOLD, TOLD_BY, TOLD_SECONDS = "loss told by {}", "any worker", 86_400.0
# A claim held while a worker finds out whether it must announce; of several at the same moment, one gets it.
ANNOUNCE, ANNOUNCE_SECONDS = "announcer of {}", 0.5
FOLLOWED = "another worker of this machine cannot use it"


class FallbackStore:
    """Uses the shared store until it fails one worker of this machine; then all of them use the local one.

    They switch together, because some failures hit only some of them, such as a server that accepts no more clients:
    otherwise there would be two leaders on one machine. `keep` must run beside the operations.
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
        """See PriceStore; returns earlier if the shared store is back, so that the caller listens to that one."""
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
        """Take turns until cancelled, independent of the refresh interval; nothing else waits for a turn."""
        while True:
            await self._clock.sleep(TURN_SECONDS)
            await self.turn()

    async def turn(self) -> None:
        """Check whether this worker, or another one of this machine, is cut off from the shared store."""
        # Read this before the cut-off claim: a worker takes that claim before it announces a loss.
        is_told = await self._is_told()
        if self._fails:
            await self._hold_cut_off()
            if await self._works():
                # Workers that are still cut off have one turn to say so before we treat the store as back.
                self._fails, self.lost = False, FOLLOWED
                await self._release_cut_off()
        elif await self._another_is_cut_off():
            self._went(FOLLOWED, announce=False)
        # A worker that only followed tries the store too. Otherwise, after a restart while Redis is down: 1. the claim
        # of an ended worker says "cut off", and we follow; 2. it expires, and we announce that Redis is back; 3. our
        # first operation fails, and we announce that Redis is lost.
        elif self.lost is not None and await self._works() and not self._fails:
            self.lost = None
            self._events(StoreBack(await self._may_tell(is_loss=False)))
        # A loss was announced, but no return: the announcing worker has ended, or was still busy when we came back.
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
            # A claim of its own, so that it is a write: a full or read-only store also answers, but is not back.
            await self._shared.claim(self._me, TURN_SECONDS, f"retry {self._me}")
        except StoreUnavailable as error:
            self._fails, self.lost = True, str(error)
            return False
        return True

    async def _failed(self, reason: str) -> None:
        if self._fails:
            return  # Another operation failed at the same time.
        self._fails = True
        await self._hold_cut_off()
        self._went(reason, await self._may_tell(is_loss=True))

    def _went(self, reason: str, announce: bool) -> None:
        """Use the local store from now on; a loss to be announced is reported even if we use it already."""
        if self.lost is None or announce:
            self.lost = reason
            self._events(StoreLost(reason, announce))

    async def _may_tell(self, is_loss: bool) -> bool:
        """Whether this worker must announce the loss or the return; from now on it counts as announced."""
        was_lost = self._told_loss  # Used only without a local store, when there is nobody to agree with.
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
        return False  # Without a local store there is nobody to follow.

    async def _hold_cut_off(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._local.claim(self._me, CUT_OFF_SECONDS, CUT_OFF)

    async def _release_cut_off(self) -> None:
        with contextlib.suppress(StoreUnavailable):
            await self._local.release(self._me, CUT_OFF)
