"""Up to when this worker may ask: a holder that was paused and comes back late asks nobody any more."""

from fastprice.application.ports import Clock, PriceSource
from fastprice.domain.errors import ClaimOver
from fastprice.domain.quote import Pair, Quote


class Leases:
    """The end of each claim by our own clock, counted from before it was asked for, so never later than the store's."""

    def __init__(self, clock: Clock) -> None:
        self._until: dict[Pair, float] = {}
        self._clock = clock

    def renew(self, pair: Pair, until: float) -> None:
        self._until[pair] = until

    def holds(self, pair: Pair) -> bool:
        return self._clock.monotonic() < self._until.get(pair, 0.0)


class LeasedSource:
    """A PriceSource that is asked only under a claim; raises ClaimOver where there is none."""

    def __init__(self, source: PriceSource, leases: Leases) -> None:
        self.name, self.source_time = source.name, source.source_time
        self._source = source
        self._leases = leases

    async def fetch(self, pair: Pair) -> Quote:
        if not self._leases.holds(pair):
            raise ClaimOver("the claim is over: another worker asks now")
        return await self._source.fetch(pair)
