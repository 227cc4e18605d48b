"""The time stamps of one pair at a source with polls and a stream: its answers are often older than its messages."""

from dataclasses import replace

from fastprice.domain.quote import MAX_SKEW_MS, Quote


class Stamps:
    """Keeps the stamps of polls and of the stream apart, so that time runs backwards only if the source is wrong.

    An exchange often makes one answer for all clients every second or two. So a poll is compared only with polls, and
    gets the newest stamp that the source has shown. `lag_ms` is how old a poll may be by its own stamp, None if the
    stamp says nothing about that.
    """

    __slots__ = ("_lag_ms", "_newest_ms", "_polled_ms")

    def __init__(self, lag_ms: int | None) -> None:
        self._lag_ms = lag_ms
        self._newest_ms = self._polled_ms = 0

    def show(self, stamp_ms: int | None) -> None:
        """Record a stamp of the stream."""
        self._newest_ms = max(self._newest_ms, stamp_ms or 0)

    def polled(self, quote: Quote) -> Quote | None:
        """The poll with the newest stamp; None if its own stamp is too far off, or older than the previous poll's."""
        stamp_ms = quote.source_time_ms
        if stamp_ms is None or self._lag_ms is None:
            return quote
        if stamp_ms < self._polled_ms or abs(quote.fetched_at_ms - stamp_ms) > self._lag_ms:
            return None
        # A stamp ahead of our clock is from before the clock was set back.
        is_possible = self._newest_ms <= quote.fetched_at_ms + MAX_SKEW_MS
        self._polled_ms, self._newest_ms = stamp_ms, max(stamp_ms, self._newest_ms if is_possible else 0)
        return replace(quote, source_time_ms=self._newest_ms)
