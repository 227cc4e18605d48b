"""aiobreaker on a monotonic clock that is passed in; the caller admits one probe at a time."""

from collections.abc import Callable
from datetime import timedelta

from aiobreaker import CircuitBreaker, CircuitBreakerError
from aiobreaker.state import CircuitBreakerState

from fastprice.application.events import BreakerMoved
from fastprice.application.ports import Events


class _Breaker(CircuitBreaker):  # type: ignore[misc]  # the library has no types
    """aiobreaker, which counts outcomes and moves between its states, without its wall clock."""

    @property
    def opens_at(self) -> None:
        return None

    def open(self) -> None:
        self.state = self._state_storage.state = CircuitBreakerState.OPEN


class SourceBreaker:
    """Leaves its source out for `reset_seconds` after `fail_max` failed rounds in a row; then one probe decides.

    Only one round at a time calls a source, so that outcomes come in the order of their admissions.
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
        """See Breaker; None in the half-open state too: there the last probe was abandoned without an outcome."""
        left = self._opened_at + self._reset_seconds - now
        if self._breaker.current_state is CircuitBreakerState.OPEN and left > 0:
            return f"its circuit breaker is open for {left:.0f} s more"
        return None

    def admit(self, now: float) -> None:
        if self._breaker.current_state is CircuitBreakerState.OPEN:
            self._move(self._breaker.half_open, now)

    def record(self, failed: bool | None, now: float) -> None:
        """See Breaker; a probe that proves nothing opens the breaker for another `reset_seconds`."""
        if failed is not None:
            self._move(lambda: self._replay(failed), now)
        elif self._breaker.current_state is CircuitBreakerState.HALF_OPEN:
            self._move(self._breaker.open, now)

    def _replay(self, failed: bool) -> None:
        """Pass an outcome to the library: it counts calls, so this makes one that fails or succeeds."""

        def outcome() -> None:
            if failed:
                raise OSError

        try:
            self._breaker.call(outcome)
        except (OSError, CircuitBreakerError):
            pass  # The caller already knows what went wrong.

    def _move(self, change: Callable[[], object], now: float) -> None:
        before = self.state
        change()
        if self.state != before:
            if self._breaker.current_state is CircuitBreakerState.OPEN:
                self._opened_at = now
            self._events(BreakerMoved(self._source, before, self.state))
