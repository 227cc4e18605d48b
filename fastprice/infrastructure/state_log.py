"""The log of an operator: one line per change of state, never one per attempt."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from fastprice.application.events import (
    BreakerMoved, CoordinationBack, CoordinationLost, Event, FreshnessMoved, RefreshFailing, RefreshRecovered,
    SourceBack, SourceCooling, SourceLost, StoreBack, StoreLost
)
from fastprice.domain.quote import Freshness

Line = tuple[int, str]
logger = logging.getLogger("fastprice")

WAY_OUT = "503 is served once the last price is too old; on a machine with no way out, try `make demo`"


def log_event(event: Event) -> None:
    """The observer that writes; events that are no change of state pass in silence."""
    writer = _LINES.get(type(event))
    if writer is not None and (line := writer(event)) is not None:
        logger.log(*line)


def _freshness(event: FreshnessMoved) -> Line:
    level = logging.INFO if event.freshness is Freshness.FRESH else logging.WARNING
    return level, f"price {event.freshness}: {event.pair.symbol}, {event.age_ms / 1000:.1f} s old"


def _failing(event: RefreshFailing) -> Line:
    return logging.ERROR, f"no source gives a price for {event.pair.symbol}: {event.reason}. {WAY_OUT}"


def _breaker(event: BreakerMoved) -> Line | None:
    """Between its first opening and its closing, probes come and go: they change nothing."""
    told = event.before == "closed" or event.state == "closed"
    return (logging.INFO, f"breaker {event.state}: {event.source}") if told else None


def _cooling(event: SourceCooling) -> Line:
    until = datetime.fromtimestamp(event.until_ms / 1000, UTC)
    return logging.WARNING, f"source cooling down: {event.source} is left alone until {until:%Y-%m-%d %H:%M:%S} UTC"


def _alone(event: CoordinationLost) -> Line:
    return logging.WARNING, f"no store works: {event.reason}. This worker asks the sources for itself until one does"


def _store_lost(event: StoreLost) -> Line | None:
    text = f"shared store lost: {event.reason}. The workers of this machine share the embedded store until it is back"
    return (logging.WARNING, text) if event.announce else None


def _store_back(event: StoreBack) -> Line | None:
    return (logging.INFO, "shared store back") if event.announce else None


_LINES: dict[type, Callable[..., Line | None]] = {
    SourceLost: lambda event: (logging.WARNING, f"source lost: {event.source}, {event.pair.symbol}: {event.reason}"),
    SourceBack: lambda event: (logging.INFO, f"source back: {event.source}, {event.pair.symbol}"),
    SourceCooling: _cooling,
    BreakerMoved: _breaker,
    RefreshFailing: _failing,
    RefreshRecovered: lambda event: (logging.INFO, f"{event.pair.symbol} is priced again, by {event.source}"),
    FreshnessMoved: _freshness,
    CoordinationLost: _alone,
    CoordinationBack: lambda event: (logging.INFO, "a store works again: this worker is no longer a caller of its own"),
    StoreLost: _store_lost,
    StoreBack: _store_back,
}
