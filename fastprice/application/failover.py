"""A PriceSource made of PriceSources: asked in order, left alone when they want it, checked against each other."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from fastprice.application.events import SourceBack, SourceCooling, SourceLost, SourceSkipped
from fastprice.application.ports import Clock, Events, PriceSource, SourceReport
from fastprice.domain.errors import (
    CoolDown, InvalidQuote, NoSource, SourceError, SourceRejected, SourceTimeout, UnknownSymbol
)
from fastprice.domain.quote import Pair, Quote, SourceTime

# A last trade may be this old on a quiet pair while bid and ask are live; beyond, the feed is taken for frozen.
MAX_TRADE_LAG_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class FailoverLimits:
    """Seconds for a whole round and for how long a stalled source is asked last; milliseconds a stamp may lag; the
    share by which a price may jump before a second source must agree."""

    deadline_seconds: float
    stall_seconds: float
    max_lag_ms: int
    max_deviation: float


@dataclass(slots=True)
class _Standing:
    """What this worker remembers of one source."""

    cooldown_until_ms: int | None = None
    cooldown_reason: str | None = None
    stalled_until: float = 0.0
    unlisted: set[Pair] = field(default_factory=set)
    quotes: dict[Pair, Quote] = field(default_factory=dict)
    last_error: str | None = None
    last_error_at_ms: int | None = None
    lost: bool = False


class Failover:
    """Asks its sources in order until one gives a quote that fits the held one, or two agree on another price.

    A source that stalled is asked last for a while, so that the next round does not wait for it again. `held` gives
    the price being served; `breaker_state` the state of a source's breaker, for the reports. Raises NoSource.
    """

    def __init__(
        self,
        sources: Sequence[PriceSource],
        limits: FailoverLimits,
        held: Callable[[Pair], Quote | None],
        breaker_state: Callable[[str], str],
        clock: Clock,
        events: Events,
    ) -> None:
        self._sources = tuple(sources)
        self._limits = limits
        self._held = held
        self._breaker_state = breaker_state
        self._clock = clock
        self._events = events
        self._standings = {source.name: _Standing() for source in sources}

    async def fetch(self, pair: Pair) -> Quote:
        reasons: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                return await self._first_accepted(pair, reasons)
        except TimeoutError:
            asked = next(reversed(reasons))
            words = f"no answer within the {self._limits.deadline_seconds:g} s of a round"
            self._failed(asked, pair, SourceTimeout(words))
            raise NoSource(reasons) from None

    async def _first_accepted(self, pair: Pair, reasons: dict[str, str]) -> Quote:
        held = self._held(pair)
        outliers: list[Quote] = []
        for source in self._in_order():
            if refusal := self._refusal(source.name, pair):
                reasons[source.name] = refusal
                self._events(SourceSkipped(source.name))
                continue
            reasons[source.name] = "no answer before the round ended"
            try:
                quote = await self._ask(source, pair)
            except SourceError as error:
                reasons[source.name] = str(error)
                self._failed(source.name, pair, error)
                continue
            accepted = self._agreed(quote, held, outliers)
            if accepted is not None:
                self._settle(pair, accepted, quote, outliers)
                return accepted
            outliers.append(quote)
            reasons[source.name] = f"{quote.price} is far from the held price and no second source agrees"
        for outlier in outliers:
            self._failed(outlier.source, pair, InvalidQuote(reasons[outlier.source]))
        raise NoSource(reasons)

    def reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        """How every source stands for a pair, in failover order."""
        return tuple(
            SourceReport(
                source=name,
                breaker=self._breaker_state(name),
                quote=standing.quotes.get(pair),
                cooldown_until_ms=standing.cooldown_until_ms,
                cooldown_reason=standing.cooldown_reason,
                last_error=standing.last_error,
                last_error_at_ms=standing.last_error_at_ms,
            )
            for name, standing in self._standings.items()
        )

    def learn(self, reports: Iterable[SourceReport]) -> None:
        """Take over the cool-downs that another worker was told, so that a ban outlives the worker that earned it."""
        for report in reports:
            standing = self._standings.get(report.source)
            if standing and (report.cooldown_until_ms or 0) > (standing.cooldown_until_ms or 0):
                standing.cooldown_until_ms = report.cooldown_until_ms
                standing.cooldown_reason = report.cooldown_reason

    def _in_order(self) -> list[PriceSource]:
        now = self._clock.monotonic()
        return sorted(self._sources, key=lambda source: self._standings[source.name].stalled_until > now)

    def _refusal(self, name: str, pair: Pair) -> str | None:
        standing = self._standings[name]
        if pair in standing.unlisted:
            return f"does not list {pair.symbol}; not asked again until restart"
        left_ms = (standing.cooldown_until_ms or 0) - self._clock.wall_ms()
        if left_ms > 0:
            return f"left alone for {left_ms / 1000:.0f} s more: {standing.cooldown_reason}"
        return None

    async def _ask(self, source: PriceSource, pair: Pair) -> Quote:
        quote = await source.fetch(pair)
        self._check_time(source.source_time, quote, self._standings[source.name].quotes.get(pair))
        return quote

    def _check_time(self, meaning: SourceTime, quote: Quote, previous: Quote | None) -> None:
        if quote.source_time_ms is None or meaning not in (SourceTime.PRICE, SourceTime.TRADE):
            return
        if previous and previous.source_time_ms and quote.source_time_ms < previous.source_time_ms:
            raise InvalidQuote("its time stamp ran backwards")
        lag_ms = quote.fetched_at_ms - quote.source_time_ms
        most_ms = self._limits.max_lag_ms if meaning is SourceTime.PRICE else MAX_TRADE_LAG_MS
        if not -self._limits.max_lag_ms <= lag_ms <= most_ms:
            side = "behind" if lag_ms > 0 else "ahead of"
            raise InvalidQuote(f"its time stamp is {abs(lag_ms) / 1000:.0f} s {side} this machine's clock")

    def _agreed(self, quote: Quote, held: Quote | None, outliers: list[Quote]) -> Quote | None:
        if held is None or quote.deviation(held) <= self._limits.max_deviation:
            return quote
        return next((other for other in outliers if quote.deviation(other) <= self._limits.max_deviation), None)

    def _settle(self, pair: Pair, accepted: Quote, last: Quote, outliers: list[Quote]) -> None:
        for quote in (*outliers, last):
            if quote.deviation(accepted) <= self._limits.max_deviation:
                self._answered(quote)
            else:
                self._failed(quote.source, pair, InvalidQuote(f"{quote.price} is far from what another source says"))

    def _answered(self, quote: Quote) -> None:
        standing = self._standings[quote.source]
        standing.quotes[quote.pair] = quote
        standing.stalled_until = 0.0
        standing.cooldown_until_ms = standing.cooldown_reason = None
        if standing.lost:
            standing.lost = False
            self._events(SourceBack(quote.source))

    def _failed(self, name: str, pair: Pair, error: SourceError) -> None:
        if isinstance(error, SourceRejected):
            self._events(SourceSkipped(name))
            return
        standing = self._standings[name]
        standing.last_error = str(error)
        standing.last_error_at_ms = self._clock.wall_ms()
        if isinstance(error, CoolDown):
            standing.cooldown_until_ms = standing.last_error_at_ms + round(error.seconds * 1000)
            standing.cooldown_reason = str(error)
            self._events(SourceCooling(name, standing.cooldown_until_ms))
        elif isinstance(error, UnknownSymbol):
            standing.unlisted.add(pair)
        elif isinstance(error, SourceTimeout):
            standing.stalled_until = self._clock.monotonic() + self._limits.stall_seconds
        if not standing.lost:
            standing.lost = True
            self._events(SourceLost(name, str(error)))
