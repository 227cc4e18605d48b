"""A round of median mode: all sources are asked at once, and the median of the quotes that are believed is served."""

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass

from fastprice.application.agreement import majority, median_quote, near_the_median
from fastprice.application.ask import Ask, RoundLimits
from fastprice.application.belief import Tolerance
from fastprice.application.round import Round
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import InvalidQuote
from fastprice.domain.quote import Pair, Quote


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many sources a median needs at least, and up to which age in milliseconds a quote counts.

    A source whose limit does not allow a call in every round counts with its last answer in between.
    """

    least: int
    counts_ms: int


class MedianRound(Round):
    """Serves the median of enough sources; if there are fewer, the pair keeps its price, which becomes stale."""

    def __init__(
        self, pairs: Iterable[Pair], sources: Sequence[SourceHealth], tolerance: Tolerance, limits: RoundLimits,
        quorum: Quorum, held: Callable[[Pair], Quote | None], now: float,
    ) -> None:  # fmt: skip
        super().__init__(pairs, sources, tolerance, limits, held, now)
        # A source that timed out a short while ago would delay each round: it is asked only if the others are too few.
        prompt = [health for health in sources if not health.stalled(now)]
        self._groups = [prompt, [health for health in sources if health not in prompt]]
        self._quorum = quorum
        self._said: dict[Pair, set[str]] = {pair: set() for pair in self._pairs}
        self._asked = 0

    def settle(self, now: float, wall_ms: int) -> None:
        """Form the medians of the pairs that most of the asked sources have answered."""
        enough = max(self._quorum.least, self._asked // 2 + 1)
        for pair in tuple(self.missing):
            if len(self._said[pair]) >= enough:
                self._form(pair, wall_ms)

    def why(self, pair: Pair) -> str:
        spoke = len(self._said[pair])
        return f"{spoke} sources gave a price that can be true, {self._quorum.least} are needed; {super().why(pair)}"

    def _whom(self, now: float, wall_ms: int) -> list[Ask]:
        if self._has_asked:
            self._form_all(wall_ms)
        while self._groups and self.missing:
            asks = []
            for health in self._groups.pop(0):
                # The pairs with its oldest quotes come first: its limit may not allow all at once.
                if calls := self._calls(health, sorted(self.missing, key=health.words.said_at_ms), now):
                    asks.append(self._begin(health, calls, now))
            self._asked += len(asks)
            if asks:
                return asks
        return []

    def _consider(self, ask: Ask, quote: Quote) -> None:
        health = ask.health
        newest_stamp_ms = health.words.newest_stamp_ms(quote, None)
        if self._tolerance.lags(health.source.source_time, quote, newest_stamp_ms):
            raise InvalidQuote("its price is old by its own time stamp")
        self._heard(quote)
        self._said[quote.pair].add(quote.source)

    def _unheard(self, ask: Ask) -> list[Pair]:
        return [pair for pair in self.missing if ask.health.name not in self._said[pair]]

    def _finish(self, now: float, wall_ms: int) -> None:
        self._form_all(wall_ms)

    def _form_all(self, wall_ms: int) -> None:
        for pair in tuple(self.missing):
            self._form(pair, wall_ms)

    def _form(self, pair: Pair, wall_ms: int) -> None:
        """Accept the median of the sources' quotes of a pair, if there are enough; outliers are left out."""
        if not self._said[pair]:
            return
        voices = current(self._sources.values(), pair, self._quorum, wall_ms, self._said[pair])
        if not (near := counted(voices, self._quorum, self._tolerance.max_deviation)):
            return
        accepted = median_quote(near, wall_ms)
        self._accept(accepted)
        right = majority(voices, self._tolerance.agreeing)
        wrong = [quote for quote in voices if quote not in right] if right else []
        self._compare(voices, accepted, right, wrong)


def current(
    healths: Iterable[SourceHealth], pair: Pair, quorum: Quorum, wall_ms: int, spoke: Set[str] = frozenset()
) -> list[Quote]:
    """The last quotes of a pair that count: those young enough, and those of sources that answered in this round."""
    said = [quote for health in healths if (quote := health.words.said(pair))]
    return [quote for quote in said if quote.source in spoke or quote.age_ms(wall_ms) <= quorum.counts_ms]


def counted(voices: Sequence[Quote], quorum: Quorum, max_deviation: float) -> list[Quote]:
    """The quotes that a median is made of, without outliers; none if they are too few."""
    near = near_the_median(voices, max_deviation) if voices else []
    return near if len(near) >= quorum.least else []
