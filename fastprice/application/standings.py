"""What a worker remembers of its sources: who wants to be left alone, who stalled, who said what of which pair last."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastprice.application.events import SourceBack, SourceCooling, SourceLost, SourceSkipped
from fastprice.application.ports import Clock, Events, SourceReport
from fastprice.domain.errors import CoolDown, SourceError, SourceRejected, SourceTimeout, UnknownSymbol
from fastprice.domain.quote import Pair, Quote


@dataclass(slots=True)
class _Source:
    """For all pairs: a source that bans us does so for every question."""

    cooldown_until_ms: int | None = None
    cooldown_reason: str | None = None
    stalled_until: float = 0.0


@dataclass(slots=True)
class _Word:
    """What a source last said of one pair."""

    quote: Quote | None = None
    error: str | None = None
    error_at_ms: int | None = None
    lost: bool = False
    unlisted: bool = False


class Standings:
    """Learns from every answer and failure; says whom to ask, in which order, and how each source stands."""

    def __init__(self, names: Iterable[str], stall_seconds: float, clock: Clock, events: Events) -> None:
        self._sources = {name: _Source() for name in names}
        self._words: defaultdict[tuple[str, Pair], _Word] = defaultdict(_Word)
        self._stall_seconds = stall_seconds
        self._clock = clock
        self._events = events

    def in_order(self) -> list[str]:
        """The sources as configured, those that stalled a short while ago last."""
        now = self._clock.monotonic()
        return sorted(self._sources, key=lambda name: self._sources[name].stalled_until > now)

    def refusal(self, name: str, pair: Pair) -> str | None:
        """Why a source is not to be asked now, or None."""
        if self._words[name, pair].unlisted:
            return f"does not list {pair.symbol}; not asked again until restart"
        source = self._sources[name]
        left_ms = (source.cooldown_until_ms or 0) - self._clock.wall_ms()
        return f"left alone for {left_ms / 1000:.0f} s more: {source.cooldown_reason}" if left_ms > 0 else None

    def last_quote(self, name: str, pair: Pair) -> Quote | None:
        return self._words[name, pair].quote

    def answered(self, quote: Quote) -> None:
        """A source gave a quote that is believed."""
        self._sources[quote.source].stalled_until = 0.0
        word = self._words[quote.source, quote.pair]
        word.quote = quote
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
        if isinstance(error, CoolDown):
            self._cool(name, now_ms + round(error.seconds * 1000), str(error))
        elif isinstance(error, UnknownSymbol):
            word.unlisted = True
        elif isinstance(error, SourceTimeout):
            self._sources[name].stalled_until = self._clock.monotonic() + self._stall_seconds
        if not word.lost:
            word.lost = True
            self._events(SourceLost(name, pair, str(error)))

    def learn(self, reports: Iterable[SourceReport]) -> None:
        """Take over the cool-downs that another worker was told, so that a ban outlives the worker that earned it."""
        for report in reports:
            if report.source in self._sources and report.cooldown_until_ms is not None:
                self._cool(report.source, report.cooldown_until_ms, report.cooldown_reason or "")

    def reports(self, pair: Pair, breaker_state: Callable[[str], str]) -> tuple[SourceReport, ...]:
        """How every source stands for a pair, in the configured order."""
        return tuple(self._report(name, pair, breaker_state(name)) for name in self._sources)

    def _report(self, name: str, pair: Pair, breaker: str) -> SourceReport:
        source, word = self._sources[name], self._words[name, pair]
        return SourceReport(
            source=name,
            breaker=breaker,
            quote=word.quote,
            cooldown_until_ms=source.cooldown_until_ms,
            cooldown_reason=source.cooldown_reason,
            last_error=word.error,
            last_error_at_ms=word.error_at_ms,
        )

    def _cool(self, name: str, until_ms: int, reason: str) -> None:
        """The longest cool-down holds: neither a shorter one nor an answer that was under way ends it."""
        source = self._sources[name]
        if until_ms > (source.cooldown_until_ms or 0):
            source.cooldown_until_ms, source.cooldown_reason = until_ms, reason
            self._events(SourceCooling(name, until_ms))
