"""A real leader over the real exchanges' streams and a simulated market, in one process and one event loop."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from bench.streamfaults.oracle import Oracle
from bench.streamfaults.said import NotingMarket
from fastprice.application import feed, judgement, merged
from fastprice.application.belief import MAX_TRADE_LAG_MS
from fastprice.application.events import Event, SourceAsked
from fastprice.application.latest_price import Snapshot
from fastprice.application.ports import Clock, Limit
from fastprice.application.streamed import Streamed
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote
from fastprice.engine import engine
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges import EXCHANGES, clocks, live, shard, subscriptions, websocket
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.live import LiveStream
from fastprice.infrastructure.exchanges.source import ExchangeSource
from fastprice.infrastructure.exchanges.spec import Exchange
from fastprice.infrastructure.exchanges.stream import Patience
from fastprice.settings import Settings
from tests.memory_store import MemoryStore

INTERVAL, CACHE_TTL, MAX_STALE = 0.2, 2, 6
# How long a leader pauses after a failure: with the real values, a run would consist of pauses.
PAUSES: tuple[tuple[Any, str, float], ...] = (
    (feed, "MOVE_SECONDS", 0.5), (feed, "GIVE_UP_SECONDS", 1.0), (feed, "MAX_GIVE_UP_SECONDS", 2.0),
    (shard, "FIRST_PAUSE_SECONDS", 0.1), (shard, "MAX_PAUSE_SECONDS", 1.0), (websocket, "CUT_SECONDS", 1.0),
)  # fmt: skip
# How long a leader waits for missing messages, in a market whose channels all push ten times a second.
PATIENCE: tuple[tuple[Any, str, float], ...] = (
    (merged, "SILENT_MS", 800), (judgement, "WINDOW_MS", 600), (judgement, "WRONG_MS", 2500),
    (judgement, "VERY_WRONG_MS", 900), (clocks, "FIRST_DATA_SECONDS", 1.5),
    (subscriptions, "ANSWER_SECONDS", 1.0), (subscriptions, "SETTLED_SECONDS", 0.3), (live, "RENEW_SECONDS", 0.5),
    (websocket, "HANDSHAKE_SECONDS", 1.0),
)  # fmt: skip


@contextlib.contextmanager
def hastened(values: Sequence[tuple[Any, str, float]]) -> Iterator[None]:
    """Use shorter times for as long as this lasts."""
    with contextlib.ExitStack() as stack:
        for module, name, value in values:
            stack.enter_context(patch.object(module, name, value))
        yield


def impatient(exchange: Exchange, seconds: float) -> Exchange:
    """The exchange with a stream that is given up after `seconds` without a frame."""
    assert exchange.stream
    return replace(polled_often(exchange), stream=replace(exchange.stream, patience=Patience(seconds)))


def polled_often(exchange: Exchange) -> Exchange:
    """The exchange with a limit that allows the frequent polls of a short test."""
    return replace(exchange, limit=Limit(1000.0, 1000.0))


class World:
    """The leader's engine over some sources of a started market; `renewed` counts the quotes from streams, by pair."""

    def __init__(
        self, market: NotingMarket, sources: Sequence[str], session: Session, change: Callable[[Exchange], Exchange],
        random: Callable[[], float], **environ: str,
    ) -> None:  # fmt: skip
        self.market, self.sources, self.events = market, tuple(sources), list[Event]()
        self.renewed: Counter[Pair] = Counter()
        clock = SystemClock()
        settings = Settings.from_env({
            "SOURCES": ",".join(sources), "PAIRS": ",".join(pair.slug for pair in market.walks),
            "REFRESH_INTERVAL": str(INTERVAL), "CACHE_TTL": str(CACHE_TTL), "MAX_STALE": str(MAX_STALE),
            "FETCH_TIMEOUT": "0.5", "RETRY_BASE": "0.01", "BREAKER_RESET": "1", "CROSS_CHECK_INTERVAL": "1",
        } | environ)  # fmt: skip
        lag_ms = settings.age_limits.fresh_ms + MAX_SKEW_MS
        live = [
            _streamed(change(EXCHANGES[name]), market.url, session, clock, self._tell, random, lag_ms)
            for name in sources
        ]
        store = MemoryStore(clock)
        self.engine = engine(settings, live, store, Snapshot, "leader", clock, self._tell, random)
        self.latest, self.feed = self.engine.latest, self.engine.feed
        self.oracle = Oracle(market, self.latest, INTERVAL)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loops = self.engine.leader.run(), self.feed.run(self._renew), self.oracle.watch()
        self._tasks = [asyncio.create_task(loop) for loop in loops]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def live(self) -> set[str]:
        """The sources whose streams are live."""
        return {report.source for report in self.feed.reports() if report.state == "live"}

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kinds)]

    def _tell(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, SourceAsked) and event.outcome == "ok":
            self.oracle.polled(event.source)

    async def _renew(self, believed: Callable[[], Awaitable[Sequence[Quote]]]) -> None:
        async def counted() -> Sequence[Quote]:
            quotes = await believed()
            self.renewed.update(quote.pair for quote in quotes)
            return quotes

        await self.engine.rounds.renew(counted)


def _streamed(
    exchange: Exchange, url: str, session: Session, clock: Clock, events: Callable[[Event], None],
    random: Callable[[], float], lag_ms: int,
) -> Streamed:  # fmt: skip
    assert exchange.stream
    base = f"{url}/{exchange.name}"
    source = ExchangeSource(exchange, base, 0.5, session, clock, events)
    host = f"ws{base.removeprefix('http')}"
    stream = LiveStream(exchange, exchange.stream, host, base, session, clock, events, random)
    return Streamed(source, stream, clock, lag_ms, MAX_TRADE_LAG_MS)


@contextlib.asynccontextmanager
async def world(
    market: NotingMarket, sources: Sequence[str], change: Callable[[Exchange], Exchange],
    random: Callable[[], float], **environ: str,
) -> AsyncIterator[World]:  # fmt: skip
    """Start a market and a leader; both are stopped at the end."""
    await market.start()
    try:
        async with Session("fastprice/test") as session:
            made = World(market, sources, session, change, random, **environ)
            made.start()
            try:
                yield made
            finally:
                await made.stop()
    finally:
        await market.stop()


def open_sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
    return count
