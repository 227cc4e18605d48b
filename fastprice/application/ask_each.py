"""Asking every source once, for a person who wants to compare them."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastprice.application.in_turn import InTurn
from fastprice.application.ports import Clock, PriceSource
from fastprice.domain.errors import SourceError, UnknownSymbol, UnlistedAmong
from fastprice.domain.quote import Pair, Quote, SourceTime


@dataclass(frozen=True, slots=True)
class Asked:
    """One source's answer, or why there is none; `seconds` is how long that took."""

    source: str
    source_time: SourceTime
    seconds: float
    quote: Quote | None
    error: str | None
    is_unlisted: bool = False


async def ask_each(sources: Iterable[PriceSource], pairs: Sequence[Pair], clock: Clock) -> dict[Pair, list[Asked]]:
    """Ask all at the same time, each once and within its documented limit: no retry, no breaker, no failover.

    Only a source that refused a list because of one of its pairs is asked again, in another way.
    """
    said = await asyncio.gather(*(_ask(source, pairs, clock) for source in sources))
    return {pair: [answers[pair] for answers in said] for pair in pairs}


async def _ask(source: PriceSource, pairs: Sequence[Pair], clock: Clock) -> dict[Pair, Asked]:
    in_turn, said, wanted = InTurn(source, clock), dict[Pair, Asked](), list(pairs)
    for _ in range(2):  # The second time for pairs whose list was refused.
        spoiled = list[Pair]()
        async for answers, seconds in in_turn.ask(wanted):
            said |= {pair: _asked(source, answer, seconds) for pair, answer in answers.items()}
            spoiled += [pair for pair, answer in answers.items() if isinstance(answer, UnlistedAmong)]
        wanted = spoiled
    return said


def _asked(source: PriceSource, answer: Quote | SourceError, seconds: float) -> Asked:
    quote = answer if isinstance(answer, Quote) else None
    error, is_unlisted = None if quote else str(answer), isinstance(answer, UnknownSymbol)
    return Asked(source.name, source.source_time, seconds, quote, error, is_unlisted)
