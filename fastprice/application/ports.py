"""What the application needs from outside, as protocols; adapters fit them by shape and do not inherit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from fastprice.application.events import Event
from fastprice.application.live_ports import StreamReport
from fastprice.domain.errors import SourceError
from fastprice.domain.quote import Pair, Quote, SourceTime

# Called with everything worth counting or logging; must return at once.
Events = Callable[[Event], None]
# What a source said about each pair that it was asked for.
Answers = Mapping[Pair, Quote | SourceError]
# No source bans for longer; a stored ban that claims to was not written by this project.
MAX_BAN_SECONDS = 4 * 86_400.0


class Clock(Protocol):
    """Two clocks and a pause: wall time for ages that cross processes, a monotonic one for deadlines."""

    def wall_ms(self) -> int: ...

    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Limit:
    """How much a source may be asked, in its own units: `burst` at once, and `per_second` on average.

    With both, its documented limit holds in every window, even when a new leader starts with the whole burst.
    """

    burst: float
    per_second: float


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a source: the pairs it asks for, and its cost in the units of the source's limit."""

    pairs: tuple[Pair, ...]
    units: float = 1.0


class PriceSource(Protocol):
    """Where quotes come from."""

    name: str
    source_time: SourceTime
    limit: Limit

    def calls(self, pairs: Sequence[Pair]) -> Sequence[Call]:
        """The cheapest requests for these pairs, the most important ones first."""

    async def fetch(self, call: Call) -> Answers:
        """Make one request: a quote or an error for each of its pairs; raises SourceError if all of it failed."""


# The least worrying state first.
BREAKER_STATES = ("closed", "half_open", "open")


class Breaker(Protocol):
    """A circuit breaker for one source: counts failed rounds, and lets one probe through after its pause.

    `state` is one of BREAKER_STATES.
    """

    @property
    def state(self) -> str: ...

    def refusal(self, now: float) -> str | None:
        """Why the source must not be asked now, or None."""

    def admit(self, now: float) -> None:
        """Record that the source is about to be asked."""

    def record(self, failed: bool | None, now: float) -> None:
        """Record the outcome of what was admitted; None if it proves nothing."""


@dataclass(frozen=True, slots=True)
class Held:
    """The newest quote of a pair, and whether it may still be served.

    Its age is counted by the monotonic clock, so a step of the wall clock does not change it. `fetched_at_ms` is the
    quote's own or, after such a step, the time of the fetch by the wall clock as it is set now.
    """

    quote: Quote
    usable: bool
    age_seconds: float
    fetched_at_ms: int


@dataclass(frozen=True, slots=True)
class Ban:
    """A source that no worker may ask until a wall time."""

    source: str
    until_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class PairReport:
    """What a source last said about one pair, and until when it is not asked for it; times in wall milliseconds.

    `quote` is also None if the source's last quote is the one that is served. `deviation` is the share by which it was
    above the price that was served then; `distrusted` says why other sources are asked first.
    """

    quote: Quote | None = None
    error: str | None = None
    error_at_ms: int | None = None
    unlisted_until_ms: int | None = None
    deviation: float | None = None
    distrusted: str | None = None


NOTHING_SAID = PairReport()


@dataclass(frozen=True, slots=True)
class SourceReport:
    """The state of one source, as the leader sees it; times in wall milliseconds.

    `deviation` is the largest one of all pairs. `unlisted` has the pairs that the source does not list, with the time
    until which it is not asked for them and what it said; `distrusted` is the number of pairs that it is distrusted
    for. They spare a look at all `pairs`, each of which is parsed only when it is read.
    """

    source: str
    breaker: str
    cooldown_until_ms: int | None = None
    cooldown_reason: str | None = None
    error: str | None = None
    error_at_ms: int | None = None
    deviation: float | None = None
    distrusted: int = 0
    unlisted: Mapping[Pair, tuple[int, str]] = field(default_factory=dict)
    pairs: Mapping[Pair, PairReport] = field(default_factory=dict)

    def is_well(self, now_ms: int) -> bool:
        """Whether its breaker is closed, it is not cooling down, and it is not distrusted for most of its pairs."""
        is_cooling = (self.cooldown_until_ms or 0) > now_ms
        return self.breaker == "closed" and not is_cooling and 2 * self.distrusted <= len(self.pairs)

    def of(self, pair: Pair) -> PairReport:
        return self.pairs.get(pair, NOTHING_SAID)


@dataclass(frozen=True, slots=True)
class Stored:
    """Everything that the workers share.

    `made_at_ms` is when the leader wrote it, by its wall clock, 0 if nothing is stored; `failing` are the pairs
    for which no source gave an acceptable quote in that round.
    """

    made_at_ms: int = 0
    quotes: tuple[Quote, ...] = ()
    failing: frozenset[Pair] = frozenset()
    reports: tuple[SourceReport, ...] = ()
    bans: tuple[Ban, ...] = ()
    streams: tuple[StreamReport, ...] = ()


# The claim under which a worker leads; with other claims, the workers of one machine agree on something.
LEADER = "leader"


class PriceStore(Protocol):
    """L2: what the workers share. Every operation is bounded in time and raises StoreUnavailable and nothing else."""

    async def read(self) -> tuple[str | None, Stored]:
        """Who leads, None if nobody does, and what is stored, validated again: one round trip to the store."""

    async def write(self, holder: str, stored: Stored) -> bool:
        """Replace what is stored and notify the other workers; False, and nothing is written, if another one leads."""

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        """Take or renew a claim that only one holder has at a time; False while another one has it."""

    async def holder(self, name: str) -> str | None:
        """The current holder of a claim."""

    async def release(self, holder: str, name: str = LEADER) -> None:
        """Give a claim back, if it is the holder's, so that a successor need not wait until it expires."""

    async def news(self, seconds: float) -> bool:
        """Wait up to `seconds` until something new is stored; this is only a hint: `read` is the truth."""

    async def close(self) -> None: ...
