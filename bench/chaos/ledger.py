"""The active troubles and the findings: a line per finding, with all that is needed to reproduce it."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from collections.abc import Iterator

# How many findings of one kind at one place are printed, and their length; all findings are counted.
TOLD_PER_KIND, DETAIL = 2, 700
# If our own event loop was recently delayed for longer than this, lateness is not a finding.
BUSY_SECONDS, PULSE_SECONDS, PULSES = 1.0, 0.1, 150


class Ledger:
    """One episode's notes."""

    def __init__(self, seed: int) -> None:
        self.found: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        # The age of the oldest price that any client received.
        self.oldest_ms = 0.0
        self._seed = seed
        self._began = time.monotonic()
        self._on: list[str] = []
        self._delays: deque[float] = deque(maxlen=PULSES)

    @contextlib.contextmanager
    def on(self, what: str) -> Iterator[None]:
        """Record a trouble as active for as long as it lasts."""
        self._on.append(what)
        self.counts["troubles"] += 1
        try:
            yield
        finally:
            self._on.remove(what)

    def find(self, place: str, kind: str, detail: str = "") -> None:
        """Record that something is not as promised."""
        self.found[f"{place}: {kind}"] += 1
        if self.found[f"{place}: {kind}"] <= TOLD_PER_KIND:
            when, on = f"seed {self._seed}, {time.monotonic() - self._began:.1f} s", ", ".join(self._on) or "nothing"
            print(f"FOUND {when}, {place}: {kind}: {detail[:DETAIL]} | on: {on}".replace("\n", " / "), flush=True)

    @property
    def busy(self) -> bool:
        """Whether this machine was so busy that exceeding a time limit proves nothing."""
        return max(self._delays, default=0.0) > BUSY_SECONDS

    async def pulse(self) -> None:
        """Measure forever how late our event loop is."""
        while True:
            due = time.monotonic() + PULSE_SECONDS
            await asyncio.sleep(PULSE_SECONDS)
            self._delays.append(time.monotonic() - due)
