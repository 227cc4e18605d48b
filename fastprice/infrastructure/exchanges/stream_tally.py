"""Counts of what a stream sends, in one event a second at most: there are too many frames for an event each."""

from collections import Counter
from collections.abc import Iterable

from fastprice.application.live_events import StreamHeard
from fastprice.application.ports import Clock, Events

TELL_SECONDS = 1.0


class StreamTally:
    """`counts` is the number of messages of each kind."""

    def __init__(self, source: str, clock: Clock, events: Events) -> None:
        self.counts: Counter[str] = Counter()
        self._source = source
        self._clock = clock
        self._events = events
        self._lag_ms: int | None = None
        self._told_at = clock.monotonic()

    def lagged(self, lag_ms: int) -> None:
        """Note that a message was read `lag_ms` after its own stamp."""
        self._lag_ms = max(self._lag_ms or 0, lag_ms)

    def tell(self, others: Iterable[Counter[str]]) -> None:
        """Emit an event with the counts here and in `others`, if it is due, and reset all of them."""
        now = self._clock.monotonic()
        if now - self._told_at < TELL_SECONDS:
            return
        self._told_at = now
        for counts in others:
            self.counts += counts
            counts.clear()
        lag_seconds = None if self._lag_ms is None else self._lag_ms / 1000
        self._events(StreamHeard(self._source, dict(self.counts), lag_seconds))
        self.counts, self._lag_ms = Counter(), None
