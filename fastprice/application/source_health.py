"""How one source is doing: whether it may be asked now, and what every outcome of asking it changes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from fastprice.application.ports import MAX_BAN_SECONDS, Ban, Breaker, Call, PriceSource, SourceReport
from fastprice.application.words import Words
from fastprice.domain.errors import CoolDown, LocalFailure, SourceError, SourceTimeout, UnlistedAmong
from fastprice.domain.quote import Pair, Quote

# Rounds begin a few milliseconds early or late; on average the limit holds all the same.
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """Attempts per round, longest first pause between them, and for how long a source that stalled is asked last."""

    attempts: int
    base_seconds: float
    stall_seconds: float


class SourceHealth:
    """One source with everything that decides whether and how it is asked.

    `words` is what it says of each pair. Times are monotonic seconds, passed in; what is told to others is in wall
    milliseconds.
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
        """Whether it let a call run out of time a short while ago: such a source is asked last."""
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
        """It is asked now; only the first attempt of a round needs the breaker's admission."""
        self._attempts = self._attempts + 1 if again else 1
        if not again:
            self._breaker.admit(now)

    def record(
        self, error: SourceError | None, now: float, wall_ms: int, may_repeat: bool = True
    ) -> float | None:
        """The outcome of asking it: an error of everything, or None where it gave something acceptable.

        Returns the pause after which it is to be asked again in the same round, None where asking again cannot help.
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
            self._breaker.record(False, now)  # What it says of single pairs shows at least that it answers again.
        return None

    def take(self, ban: Ban, now: float, wall_ms: int) -> None:
        """Obey a ban that the source spoke, to us or to another worker; the longest one holds."""
        left = (ban.until_ms - wall_ms) / 1000
        if 0 < left <= MAX_BAN_SECONDS and now + left > self._banned_until:
            self._ban, self._banned_until = ban, now + left

    def active_ban(self, now: float) -> Ban | None:
        return self._ban if now < self._banned_until else None

    def report(self, now: float, wall_ms: int, served: Mapping[Pair, Quote]) -> SourceReport:
        """How it stands; its last quote of a pair is left out where that is the one served, which everybody has."""
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
