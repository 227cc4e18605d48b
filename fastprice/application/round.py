"""One round for all pairs: plain decisions, without waiting or clocks, which carry_out.py carries out.

    next      returns which sources are asked now, and for which pairs
    answered  takes the answer of one source
    settle    accepts the quotes that can be accepted so far
    close     ends the round: no source is left to ask, or time is up

This module has what all rounds share: asking, and the events that a source is lost, back, distrusted or trusted.
FailoverRound and MedianRound decide which sources to ask and what to serve.
"""

from collections.abc import Callable, Iterable, Sequence

from fastprice.application.ask import Ask, Outcome, RoundLimits, answer
from fastprice.application.belief import Tolerance
from fastprice.application.events import Event, SourceCooling, SourceSkipped
from fastprice.application.findings import Findings
from fastprice.application.ports import Call
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import SourceError
from fastprice.domain.quote import Pair, Quote


class Round:
    """The state of one round, and what all kinds of rounds have in common.

    Times are passed in: monotonic seconds as `now`, and wall milliseconds. `held` returns the quote of a pair that is
    served now. `accepted` has the quotes to serve, `missing` the pairs without one, in the order of PAIRS, and
    `events` what happened.
    """

    def __init__(
        self, pairs: Iterable[Pair], sources: Sequence[SourceHealth], tolerance: Tolerance, limits: RoundLimits,
        held: Callable[[Pair], Quote | None], now: float,
    ) -> None:  # fmt: skip
        self.accepted: dict[Pair, Quote] = {}
        self.missing = dict.fromkeys(pairs)
        self.events: list[Event] = []
        self.deadline = now + limits.round_seconds
        # A source that is asked later than this would be cut short, and blamed for the time that other sources took.
        self._last_start = self.deadline - limits.attempt_seconds
        self._pairs = tuple(self.missing)
        self._sources = {health.name: health for health in sources}
        self._has_asked = False
        self._again: list[tuple[Ask, float]] = []
        self._held = held
        self._tolerance = tolerance
        self._left_out: dict[str, str] = {}
        self._findings = Findings()

    def next(self, now: float, wall_ms: int) -> list[Ask]:
        """The sources to ask now, all at the same time; none when no pair is missing, or no source or time is left."""
        again, self._again = self._again, []
        asks = [
            self._begin(ask.health, calls, now, ask.checks, pause)
            for ask, pause in again
            if now + pause <= self._last_start and (calls := self._affordable(ask.health, self._unheard(ask), now))
        ]
        return asks or self._whom(now, wall_ms)

    def answered(self, ask: Ask, outcomes: Sequence[Outcome], now: float, wall_ms: int) -> None:
        """Take the outcomes of an ask, in the order of its calls."""
        health, errors, useful = ask.health, list[SourceError](), False
        for call, outcome in zip(ask.calls, outcomes, strict=True):
            for pair in call.pairs:
                try:
                    self._consider(ask, health.words.newest(answer(outcome, pair), wall_ms))
                    useful = True
                except SourceError as error:
                    errors.append(error)
                    self._failed(health, pair, error, now, wall_ms)
        # If nothing useful came, an error of a whole call matters more than one of a single pair.
        worst = None if useful else min(errors, key=lambda error: error.concerns_pair)
        ban = health.active_ban(now)
        # A failed check is not repeated: another source checks in the next round.
        pause = health.record(worst, now, wall_ms, may_repeat=not ask.checks)
        if pause is not None:
            self._again.append((ask, pause))
        if (new_ban := health.active_ban(now)) is not None and new_ban is not ban:
            self.events.append(SourceCooling(new_ban.source, new_ban.until_ms))

    def settle(self, now: float, wall_ms: int) -> None:
        """Accept the quotes that can be accepted so far."""
        raise NotImplementedError

    def close(self, now: float, wall_ms: int) -> None:
        """Settle what is left, and add the events about the sources."""
        self._finish(now, wall_ms)
        self.events += self._findings.events()

    def reasons(self, pair: Pair) -> dict[str, str]:
        """Why a pair is missing, by source, the preferred one first."""
        sources = self._sources.items()
        return {name: self._left_out.get(name) or health.words.last_error(pair) for name, health in sources}

    def why(self, pair: Pair) -> str:
        """The preferred source's reason, and the number of others, which are mostly the same."""
        if not (reasons := self.reasons(pair)):
            return "no source to ask"
        (source, reason), *others = reasons.items()
        return f"{source}: {reason}" + (f"; and {len(others)} more" if others else "")

    def _whom(self, now: float, wall_ms: int) -> list[Ask]:
        """Settle what can be settled, and return which sources to ask next."""
        raise NotImplementedError

    def _consider(self, ask: Ask, quote: Quote) -> None:
        """Record a quote; raises InvalidQuote if its stamp cannot be true."""
        raise NotImplementedError

    def _unheard(self, ask: Ask) -> list[Pair]:
        """The pairs for which a source is to be asked once more, because the first attempt failed."""
        raise NotImplementedError

    def _finish(self, now: float, wall_ms: int) -> None:
        """Accept what is acceptable now that no more answers will come."""
        raise NotImplementedError

    def _may_ask(self, health: SourceHealth, now: float) -> bool:
        """Whether a source may be asked for the first time in this round; the reason for a refusal is kept."""
        if refusal := health.refusal(now):
            self._skip(health, refusal)
        elif self._has_asked and now > self._last_start:
            self._left_out[health.name] = "no time left in this round"
        else:
            return True
        return False

    def _calls(self, health: SourceHealth, pairs: Iterable[Pair], now: float) -> list[Call]:
        """The calls with which a source is asked for the first time in this round; none where it is left out."""
        if not (listed := [pair for pair in pairs if health.words.lists(pair, now)]) or not self._may_ask(health, now):
            return []
        if not (calls := health.affordable(listed, now)):
            self._skip(health, "its documented limit leaves no room for another call now")
        return calls

    def _affordable(self, health: SourceHealth, pairs: Iterable[Pair], now: float) -> list[Call]:
        return health.affordable([pair for pair in pairs if health.words.lists(pair, now)], now)

    def _begin(
        self, health: SourceHealth, calls: Sequence[Call], now: float, checks: bool = False, pause: float | None = None
    ) -> Ask:
        """Ask, or, after a pause, ask again."""
        self._has_asked = True
        health.begin(now, again=pause is not None)
        return Ask(health, calls, checks, pause or 0.0)

    def _skip(self, health: SourceHealth, reason: str) -> None:
        if health.name not in self._left_out:
            self._left_out[health.name] = reason
            self.events.append(SourceSkipped(health.name))

    def _accept(self, quote: Quote) -> None:
        self.accepted[quote.pair] = quote
        self.missing.pop(quote.pair, None)

    def _heard(self, quote: Quote) -> None:
        """Record that a source gave a quote that can be true."""
        if self._sources[quote.source].words.heard(quote, self._held(quote.pair)):
            self._findings.back(quote.source, quote.pair)

    def _compare(
        self, quotes: Iterable[Quote], accepted: Quote, right: Sequence[Quote], wrong: Sequence[Quote]
    ) -> None:
        """Compare quotes with the one that is served; a quote in neither list may be right or wrong."""
        for quote in quotes:
            health, pair = self._sources[quote.source], quote.pair
            deviation = 0.0 if quote is accepted else quote.deviation(accepted)
            if quote in wrong:
                if reason := health.words.disagreed(quote, deviation, accepted):
                    self._findings.distrusted(quote.source, pair, reason)
            elif quote in right:
                if health.words.agreed(pair, deviation):
                    self._findings.trusted(quote.source, pair)
            else:
                health.words.compared(pair, deviation)

    def _failed(self, health: SourceHealth, pair: Pair, error: SourceError, now: float, wall_ms: int) -> None:
        if health.words.failed(pair, error, self._held(pair), now, wall_ms):
            self._findings.lost(health.name, pair, error)
