"""The log for operators: one line for each change of state, and none for single attempts."""

import logging
from collections.abc import Sequence
from datetime import UTC, datetime

from fastprice.application.events import (
    BreakerMoved, CoordinationBack, CoordinationLost, Event, FreshnessMoved, RefreshFailing, RefreshRecovered,
    SourceBack, SourceCooling, SourceDistrusted, SourceLost, SourceTrusted, StoreBack, StoreLost
)
from fastprice.application.live_events import StreamBack, StreamGivenUp, StreamLost
from fastprice.domain.quote import Freshness, Pair

logger = logging.getLogger("fastprice")

# A line names this many pairs, and counts the others.
NAMED = 3
ADVICE = "503 is served once the last price is too old; on a machine without internet access, try `make demo`"
EMBEDDED = "The workers of this machine share the embedded store until it is back"


class StateLog:
    """The observer that writes the log; it writes nothing for events that are not a change of state.

    Every worker sees its own prices age, so only one worker of each replica logs it, no matter which worker leads.
    """

    def __init__(self, tells_freshness: bool = True) -> None:
        self._tells_freshness = tells_freshness

    def __call__(self, event: Event) -> None:
        if isinstance(event, FreshnessMoved) and not self._tells_freshness:
            return
        if (line := _line(event)) is not None:
            logger.log(*line)


def _line(event: Event) -> tuple[int, str] | None:
    match event:
        case SourceLost(source, pairs, reason):
            return logging.WARNING, f"source lost: {source}, {named(pairs)}: {reason}"
        case SourceBack(source, pairs):
            return logging.INFO, f"source back: {source}, {named(pairs)}"
        case SourceDistrusted(source, pairs, reason):
            return logging.WARNING, f"source distrusted: {source}, {named(pairs)}: {reason}; it is asked last"
        case SourceTrusted(source, pairs):
            return logging.INFO, f"source trusted again: {source}, {named(pairs)}"
        case SourceCooling(source, until_ms):
            until = datetime.fromtimestamp(until_ms / 1000, UTC)
            return logging.WARNING, f"source cooling down: {source} is not asked until {until:%Y-%m-%d %H:%M:%S} UTC"
        # Nothing is logged between its opening and its closing: probes that fail in between change nothing.
        case BreakerMoved(source, before, state) if "closed" in (before, state):
            return logging.INFO, f"breaker {state}: {source}"
        case StreamLost(source, reason):
            return logging.WARNING, f"stream lost: {source}: {reason}. Its prices are polled until it is back"
        case StreamBack(source):
            return logging.INFO, f"stream back: {source}"
        case StreamGivenUp(source, reason, seconds):
            return logging.WARNING, f"stream given up: {source}: {reason}. Its prices are polled for {seconds:.0f} s"
        case RefreshFailing(pairs, reason):
            return logging.ERROR, f"no source gives a price for {named(pairs)}: {reason}. {ADVICE}"
        case RefreshRecovered(pairs):
            return logging.INFO, f"priced again: {named(pairs)}"
        case FreshnessMoved(pairs, None, age_ms):
            return logging.WARNING, f"no price {age_ms / 1000:.1f} s after the start: {named(pairs)}. 503 is served"
        case FreshnessMoved(pairs, freshness, age_ms):
            level = logging.INFO if freshness is Freshness.FRESH else logging.WARNING
            return level, f"price {freshness}: {named(pairs)}, {age_ms / 1000:.1f} s old"
        case CoordinationLost(reason):
            return logging.WARNING, f"no store works: {reason}. This worker asks the sources for itself until one does"
        case CoordinationBack():
            return logging.INFO, "a store works again: this worker does not ask for itself any more"
        case StoreLost(reason, announce=True):
            return logging.WARNING, f"shared store lost: {reason}. {EMBEDDED}"
        case StoreBack(announce=True):
            return logging.INFO, "shared store back"
    return None


def named(pairs: Sequence[Pair]) -> str:
    """A few of the pairs by name, and how many others there are."""
    names = ", ".join(pair.symbol for pair in pairs[:NAMED])
    return names + (f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else "")
