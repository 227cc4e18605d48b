"""Rounds and their results: the leader asks sources and stores quotes, all other workers take over what is stored."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from fastprice.application.carry_out import carry_out
from fastprice.application.events import CacheRead, Refreshed, RefreshFailing, RefreshRecovered
from fastprice.application.latest_price import LatestPrice
from fastprice.application.live_ports import StreamReport
from fastprice.application.ports import Clock, Events, PairReport, PriceStore, SourceReport, Stored
from fastprice.application.round import Round
from fastprice.application.slices import in_slices
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import Pair, Quote

logger = logging.getLogger(__name__)


# Makes a round from a function that returns the served quote of a pair, and from the monotonic second of its start.
MakeRound = Callable[[Callable[[Pair], Quote | None], float], Round]


class Rounds:
    """Runs one round at a time, and knows the results of the last one, whichever worker ran it.

    `reports` are the states of the sources. `seen_at` is the monotonic second at which this worker last saw something
    new in the store, or wrote to it under the name `holder`.
    """

    def __init__(
        self, make: MakeRound, sources: Sequence[SourceHealth], store: PriceStore, latest: LatestPrice[Any],
        streams: Callable[[], tuple[StreamReport, ...]], holder: str, clock: Clock, events: Events,
    ) -> None:  # fmt: skip
        self.reports: tuple[SourceReport, ...] = ()
        self.streams: Sequence[StreamReport] = ()
        self.seen_at = clock.monotonic()
        self._make = make
        self._sources = sources
        self._store = store
        self._latest = latest
        self._streams_now = streams
        self._holder = holder
        self._clock = clock
        self._events = events
        self._round: Round | None = None
        self._task: asyncio.Task[None] | None = None
        self._published: dict[Pair, Quote] = {}
        self._failing: frozenset[Pair] = frozenset()
        self._seen_ms = 0
        # The lock prevents this: 1. A round collects what to store. 2. A stream does so too, without the round's new
        # quotes. 3. The round stores. 4. The stream stores, and overwrites the round's new quotes.
        self._storing = asyncio.Lock()

    @property
    def is_under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    def standing(self, pair: Pair) -> list[tuple[SourceReport, PairReport]]:
        """The state of every source, and what it last said about a pair."""
        standing, held = [], self._latest.held(pair)
        for report in self.reports:
            said = report.of(pair)
            # The stored report leaves out the quote that is served.
            is_served = said.quote is None and held is not None and held.source == report.source
            standing.append((report, replace(said, quote=held) if is_served else said))
        return standing

    async def adopt(self, stored: Stored, leads: bool) -> None:
        """Take over what is stored, if it is new; a leader knows the state of the sources better than the store."""
        if stored.made_at_ms == self._seen_ms:
            return
        now = self._clock.monotonic()
        self._seen_ms, self.seen_at = stored.made_at_ms, now
        taken = sum([self._latest.offer(quote) async for quote in in_slices(stored.quotes)])
        self._events(CacheRead("l2", "hit" if stored.quotes else "miss"))
        if taken:
            self._events(Refreshed("adopted", taken))
        wall_ms = self._clock.wall_ms()
        bans = {ban.source: ban for ban in stored.bans}
        for health in self._sources:
            if health.name in bans:
                health.take(bans[health.name], now, wall_ms)
        if not leads:
            self.reports, self.streams, self._failing = stored.reports, stored.streams, stored.failing

    def begin(self, may_ask: Callable[[], bool]) -> None:
        """Start a round; `may_ask` says before each call whether this worker still leads."""
        self._task = asyncio.create_task(survived(self._run(may_ask)), name="round")

    async def publish_new(self) -> None:
        """Publish what the round under way has brought so far, if anything."""
        if self._round is not None:
            self._round.settle(self._clock.monotonic(), self._clock.wall_ms())
            if self._round.accepted != self._published:
                await self._publish(self._round)

    async def renew(self, believed: Callable[[], Awaitable[Sequence[Quote]]]) -> None:
        """Store and serve what streams say between two rounds, if it is believable next to what is served then."""
        async with self._storing:
            if quotes := await believed():
                await self._serve(quotes, self._newest(quotes), "streamed")

    async def stop(self) -> None:
        """Cancel the round under way and wait for its end."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, may_ask: Callable[[], bool]) -> None:
        self._round = self._make(self._latest.held, self._clock.monotonic())
        self._published.clear()
        try:
            await carry_out(self._round, self._clock, may_ask)
        finally:
            for event in self._round.events:
                self._events(event)
        if may_ask():
            self._tell_outcome(self._round)
        await self._publish(self._round)

    async def _publish(self, round_: Round) -> None:
        async with self._storing:
            new = [quote for pair, quote in round_.accepted.items() if self._published.get(pair) is not quote]
            self._published.update(round_.accepted)
            now, wall_ms, served = self._clock.monotonic(), self._clock.wall_ms(), self._newest(new)
            self.reports = tuple(health.report(now, wall_ms, served) for health in self._sources)
            await self._serve(new, served, "fetched")

    def _newest(self, new: Sequence[Quote]) -> dict[Pair, Quote]:
        """What is served from now on: the newest quote of each pair; of two equally new ones, the one from `new`."""
        served = self._latest.all_held()
        for quote in new:
            held = served.get(quote.pair)
            if held is None or quote.made_at_ms >= held.made_at_ms:
                served[quote.pair] = quote
        return served

    async def _serve(self, new: Sequence[Quote], served: Mapping[Pair, Quote], result: str) -> None:
        """Store everything that is served, then serve the new quotes in this worker too."""
        now, wall_ms, streams = self._clock.monotonic(), self._clock.wall_ms(), self._streams_now()
        self.streams = streams
        stored = Stored(
            made_at_ms=max(wall_ms, self._seen_ms + 1),
            quotes=tuple(served.values()),
            failing=self._failing,
            reports=self.reports,
            bans=tuple(ban for health in self._sources if (ban := health.active_ban(now))),
            streams=streams,
        )
        try:
            if await self._store.write(self._holder, stored):
                self._seen_ms, self.seen_at = stored.made_at_ms, now
        except StoreUnavailable:
            pass  # This worker serves the quotes anyway; a leader on another store has its own.
        async for quote in in_slices(new):
            self._latest.offer(quote)
        if new:
            self._events(Refreshed(result, len(new)))

    def _tell_outcome(self, round_: Round) -> None:
        missing = frozenset(round_.missing)
        recovered = tuple(pair for pair in round_.accepted if pair in self._failing)
        failing = tuple(pair for pair in round_.missing if pair not in self._failing)
        self._failing = missing
        if missing:
            self._events(Refreshed("failed", len(missing)))
        if failing:
            self._events(RefreshFailing(failing, round_.why(failing[0])))
        if recovered:
            self._events(RefreshRecovered(recovered))


async def survived(turn: Awaitable[None]) -> None:
    """Await a turn; a defect is logged, and the next turn starts normally: only cancellation may end the beat."""
    try:
        await turn
    except Exception:
        logger.exception("a defect ended a turn of the beat; the next one starts afresh")
