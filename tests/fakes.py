"""Small fakes at the ports: each records its calls and does what the test set, and none of them waits."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fastprice.application.events import Event
from fastprice.application.live_ports import StreamReport, Update
from fastprice.application.ports import Answers, Call, Limit
from fastprice.domain.errors import SourceError
from fastprice.domain.quote import Pair, Quote, SourceTime

ETH = Pair("ETH", "USDT")
BTC = Pair("BTC", "USDT")
START_MS = 1_753_300_000_000


def a_quote(price: str = "3120.45", at_ms: int = START_MS, source: str = "binance", **other: Any) -> Quote:
    """A valid quote; fields that the test does not set get defaults."""
    fields: dict[str, Any] = {
        "pair": ETH, "bid": None, "ask": None, "volume_24h": None, "high_24h": None, "low_24h": None, "open_24h": None,
        "source_time_ms": None,
    }
    return Quote(price=price, source=source, fetched_at_ms=at_ms, **(fields | other))


class FakeClock:
    """Wall and monotonic time that stand still until `advance`; sleepers wake in order. `slept` keeps every pause."""

    def __init__(self, wall_ms: int = START_MS) -> None:
        self.now = 1000.0
        self.wall_offset_ms = wall_ms - round(self.now * 1000)
        self.slept: list[float] = []
        self._order = itertools.count()
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []

    def wall_ms(self) -> int:
        return round(self.now * 1000) + self.wall_offset_ms

    def monotonic(self) -> float:
        return self.now

    def step_wall(self, seconds: float) -> None:
        """Set only the wall clock, as an operator or NTP does."""
        self.wall_offset_ms += round(seconds * 1000)

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now + seconds, next(self._order), waker))
        await waker

    async def advance(self, seconds: float) -> None:
        """Let time pass: every sleeper due by then wakes at its own time and runs until it waits again."""
        await settle()
        end = self.now + seconds
        while self._sleepers and self._sleepers[0][0] <= end + 1e-9:
            due, _, waker = heapq.heappop(self._sleepers)
            if waker.done():
                continue
            self.now = max(self.now, due)  # The clock is already later if a test set it ahead.
            waker.set_result(None)
            await settle()
        self.now = end
        await settle()


class SlowClock(FakeClock):
    """After each reading of the wall clock `tick` seconds pass, as if the process were stopped at that moment."""

    tick = 0.0

    def wall_ms(self) -> int:
        now_ms = super().wall_ms()
        self.now += self.tick
        return now_ms


async def settle() -> None:
    """Run everything that can run while the clock stands still."""
    for _ in range(50):
        await asyncio.sleep(0)


class RecordingEvents:
    """Keeps every event."""

    def __init__(self) -> None:
        self.all: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.all.append(event)

    def of(self, *kinds: type) -> list[Any]:
        return [event for event in self.all if isinstance(event, kinds)]


AMPLE = Limit(1000.0, 1000.0)


class FakeSource:
    """A PriceSource of one call for all pairs; gives its `answers` one after the other, the last one forever.

    An answer is a price for every pair, a SourceError for the whole call, or a dict with an answer for each pair.
    With `gate` set, a call waits for it: `source.gate = asyncio.Event()`. `asked` keeps the pairs of every call.
    """

    def __init__(
        self, name: str, clock: FakeClock, *answers: Any, source_time: SourceTime = SourceTime.NONE,
        limit: Limit = AMPLE, per_call: int = 1000,
    ) -> None:  # fmt: skip
        self.name = name
        self.source_time = source_time
        self.limit = limit
        self.answers = list(answers)
        self.asked: list[tuple[Pair, ...]] = []
        self.gate: asyncio.Event | None = None
        self._clock = clock
        self._per_call = per_call

    def calls(self, pairs: Sequence[Pair]) -> list[Call]:
        size = self._per_call
        return [Call(tuple(pairs[at:at + size])) for at in range(0, len(pairs), size)]

    async def fetch(self, call: Call) -> Answers:
        if self.gate is not None:
            await self.gate.wait()
        return self.answer(call)

    def answer(self, call: Call) -> dict[Pair, Quote | SourceError]:
        """What `fetch` gives, without waiting."""
        self.asked.append(call.pairs)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, SourceError):
            raise answer
        if not isinstance(answer, dict):
            answer = dict.fromkeys(call.pairs, answer)
        return {pair: self._of(pair, answer[pair]) for pair in call.pairs if pair in answer}

    def _of(self, pair: Pair, answer: Any) -> Quote | SourceError:
        if isinstance(answer, Quote | SourceError):
            return answer
        if isinstance(answer, str):
            return a_quote(answer, self._clock.wall_ms(), self.name, pair=pair)
        quote: Quote = answer()
        return quote


def kinds(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]


class FakeStream:
    """A PriceStream that says what the test sets; `asked` records the calls that were made to it."""

    source_time = SourceTime.PRICE

    def __init__(self, name: str, clock: FakeClock, book_as_of_trade: bool = False) -> None:
        self.name, self.book_as_of_trade = name, book_as_of_trade
        self.asked: list[tuple[str, tuple[Pair, ...]]] = []
        self.is_open = False
        self._clock = clock
        self._said: list[Update] = []

    def open(self, pairs: Sequence[Pair], news: Callable[[], None], refused: Callable[[SourceError], None]) -> None:
        self.asked.append(("open", tuple(pairs)))
        self.is_open, self._news, self.refuse = True, news, refused

    def say(self, price: str | None = None, pair: Pair = ETH, **other: Any) -> None:
        """The stream reads a message now; the test may set `book`, `day`, `time_ms` and `read_at_ms`."""
        fields = {"book": None, "day": None, "time_ms": None, "read_at_ms": self._clock.wall_ms()} | other
        self._said.append(Update(pair, price, **fields))
        self._news()

    def take(self, most: int) -> list[Update]:
        said, self._said = self._said[:most], self._said[most:]
        return said

    async def caught_up(self) -> None:
        pass

    def tells(self, pair: Pair) -> bool:
        return self.is_open

    def renew(self, pairs: Sequence[Pair]) -> None:
        self.asked.append(("renew", tuple(pairs)))

    def reconnect(self, pairs: Sequence[Pair]) -> None:
        self.asked.append(("reconnect", tuple(pairs)))

    def report(self, now_ms: int) -> StreamReport:
        return StreamReport(self.name, "live" if self.is_open else "off")

    async def close(self) -> None:
        self.asked.append(("close", ()))
        self.is_open = False
