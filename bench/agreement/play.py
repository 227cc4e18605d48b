"""One play: sources, some of which lie, one worker that calls them, and an oracle that judges what it serves."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

from bench.agreement.truth import APART, PAIR, Lie, Truth, sources
from fastprice.application.events import Event, SourceDistrusted, SourceTrusted
from fastprice.application.latest_price import Snapshot
from fastprice.application.ports import LEADER, Clock, Stored
from fastprice.engine import engine
from fastprice.settings import Settings

LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Play:
    """Which sources lie, by their position in the order of sources, and what the whole market does.

    `spells` is for how many cross-check intervals a wrong price may be served in failover mode.
    """

    name: str
    lies: Mapping[int, Lie]
    jumps: Sequence[tuple[float, float]] = ()
    spells: int = 1


class Seen(TypedDict):
    """What the oracle saw. Times in seconds; `wrong` is from the first moment with a wrong price to the last one.

    `late` is how long after a true move a price from before the move was still served.
    """

    name: str
    mode: str
    liars: int
    allowed: float
    wrong: float
    late: float
    oldest: float
    calls_per_round: float
    calls: dict[str, float]
    distrusted: dict[str, int]


class Alone:
    """A PriceStore for one worker."""

    def __init__(self) -> None:
        self._stored = Stored()

    async def read(self) -> tuple[str | None, Stored]:
        return None, self._stored

    async def write(self, holder: str, stored: Stored) -> bool:
        self._stored = stored
        return True

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        return True

    async def holder(self, name: str) -> str | None:
        return None

    async def release(self, holder: str, name: str = LEADER) -> None:
        pass

    async def news(self, seconds: float) -> bool:
        return False

    async def close(self) -> None:
        pass


class Oracle:
    """Checks every price that is served against the true price."""

    def __init__(self, truth: Truth, play: Play, share: float) -> None:
        self._truth, self._play, self._share = truth, play, share
        self._wrong_since: float | None = None
        self.wrong = self.late = self.oldest = 0.0

    def look(self, snapshot: Snapshot | None, now: float, age: float) -> None:
        """Judge what is served at a second of the play: a price is compared with the truth at the time of its fetch."""
        if snapshot is None:
            return
        self.oldest = max(self.oldest, age)
        price = float(snapshot.quote.price)
        if abs(price / self._truth.price(PAIR, now - age) - 1) > self._share + APART:
            self._wrong_since = now if self._wrong_since is None else self._wrong_since
            self.wrong = now - self._wrong_since + LOOK_SECONDS
        for at, factor in self._play.jumps:
            if now >= at and abs(price / self._truth.price(PAIR, now) - 1) > abs(factor - 1) / 2:
                self.late = max(self.late, now - at)


async def played(play: Play, settings: Settings, seed: str, seconds: float, clock: Clock) -> Seen:
    """Run a worker with these settings through a play."""
    truth, store, told = Truth(f"{seed}/{play.name}", seconds, play.jumps), Alone(), list[Event]()
    asked = sources(settings.sources, play.lies, truth, clock, seed)
    made = engine(settings, asked, store, Snapshot, "worker", clock, told.append)
    oracle, began = Oracle(truth, play, settings.cross_check_deviation), clock.monotonic()
    running = asyncio.create_task(made.leader.run())
    while (now := clock.monotonic() - began) < seconds:
        snapshot = made.latest.by_slug[PAIR.slug].snapshot
        oracle.look(snapshot, now, (made.latest.age_ms(PAIR) or 0) / 1000)
        await asyncio.sleep(LOOK_SECONDS)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    rounds = 1 + seconds / settings.refresh_interval  # One round at the start of the play, and one at its end.
    distrusted = Counter(event.source for event in told if isinstance(event, SourceDistrusted))
    distrusted.subtract(Counter(event.source for event in told if isinstance(event, SourceTrusted)))
    failover = settings.price_mode == "failover"
    return Seen(
        name=play.name,
        mode=settings.price_mode,
        liars=len(play.lies),
        allowed=play.spells * (settings.cross_check_interval + settings.refresh_interval + 1.0) if failover else 0.0,
        wrong=oracle.wrong,
        late=oracle.late,
        oldest=oracle.oldest,
        calls_per_round=sum(len(source.calls_made) for source in asked) / rounds,
        calls={source.name: len(source.calls_made) / rounds for source in asked},
        distrusted={name: count for name, count in distrusted.items() if count},
    )
