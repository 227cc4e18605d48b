"""aiobreaker, with what it lacks: one probe at a time, deaf to late results, on a monotonic clock."""

from datetime import timedelta

from aiobreaker import CircuitBreaker, CircuitBreakerError
from aiobreaker.state import CircuitBreakerState

from fastprice.application.events import BreakerMoved
from fastprice.application.ports import Clock, Events, PriceSource
from fastprice.domain.errors import ClaimOver, CoolDown, LocalFailure, SourceError, SourceRejected
from fastprice.domain.quote import Pair, Quote

STATES = {
    CircuitBreakerState.CLOSED: "closed",
    CircuitBreakerState.HALF_OPEN: "half_open",
    CircuitBreakerState.OPEN: "open",
}
# A source that says "not now" works: that is no failure of it, and no proof of health either; nor is a call that was
# not made, or that this machine could not make.
_NEUTRAL = (CoolDown, ClaimOver, LocalFailure)


class _Breaker(CircuitBreaker):  # type: ignore[misc]  # the library has no types
    """aiobreaker counting outcomes and moving between its states, with its wall clock taken out."""

    @property
    def opens_at(self) -> None:
        return None

    def open(self) -> None:
        self.state = self._state_storage.state = CircuitBreakerState.OPEN


class GuardedSource:
    """A PriceSource behind a circuit breaker: after `fail_max` failures in a row it is asked nothing for
    `reset_seconds`, then one probe decides.

    The library decides on outcomes, this class on admission. An outcome counts only if the breaker has not moved
    since its call was admitted. A cancelled call counts as a failure: nobody waits that long. Calls are judged, not
    pairs: an answer that concerns one pair alone, as that it is halted, does not count for or against the others, but
    as a probe's outcome it shows that the source answers again. Raises SourceRejected.
    """

    def __init__(
        self, source: PriceSource, fail_max: int, reset_seconds: float, clock: Clock, events: Events
    ) -> None:
        self.name, self.source_time = source.name, source.source_time
        self._source = source
        self._reset_seconds = reset_seconds
        self._clock = clock
        self._events = events
        self._breaker = _Breaker(fail_max=fail_max, timeout_duration=timedelta(seconds=reset_seconds))
        self._opened_at = 0.0
        self._moves = 0

    @property
    def state(self) -> str:
        return STATES[self._breaker.current_state]

    async def fetch(self, pair: Pair) -> Quote:
        admitted = self._admit()
        try:
            quote = await self._source.fetch(pair)
        except _NEUTRAL:
            self._forget(admitted)
            raise
        except BaseException as error:
            if not isinstance(error, SourceError) or not error.concerns_pair:
                self._record(admitted, error)
            elif self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
                self._record(admitted, None)
            raise
        self._record(admitted, None)
        return quote

    def _admit(self) -> int:
        """The number of moves at which a call may start; half-open lets in the probe and nobody else."""
        state = self._breaker.current_state
        if state is CircuitBreakerState.HALF_OPEN:
            raise SourceRejected("its circuit breaker waits for the outcome of a probe")
        if state is CircuitBreakerState.OPEN:
            left = self._opened_at + self._reset_seconds - self._clock.monotonic()
            if left > 0:
                raise SourceRejected(f"its circuit breaker is open for {left:.0f} s more")
            self._breaker.half_open()
            self._moved(state)
        return self._moves

    def _record(self, admitted: int, error: BaseException | None) -> None:
        """Replay an outcome through the library, at once, so that nothing can come in between."""
        if admitted != self._moves:
            return

        def outcome() -> None:
            if error is not None:
                raise SourceError from error

        before = self._breaker.current_state
        try:
            self._breaker.call(outcome)
        except (SourceError, CircuitBreakerError):
            pass  # The caller gets the error itself, not the library's word for it.
        if self._breaker.current_state is not before:
            self._moved(before)

    def _forget(self, admitted: int) -> None:
        """An outcome that proves nothing: a probe that ended so leaves the breaker open for another turn."""
        if admitted == self._moves and self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
            self._breaker.open()
            self._moved(CircuitBreakerState.HALF_OPEN)

    def _moved(self, before: CircuitBreakerState) -> None:
        self._moves += 1
        if self._breaker.current_state is CircuitBreakerState.OPEN:
            self._opened_at = self._clock.monotonic()
        self._events(BreakerMoved(self.name, STATES[before], self.state))
