"""Getting a newer price into every tier: one flight per pair, from L2 or else the sources, then to L2, then to L1."""

import asyncio
import logging
from typing import Any

from fastprice.application.bans import Bans
from fastprice.application.events import CacheRead, Refreshed, RefreshFailing, RefreshRecovered
from fastprice.application.failover import Failover
from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Clock, Events, QuoteStore, SourceReport
from fastprice.domain.errors import ClaimOver, NoSource, StoreUnavailable
from fastprice.domain.quote import Pair, Quote

logger = logging.getLogger(__name__)


class RefreshPrice:
    """Starts at most one refresh per pair at a time; whoever comes while it flies gets the same flight.

    `reports` is how the sources stand, from our own asking or as the claimant stored it.
    """

    def __init__(
        self,
        failover: Failover,
        bans: Bans,
        store: QuoteStore,
        latest: LatestPrice[Any],
        interval_seconds: float,
        clock: Clock,
        events: Events,
    ) -> None:
        self.reports: dict[Pair, tuple[SourceReport, ...]] = {}
        self._failover = failover
        self._bans = bans
        self._store = store
        self._latest = latest
        self._interval_ms = interval_seconds * 1000
        self._clock = clock
        self._events = events
        self._flights: dict[Pair, asyncio.Task[None]] = {}
        self._failing: set[Pair] = set()

    def flight(self, pair: Pair) -> asyncio.Task[None]:
        """The running refresh of a pair, or a new one; await it shielded, it is not yours alone."""
        flight = self._flights.get(pair)
        if flight is None:
            flight = self._flights[pair] = asyncio.create_task(self._fly(pair), name=f"refresh {pair.slug}")
            flight.add_done_callback(lambda done: self._landed(pair, done))
        return flight

    async def adopt(self, pair: Pair) -> None:
        """Take over what the others stored: the quote, if it is newer, the bans, and how the sources stand."""
        if (stored := await self._stored(pair)) is not None:
            self.take(stored)
        await self._bans.learn()
        try:
            self.reports[pair] = await self._store.get_reports(pair)
        except StoreUnavailable:
            pass  # The reports we have are the newest there are; the store itself tells that it failed.

    def take(self, quote: Quote) -> bool:
        """Take a quote of another worker into L1, if it is newer."""
        taken = self._latest.offer(quote)
        if taken:
            self._failing.discard(quote.pair)
            self._events(Refreshed(quote.pair, "adopted"))
        return taken

    async def close(self) -> None:
        """Cancel the running flights and wait for their end."""
        flights = list(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _fly(self, pair: Pair) -> None:
        # Another worker may have stored a quote between its last tick and our claim: A stores, A dies, we claim.
        # Taking A's spares the source a call; our own last quote is already in L1, so it is never taken for news.
        stored = await self._stored(pair)
        if stored and self.take(stored) and stored.age_ms(self._clock.wall_ms()) < self._interval_ms:
            return
        await self._bans.learn()
        try:
            quote = await self._failover.fetch(pair)
        except ClaimOver:
            return
        except NoSource as error:
            self._failed(pair, error)
        else:
            await self._share(quote)
            self._latest.offer(quote)
            self._fetched(quote)
        await self._share_reports(pair)

    async def _stored(self, pair: Pair) -> Quote | None:
        try:
            stored = await self._store.get(pair)
        except StoreUnavailable:
            return None
        self._events(CacheRead("l2", "hit" if stored else "miss"))
        return stored

    async def _share(self, quote: Quote) -> None:
        try:
            await self._store.put(quote)
        except StoreUnavailable:
            pass  # This worker serves the quote all the same; the others claim on whatever store is up and get theirs.

    async def _share_reports(self, pair: Pair) -> None:
        self.reports[pair] = self._failover.reports(pair)
        try:
            await self._store.put_reports(pair, self.reports[pair])
        except StoreUnavailable:
            pass  # As above: they inform, nothing depends on them.

    def _fetched(self, quote: Quote) -> None:
        self._events(Refreshed(quote.pair, "fetched"))
        if quote.pair in self._failing:
            self._failing.discard(quote.pair)
            self._events(RefreshRecovered(quote.pair, quote.source))

    def _failed(self, pair: Pair, error: NoSource) -> None:
        self._events(Refreshed(pair, "failed"))
        if pair not in self._failing:
            self._failing.add(pair)
            self._events(RefreshFailing(pair, str(error)))

    def _landed(self, pair: Pair, flight: asyncio.Task[None]) -> None:
        self._flights.pop(pair, None)
        if not flight.cancelled() and (error := flight.exception()) is not None:
            logger.error("a defect ended the refresh of %s; the next one starts anew", pair.symbol, exc_info=error)
