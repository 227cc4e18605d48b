"""One round for all pairs: plain decisions without waiting or clocks, and the loop that carries them out.

    next      who is asked now, and for which pairs
    answered  what one of them said
    settle    what of it is served
    close     nobody is left to ask, or time is up

What all rounds share is here: asking, and telling who is lost, back, distrusted or trusted. FailoverRound and
MedianRound decide whom to ask and what to serve.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fastprice.application.belief import Tolerance
from fastprice.application.events import (
    Event, SourceBack, SourceCooling, SourceDistrusted, SourceLost, SourceSkipped, SourceTrusted
)
from fastprice.application.ports import Answers, Call, Clock
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import InvalidQuote, InvalidReply, LocalFailure, SourceError, SourceTimeout
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
    """A source that is asked now, after a pause, with these calls at the same time.

    `checks` says that it is asked whether it agrees with the source whose turn it is.
    """

    health: SourceHealth
    calls: Sequence[Call]
    checks: bool = False
    pause_seconds: float = 0.0


class Round:
    """What one round knows, and what every kind of round does alike.

    Times are passed in: monotonic seconds as `now`, and wall milliseconds. `held` gives the price of a pair that is
    served. `accepted` are the quotes to serve, `missing` the pairs that have none yet, in the order of PAIRS, and
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
        # Asked later than this, a source would be cut short and be blamed for the time that others took.
        self._last_start = self.deadline - limits.attempt_seconds
        self._pairs = tuple(self.missing)
        self._sources = {health.name: health for health in sources}
        self._has_asked = False
        self._again: list[tuple[Ask, float]] = []
        self._held = held
        self._tolerance = tolerance
        self._left_out: dict[str, str] = {}
        self._lost: dict[tuple[str, type[SourceError]], tuple[str, dict[Pair, None]]] = {}
        self._back: dict[str, list[Pair]] = {}
        self._distrusted: dict[str, tuple[str, list[Pair]]] = {}
        self._trusted: dict[str, list[Pair]] = {}

    def next(self, now: float, wall_ms: int) -> list[Ask]:
        """Who is asked now, all at the same time; nobody when nothing is missing, or nobody or no time is left."""
        again, self._again = self._again, []
        asks = [
            self._begin(ask.health, calls, now, ask.checks, pause)
            for ask, pause in again
            if now + pause <= self._last_start and (calls := self._affordable(ask.health, self._unheard(ask), now))
        ]
        return asks or self._whom(now, wall_ms)

    def answered(self, ask: Ask, outcomes: Sequence[Outcome], now: float, wall_ms: int) -> None:
        """What the calls of an ask brought, in the order of the calls."""
        health, errors, useful = ask.health, list[SourceError](), False
        for call, outcome in zip(ask.calls, outcomes, strict=True):
            for pair in call.pairs:
                try:
                    self._consider(ask, health.words.newest(_answer(outcome, pair), wall_ms))
                    useful = True
                except SourceError as error:
                    errors.append(error)
                    self._failed(health, pair, error, now, wall_ms)
        # Where nothing came of it: rather an error of a call than one of a single pair.
        worst = None if useful else min(errors, key=lambda error: error.concerns_pair)
        ban = health.active_ban(now)
        # What a check did not bring another source will say in the next round.
        pause = health.record(worst, now, wall_ms, may_repeat=not ask.checks)
        if pause is not None:
            self._again.append((ask, pause))
        if (new_ban := health.active_ban(now)) is not None and new_ban is not ban:
            self.events.append(SourceCooling(new_ban.source, new_ban.until_ms))

    def settle(self, now: float, wall_ms: int) -> None:
        """Accept what can be accepted of what has been said so far."""
        raise NotImplementedError

    def close(self, now: float, wall_ms: int) -> None:
        """Settle what is left, and tell what has become of the sources."""
        self._finish(now, wall_ms)
        lost = [(name, reason, tuple(pairs)) for (name, _), (reason, pairs) in self._lost.items() if pairs]
        self.events += [SourceLost(name, pairs, reason) for name, reason, pairs in lost]
        self.events += [SourceBack(name, tuple(pairs)) for name, pairs in self._back.items()]
        for name, (reason, pairs) in self._distrusted.items():
            self.events.append(SourceDistrusted(name, tuple(pairs), reason))
        self.events += [SourceTrusted(name, tuple(pairs)) for name, pairs in self._trusted.items()]

    def reasons(self, pair: Pair) -> dict[str, str]:
        """Why a pair is missing, by source, the preferred one first."""
        sources = self._sources.items()
        return {name: self._left_out.get(name) or health.words.last_error(pair) for name, health in sources}

    def why(self, pair: Pair) -> str:
        """The first of the reasons, which is that of the preferred source; the others mostly say the same."""
        if not (reasons := self.reasons(pair)):
            return "no source to ask"
        (source, reason), *others = reasons.items()
        return f"{source}: {reason}" + (f"; and {len(others)} more" if others else "")

    def _whom(self, now: float, wall_ms: int) -> list[Ask]:
        """Settle what can be settled, and say who is asked next."""
        raise NotImplementedError

    def _consider(self, ask: Ask, quote: Quote) -> None:
        """Take note of a quote; raises InvalidQuote where its stamp cannot be true."""
        raise NotImplementedError

    def _unheard(self, ask: Ask) -> list[Pair]:
        """The pairs for which a source is to be asked once more, because the first attempt failed."""
        raise NotImplementedError

    def _finish(self, now: float, wall_ms: int) -> None:
        """Accept what is acceptable now that nothing else will be said."""
        raise NotImplementedError

    def _may_ask(self, health: SourceHealth, now: float) -> bool:
        """Whether a source may be asked for the first time in this round; why not is kept."""
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
        """A source gave a quote that can be true."""
        if not self._sources[quote.source].words.heard(quote, self._held(quote.pair)):
            return
        for (name, _), (_, pairs) in self._lost.items():
            if name == quote.source and quote.pair in pairs:
                # Lost by an earlier attempt of this round: neither the loss nor the return is told.
                del pairs[quote.pair]
                return
        self._back.setdefault(quote.source, []).append(quote.pair)

    def _compare(
        self, quotes: Iterable[Quote], accepted: Quote, right: Sequence[Quote], wrong: Sequence[Quote]
    ) -> None:
        """Hold what sources said against what is served; who is neither right nor wrong may be either."""
        for quote in quotes:
            health, pair = self._sources[quote.source], quote.pair
            deviation = 0.0 if quote is accepted else quote.deviation(accepted)
            if quote in wrong:
                if reason := health.words.disagreed(quote, deviation, accepted):
                    self._distrusted.setdefault(quote.source, (reason, []))[1].append(pair)
            elif quote in right:
                if health.words.agreed(pair, deviation):
                    self._trusted.setdefault(quote.source, []).append(pair)
            else:
                health.words.compared(pair, deviation)

    def _failed(self, health: SourceHealth, pair: Pair, error: SourceError, now: float, wall_ms: int) -> None:
        if health.words.failed(pair, error, self._held(pair), now, wall_ms):
            # One line for all pairs that are lost for the same reason.
            self._lost.setdefault((health.name, type(error)), (str(error), {}))[1][pair] = None


async def carry_out(round_: Round, clock: Clock, may_ask: Callable[[], bool]) -> None:
    """Ask until nothing is missing or nobody is left; what was answered is kept, whatever a source does.

    `may_ask` says whether this worker still leads: a leader that was paused and comes back late asks nobody.
    """
    while asks := round_.next(clock.monotonic(), clock.wall_ms()):
        await asyncio.gather(*(_carry_out(round_, ask, clock, may_ask) for ask in asks))
        if not may_ask():
            break
    round_.close(clock.monotonic(), clock.wall_ms())


async def _carry_out(round_: Round, ask: Ask, clock: Clock, may_ask: Callable[[], bool]) -> None:
    if ask.pause_seconds:
        await clock.sleep(ask.pause_seconds)
    if may_ask():
        seconds = round_.deadline - clock.monotonic()
        outcomes = await asyncio.gather(*(_outcome(ask.health, call, seconds) for call in ask.calls))
        round_.answered(ask, outcomes, clock.monotonic(), clock.wall_ms())


async def _outcome(health: SourceHealth, call: Call, seconds: float) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            return await health.source.fetch(call)
    except SourceError as error:
        return error
    except TimeoutError:
        return SourceTimeout("no answer before the round ended")
    except MemoryError:
        return LocalFailure("this machine cannot ask it: it has no memory for the answer")
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
