"""One round for all pairs: plain decisions without waiting or clocks, and the loop that carries them out.

    next      which source is asked now, and for which pairs
    answered  what it said: each quote is taken, kept in reserve, or rejected
    close     nobody is left to ask, or time is up: what was kept in reserve is taken or rejected
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fastprice.application.belief import Evidence, Tolerance
from fastprice.application.events import Event, SourceBack, SourceCooling, SourceLost, SourceSkipped
from fastprice.application.ports import Answers, Call, Clock
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import InvalidQuote, InvalidReply, SourceError, SourceTimeout
from fastprice.domain.quote import Pair, Quote

logger = logging.getLogger(__name__)

Outcome = Answers | SourceError


@dataclass(frozen=True, slots=True)
class RoundLimits:
    """Seconds for a whole round, and for one attempt at a source."""

    round_seconds: float
    attempt_seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """A source that is asked now, after a pause, with these calls at the same time."""

    health: SourceHealth
    calls: Sequence[Call]
    pause_seconds: float = 0.0


class Round:
    """What one round knows and decides.

    Times are passed in: monotonic seconds as `now`, and wall milliseconds. `held` gives the price of a pair that is
    served. `accepted` are the quotes to serve, `missing` the pairs that have none yet, in the order of PAIRS, and
    `events` what happened.
    """

    def __init__(
        self, pairs: Iterable[Pair], sources: Sequence[SourceHealth], held: Callable[[Pair], Quote | None],
        tolerance: Tolerance, limits: RoundLimits, now: float,
    ) -> None:  # fmt: skip
        self.accepted: dict[Pair, Quote] = {}
        self.missing = dict.fromkeys(pairs)
        self.events: list[Event] = []
        self.deadline = now + limits.round_seconds
        # Asked later than this, a source would be cut short and be blamed for the time that others took.
        self._last_start = self.deadline - limits.attempt_seconds
        self._sources = {health.name: health for health in sources}
        self._left = sorted(sources, key=lambda health: health.stalled(now))
        self._has_asked = False
        self._again: tuple[SourceHealth, float] | None = None
        self._held = held
        self._tolerance = tolerance
        self._evidence: dict[Pair, Evidence] = {}
        self._left_out: dict[str, str] = {}
        self._lost: dict[tuple[str, type[SourceError]], tuple[str, dict[Pair, None]]] = {}
        self._back: dict[str, list[Pair]] = {}

    def next(self, now: float) -> Ask | None:
        """Whom to ask now; None when nothing is missing, nobody is left to ask, or no time is left to ask anybody."""
        if self._again is not None:
            (health, pause), self._again = self._again, None
            if now + pause <= self._last_start and (calls := self._affordable(health, now)):
                return self._begin(health, calls, now, pause, again=True)
        while self._left and self.missing:
            health = self._left.pop(0)
            if calls := self._first_calls(health, now):
                return self._begin(health, calls, now)
        return None

    def answered(self, ask: Ask, outcomes: Sequence[Outcome], now: float, wall_ms: int) -> None:
        """What the calls of an ask brought, in the order of the calls."""
        health, errors, useful = ask.health, list[SourceError](), False
        for call, outcome in zip(ask.calls, outcomes, strict=True):
            for pair in call.pairs:
                try:
                    self._consider(health, _answer(outcome, pair), now, wall_ms)
                    useful = True
                except SourceError as error:
                    errors.append(error)
                    self._failed(health, pair, error, now, wall_ms)
        # Where nothing came of it: rather an error of a call than one of a single pair.
        worst = None if useful else min(errors, key=lambda error: error.concerns_pair)
        ban = health.active_ban(now)
        pause = health.record(worst, now, wall_ms)
        if pause is not None:
            self._again = health, pause
        if (new_ban := health.active_ban(now)) is not None and new_ban is not ban:
            self.events.append(SourceCooling(new_ban.source, new_ban.until_ms))

    def close(self, now: float, wall_ms: int) -> None:
        """Serve what was kept in reserve where it is acceptable, and say who is to blame for what is missing."""
        for pair in [pair for pair in self.missing if pair in self._evidence]:
            evidence = self._evidence[pair]
            self._settle(pair, evidence, evidence.reserve(self._tolerance), now, wall_ms)
        lost = [(name, reason, tuple(pairs)) for (name, _), (reason, pairs) in self._lost.items() if pairs]
        self.events += [SourceLost(name, pairs, reason) for name, reason, pairs in lost]
        self.events += [SourceBack(name, tuple(pairs)) for name, pairs in self._back.items()]

    def reasons(self, pair: Pair) -> dict[str, str]:
        """Why a pair is missing, by source, the preferred one first."""
        return {name: self._left_out.get(name) or health.last_error(pair) for name, health in self._sources.items()}

    def why(self, pair: Pair) -> str:
        """The first of the reasons, which is that of the preferred source; the others mostly say the same."""
        if not (reasons := self.reasons(pair)):
            return "no source to ask"
        (source, reason), *others = reasons.items()
        return f"{source}: {reason}" + (f"; and {len(others)} more" if others else "")

    def _first_calls(self, health: SourceHealth, now: float) -> list[Call]:
        """The calls with which a source is asked for the first time in this round; none where it is left out."""
        if not any(health.lists(pair, now) for pair in self.missing):
            return []
        if refusal := health.refusal(now):
            self._skip(health, refusal)
        elif self._has_asked and now > self._last_start:
            self._left_out[health.name] = "no time left in this round"
        elif calls := self._affordable(health, now):
            return calls
        else:
            self._skip(health, "its documented limit leaves no room for another call now")
        return []

    def _affordable(self, health: SourceHealth, now: float) -> list[Call]:
        return health.affordable([pair for pair in self.missing if health.lists(pair, now)], now)

    def _begin(
        self, health: SourceHealth, calls: list[Call], now: float, pause: float = 0.0, again: bool = False
    ) -> Ask:
        self._has_asked = True
        health.begin(now, again)
        return Ask(health, calls, pause)

    def _skip(self, health: SourceHealth, reason: str) -> None:
        self._left_out[health.name] = reason
        self.events.append(SourceSkipped(health.name))

    def _consider(self, health: SourceHealth, quote: Quote, now: float, wall_ms: int) -> None:
        """Take a quote, or keep it in reserve; raises InvalidQuote where its stamp cannot be true."""
        pair = quote.pair
        evidence = self._evidence.get(pair) or Evidence(self._held(pair))
        newest_stamp_ms = health.newest_stamp_ms(quote, evidence.held)
        lags = self._tolerance.lags(health.source.source_time, quote, newest_stamp_ms)
        accepted = None if lags else evidence.agreed(quote, self._tolerance)
        if accepted is None or accepted is not quote:
            (evidence.laggards if lags else evidence.outliers).append(quote)
            self._evidence[pair] = evidence
        if accepted is not None:
            self._settle(pair, evidence, accepted, now, wall_ms)

    def _settle(self, pair: Pair, evidence: Evidence, accepted: Quote | None, now: float, wall_ms: int) -> None:
        """Tell right from wrong among all who answered, now that it is known what is served."""
        if accepted is not None:
            self.accepted[pair] = accepted
            self.missing.pop(pair, None)
            self._believed(accepted)
        for quote, error in evidence.judged(accepted, self._tolerance):
            if error is not None:
                self._failed(self._sources[quote.source], pair, error, now, wall_ms)
            elif quote is not accepted:
                self._believed(quote)

    def _believed(self, quote: Quote) -> None:
        if not self._sources[quote.source].believed(quote):
            return
        for (name, _), (_, pairs) in self._lost.items():
            if name == quote.source and quote.pair in pairs:
                # Lost by an earlier attempt of this round: neither the loss nor the return is told.
                del pairs[quote.pair]
                return
        self._back.setdefault(quote.source, []).append(quote.pair)

    def _failed(self, health: SourceHealth, pair: Pair, error: SourceError, now: float, wall_ms: int) -> None:
        if health.failed(pair, error, self._held(pair), now, wall_ms):
            # One line for all pairs that are lost for the same reason.
            self._lost.setdefault((health.name, type(error)), (str(error), {}))[1][pair] = None


async def carry_out(round_: Round, clock: Clock, may_ask: Callable[[], bool]) -> None:
    """Ask until nothing is missing or nobody is left; what was answered is kept, whatever a source does.

    `may_ask` says whether this worker still leads: a leader that was paused and comes back late asks nobody.
    """
    while (ask := round_.next(clock.monotonic())) is not None:
        if ask.pause_seconds:
            await clock.sleep(ask.pause_seconds)
        if not may_ask():
            break
        seconds = round_.deadline - clock.monotonic()
        outcomes = await asyncio.gather(*(_outcome(ask.health, call, seconds) for call in ask.calls))
        round_.answered(ask, outcomes, clock.monotonic(), clock.wall_ms())
    round_.close(clock.monotonic(), clock.wall_ms())


async def _outcome(health: SourceHealth, call: Call, seconds: float) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            return await health.source.fetch(call)
    except SourceError as error:
        return error
    except TimeoutError:
        return SourceTimeout("no answer before the round ended")
    except Exception:
        logger.exception("a defect in reading %s: it counts as a failure of this source", health.name)
        return InvalidReply("a defect of this service, see its log")


def _answer(outcome: Outcome, pair: Pair) -> Quote:
    """The quote of a pair; raises the SourceError that came in its place."""
    if isinstance(outcome, SourceError):
        raise outcome
    answer = outcome.get(pair)
    if isinstance(answer, Quote):
        return answer
    raise answer or InvalidQuote("the answer says nothing of this pair")
