"""The true price at every moment, and what honest and lying sources make of it."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from fastprice.application.ports import Answers, Call, Clock, Limit
from fastprice.domain.quote import Pair, Quote, SourceTime

PAIR, OTHER = Pair("ETH", "USDT"), Pair("BTC", "USDT")
OPENING = {PAIR: 3120.45, OTHER: 65000.0}
STEP_SECONDS = 0.1
# The standard deviation of the price's move within a second, which is some 2 % an hour.
PER_SECOND = 0.0003
# The largest share between two honest sources: each is off by half of it at most.
APART = 0.0004
LATENCY = 0.05, 0.15

# The share that a liar adds to the true price at a second of the play, given its share at its last answer.
Bend = Callable[[float, float], float]


class Truth:
    """A seeded random walk of each pair; `jumps` are seconds and factors of true moves of the whole market."""

    def __init__(self, seed: str, seconds: float, jumps: Sequence[tuple[float, float]] = ()) -> None:
        self._lines: dict[Pair, list[float]] = {}
        for pair, opening in OPENING.items():
            random, at, line = Random(f"{seed}/{pair.slug}"), math.log(opening), list[float]()
            for _ in range(math.ceil(seconds / STEP_SECONDS) + 100):
                at += random.gauss(0.0, PER_SECOND * math.sqrt(STEP_SECONDS))
                line.append(math.exp(at))
            self._lines[pair] = line
        self._jumps = jumps

    def price(self, pair: Pair, second: float) -> float:
        factor = math.prod(factor for at, factor in self._jumps if second >= at)
        return self._lines[pair][max(0, int(second / STEP_SECONDS))] * factor


@dataclass(frozen=True, slots=True)
class Lie:
    """What one source does from a second on; `price` computes what it says from the truth and its answer's number."""

    name: str
    since: float
    price: Callable[[Truth, float, float, int], float]


def off_by(share: float, since: float) -> Lie:
    return Lie(f"off by {share:.1%}", since, lambda truth, since, now, number: truth.price(PAIR, now) * (1 + share))


def frozen(since: float) -> Lie:
    return Lie("frozen", since, lambda truth, since, now, number: truth.price(PAIR, since))


def drifting(since: float) -> Lie:
    def price(truth: Truth, since: float, now: float, number: int) -> float:
        return truth.price(PAIR, now) * (1 + 0.001 * (now - since) / 60)

    return Lie("drifts by 0.1 % a minute", since, price)


def of_another_pair(since: float) -> Lie:
    return Lie("says another pair's price", since, lambda truth, since, now, number: truth.price(OTHER, now))


def alternating(since: float) -> Lie:
    def price(truth: Truth, since: float, now: float, number: int) -> float:
        return truth.price(PAIR, now) * (1.04 if number % 2 else 1.0)

    return Lie("lies by 4 % every other time", since, price)


@dataclass(slots=True)
class Source:
    """A PriceSource that tells almost exactly the truth until its lie begins."""

    name: str
    truth: Truth
    clock: Clock
    random: Random
    began: float
    lie: Lie | None = None
    limit: Limit = Limit(20.0, 10.0)
    source_time: SourceTime = SourceTime.REPLY
    calls_made: list[float] = field(default_factory=list)

    def calls(self, pairs: Sequence[Pair]) -> list[Call]:
        return [Call(tuple(pairs))]

    async def fetch(self, call: Call) -> Answers:
        self.calls_made.append(self.clock.monotonic())
        await asyncio.sleep(self.random.uniform(*LATENCY))
        return {pair: self._quote(pair) for pair in call.pairs}

    def _quote(self, pair: Pair) -> Quote:
        now = self.clock.monotonic() - self.began
        price = self.truth.price(pair, now) * (1 + self.random.uniform(-APART / 2, APART / 2))
        if self.lie and now >= self.lie.since:
            price = self.lie.price(self.truth, self.lie.since, now, len(self.calls_made))
        middle = Decimal(f"{price:.2f}")
        wall_ms = self.clock.wall_ms()
        return Quote(
            pair, f"{middle}", f"{middle - Decimal('0.01')}", f"{middle + Decimal('0.01')}", None, None, None, None,
            self.name, wall_ms, wall_ms,
        )  # fmt: skip


def sources(
    names: Sequence[str], lies: Mapping[int, Lie], truth: Truth, clock: Clock, seed: str
) -> list[Source]:
    """One source for each name; `lies` says which of them lie, by their number."""
    began = clock.monotonic()
    return [
        Source(name, truth, clock, Random(f"{seed}/{name}"), began, lies.get(number))
        for number, name in enumerate(names)
    ]
