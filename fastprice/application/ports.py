"""What the application needs from outside, as protocols; adapters fit them by shape and do not inherit."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from fastprice.application.events import Event
from fastprice.domain.quote import Pair, Quote, SourceTime

# Told of everything worth counting or logging; must return at once and never raise.
Events = Callable[[Event], None]


class Clock(Protocol):
    """Two clocks and a pause: wall time for ages that cross processes, a monotonic one for deadlines."""

    def wall_ms(self) -> int: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class PriceSource(Protocol):
    """Where a quote comes from; `fetch` raises SourceError and nothing else."""

    @property
    def name(self) -> str: ...

    @property
    def source_time(self) -> SourceTime: ...

    async def fetch(self, pair: Pair) -> Quote: ...


# The least worrying state first.
BREAKER_STATES = ("closed", "half_open", "open")


@dataclass(frozen=True, slots=True)
class SourceReport:
    """How one source stands for one pair, as the worker that asks it sees it; times in wall milliseconds.

    `cooldown_scope` is `source` where it is left alone for every pair, `pair` where it does not list this one.
    """

    source: str
    breaker: str
    quote: Quote | None = None
    cooldown_until_ms: int | None = None
    cooldown_reason: str | None = None
    last_error: str | None = None
    last_error_at_ms: int | None = None
    cooldown_scope: str | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """The newest quote of a pair, and whether it may still be served.

    Its age is that of the monotonic clock, which no step of the wall clock changes. `fetched_at_ms` is the quote's own,
    or, after such a step, the time that the wall clock as it goes now would have given it.
    """

    quote: Quote
    usable: bool
    age_seconds: float
    fetched_at_ms: int


# No source bans for longer; a stored ban that claims to is not one of ours.
MAX_BAN_SECONDS = 4 * 86_400.0


@dataclass(frozen=True, slots=True)
class Ban:
    """A source that nobody may ask until a wall time: for every pair, or, with `pair` set, for that one."""

    source: str
    pair: Pair | None
    until_ms: int
    reason: str


class QuoteStore(Protocol):
    """L2: what the workers share. Every operation is bounded in time and raises StoreUnavailable and nothing else."""

    async def get(self, pair: Pair) -> Quote | None:
        """The stored quote, validated again; what is not a quote counts as none."""
        ...

    async def put(self, quote: Quote) -> bool:
        """Store a quote and wake those that wait; False when the stored one is not older."""
        ...

    async def get_reports(self, pair: Pair) -> tuple[SourceReport, ...]: ...

    async def put_reports(self, pair: Pair, reports: tuple[SourceReport, ...]) -> None: ...

    async def get_bans(self) -> tuple[Ban, ...]:
        """Every ban that is not over."""
        ...

    async def put_ban(self, ban: Ban) -> None:
        """Make a ban known to all; of two on the same source and pair the longer one stays."""
        ...

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        """Take or renew a right that one holder has at a time; False while another one has it."""
        ...

    async def release(self, name: str, holder: str) -> None:
        """Give the claim back, if it is ours, so that a successor need not wait for its end."""
        ...

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        """Wait up to `seconds` for quotes that were stored since the last call; a hint: `get` is the truth."""
        ...

    async def close(self) -> None: ...
