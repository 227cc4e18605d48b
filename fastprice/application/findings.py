"""What a round finds out about its sources, as events: one for all pairs that share a source and a kind of reason."""

from collections.abc import Iterator

from fastprice.application.events import Event, SourceBack, SourceDistrusted, SourceLost, SourceTrusted
from fastprice.domain.errors import SourceError
from fastprice.domain.quote import Pair


class Findings:
    """The pairs for which sources are lost, back, distrusted or trusted again since the round began."""

    def __init__(self) -> None:
        self._lost: dict[tuple[str, type[SourceError]], tuple[str, dict[Pair, None]]] = {}
        self._back: dict[str, list[Pair]] = {}
        self._distrusted: dict[str, tuple[str, list[Pair]]] = {}
        self._trusted: dict[str, list[Pair]] = {}

    def lost(self, source: str, pair: Pair, error: SourceError) -> None:
        """Record that a source failed for a pair for which it had not failed before."""
        self._lost.setdefault((source, type(error)), (str(error), {}))[1][pair] = None

    def back(self, source: str, pair: Pair) -> None:
        """Record that a source that was lost for a pair gives quotes again."""
        for (name, _), (_, pairs) in self._lost.items():
            if name == source and pair in pairs:
                # Lost by an earlier attempt of this round: no event for the loss, and none for the return.
                del pairs[pair]
                return
        self._back.setdefault(source, []).append(pair)

    def distrusted(self, source: str, pair: Pair, reason: str) -> None:
        """Record that a source's price of a pair is not what most sources say."""
        self._distrusted.setdefault(source, (reason, []))[1].append(pair)

    def trusted(self, source: str, pair: Pair) -> None:
        """Record that a distrusted source has agreed often enough."""
        self._trusted.setdefault(source, []).append(pair)

    def events(self) -> Iterator[Event]:
        """The events to announce at the end of the round."""
        for (source, _), (reason, lost) in self._lost.items():
            if lost:
                yield SourceLost(source, tuple(lost), reason)
        for source, pairs in self._back.items():
            yield SourceBack(source, tuple(pairs))
        for source, (reason, pairs) in self._distrusted.items():
            yield SourceDistrusted(source, tuple(pairs), reason)
        for source, pairs in self._trusted.items():
            yield SourceTrusted(source, tuple(pairs))
