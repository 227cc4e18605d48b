"""A call to a source: its true answer, and the fault that is set."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fastprice.domain.quote import Pair
from fastprice.market.exchange import Answer, Exchange
from fastprice.market.forms import Form, Json, encoded
from fastprice.market.limits import Spent
from fastprice.market.tick import Status, Tick

POISON = "6666.66"


@dataclass(frozen=True, slots=True)
class Switch:
    """A fault as it was set, for some pairs or, with None, for all.

    `held` is what the source said of each pair at that moment, for a fault that needs it.
    """

    fault: str
    seconds: float
    factor: float
    pairs: frozenset[Pair] | None
    since_ms: int
    held: Mapping[Pair, Tick]

    def concerns(self, pair: Pair) -> bool:
        return self.pairs is None or pair in self.pairs


HONEST = Switch("", 0.0, 1.0, None, 0, {})


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a source at one time: `ticks` of its pairs, and `others`, finished rows of other pairs.

    `alone`: a single pair was requested, so the source may refuse it.
    """

    exchange: Exchange
    form: Form
    ticks: tuple[Tick, ...]
    others: tuple[Json, ...]
    time_ms: int
    unknown: Callable[[], Answer]
    switch: Switch = HONEST
    alone: bool = False

    @property
    def tick(self) -> Tick:
        """The first tick, which is the only one if a single pair was requested."""
        return self.ticks[0]

    @property
    def fault(self) -> str:
        """The fault that concerns this call."""
        every_call = self.switch.pairs is None
        return self.switch.fault if every_call or any(self.switch.concerns(tick.pair) for tick in self.ticks) else ""

    def spared(self) -> "Call":
        """The same call without the pairs that the fault concerns."""
        return replace(self, ticks=tuple(tick for tick in self.ticks if not self._is_concerned(tick)))

    def truth(self) -> Answer:
        rows = [self.form.row(tick, self.exchange.spellings(tick.pair)[0]) for tick in self.ticks]
        # No exchange promises an order, so these rows are placed in the middle.
        middle = len(self.others) // 2
        return Answer(encoded(self.form.whole([*self.others[:middle], *rows, *self.others[middle:]], self.time_ms)))

    def lie(self, bend: Callable[[Tick], Tick], later_ms: int = 0) -> Answer:
        """The true answer, with the ticks changed that the fault concerns; pairs that do not trade stay as they are.

        A time stamp of the whole reply moves with theirs if the fault concerns all of its pairs.
        """
        ticks = tuple(bend(tick) if self._is_concerned(tick) else tick for tick in self.ticks)
        moved_ms = later_ms if all(self.switch.concerns(tick.pair) for tick in self.ticks) else 0
        return replace(self, ticks=ticks, time_ms=self.time_ms + moved_ms).truth()

    def too_many(self, status: int) -> Answer:
        """The documented rate limit answer, with the time to wait."""
        wait_ms, limit = int(self.switch.seconds * 1000), self.exchange.limits[0]
        spent = Spent(limit.most, limit.most, limit.seconds, wait_ms, self.time_ms)
        answer = self.exchange.complain(self.exchange.complaints.limited, self.time_ms)
        headers = {**answer.headers, **self.exchange.limit_headers(spent), "Retry-After": str(spent.wait_seconds)}
        return replace(answer, status=status, headers=headers)

    def _is_concerned(self, tick: Tick) -> bool:
        return tick.status is Status.TRADING and self.switch.concerns(tick.pair)
