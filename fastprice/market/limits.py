"""The documented limits of a source: how often it may be called, and what happens to a client that calls too often."""

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

MAX_BAN_SECONDS = 3 * 86_400


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` within any `seconds`, for the whole source or for each path separately.

    With `burst` it is a leaky bucket of that size, which drains at the rate `most` / `seconds`.
    """

    most: int
    seconds: float
    each_path: bool = False
    burst: int = 0

    def meter(self) -> "Window | Bucket":
        return Bucket(self) if self.burst else Window(self)


@dataclass(frozen=True, slots=True)
class Penalty:
    """What happens after a call over the limit.

    No call is answered for `seconds`, counted from the latest call if `renewed`. A client that makes `patience` more
    calls before that is banned for `ban_seconds`, which grow by the factor `ban_growth` with every further ban.
    """

    seconds: float = 0.0
    renewed: bool = False
    patience: int = 0
    ban_seconds: float = 0.0
    ban_growth: int = 1


NO_PENALTY = Penalty()


class Spent(NamedTuple):
    """How much of a limit is used after a call, and how long to wait, which is 0 for a call within the limit."""

    used: int
    most: int
    seconds: float
    wait_ms: int
    now_ms: int
    banned: bool = False

    @property
    def wait_seconds(self) -> int:
        """Rounded up."""
        return -(-self.wait_ms // 1000)


class Window:
    """Adds up what was spent within the last seconds."""

    def __init__(self, limit: Limit) -> None:
        self._most, self._ms = limit.most, int(limit.seconds * 1000)
        self._calls: deque[tuple[int, int]] = deque()
        self.used = 0

    def wait_ms(self, cost: int, now_ms: int) -> int:
        """How long until `cost` may be spent."""
        while self._calls and self._calls[0][0] <= now_ms - self._ms:
            self.used -= self._calls.popleft()[1]
        over = self.used + cost - self._most
        for moment, spent in self._calls if over > 0 else ():
            over -= spent
            if over <= 0:
                return moment + self._ms - now_ms
        return self._ms if over > 0 else 0

    def spend(self, cost: int, now_ms: int) -> None:
        self._calls.append((now_ms, cost))
        self.used += cost


class Bucket:
    """A leaky bucket: it drains at a constant rate and allows a burst."""

    def __init__(self, limit: Limit) -> None:
        self._burst, self._per_ms = limit.burst, limit.most / (limit.seconds * 1000)
        self._level, self._at_ms = 0.0, 0

    @property
    def used(self) -> int:
        return round(self._level)

    def wait_ms(self, cost: int, now_ms: int) -> int:
        """How long until `cost` may be spent."""
        self._level = max(0.0, self._level - max(0, now_ms - self._at_ms) * self._per_ms)
        self._at_ms = now_ms
        over = self._level + cost - self._burst
        return max(1, round(over / self._per_ms)) if over > 1e-6 else 0

    def spend(self, cost: int, now_ms: int) -> None:
        self._level += cost


class Toll:
    """Counts the calls to one source."""

    def __init__(self, limits: tuple[Limit, ...], penalty: Penalty) -> None:
        self._limits, self._penalty = limits, penalty
        self._meters: dict[tuple[Limit, str], Window | Bucket] = {}
        self._closed_until_ms = 0
        self._unheeded = self._bans = 0
        self._banned = False

    def pay(self, path: str, cost: int, now_ms: int, enforced: bool = True) -> Spent:
        """Charge a call; a call over the limit costs nothing, and has a penalty only if limits are enforced."""
        meters = self._meters_of(path)
        if enforced and now_ms < self._closed_until_ms:
            self._insist(now_ms)
            wait_ms = self._closed_until_ms - now_ms
        elif wait_ms := max(meter.wait_ms(cost, now_ms) for meter in meters):
            wait_ms = self._close(now_ms, wait_ms) if enforced else wait_ms
        else:
            self._banned = False
            for meter in meters:
                meter.spend(cost, now_ms)
        limit = self._limits[0]
        return Spent(meters[0].used, limit.burst or limit.most, limit.seconds, wait_ms, now_ms, self._banned)

    def _meters_of(self, path: str) -> list["Window | Bucket"]:
        keys = [(limit, path if limit.each_path else "") for limit in self._limits]
        return [self._meters.setdefault(key, key[0].meter()) for key in keys]

    def _close(self, now_ms: int, wait_ms: int) -> int:
        """Handle the first call over the limit, after which some sources answer nothing; returns how long to wait."""
        self._banned, self._unheeded = False, 0
        if self._penalty != NO_PENALTY:
            self._closed_until_ms = now_ms + max(wait_ms, int(self._penalty.seconds * 1000))
            self._ban_if_due(now_ms)
            return self._closed_until_ms - now_ms
        return wait_ms

    def _insist(self, now_ms: int) -> None:
        """Handle a call that comes before the time when the client may call again."""
        self._unheeded += 1
        if self._penalty.renewed:
            self._closed_until_ms = now_ms + int(self._penalty.seconds * 1000)
        self._ban_if_due(now_ms)

    def _ban_if_due(self, now_ms: int) -> None:
        if self._penalty.ban_seconds and self._unheeded >= self._penalty.patience and not self._banned:
            seconds = min(self._penalty.ban_seconds * self._penalty.ban_growth**self._bans, MAX_BAN_SECONDS)
            self._closed_until_ms = now_ms + int(seconds * 1000)
            self._banned, self._bans = True, self._bans + 1
