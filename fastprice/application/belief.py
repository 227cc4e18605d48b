"""Whether a quote is believed: by its own time stamp, and compared with the served price and with other sources."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fastprice.application.agreement import majority
from fastprice.domain.errors import InvalidQuote
from fastprice.domain.quote import Quote, SourceTime

# On a quiet pair the last trade may be this old while bid and ask are live.
MAX_TRADE_LAG_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far off a time stamp may be, and up to which lag a price counts as current, both in milliseconds.

    `max_deviation` is the share by which a price may jump before a second source must agree, `agreeing` the share
    within which two sources agree.
    """

    stamp_ms: int
    current_ms: int
    max_deviation: float
    agreeing: float

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


def fits(quote: Quote, other: Quote, share: float) -> bool:
    """Whether two prices differ by no more than a share."""
    return quote.price == other.price or abs(quote.deviation(other)) <= share


@dataclass(slots=True)
class Evidence:
    """What is known about one pair in a round: the quote that is served, and what the sources have said.

    `quotes` are from the sources that were asked in order; the first of them is served if it is believed. `checks`
    are from sources that were asked in order to check. `doubted` are from distrusted sources, and `laggards` are old
    by their own stamp: both are served only if there is nothing better. `blamed` are far from what is served instead.
    """

    held: Quote | None
    quotes: list[Quote] = field(default_factory=list)
    checks: list[Quote] = field(default_factory=list)
    doubted: list[Quote] = field(default_factory=list)
    laggards: list[Quote] = field(default_factory=list)
    blamed: Sequence[Quote] = ()
    everybody_was_asked: bool = False
    weighed: int = 0

    @property
    def has_news(self) -> bool:
        """Whether quotes have come since the evidence was last weighed."""
        return len(self.all) > self.weighed

    @property
    def trusted(self) -> list[Quote]:
        return [*self.quotes, *self.checks]

    @property
    def all(self) -> list[Quote]:
        return [*self.quotes, *self.checks, *self.doubted, *self.laggards]

    def promote(self, source: str) -> None:
        """Move a checker's quotes to the regular ones, because its own turn has come."""
        self.quotes += [quote for quote in self.checks if quote.source == source]
        self.checks = [quote for quote in self.checks if quote.source != source]

    def jumps(self, share: float) -> bool:
        """Whether the first quote is farther than a share from the price that is served."""
        return self.held is not None and not fits(self.quotes[0], self.held, share)

    def agree(self, share: float) -> bool:
        """Whether all trusted quotes fit the first one."""
        first, *others = self.trusted
        return all(fits(first, other, share) for other in others)

    def judged(self, rank: Sequence[str], tolerance: Tolerance) -> "Verdict":
        """Which sources are right if they disagree; `rank` has the sources in their order.

        Distrusted sources vote too: otherwise sources that lied, and made the others distrusted once, could never be
        outvoted again.
        """
        voices = sorted((*self.trusted, *self.doubted), key=lambda quote: rank.index(quote.source))
        # Those that agree or, if too few do, those that are at least not far from each other.
        for share in tolerance.agreeing, tolerance.max_deviation:
            if len(voices) > 2 and (near := majority(voices, share)):
                trusted = [voice for voice in near if voice not in self.doubted]
                right = near if share == tolerance.agreeing else []
                return Verdict((trusted or near)[0], right, [voice for voice in voices if voice not in near])
        return Verdict(self.supported(tolerance.max_deviation), [], [])

    def supported(self, share: float) -> Quote | None:
        """The first quote that the held price or another trusted source supports at least roughly."""
        if self.held is None:
            return self.quotes[0]
        witnesses = [*self.trusted, self.held]
        for quote in self.trusted:
            if any(fits(quote, other, share) for other in witnesses if other is not quote):
                return quote
        return None

    def reserve(self, share: float) -> Quote | None:
        """What may be served if there is nothing better: the newest laggard, or the quote of a distrusted source."""
        newest_first = sorted(self.laggards, key=lambda quote: quote.source_time_ms or 0, reverse=True)
        candidates = [*newest_first, *self.doubted]
        if self.held is None:
            return next(iter(candidates), None)
        witnesses = [self.held, *self.doubted]
        for quote in candidates:
            if any(fits(quote, other, share) for other in witnesses if other is not quote):
                return quote
        return None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The quote to serve, None if none is believed; and the quotes that are right and those that are wrong.

    A quote in neither list may be either.
    """

    accepted: Quote | None
    right: Sequence[Quote]
    wrong: Sequence[Quote]
