"""The stamps of one pair at one source that is polled and streams: its answers are often older than its messages."""

from dataclasses import replace

from fastprice.domain.quote import MAX_SKEW_MS, Quote


class Stamps:
    """Keeps what polls and the stream have shown apart, so that time runs backwards only where a source makes it.

    An answer is often made for all clients together, once a second or two. So a poll is held against polls alone, and
    has the newest stamp that the source has shown. `lag_ms` is how old a poll may be by its own stamp, None where that
    says nothing.
    """

    __slots__ = ("_lag_ms", "_newest_ms", "_polled_ms")

    def __init__(self, lag_ms: int | None) -> None:
        self._lag_ms = lag_ms
        self._newest_ms = self._polled_ms = 0

    def show(self, stamp_ms: int | None) -> None:
        """The stream has shown this one."""
        self._newest_ms = max(self._newest_ms, stamp_ms or 0)

    def polled(self, quote: Quote) -> Quote | None:
        """A poll with the newest stamp; None where it is old by its own or older than the poll before it."""
        stamp_ms = quote.source_time_ms
        if stamp_ms is None or self._lag_ms is None:
            return quote
        if stamp_ms < self._polled_ms or abs(quote.fetched_at_ms - stamp_ms) > self._lag_ms:
            return None
        # What lies ahead of our clock is from before it was set back.
        is_possible = self._newest_ms <= quote.fetched_at_ms + MAX_SKEW_MS
        self._polled_ms, self._newest_ms = stamp_ms, max(stamp_ms, self._newest_ms if is_possible else 0)
        return replace(quote, source_time_ms=self._newest_ms)
