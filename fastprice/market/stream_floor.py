"""The floor with its streams: what is set for them, and what can be seen of them."""

from collections import Counter, deque
from collections.abc import Iterable
from decimal import Decimal
from functools import cached_property

from fastprice.market.feed import Feed, Pushed
from fastprice.market.floor import DEFAULT_FACTOR, MAX_FACTOR, MAX_SECONDS, Floor, NotAccepted, NotKnown, check_number
from fastprice.market.streams import DEFAULT_SECONDS, OTHERWISE_SECONDS, STREAM_MEANINGS, Streams

MAX_EVERY_MS = 60_000


class StreamFloor(Floor):
    """The state of the market with its streams; a source's stream fault is independent of the fault of its calls."""

    @cached_property
    def streams(self) -> Streams:
        return Streams(self.sources, self.walks, self.pace)

    @property
    def every_ms(self) -> int | None:
        """How often all channels push, None as documented; if it is set, a move by hand is pushed at once."""
        return self.pace.every_ms

    @every_ms.setter
    def every_ms(self, every_ms: int | None) -> None:
        if every_ms is not None:
            check_number("every_ms", every_ms, 0, MAX_EVERY_MS)
        self.pace.every_ms = every_ms

    @property
    def pushed(self) -> dict[str, deque[Pushed]]:
        """The last true prices that each source pushed, with the wall time in nanoseconds."""
        return {name: feed.pushed for name, feed in self.streams.feeds.items()}

    @property
    def stream_limits_exceeded(self) -> dict[str, dict[str, int]]:
        """How often clients of each source's streams exceeded a documented limit, by limit."""
        return {name: dict(+feed.exceeded) for name, feed in self.streams.feeds.items()}

    def clear_calls(self) -> None:
        super().clear_calls()
        for feed in self.streams.feeds.values():
            feed.exceeded.clear()

    def set_truth(self, slug: str, price: Decimal) -> None:
        """Move a pair's price, and push it; it wanders on from there."""
        super().set_truth(slug, price)
        self.streams.moved(self._pair(slug))

    def set_stream_fault(
        self,
        source: str,
        fault: str,
        seconds: float | None = None,
        factor: float = DEFAULT_FACTOR,
        pairs: Iterable[str] | None = None,
    ) -> None:
        """Switch a stream fault on for a source or for `all`, in place of the one before."""
        chosen = self._fed(source)
        if fault not in list(STREAM_MEANINGS):
            raise NotAccepted(f"unknown stream fault {fault!r}; known: {', '.join(STREAM_MEANINGS)}")
        seconds = DEFAULT_SECONDS.get(fault, OTHERWISE_SECONDS) if seconds is None else seconds
        check_number("seconds", seconds, 0.0, MAX_SECONDS)
        check_number("factor", factor, 1 / MAX_FACTOR, MAX_FACTOR)
        faulty = None if pairs is None else frozenset(map(self._pair, pairs))
        for feed in chosen:
            self.streams.set_fault(feed, fault, seconds, factor, faulty)

    def clear_stream_fault(self, source: str = "all") -> None:
        for feed in self._fed(source):
            self.streams.clear_fault(feed)

    def stream_faults(self) -> dict[str, dict[str, object] | None]:
        """The fault that is set, by source; None if there is none."""
        return {name: self._shown(feed.switch) for name, feed in self.streams.feeds.items()}

    def stream_state(self, source: str) -> dict[str, object]:
        """What the clients of a source listen to, and how much was pushed."""
        feed = self.streams.feeds[source]
        subscriptions: dict[str, Counter[str]] = {}
        for connection in feed.connections:
            for topic in connection.topics:
                subscriptions.setdefault(topic.channel, Counter())[topic.pair.slug if topic.pair else topic.symbol] += 1
        counts = {"connections": len(feed.connections), "opened": feed.opened, "frames": feed.frames}
        return {**counts, "subscriptions": subscriptions, "limits_exceeded": +feed.exceeded}

    def clear_pushed(self) -> None:
        """Forget what was pushed, and count connections and frames from zero."""
        for feed in self.streams.feeds.values():
            feed.pushed.clear()
            feed.opened = feed.frames = 0

    def _fed(self, source: str) -> list[Feed]:
        feeds = self.streams.feeds
        if source != "all" and source not in feeds:
            raise NotKnown(f"no streams of {source!r}; known: all, {', '.join(feeds)}")
        return list(feeds.values()) if source == "all" else [feeds[source]]
