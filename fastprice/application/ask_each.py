"""Asking every source once, for a person who wants to compare them."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from fastprice.application.ports import Clock, PriceSource
from fastprice.domain.errors import SourceError, UnknownSymbol
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


async def ask_each(sources: Iterable[PriceSource], pair: Pair, clock: Clock) -> list[Asked]:
    """Ask all at the same time, each once: no retry, no breaker, no failover."""

    async def ask(source: PriceSource) -> Asked:
        started = clock.monotonic()
        answer: Quote | SourceError
        try:
            (call,) = source.calls((pair,))
            answer = (await source.fetch(call))[pair]
        except SourceError as failure:
            answer = failure
        quote = answer if isinstance(answer, Quote) else None
        error, is_unlisted = None if quote else str(answer), isinstance(answer, UnknownSymbol)
        return Asked(source.name, source.source_time, clock.monotonic() - started, quote, error, is_unlisted)

    return list(await asyncio.gather(*map(ask, sources)))
