"""What a round asks of a source, within which limits, and the outcomes of the calls."""

from collections.abc import Sequence
from dataclasses import dataclass

from fastprice.application.ports import Answers, Call
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import InvalidQuote, SourceError
from fastprice.domain.quote import Pair, Quote

Outcome = Answers | SourceError


@dataclass(frozen=True, slots=True)
class RoundLimits:
    """Seconds for a whole round, and for one attempt at a source."""

    round_seconds: float
    attempt_seconds: float


@dataclass(frozen=True, slots=True)
class Ask:
    """A source to ask after a pause, with all of these calls at the same time.

    `checks` says that it is asked in order to check the source whose turn it is.
    """

    health: SourceHealth
    calls: Sequence[Call]
    checks: bool = False
    pause_seconds: float = 0.0


def answer(outcome: Outcome, pair: Pair) -> Quote:
    """The quote of a pair; raises the SourceError that came instead."""
    if isinstance(outcome, SourceError):
        raise outcome
    quote = outcome.get(pair)
    if isinstance(quote, Quote):
        return quote
    raise quote or InvalidQuote("the answer says nothing of this pair")
