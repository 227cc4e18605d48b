"""Which streams are open, and what is done with their prices: the leader's part of live prices.

A stream is a hint and the poll is the truth (merged.py). In failover mode one stream is open, that of the source from
which the rounds take most prices, and it moves with them; in median mode those of all sources that may be asked. The
price of a stream is served at once unless it surprises; if it does, the next round asks other sources first.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from fastprice.application.events import SourceCooling
from fastprice.application.latest_price import LatestPrice
from fastprice.application.live_belief import LiveBelief
from fastprice.application.live_events import StreamGivenUp
from fastprice.application.live_ports import StreamReport
from fastprice.application.ports import Ban, Clock, Events
from fastprice.application.rounds import survived
from fastprice.application.slices import in_slices
from fastprice.application.source_health import SourceHealth
from fastprice.application.streamed import Streamed
from fastprice.domain.errors import CoolDown, SourceError
from fastprice.domain.quote import Pair, Quote

# How long rounds must take most prices from another source before the stream moves there.
MOVE_SECONDS = 3.0
# How long a stream that was given up stays closed: the first time, and at most if that happens again and again.
GIVE_UP_SECONDS, MAX_GIVE_UP_SECONDS = 60.0, 3600.0
# Wall time is in milliseconds: two quotes within the same one would seem equally new.
MIN_INTERVAL_SECONDS = 0.001

MayAsk = Callable[[], bool]
# Stores and serves the quotes that a function returns, as soon as nothing else is being stored.
Renew = Callable[[Callable[[], Awaitable[Sequence[Quote]]]], Awaitable[None]]


class Feed:
    """Opens, closes and gives up streams: `turn` is to be called at each turn of the beat, and `run` runs beside it.

    Prices of streams are served at most once every `interval_seconds`, all changed pairs together.
    """

    def __init__(
        self, sources: Iterable[Streamed], healths: Iterable[SourceHealth], latest: LatestPrice[Any],
        belief: LiveBelief, interval_seconds: float, clock: Clock, events: Events,
    ) -> None:  # fmt: skip
        self._sources = {source.name: source for source in sources}
        self._healths = {health.name: health for health in healths if health.name in self._sources}
        self._latest = latest
        self._belief = belief
        self._interval_seconds = max(interval_seconds, MIN_INTERVAL_SECONDS)
        self._clock = clock
        self._events = events
        self._news = asyncio.Event()
        self._may_ask: MayAsk = _never
        self._main: str | None = None
        self._main_since = 0.0
        self._given_up: dict[str, tuple[float, float]] = {}
        self._closing: set[asyncio.Task[None]] = set()

    def turn(self, may_ask: MayAsk | None) -> None:
        """Open and close streams; `may_ask` says whether this worker still leads, None means that it does not."""
        if not self._sources:
            return
        now = self._clock.monotonic()
        self._may_ask = may_ask or _never
        wanted = self._wanted(now) if may_ask else set()
        for name, source in self._sources.items():
            if source.is_open and source.wrong:
                self._give_up(name, source.wrong, now)
                wanted.discard(name)
            if source.is_open and name not in wanted:
                task = asyncio.create_task(source.close(), name=f"close the stream of {name}")
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
            elif name in wanted and not source.is_open:
                source.open(self._latest.pairs, self._news.set, partial(self._refused, name))

    def reports(self) -> tuple[StreamReport, ...]:
        """The states of the streams, in the order of the sources."""
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        reports = []
        for name, source in self._sources.items():
            until = self._given_up.get(name, (0.0, 0.0))[0]
            if until > now:
                reports.append(StreamReport(name, "given_up", now_ms + round((until - now) * 1000)))
            else:
                reports.append(source.report(now_ms))
        return tuple(reports)

    async def run(self, renew: Renew) -> None:
        """Serve what the streams say until cancelled; then close them."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                await survived(self._take(renew))
                await self._clock.sleep(self._interval_seconds)
        finally:
            self.turn(None)
            await asyncio.gather(*self._closing, return_exceptions=True)

    async def _take(self, renew: Renew) -> None:
        """Serve the prices that have changed, if they are believed."""
        if not self._may_ask():
            return
        said: dict[Pair, tuple[SourceHealth, Quote]] = {}
        for name, source in self._sources.items():
            health = self._healths[name]
            await source.listen()
            async for quote in in_slices(source.take()):
                health.words.told(quote, self._latest.held(quote.pair))
                said[quote.pair] = health, quote
        if said:
            await renew(partial(self._believed, said))

    async def _believed(self, said: Mapping[Pair, tuple[SourceHealth, Quote]]) -> list[Quote]:
        """Which of the streams' quotes are to be served, compared with what is served now."""
        prices = list[Quote]()
        async for pair, (health, quote) in in_slices(said.items()):
            if price := self._belief.price(health, quote, self._latest.held(pair), self._clock.wall_ms()):
                prices.append(price)
        return prices

    def _wanted(self, now: float) -> set[str]:
        """The sources whose streams should be open now."""
        may = {
            name
            for name, health in self._healths.items()
            if health.active_ban(now) is None and now >= self._given_up.get(name, (0.0, 0.0))[0]
        }
        return may if self._belief.needs_all else may & {self._moved(now)}

    def _moved(self, now: float) -> str | None:
        """The source that rounds take most prices from, once they have done so for a while."""
        counts = Counter(held.source for pair in self._latest.pairs if (held := self._latest.held(pair)))
        most = max(counts, key=counts.__getitem__, default=None)
        if most in (None, self._main):
            self._main_since = now
        elif self._main is None or now - self._main_since >= MOVE_SECONDS:
            self._main, self._main_since = most, now
        return self._main

    def _refused(self, name: str, error: SourceError) -> None:
        """Apply a ban that a stream received to the polls too, once; the stream stays closed for longer.

        If the stream opened again when the ban ends, and was refused again, the source would never be polled again.
        """
        if isinstance(error, CoolDown):
            now, wall_ms = self._clock.monotonic(), self._clock.wall_ms()
            self._give_up(name, str(error), now, 2 * error.seconds)
            health = self._healths[name]
            before = health.active_ban(now)
            health.take(Ban(name, wall_ms + round(error.seconds * 1000), str(error)), now, wall_ms)
            if (ban := health.active_ban(now)) is not None and ban is not before:
                self._events(SourceCooling(name, ban.until_ms))

    def _give_up(self, name: str, reason: str, now: float, least: float = 0.0) -> None:
        until, seconds = self._given_up.get(name, (0.0, 0.0))
        # A stream that then worked for longer than it was closed starts with the first pause again.
        again = seconds and now - until < seconds
        seconds = max(min(2 * seconds, MAX_GIVE_UP_SECONDS) if again else GIVE_UP_SECONDS, least)
        self._given_up[name] = now + seconds, seconds
        self._events(StreamGivenUp(name, reason, seconds))


def _never() -> bool:
    return False
