"""The log for operators: one line for each change of state, and none for each attempt."""

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from fastprice.application.events import (
    BreakerMoved, CoordinationBack, CoordinationLost, Event, FreshnessMoved, RefreshFailing, RefreshRecovered,
    SourceBack, SourceCooling, SourceLost, StoreBack, StoreLost
)
from fastprice.domain.quote import Freshness, Pair

Line = tuple[int, str]
logger = logging.getLogger("fastprice")

# A line names this many pairs, and counts the others.
NAMED = 3
ADVICE = "503 is served once the last price is too old; on a machine without internet access, try `make demo`"


def log_event(event: Event) -> None:
    """The observer that writes the log; it writes nothing for events that are no change of state."""
    writer = _LINES.get(type(event))
    if writer is not None and (line := writer(event)) is not None:
        logger.log(*line)


def _named(pairs: Sequence[Pair]) -> str:
    """A few of the pairs by name, and how many others there are."""
    names = ", ".join(pair.symbol for pair in pairs[:NAMED])
    return names + (f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else "")


def _freshness(event: FreshnessMoved) -> Line:
    level = logging.INFO if event.freshness is Freshness.FRESH else logging.WARNING
    return level, f"price {event.freshness}: {_named(event.pairs)}, {event.age_ms / 1000:.1f} s old"


def _failing(event: RefreshFailing) -> Line:
    return logging.ERROR, f"no source gives a price for {_named(event.pairs)}: {event.reason}. {ADVICE}"


def _breaker(event: BreakerMoved) -> Line | None:
    """Nothing between its opening and its closing: probes that fail in between change nothing."""
    is_change = "closed" in (event.before, event.state)
    return (logging.INFO, f"breaker {event.state}: {event.source}") if is_change else None


def _cooling(event: SourceCooling) -> Line:
    until = datetime.fromtimestamp(event.until_ms / 1000, UTC)
    return logging.WARNING, f"source cooling down: {event.source} is not asked until {until:%Y-%m-%d %H:%M:%S} UTC"


def _alone(event: CoordinationLost) -> Line:
    return logging.WARNING, f"no store works: {event.reason}. This worker asks the sources for itself until one does"


def _store_lost(event: StoreLost) -> Line | None:
    text = f"shared store lost: {event.reason}. The workers of this machine share the embedded store until it is back"
    return (logging.WARNING, text) if event.announce else None


def _store_back(event: StoreBack) -> Line | None:
    return (logging.INFO, "shared store back") if event.announce else None


_LINES: dict[type, Callable[..., Line | None]] = {
    SourceLost: lambda event: (
        logging.WARNING, f"source lost: {event.source}, {_named(event.pairs)}: {event.reason}"
    ),
    SourceBack: lambda event: (logging.INFO, f"source back: {event.source}, {_named(event.pairs)}"),
    SourceCooling: _cooling,
    BreakerMoved: _breaker,
    RefreshFailing: _failing,
    RefreshRecovered: lambda event: (logging.INFO, f"priced again: {_named(event.pairs)}"),
    FreshnessMoved: _freshness,
    CoordinationLost: _alone,
    CoordinationBack: lambda event: (logging.INFO, "a store works again: this worker does not ask for itself any more"),
    StoreLost: _store_lost,
    StoreBack: _store_back,
}
