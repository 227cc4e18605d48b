"""What a drill is: a claim, a load, a fault, the allowed effects; and the row of its results."""

import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.chaos.oracle import CACHE_TTL, MAX_STALE

FRESH_MS, STALE_MS = round(CACHE_TTL * 1000), round(MAX_STALE * 1000)
# How many entries of one kind a row shows.
TOLD = 5


@dataclass(slots=True)
class Notes:
    """What was seen in a drill. Ages in milliseconds, `recovered` in seconds; `amiss` is what breaks the claim."""

    requests: int = 0
    lost: int = 0
    wrong: int = 0
    oldest_ms: float = 0.0
    recovered: float | None = None
    events: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    amiss: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.monotonic)
    # Where the logs are, until it is known whether the claim is kept.
    places: list[Path] = field(default_factory=list)

    def lose(self, how: str) -> None:
        """Count a request that got no useful answer."""
        self.lost += 1
        self.seen[f"{how}, after {time.monotonic() - self.began:.0f} s"] += 1

    def expect(self, holds: bool, otherwise: str) -> None:
        """Record `otherwise` as amiss unless `holds` is true."""
        if not holds:
            self.amiss.append(otherwise)

    def healed(self, seconds: float) -> None:
        """Record how long it took until all was well again; the longest time counts."""
        self.recovered = max(seconds, self.recovered or 0.0)


@dataclass(frozen=True, slots=True)
class Allowed:
    """The most harm that a fault may do. `share` of the requests, or `lost` of them, may go unanswered."""

    lost: int = 0
    share: float = 0.0
    oldest_ms: float = FRESH_MS
    recovered: float = 5.0

    def broken_by(self, notes: Notes) -> list[str]:
        """What exceeds these limits."""
        most = max(self.lost, math.ceil(notes.requests * self.share))
        broken = {
            f"{notes.lost} lost, {most} may be": notes.lost > most,
            f"{notes.wrong} wrong": notes.wrong > 0,
            f"{notes.oldest_ms:.0f} ms old, {self.oldest_ms:g} may be": notes.oldest_ms > self.oldest_ms,
            f"well again after {notes.recovered or 0:.1f} s, {self.recovered:g} may be":
                (notes.recovered or 0) > self.recovered,
            "nothing was asked": not notes.requests,
        }  # fmt: skip
        return [words for words, is_broken in broken.items() if is_broken]


@dataclass(frozen=True, slots=True)
class Drill:
    """`proves` are the numbers of claims in docs/reliability.md; `short` is the small version of it in `make test`.

    `play(notes, size)` runs it; `size` is 1 for the whole drill, and less for a check that it works.
    """

    name: str
    claim: str
    load: str
    fault: str
    play: Callable[[Notes, float], Awaitable[None]]
    allowed: Allowed
    short: str
    proves: tuple[int, ...] = ()
    # A time limit, not a measurement: a drill that takes longer hangs.
    most_seconds: float = 240.0
    needs: tuple[str, ...] = ()
    # The drill's size is set in minutes.
    is_combined: bool = False


def row(drill: Drill, notes: Notes, began: float) -> dict[str, Any]:
    """The results of a drill as they are saved."""
    amiss = [*notes.amiss, *drill.allowed.broken_by(notes)]
    return {
        "name": drill.name,
        "claim": drill.claim,
        "load": drill.load,
        "fault": drill.fault,
        "requests": notes.requests,
        "events": notes.events,
        "lost": notes.lost,
        "wrong": notes.wrong,
        "oldest_ms": round(notes.oldest_ms),
        "recovered": None if notes.recovered is None else round(notes.recovered, 2),
        "kept": not amiss,
        "amiss": amiss[:TOLD],
        "seen": [f"{count} × {what}" for what, count in notes.seen.most_common(TOLD)],
        "short": drill.short,
        "proves": list(drill.proves),
        "seconds": round(time.monotonic() - began, 1),
    }
