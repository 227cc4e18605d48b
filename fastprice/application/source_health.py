"""How one source is doing: whether it may be asked now, and what every outcome of asking it changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fastprice.application.ports import MAX_BAN_SECONDS, Ban, Breaker, Call, PriceSource, SourceReport
from fastprice.application.words import Words
from fastprice.domain.errors import CoolDown, LocalFailure, SourceError, SourceTimeout, UnlistedAmong
from fastprice.domain.quote import Pair, Quote

# Rounds begin a few milliseconds early or late; on average the limit still holds.
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """Attempts per round, longest first pause between them, and for how long a source that stalled is asked last."""

    attempts: int
    base_seconds: float
    stall_seconds: float


class SourceHealth:
    """One source with everything that decides whether and how it is asked.

    `words` is what it says about each pair. Times are monotonic seconds, passed in; bans and reports, which others
    read, have wall milliseconds.
    """

    def __init__(
        self, source: PriceSource, breaker: Breaker, patience: Patience, random: Callable[[], float], now: float
    ) -> None:
        self.source, self.name = source, source.name
        self._ban: Ban | None = None
        self._breaker = breaker
        self._patience = patience
        self._random = random
        self._units, self._units_at = source.limit.burst, now
        self._stalled_until = self._banned_until = 0.0
        self._attempts = 0
        self._error: str | None = None
        self._error_at_ms: int | None = None
        self.words = Words(source.name)

    def stalled(self, now: float) -> bool:
        """Whether a call to it timed out a short while ago: such a source is asked last."""
        return now < self._stalled_until

    def refusal(self, now: float) -> str | None:
        """Why the source must not be asked now, or None."""
        if ban := self.active_ban(now):
            return f"left alone for {self._banned_until - now:.0f} s more: {ban.reason}"
        return self._breaker.refusal(now)

    def affordable(self, pairs: Sequence[Pair], now: float) -> list[Call]:
        """The calls for these pairs that its documented limit has room for now; they count as made."""
        limit = self.source.limit
        self._units = min(limit.burst, self._units + (now - self._units_at) * limit.per_second)
        self._units_at = now
        taken = []
        for call in self.source.calls(pairs):
            if call.units > self._units + JITTER * min(call.units, limit.burst):
                break
            self._units -= call.units
            taken.append(call)
        return taken

    def begin(self, now: float, again: bool) -> None:
        """Record that it is asked now; only the first attempt of a round needs the breaker's admission."""
        self._attempts = self._attempts + 1 if again else 1
        if not again:
            self._breaker.admit(now)

    def record(
        self, error: SourceError | None, now: float, wall_ms: int, may_repeat: bool = True
    ) -> float | None:
        """Record the outcome of asking it: the error if everything failed, None if it gave something acceptable.

        Returns the pause after which it is to be asked again in the same round, None if asking again cannot help.
        """
        if error is None:
            self._stalled_until = 0.0
            self._breaker.record(False, now)
            return None
        self._error, self._error_at_ms = str(error), wall_ms
        if isinstance(error, SourceTimeout):
            self._stalled_until = now + self._patience.stall_seconds
        if isinstance(error, CoolDown):
            self.take(Ban(self.name, wall_ms + round(error.seconds * 1000), str(error)), now, wall_ms)
        if may_repeat and error.retryable and self._attempts < self._patience.attempts:
            return self._random() * self._patience.base_seconds * 2.0 ** (self._attempts - 1)
        if isinstance(error, CoolDown | LocalFailure | UnlistedAmong):
            # A source that says "not now" works, and what is missing on our side is not its failure.
            self._breaker.record(None, now)
        elif not error.concerns_pair:
            self._breaker.record(True, now)
        elif self._breaker.state == "half_open":
            self._breaker.record(False, now)  # Errors about single pairs show at least that it answers again.
        return None

    def take(self, ban: Ban, now: float, wall_ms: int) -> None:
        """Obey a ban that the source gave to this or another worker; the longest one holds."""
        left = (ban.until_ms - wall_ms) / 1000
        if 0 < left <= MAX_BAN_SECONDS and now + left > self._banned_until:
            self._ban, self._banned_until = ban, now + left

    def active_ban(self, now: float) -> Ban | None:
        return self._ban if now < self._banned_until else None

    def report(self, now: float, wall_ms: int, served: Mapping[Pair, Quote]) -> SourceReport:
        """The state of the source; its last quote of a pair is left out if it is served, as all workers have that."""
        ban = self.active_ban(now)
        return replace(
            self.words.report(served),
            source=self.name,
            breaker=self._breaker.state,
            cooldown_until_ms=ban.until_ms if ban else None,
            cooldown_reason=ban.reason if ban else None,
            error=self._error,
            error_at_ms=self._error_at_ms,
        )
