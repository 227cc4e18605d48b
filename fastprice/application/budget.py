"""How often something may be done: a burst at once, and a rate per second on average."""

from fastprice.application.ports import Clock, Limit


class Budget:
    """What is left of a limit; callers that are over it wait, in the order of their arrival."""

    def __init__(self, limit: Limit, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._left, self._at = limit.burst, clock.monotonic()

    async def spend(self, units: float = 1.0) -> None:
        """Spend units, waiting until there are enough."""
        now = self._clock.monotonic()
        self._left = min(self._limit.burst, self._left + (now - self._at) * self._limit.per_second) - units
        self._at = now
        if self._left < 0:
            try:
                await self._clock.sleep(-self._left / self._limit.per_second)
            except BaseException:
                self._left += units  # A caller that is cancelled while it waits spends nothing.
                raise
