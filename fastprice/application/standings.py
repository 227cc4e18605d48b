"""What a worker remembers of its sources: who stalled, and who said what of which pair last."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastprice.application.bans import Bans
from fastprice.application.events import SourceBack, SourceLost, SourceSkipped
from fastprice.application.ports import Clock, Events, SourceReport
from fastprice.domain.errors import LocalFailure, SourceError, SourceRejected, SourceTimeout
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote


@dataclass(slots=True)
class _Word:
    """What a source last said of one pair."""

    quote: Quote | None = None
    stamp_ms: int = 0
    error: str | None = None
    error_at_ms: int | None = None
    lost: bool = False


class Standings:
    """Learns from every answer and failure; says whom to ask, in which order, and how each source stands."""

    def __init__(self, names: Iterable[str], stall_seconds: float, bans: Bans, clock: Clock, events: Events) -> None:
        self._stalled_until = dict.fromkeys(names, 0.0)
        self._words: defaultdict[tuple[str, Pair], _Word] = defaultdict(_Word)
        self._stall_seconds = stall_seconds
        self._bans = bans
        self._clock = clock
        self._events = events

    def in_order(self) -> list[str]:
        """The sources as configured, those that stalled a short while ago last."""
        now = self._clock.monotonic()
        return sorted(self._stalled_until, key=lambda name: self._stalled_until[name] > now)

    def newest_stamp_ms(self, quote: Quote, held: Quote | None) -> int:
        """The newest stamp that the source of a quote has shown, here or in the held quote, and that can be true now.

        One that lies ahead of our clock by more than clocks differ is left out: were it remembered, every honest one
        after it would seem to run backwards until the time that it tells has come.
        """
        latest_ms = quote.fetched_at_ms + MAX_SKEW_MS
        stamps = [self._words[quote.source, quote.pair].stamp_ms]
        if held is not None and held.source == quote.source:
            stamps.append(held.source_time_ms or 0)
        return max((stamp_ms for stamp_ms in stamps if stamp_ms <= latest_ms), default=0)

    def has_priced(self, name: str, pair: Pair) -> bool:
        return self._words[name, pair].quote is not None

    def answered(self, quote: Quote) -> None:
        """A source gave a quote that is believed."""
        self._stalled_until[quote.source] = 0.0
        self._bans.priced(quote.source, quote.pair)
        word = self._words[quote.source, quote.pair]
        word.quote = quote
        if quote.source_time_ms is not None and quote.source_time_ms <= quote.fetched_at_ms + MAX_SKEW_MS:
            word.stamp_ms = quote.source_time_ms
        if word.lost:
            word.lost = False
            self._events(SourceBack(quote.source, quote.pair))

    def failed(self, name: str, pair: Pair, error: SourceError) -> None:
        """A source gave none, or one that is not believed."""
        if isinstance(error, SourceRejected):
            self._events(SourceSkipped(name))
            return
        now_ms, word = self._clock.wall_ms(), self._words[name, pair]
        word.error, word.error_at_ms = str(error), now_ms
        if isinstance(error, SourceTimeout):
            self._stalled_until[name] = self._clock.monotonic() + self._stall_seconds
        if not word.lost and not isinstance(error, LocalFailure):
            word.lost = True
            self._events(SourceLost(name, pair, str(error)))

    def reports(self, pair: Pair, breaker_state: Callable[[str], str]) -> tuple[SourceReport, ...]:
        """How every source stands for a pair, in the configured order."""
        return tuple(self._report(name, pair, breaker_state(name)) for name in self._stalled_until)

    def _report(self, name: str, pair: Pair, breaker: str) -> SourceReport:
        ban, word = self._bans.of(name, pair), self._words[name, pair]
        return SourceReport(
            source=name,
            breaker=breaker,
            quote=word.quote,
            cooldown_until_ms=ban.until_ms if ban else None,
            cooldown_reason=ban.reason if ban else None,
            last_error=word.error,
            last_error_at_ms=word.error_at_ms,
            cooldown_scope=("pair" if ban.pair else "source") if ban else None,
        )
