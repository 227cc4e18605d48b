"""A PriceSource made of PriceSources: asked in order, left alone when they want it, checked against each other."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastprice.application.bans import Bans
from fastprice.application.events import SourceSkipped
from fastprice.application.ports import Clock, Events, PriceSource, SourceReport
from fastprice.application.standings import Standings
from fastprice.domain.errors import ClaimOver, InvalidQuote, NoSource, SourceError, SourceTimeout
from fastprice.domain.quote import Pair, Quote, SourceTime

# A last trade may be this old on a quiet pair while bid and ask are live.
MAX_TRADE_LAG_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class FailoverLimits:
    """Seconds for a whole round, for one source's attempt, and for how long a stalled source is asked last;
    milliseconds that a price may lag by its own stamp while another source has a newer one, and that its stamp may be
    off at all; the share by which a price may jump before a second source must agree."""

    round_seconds: float
    attempt_seconds: float
    stall_seconds: float
    fresh_lag_ms: int
    max_lag_ms: int
    max_deviation: float


@dataclass(slots=True)
class _Round:
    """One turn through the sources: what is held, who was asked and why not taken, and quotes kept in reserve."""

    held: Quote | None
    reasons: dict[str, str]
    outliers: list[Quote]
    laggards: list[Quote]


class Failover:
    """Asks its sources in order until one gives a quote that fits the held one, or two agree on another price.

    A quote that lags by its own stamp is kept back, and taken only if no other source has a newer one. `held` gives
    the price being served; `breaker_state` the state of a source's breaker, for the reports. Raises NoSource, and
    ClaimOver.
    """

    def __init__(
        self,
        sources: Sequence[PriceSource],
        limits: FailoverLimits,
        held: Callable[[Pair], Quote | None],
        breaker_state: Callable[[str], str],
        bans: Bans,
        clock: Clock,
        events: Events,
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._limits = limits
        self._held = held
        self._breaker_state = breaker_state
        self._bans = bans
        self._clock = clock
        self._events = events
        self._standings = Standings(self._sources, limits.stall_seconds, bans, clock, events)

    async def fetch(self, pair: Pair) -> Quote:
        round_ = _Round(self._held(pair), {}, [], [])
        try:
            async with asyncio.timeout(self._limits.round_seconds):
                return await self._first_accepted(pair, round_)
        except TimeoutError:
            asked = next(reversed(round_.reasons))
            error = SourceTimeout(f"no answer within the {self._limits.round_seconds:g} s of a round")
            self._standings.failed(asked, pair, error)
            raise NoSource(round_.reasons) from None

    def reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        """How every source stands for a pair."""
        return self._standings.reports(pair, self._breaker_state)

    async def _first_accepted(self, pair: Pair, round_: _Round) -> Quote:
        last_start = self._clock.monotonic() + self._limits.round_seconds - self._limits.attempt_seconds
        asked = False
        for name in self._standings.in_order():
            if refusal := self._bans.refusal(name, pair):
                round_.reasons[name] = refusal
                self._events(SourceSkipped(name))
            elif asked and self._clock.monotonic() > last_start:
                # Asked now it would be cut short, and be blamed for the time that others took.
                round_.reasons[name] = "no time left in this round"
            else:
                asked = True
                if accepted := await self._asked(self._sources[name], pair, round_):
                    return accepted
        return self._reserve(pair, round_)

    async def _asked(self, source: PriceSource, pair: Pair, round_: _Round) -> Quote | None:
        """The quote to serve after asking one more source, or None."""
        round_.reasons[source.name] = "no answer before the round ended"
        try:
            quote = await source.fetch(pair)
            lags = self._lags(source, quote, round_.held)
        except ClaimOver:
            raise
        except SourceError as error:
            round_.reasons[source.name] = str(error)
            self._standings.failed(source.name, pair, error)
            held_from = round_.held.source if round_.held else None
            priced = source.name == held_from or self._standings.has_priced(source.name, pair)
            await self._bans.note(source.name, pair, error, priced)
            return None
        if lags:
            round_.laggards.append(quote)
            return None
        accepted = self._agreed(quote, round_)
        if accepted is None:
            round_.outliers.append(quote)
            round_.reasons[source.name] = f"{quote.price} is far from the held price and no second source agrees"
        else:
            self._settle(accepted, quote, round_)
        return accepted

    def _lags(self, source: PriceSource, quote: Quote, held: Quote | None) -> bool:
        """Whether the quote is old by its own stamp; InvalidQuote where the stamp cannot be true."""
        meaning, stamp_ms, limit_ms = source.source_time, quote.source_time_ms, self._limits.max_lag_ms
        if stamp_ms is None or meaning not in (SourceTime.PRICE, SourceTime.TRADE):
            return False
        if stamp_ms < self._standings.newest_stamp_ms(quote, held):
            raise InvalidQuote("its time stamp ran backwards")
        lag_ms = quote.fetched_at_ms - stamp_ms
        if not -limit_ms <= lag_ms <= (limit_ms if meaning is SourceTime.PRICE else max(limit_ms, MAX_TRADE_LAG_MS)):
            side = "behind" if lag_ms > 0 else "ahead of"
            raise InvalidQuote(f"its time stamp is {abs(lag_ms) / 1000:.0f} s {side} this machine's clock")
        return meaning is SourceTime.PRICE and lag_ms > self._limits.fresh_lag_ms

    def _agreed(self, quote: Quote, round_: _Round) -> Quote | None:
        if round_.held is None or self._fits(quote, round_.held):
            return quote
        return next((other for other in round_.outliers if self._fits(quote, other)), None)

    def _fits(self, quote: Quote, other: Quote) -> bool:
        return quote.deviation(other) <= self._limits.max_deviation

    def _settle(self, accepted: Quote, last: Quote, round_: _Round) -> None:
        """Tell right from wrong among all who answered, now that there is a price to compare with."""
        for quote in (*round_.outliers, last):
            if self._fits(quote, accepted):
                self._standings.answered(quote)
            else:
                error = InvalidQuote(f"{quote.price} is far from what another source says")
                self._standings.failed(quote.source, quote.pair, error)
        for quote in round_.laggards:
            self._standings.failed(quote.source, quote.pair, InvalidQuote(_age_by_stamp(quote)))

    def _reserve(self, pair: Pair, round_: _Round) -> Quote:
        """No source has a better one: the newest of the quotes that lag, if it fits; else NoSource."""
        for quote in sorted(round_.laggards, key=lambda quote: quote.source_time_ms or 0, reverse=True):
            if self._agreed(quote, round_) is quote:
                self._standings.answered(quote)
                return quote
            round_.reasons[quote.source] = _age_by_stamp(quote)
        for quote in (*round_.outliers, *round_.laggards):
            self._standings.failed(quote.source, pair, InvalidQuote(round_.reasons[quote.source]))
        raise NoSource(round_.reasons)


def _age_by_stamp(quote: Quote) -> str:
    lag_ms = quote.fetched_at_ms - (quote.source_time_ms or quote.fetched_at_ms)
    return f"its price is {lag_ms / 1000:.0f} s old by its own time stamp"
