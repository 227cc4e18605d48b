"""Events about the streams of sources; a part of the events in events.py."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StreamLost:
    """A source's stream has ended; opening it is tried again and again."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamBack:
    """A source's stream that was lost sends prices again."""

    source: str


@dataclass(frozen=True, slots=True)
class StreamReconnected:
    """One of a stream's connections has ended; `reason` is one of STREAM_REASONS."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class StreamHeard:
    """What a stream has sent since the last such event: the messages of each kind, and the largest lag in seconds.

    The lag is the time from a message's own stamp to its reading, None if no stamp says when a price was made.
    """

    source: str
    counts: Mapping[str, int]
    lag_seconds: float | None


STREAM_REASONS = ("lost", "silent", "no_data", "refused", "planned", "too_large", "asked")


@dataclass(frozen=True, slots=True)
class StreamGivenUp:
    """A source's stream is given up for this reason, and stays closed for this many seconds."""

    source: str
    reason: str
    seconds: float
