"""Is this quote to be believed: by its own stamp, beside the price that is served, and beside what others say."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from fastprice.domain.errors import InvalidQuote
from fastprice.domain.quote import Quote, SourceTime

# A last trade may be this old on a quiet pair while bid and ask are live.
MAX_TRADE_LAG_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much a stamp may be off at all, and up to which lag a price counts as current, in milliseconds; and the
    share by which a price may jump before a second source must agree."""

    stamp_ms: int
    current_ms: int
    max_deviation: float

    def fits(self, quote: Quote, other: Quote) -> bool:
        return quote.price == other.price or quote.deviation(other) <= self.max_deviation

    def lags(self, meaning: SourceTime, quote: Quote, newest_stamp_ms: int) -> bool:
        """Whether a quote is old by its own stamp; raises InvalidQuote where the stamp cannot be true.

        `newest_stamp_ms` is the newest stamp that the same source has shown for this pair.
        """
        stamp_ms, limit_ms = quote.source_time_ms, self.stamp_ms
        if stamp_ms is None or meaning not in (SourceTime.PRICE, SourceTime.TRADE):
            return False
        if stamp_ms < newest_stamp_ms:
            raise InvalidQuote("its time stamp ran backwards")
        lag_ms = quote.fetched_at_ms - stamp_ms
        if not -limit_ms <= lag_ms <= (limit_ms if meaning is SourceTime.PRICE else max(limit_ms, MAX_TRADE_LAG_MS)):
            side = "behind" if lag_ms > 0 else "ahead of"
            raise InvalidQuote(f"its time stamp is {abs(lag_ms) / 1000:.0f} s {side} this machine's clock")
        return meaning is SourceTime.PRICE and lag_ms > self.current_ms


@dataclass(slots=True)
class Evidence:
    """What is known of one pair in a round: the price that is served, and the quotes that are kept in reserve.

    `outliers` are far from the held price and wait for a second source to agree. `laggards` are old by their own
    stamp and are served only if no source has a newer one.
    """

    held: Quote | None
    outliers: list[Quote] = field(default_factory=list)
    laggards: list[Quote] = field(default_factory=list)

    def agreed(self, quote: Quote, tolerance: Tolerance) -> Quote | None:
        """What to serve now that this quote has come: itself, an earlier outlier that it confirms, or nothing yet."""
        if self.held is None or tolerance.fits(quote, self.held):
            return quote
        return next((other for other in self.outliers if tolerance.fits(quote, other)), None)

    def reserve(self, tolerance: Tolerance) -> Quote | None:
        """The newest laggard that fits, for when no source has a better one."""
        newest_first = sorted(self.laggards, key=lambda quote: quote.source_time_ms or 0, reverse=True)
        return next((quote for quote in newest_first if self.agreed(quote, tolerance) is quote), None)

    def judged(self, accepted: Quote | None, tolerance: Tolerance) -> Iterator[tuple[Quote, InvalidQuote | None]]:
        """Every quote in reserve and what is wrong with it, now that it is known which one is served, if any."""
        far = "what another source says" if accepted else "the held price and no second source agrees"
        for quote in self.outliers:
            fits = accepted is not None and tolerance.fits(quote, accepted)
            yield quote, None if fits else InvalidQuote(f"{quote.price} is far from {far}")
        for quote in self.laggards:
            lag_ms = quote.fetched_at_ms - (quote.source_time_ms or quote.fetched_at_ms)
            old = f"its price is {lag_ms / 1000:.0f} s old by its own time stamp"
            yield quote, None if quote is accepted else InvalidQuote(old)
