"""Everything that the application tells its observers, one frozen dataclass per thing that happens."""

from dataclasses import dataclass

from fastprice.domain.quote import Freshness, Pair, Quote


@dataclass(frozen=True, slots=True)
class SourceAsked:
    """One call to a source came back; `outcome` is `ok` or the outcome of the SourceError."""

    source: str
    outcome: str
    seconds: float


@dataclass(frozen=True, slots=True)
class SourceSkipped:
    """A source was not called because of its breaker or its cool-down."""

    source: str


@dataclass(frozen=True, slots=True)
class SourceLost:
    """A source that answered, or was never asked, gives no acceptable quotes of a pair any more."""

    source: str
    pair: Pair
    reason: str


@dataclass(frozen=True, slots=True)
class SourceBack:
    """A lost source gives acceptable quotes of a pair again."""

    source: str
    pair: Pair


@dataclass(frozen=True, slots=True)
class SourceCooling:
    """A source is left alone until `until_ms`."""

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
    """A refresh of a pair ended: `fetched` from a source, `adopted` from the store, or `failed`."""

    pair: Pair
    result: str


@dataclass(frozen=True, slots=True)
class RefreshFailing:
    """No source gives a price for a pair any more; told once, until RefreshRecovered."""

    pair: Pair
    reason: str


@dataclass(frozen=True, slots=True)
class RefreshRecovered:
    """A source gives a price for a pair again."""

    pair: Pair
    source: str


@dataclass(frozen=True, slots=True)
class QuoteTaken:
    """This worker serves a newer quote from now on."""

    quote: Quote


@dataclass(frozen=True, slots=True)
class FreshnessMoved:
    """The price of a pair became fresh, stale or expired; told by the worker that holds the claim."""

    pair: Pair
    freshness: Freshness
    age_ms: int


@dataclass(frozen=True, slots=True)
class ClaimMoved:
    """This worker took the claim of a pair, and asks the sources from now on; or it has it no longer."""

    pair: Pair
    held: bool


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
    """The shared store failed: this worker uses its machine's own; one worker per machine has `announce` set."""

    reason: str
    announce: bool


@dataclass(frozen=True, slots=True)
class StoreBack:
    """The shared store answers again."""

    announce: bool


@dataclass(frozen=True, slots=True)
class CoordinationLost:
    """No store works for this worker: it asks the sources for itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class CoordinationBack:
    """A store works again for this worker."""


Event = (
    SourceAsked
    | SourceSkipped
    | SourceLost
    | SourceBack
    | SourceCooling
    | BreakerMoved
    | Refreshed
    | RefreshFailing
    | RefreshRecovered
    | QuoteTaken
    | FreshnessMoved
    | ClaimMoved
    | CacheRead
    | StoreAsked
    | StoreLost
    | StoreBack
    | CoordinationLost
    | CoordinationBack
)
