"""Asking again after a fast failure: exponential backoff with full jitter."""

from collections.abc import Callable

from fastprice.application.ports import Clock, PriceSource
from fastprice.domain.errors import SourceError
from fastprice.domain.quote import Pair, Quote


class RetryingSource:
    """A PriceSource that asks another one up to `attempts` times where asking again can help.

    The n-th pause is a random share of `base_seconds * 2**(n-1)`, so that callers who failed together do not return
    together. The deadline over all attempts is the caller's.
    """

    def __init__(
        self, source: PriceSource, attempts: int, base_seconds: float, clock: Clock, random: Callable[[], float]
    ) -> None:
        self.name, self.source_time = source.name, source.source_time
        self._source = source
        self._attempts = attempts
        self._base_seconds = base_seconds
        self._clock = clock
        self._random = random

    async def fetch(self, pair: Pair) -> Quote:
        for attempt in range(self._attempts - 1):
            try:
                return await self._source.fetch(pair)
            except SourceError as error:
                if not error.retryable:
                    raise
            await self._clock.sleep(self._random() * self._base_seconds * 2**attempt)
        return await self._source.fetch(pair)
