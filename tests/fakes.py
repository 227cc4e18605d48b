"""Tiny stand-ins at the ports: each keeps what it was told and does what the test set, and none of them waits."""

import asyncio
import heapq
import itertools
from collections.abc import Callable, Iterable
from typing import Any

from fastprice.application.events import Event
from fastprice.application.ports import MAX_BAN_SECONDS, Ban, Clock, SourceReport
from fastprice.domain.errors import SourceError, StoreUnavailable
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote, SourceTime

ETH = Pair("ETH", "USDT")
BTC = Pair("BTC", "USDT")
START_MS = 1_753_300_000_000


def a_quote(price: str = "3120.45", at_ms: int = START_MS, source: str = "binance", **other: Any) -> Quote:
    """A valid quote; whatever the test does not care about is filled in."""
    fields: dict[str, Any] = {
        "pair": ETH, "bid": None, "ask": None, "volume_24h": None, "source_time_ms": None,
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
        """Set the wall clock alone, as an operator or NTP does."""
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
            self.now = max(self.now, due)  # It is past due where a test set the time ahead.
            waker.set_result(None)
            await settle()
        self.now = end
        await settle()


class SlowClock(FakeClock):
    """A reading of the wall clock is followed by a pause of `tick` seconds, as when the process is stopped just then."""

    tick = 0.0

    def wall_ms(self) -> int:
        now_ms = super().wall_ms()
        self.now += self.tick
        return now_ms


async def settle() -> None:
    """Let everything that can run without time passing run."""
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


class FakeSource:
    """Gives its `answers` one after the other, the last one for ever: a quote, an error, or a function of the clock.

    With `gate` set, a call waits for it: `source.gate = asyncio.Event()`.
    """

    def __init__(
        self,
        name: str,
        clock: FakeClock,
        *answers: str | Quote | SourceError | Callable[[], Quote],
        source_time: SourceTime = SourceTime.NONE,
    ) -> None:
        self.name = name
        self.source_time = source_time
        self.state = "closed"
        self.calls = 0
        self.answers = list(answers)
        self.gate: asyncio.Event | None = None
        self._clock = clock

    async def fetch(self, pair: Pair) -> Quote:
        self.calls += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(answer, SourceError):
            raise answer
        if isinstance(answer, str):
            return a_quote(answer, self._clock.wall_ms(), self.name, pair=pair)
        return answer if isinstance(answer, Quote) else answer()


class Shelf:
    """What every FakeStore of one fleet shares: the quotes, the reports, the claims, and everything ever put."""

    def __init__(self) -> None:
        self.quotes: dict[Pair, Quote] = {}
        self.reports: dict[Pair, tuple[SourceReport, ...]] = {}
        self.bans: dict[tuple[str, Pair | None], Ban] = {}
        self.claims: dict[str, tuple[str, int]] = {}
        self.puts: list[Quote] = []
        self.changed = asyncio.Event()

    def put(self, quote: Quote) -> None:
        self.quotes[quote.pair] = quote
        self.puts.append(quote)
        self.changed.set()
        self.changed = asyncio.Event()


class FakeStore:
    """A QuoteStore in a dict; `failure` makes every operation fail with that reason.

    Workers share what they store by sharing a shelf: `FakeStore(clock, other.shelf)`.
    """

    def __init__(self, clock: Clock, shelf: Shelf | None = None) -> None:
        self.failure: str | None = None
        self.operations: list[str] = []
        self.closed = False
        self.shelf = shelf or Shelf()
        self._clock = clock
        self._seen = 0

    async def get(self, pair: Pair) -> Quote | None:
        self._operate("get")
        return self.shelf.quotes.get(pair)

    async def put(self, quote: Quote) -> bool:
        self._operate("put")
        if not quote.replaces(self.shelf.quotes.get(quote.pair), self._clock.wall_ms()):
            return False
        self.shelf.put(quote)
        return True

    async def get_reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        self._operate("get_reports")
        return self.shelf.reports.get(pair, ())

    async def put_reports(self, pair: Pair, reports: tuple[SourceReport, ...]) -> None:
        self._operate("put_reports")
        self.shelf.reports[pair] = reports

    async def get_bans(self) -> tuple[Ban, ...]:
        self._operate("get_bans")
        return tuple(ban for ban in self.shelf.bans.values() if ban.until_ms > self._clock.wall_ms())

    async def put_ban(self, ban: Ban) -> None:
        self._operate("put_ban")
        held = self.shelf.bans.get((ban.source, ban.pair))
        latest_ms = self._clock.wall_ms() + round(MAX_BAN_SECONDS * 1000)
        if held is None or ban.until_ms > held.until_ms or held.until_ms > latest_ms:
            self.shelf.bans[ban.source, ban.pair] = ban

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        self._operate("claim")
        now_ms, (held_by, until_ms) = self._clock.wall_ms(), self.shelf.claims.get(name, (holder, 0))
        ends_ms = now_ms + round(seconds * 1000)
        if held_by != holder and now_ms < until_ms <= ends_ms + MAX_SKEW_MS:
            return False
        self.shelf.claims[name] = (holder, ends_ms)
        return True

    async def release(self, name: str, holder: str) -> None:
        self._operate("release")
        if self.shelf.claims.get(name, ("", 0))[0] == holder:
            del self.shelf.claims[name]

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        self._operate("news")
        if self._seen == len(self.shelf.puts):
            waits = [asyncio.ensure_future(self.shelf.changed.wait()), asyncio.ensure_future(self._nap(seconds))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()
        news, self._seen = tuple(self.shelf.puts[self._seen:]), len(self.shelf.puts)
        return news

    async def close(self) -> None:
        self.closed = True

    async def _nap(self, seconds: float) -> bool:
        await self._clock.sleep(seconds)
        return True

    def _operate(self, op: str) -> None:
        self.operations.append(op)
        if self.failure:
            raise StoreUnavailable(self.failure)


def kinds(events: Iterable[Event]) -> list[str]:
    return [type(event).__name__ for event in events]
