"""Fake exchanges: they record who calls them, take some time to answer, and can be down or ban everyone."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from bench.fleet.virtual_time import Process
from fastprice.application.ports import Answers, Call, Clock, Limit
from fastprice.domain.errors import RateLimited, SourceDown, SourceTimeout
from fastprice.domain.quote import Pair, Quote, SourceTime

# How long an exchange takes to answer: at least, and at most how much more.
LEAST_SECONDS, MORE_SECONDS = 0.06, 0.14
# Prices count up from here, by one for each answer: so large that no move between two of them is suspicious.
FIRST_PRICE = 10**9


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to an exchange: when, to which one, by which process, and whether the exchange had banned it."""

    at: float
    source: str
    process: Process
    banned: bool


@dataclass(slots=True)
class Tape:
    """All requests to the exchanges, and when each of their prices was given, in virtual seconds."""

    calls: list[Asked] = field(default_factory=list)
    given_at: list[float] = field(default_factory=list)

    def price(self, at: float) -> str:
        self.given_at.append(at)
        return str(FIRST_PRICE + len(self.given_at) - 1)

    def age_began(self, quote: Quote) -> float:
        """When a price was really given, whatever clock has stamped it."""
        return self.given_at[int(quote.price) - FIRST_PRICE]


class Exchange:
    """One exchange; every worker calls it through its own source."""

    def __init__(self, name: str, tape: Tape, random: Random) -> None:
        self.name = name
        self.down = False
        self.banning_until = 0.0
        self.ban_told = False
        self._tape = tape
        self._random = random

    def ban(self, seconds: float) -> None:
        """Answer all requests of the next `seconds` with 429 and Retry-After."""
        self.banning_until = asyncio.get_running_loop().time() + seconds
        self.ban_told = False

    async def answer(self, pair: Pair, process: Process, clock: Clock) -> Quote:
        now = clock.monotonic()
        banned = now < self.banning_until
        self._tape.calls.append(Asked(now, self.name, process, banned and self.ban_told))
        await asyncio.sleep(LEAST_SECONDS + MORE_SECONDS * self._random.random())
        given_at = clock.monotonic()
        if process.paused:
            await process.going()
        if banned:
            self.ban_told = True
            raise RateLimited("asked too often", self.banning_until - given_at)
        if self.down:
            raise SourceDown("HTTP 503")
        price = self._tape.price(given_at)
        return Quote(pair, price, None, None, None, None, None, None, self.name, None, clock.wall_ms())


class FakeSource:
    """The PriceSource of one worker, with a deadline as infrastructure/exchanges/client.py has one."""

    source_time = SourceTime.NONE
    limit = Limit(burst=100.0, per_second=100.0)

    def __init__(self, exchange: Exchange, process: Process, clock: Clock, timeout_seconds: float) -> None:
        self.name = exchange.name
        self._exchange = exchange
        self._process = process
        self._clock = clock
        self._timeout = timeout_seconds

    def calls(self, pairs: Sequence[Pair]) -> list[Call]:
        return [Call(tuple(pairs))]

    async def fetch(self, call: Call) -> Answers:
        if self._process.paused:
            await self._process.going()
        if self._process.dead:
            raise SourceDown("the process is dead")
        try:
            async with asyncio.timeout(self._timeout):
                return {pair: await self._exchange.answer(pair, self._process, self._clock) for pair in call.pairs}
        except TimeoutError:
            raise SourceTimeout(f"no answer within {self._timeout:g} s") from None
