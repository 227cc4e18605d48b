"""Everything that the application tells its observers, one frozen dataclass per thing that happens."""

from dataclasses import dataclass

from fastprice.application.live_events import StreamBack, StreamGivenUp, StreamHeard, StreamLost, StreamReconnected
from fastprice.domain.quote import Freshness, Pair


@dataclass(frozen=True, slots=True)
class SourceAsked:
    """One call to a source came back; `outcome` is `ok` or the outcome of the SourceError."""

    source: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SourceSkipped:
    """A source was left out of a round because of its breaker, its cool-down or its documented limit."""

    source: str


@dataclass(frozen=True, slots=True)
class SourceLost:
    """A source gives no acceptable quotes of these pairs any more, all for reasons of one kind."""

    source: str
    pairs: tuple[Pair, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SourceBack:
    """A source gives acceptable quotes of these pairs again."""

    source: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class SourceDistrusted:
    """A source's prices of these pairs are not what most sources say: it is asked for them last."""

    source: str
    pairs: tuple[Pair, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class SourceTrusted:
    """A distrusted source has repeatedly agreed with the others about these pairs: it is asked in its usual order."""

    source: str
    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class SourceCooling:
    """A source is not asked until `until_ms`."""

    source: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class BreakerMoved:
    """A source's circuit breaker went from one of `closed`, `half_open` and `open` to another."""

    source: str
    before: str
    state: str


@dataclass(frozen=True, slots=True)
class Refreshed:
    """The number of pairs `fetched` by a round, `streamed`, `adopted` from the store, or `failed` at all sources."""

    result: str
    pairs: int


@dataclass(frozen=True, slots=True)
class RefreshFailing:
    """No source gives a price for these pairs any more, until RefreshRecovered; `reason` is that of the first pair."""

    pairs: tuple[Pair, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class RefreshRecovered:
    """Some source gives a price for these pairs again."""

    pairs: tuple[Pair, ...]


@dataclass(frozen=True, slots=True)
class FreshnessMoved:
    """The prices of these pairs became fresh, stale or expired in this worker; `age_ms` is that of the oldest.

    `freshness` is None if there is no first price yet; then `age_ms` is the time since the worker started.
    """

    pairs: tuple[Pair, ...]
    freshness: Freshness | None
    age_ms: int


@dataclass(frozen=True, slots=True)
class LeaderMoved:
    """This worker leads from now on, and asks the sources; or it leads no longer."""

    leads: bool


@dataclass(frozen=True, slots=True)
class CacheRead:
    """A tier was looked up: `hit`, `stale` or `miss`."""

    tier: str
    result: str


@dataclass(frozen=True, slots=True)
class StoreAsked:
    """One operation on the shared store came back: `ok` or `error`."""

    op: str
    result: str
    seconds: float


@dataclass(frozen=True, slots=True)
class StoreLost:
    """The shared store failed: this worker uses its machine's own store; one worker per machine has `announce` set."""

    reason: str
    announce: bool


@dataclass(frozen=True, slots=True)
class StoreBack:
    """The shared store answers again."""

    announce: bool


@dataclass(frozen=True, slots=True)
class CoordinationLost:
    """No store works for this worker: it asks the sources on its own."""

    reason: str


@dataclass(frozen=True, slots=True)
class CoordinationBack:
    """A store works again for this worker."""


Event = (
    SourceAsked | SourceSkipped | SourceLost | SourceBack | SourceDistrusted | SourceTrusted | SourceCooling
    | BreakerMoved | Refreshed | RefreshFailing | RefreshRecovered | FreshnessMoved | LeaderMoved | CacheRead
    | StoreAsked | StoreLost | StoreBack | CoordinationLost | CoordinationBack
    | StreamLost | StreamBack | StreamReconnected | StreamHeard | StreamGivenUp
)  # fmt: skip
