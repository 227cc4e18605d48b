"""How often something may be done: so many times at once, and so many a second on average."""

from fastprice.application.ports import Clock, Limit


class Budget:
    """What is left of a limit; whoever is over it waits, in the order of coming."""

    def __init__(self, limit: Limit, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._left, self._at = limit.burst, clock.monotonic()

    async def spend(self, units: float = 1.0) -> None:
        """Spend so much, when there is so much."""
        now = self._clock.monotonic()
        self._left = min(self._limit.burst, self._left + (now - self._at) * self._limit.per_second) - units
        self._at = now
        if self._left < 0:
            try:
                await self._clock.sleep(-self._left / self._limit.per_second)
            except BaseException:
                self._left += units  # Nothing is spent by who was cancelled while waiting.
                raise
