"""Asking one source for pairs, one call after the other and within its documented limit, for a person who watches."""

from collections.abc import AsyncIterator, Sequence

from fastprice.application.budget import Budget
from fastprice.application.ports import Answers, Clock, PriceSource
from fastprice.domain.errors import CoolDown, SourceError
from fastprice.domain.quote import Pair


class InTurn:
    """One source, and what is left of its limit."""

    def __init__(self, source: PriceSource, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._budget = Budget(source.limit, clock)

    async def ask(self, pairs: Sequence[Pair]) -> AsyncIterator[tuple[Answers, float]]:
        """What each call for these pairs returns, and how many seconds it took.

        If the source tells us to stay away, no more calls are made: its error counts for the remaining pairs too.
        """
        calls = iter(self._source.calls(pairs))
        for call in calls:
            await self._budget.spend(call.units)
            started = self._clock.monotonic()
            answers: Answers
            try:
                answers = await self._source.fetch(call)
            except SourceError as error:
                # Taking the remaining calls ends the loop.
                refused = [call, *calls] if isinstance(error, CoolDown) else [call]
                answers = {pair: error for each in refused for pair in each.pairs}
            yield answers, self._clock.monotonic() - started
