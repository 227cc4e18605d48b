"""aiobreaker on a monotonic clock that is passed in; the one who asks lets in one probe at a time."""

from collections.abc import Callable
from datetime import timedelta

from aiobreaker import CircuitBreaker, CircuitBreakerError
from aiobreaker.state import CircuitBreakerState

from fastprice.application.events import BreakerMoved
from fastprice.application.ports import Events


class _Breaker(CircuitBreaker):  # type: ignore[misc]  # the library has no types
    """aiobreaker counting outcomes and moving between its states, with its wall clock taken out."""

    @property
    def opens_at(self) -> None:
        return None

    def open(self) -> None:
        self.state = self._state_storage.state = CircuitBreakerState.OPEN


class SourceBreaker:
    """Leaves its source out for `reset_seconds` after `fail_max` failed rounds in a row; then one probe decides.

    A source is asked by one round at a time, so that outcomes come in the order of their admissions.
    """

    def __init__(self, source: str, fail_max: int, reset_seconds: float, events: Events) -> None:
        self._source = source
        self._reset_seconds = reset_seconds
        self._events = events
        self._breaker = _Breaker(fail_max=fail_max, timeout_duration=timedelta(seconds=reset_seconds))
        self._opened_at = 0.0

    @property
    def state(self) -> str:
        return str(self._breaker.current_state.name).lower()

    def refusal(self, now: float) -> str | None:
        """None in half-open state too: the probe before was abandoned without an outcome."""
        left = self._opened_at + self._reset_seconds - now
        if self._breaker.current_state is CircuitBreakerState.OPEN and left > 0:
            return f"its circuit breaker is open for {left:.0f} s more"
        return None

    def admit(self, now: float) -> None:
        if self._breaker.current_state is CircuitBreakerState.OPEN:
            self._move(self._breaker.half_open, now)

    def record(self, failed: bool | None, now: float) -> None:
        """A probe that proves nothing leaves the breaker open for another turn."""
        if failed is not None:
            self._move(lambda: self._replay(failed), now)
        elif self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
            self._move(self._breaker.open, now)

    def _replay(self, failed: bool) -> None:
        """Let the library see an outcome: it counts calls, so this is one that fails or does not."""

        def outcome() -> None:
            if failed:
                raise OSError

        try:
            self._breaker.call(outcome)
        except (OSError, CircuitBreakerError):
            pass  # What went wrong is known already, and better.

    def _move(self, change: Callable[[], object], now: float) -> None:
        before = self.state
        change()
        if self.state != before:
            if self._breaker.current_state is CircuitBreakerState.OPEN:
                self._opened_at = now
            self._events(BreakerMoved(self._source, before, self.state))
