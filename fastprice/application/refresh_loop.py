"""When to refresh: one claimant per pair asks the sources at a steady rate, everyone else takes what it stored."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastprice.application.events import ClaimMoved, CoordinationBack, CoordinationLost, FreshnessMoved
from fastprice.application.latest_price import LatestPrice
from fastprice.application.leases import Leases
from fastprice.application.ports import Clock, Events, QuoteStore
from fastprice.application.refresh_price import RefreshPrice
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import Freshness, Pair

Result = TypeVar("Result")

logger = logging.getLogger(__name__)

# A claim outlives one missed renewal, so that a busy moment does not change the caller.
CLAIM_INTERVALS = 2.0
# Those who wait for the claim look at it a little less often than it is renewed, each at its own pace.
FOLLOWER_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """Who we are in claims, and how often the claimant asks; `random` gives shares of one."""

    holder: str
    interval_seconds: float
    random: Callable[[], float]

    @property
    def claim_seconds(self) -> float:
        return self.interval_seconds * CLAIM_INTERVALS


class RefreshLoop:
    """Keeps L1 fresh for every pair until it is cancelled; survives whatever the store and the sources do."""

    def __init__(
        self,
        refresh: RefreshPrice,
        store: QuoteStore,
        latest: LatestPrice[Any],
        pace: Pace,
        leases: Leases,
        clock: Clock,
        events: Events,
    ) -> None:
        self._refresh = refresh
        self._store = store
        self._latest = latest
        self._pace = pace
        self._leases = leases
        self._clock = clock
        self._events = events
        self._holding: set[Pair] = set()
        self._alone = False
        self._freshness: dict[Pair, Freshness | None] = {}

    async def run(self) -> None:
        """Run until cancelled; then stop the flights and hand the claims over."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._follow())
                for pair in self._latest.pairs:
                    group.create_task(self._keep(pair))
        finally:
            await self._refresh.close()
            for pair in self._holding:
                await self._release(pair)

    async def tick(self, pair: Pair) -> bool:
        """One turn for one pair; says whether this worker holds the claim.

        The flight is started, not awaited: the claim is renewed while a slow source is still being waited for.
        """
        asked_at = self._clock.monotonic()
        holds = await self._claimed(pair)
        if not holds:
            if pair in self._holding:
                self._holding.discard(pair)
                self._events(ClaimMoved(pair, held=False))
            self._leases.renew(pair, asked_at)  # A refresh under way asks nobody else either.
            await self._refresh.adopt(pair)
        else:
            if pair not in self._holding:
                self._holding.add(pair)
                self._events(ClaimMoved(pair, held=True))
            self._leases.renew(pair, asked_at + self._pace.claim_seconds)
            self._refresh.flight(pair)
        self._watch_freshness(pair)
        return holds

    async def _keep(self, pair: Pair) -> None:
        await self._survived(self._refresh.adopt(pair))
        due = self._clock.monotonic()
        while True:
            holds = await self._survived(self.tick(pair)) or False
            due = self.next_due(due, holds)
            await self._clock.sleep(due - self._clock.monotonic())

    def next_due(self, due: float, holds: bool) -> float:
        """When the next turn is: on a fixed beat for the holder, jittered for the others, never in the past."""
        stretch = 1.0 if holds else 1.0 + FOLLOWER_JITTER * self._pace.random()
        return max(due + self._pace.interval_seconds * stretch, self._clock.monotonic())

    async def _follow(self) -> None:
        while True:
            if await self._survived(self._take_news()) is None:
                await self._clock.sleep(self._pace.interval_seconds)

    async def _take_news(self) -> bool:
        for quote in await self._store.news(self._pace.interval_seconds):
            self._refresh.take(quote)
        return True

    async def _survived(self, turn: Coroutine[Any, Any, Result]) -> Result | None:
        """The turn's result, or None where it failed: nothing may end the loop but its own cancellation."""
        try:
            return await turn
        except StoreUnavailable:
            return None
        except Exception:
            logger.exception("a defect ended a turn of the refresh loop; the next one starts anew")
            return None

    async def _claimed(self, pair: Pair) -> bool:
        try:
            claimed = await self._store.claim(pair.slug, self._pace.holder, self._pace.claim_seconds)
        except StoreUnavailable as error:
            # With no store at all nobody can be asked: a caller too many is better than a price too old.
            if not self._alone:
                self._events(CoordinationLost(str(error)))
            self._alone = True
            return True
        if self._alone:
            self._events(CoordinationBack())
        self._alone = False
        return claimed

    async def _release(self, pair: Pair) -> None:
        self._events(ClaimMoved(pair, held=False))
        try:
            await self._store.release(pair.slug, self._pace.holder)
        except StoreUnavailable:
            pass  # The claim ends by itself.

    def _watch_freshness(self, pair: Pair) -> None:
        now = self._latest.freshness(pair)
        before, self._freshness[pair] = self._freshness.get(pair), now
        # The first fresh price is no news: a worker that takes the claim over would tell of it again.
        news = now is not before and (before, now) != (None, Freshness.FRESH)
        if now is not None and news and pair in self._holding:
            quote = self._latest.by_slug[pair.slug].quote
            self._events(FreshnessMoved(pair, now, quote.age_ms(self._clock.wall_ms())))
