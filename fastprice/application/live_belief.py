"""What each price mode does with the quotes of streams between two rounds."""

from collections.abc import Sequence
from typing import Protocol

from fastprice.application.agreement import median_quote
from fastprice.application.belief import fits
from fastprice.application.median import Quorum, counted, current
from fastprice.application.source_health import SourceHealth
from fastprice.domain.quote import Quote


class LiveBelief(Protocol):
    """Decides what a stream's quote changes; `needs_all` says that the streams of all sources are used, not of one."""

    needs_all: bool

    def price(self, health: SourceHealth, quote: Quote, held: Quote | None, wall_ms: int) -> Quote | None:
        """The quote to serve now that a source says this; None if the next round must look at it first."""


class OfOneSource:
    """Failover: the quote of the source whose price is served, if it does not surprise."""

    needs_all = False

    def __init__(self, share: float) -> None:
        self._share = share

    def price(self, health: SourceHealth, quote: Quote, held: Quote | None, wall_ms: int) -> Quote | None:
        if held is None or held.source != quote.source or health.words.is_distrusted(quote.pair):
            return None
        return quote if fits(quote, held, self._share) else None


class OfAll:
    """Median: the median of what all sources say now."""

    needs_all = True

    def __init__(self, healths: Sequence[SourceHealth], quorum: Quorum, max_deviation: float) -> None:
        self._healths = healths
        self._quorum = quorum
        self._max_deviation = max_deviation

    def price(self, health: SourceHealth, quote: Quote, held: Quote | None, wall_ms: int) -> Quote | None:
        said = current(self._healths, quote.pair, self._quorum, wall_ms)
        near = counted(said, self._quorum, self._max_deviation)
        return median_quote(near, wall_ms) if near else None
