"""Live prices of some pairs from every source, by its polls and by its stream, for a person who watches."""

import asyncio
from collections.abc import Iterable, Sequence
from functools import partial

from fastprice.application.in_turn import InTurn
from fastprice.application.ports import Clock, PriceSource
from fastprice.application.streamed import Streamed
from fastprice.domain.errors import CoolDown, SourceError, UnlistedAmong
from fastprice.domain.quote import Pair, Quote

# How often each source is asked: for the first prices, for pairs that nobody trades, and to check its stream.
POLL_SECONDS = 10.0
# How soon a source that refused a list because of one of its pairs is asked again.
AGAIN_SECONDS = 0.2
POLLED = "polled"


class Watching:
    """`said` has each source's current quote of a pair, `errors` why it last had none; `news` is set on each change."""

    def __init__(self, sources: Iterable[PriceSource], pairs: Sequence[Pair], clock: Clock) -> None:
        self.sources = list(sources)
        self.pairs = pairs
        self.said: dict[tuple[str, Pair], Quote] = {}
        self.errors: dict[tuple[str, Pair], str] = {}
        self.news = asyncio.Event()
        self._refused: dict[str, str] = {}
        self._clock = clock

    async def run(self) -> None:
        """Listen and ask until cancelled; then close everything."""
        live = [source for source in self.sources if isinstance(source, Streamed)]
        for source in live:
            source.open(self.pairs, self.news.set, partial(self._refuse, source.name))
        try:
            await asyncio.gather(*map(self._poll, self.sources))
        finally:
            await asyncio.gather(*(source.close() for source in live), return_exceptions=True)

    def take(self) -> list[Quote]:
        """Take over what the streams have said since the last call."""
        new = []
        for source in self.sources:
            new += source.take() if isinstance(source, Streamed) else []
        for quote in new:
            self.said[quote.source, quote.pair] = quote
            self.errors.pop((quote.source, quote.pair), None)
        return new

    def how(self, source: PriceSource) -> str:
        """How a source delivers its prices: the state of its stream, or that it is only polled, and why."""
        if not isinstance(source, Streamed):
            return POLLED
        if refused := self._refused.get(source.name):
            return f"{POLLED}: {refused}"
        return source.report(self._clock.wall_ms()).state

    async def _poll(self, source: PriceSource) -> None:
        in_turn = InTurn(source, self._clock)
        while True:
            pause = POLL_SECONDS
            async for answers, _ in in_turn.ask(self.pairs):
                for pair, answer in answers.items():
                    if isinstance(answer, Quote):
                        self.said[source.name, pair] = answer
                        self.errors.pop((source.name, pair), None)
                        continue
                    self.errors[source.name, pair] = str(answer)
                    if isinstance(answer, CoolDown):
                        pause = max(pause, answer.seconds)
                    elif isinstance(answer, UnlistedAmong):
                        pause = AGAIN_SECONDS  # From now on its pairs are asked for one by one.
                self.news.set()
            await self._clock.sleep(pause)

    def _refuse(self, name: str, error: SourceError) -> None:
        self._refused[name] = str(error)
        self.news.set()
