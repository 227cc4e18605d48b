"""Steps of the price at an exchange, and when every worker answers with them.

The market gets a new price, which it pushes at once and records with the time; the next step comes when all workers
have it. The price also moves on its own, every tenth of a second. Steps avoid that moment, because a worker pushes at
most every 10 ms to its subscribers, which show when its answer changes (listeners.py).

A step *came by a poll* if no worker had it within 25 ms and the exchange was polled meanwhile; it is lost if a worker
gets neither it nor a later push within 6 s, in which there is always a poll.
"""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from bench.failures.figures import percentile
from bench.streams_in.listeners import Listeners, Seen, listening
from bench.streams_in.services import Fleet, fleet

SETTINGS = {"REFRESH_INTERVAL": "5", "CACHE_TTL": "10", "STREAM_INTERVAL": "0", "PUSH_INTERVAL": "0.01"}
WORKERS, REPLICAS = 8, 3
WARM_UP_STEPS = 20
# A step stays within 0.02 % of the one before, which is as far as a market may move between a poll and a message, and
# is larger than the price's own moves meanwhile.
PRICES = [Decimal(3120) + Decimal(number) / 100 for number in range(-30, 31)]
LEAST_STEP = Decimal("0.10")
# The part of each tenth of a second in which steps are made, and the pause after a step that all workers have.
FROM_SECONDS, TO_SECONDS, BEAT_SECONDS = 0.02, 0.075, 0.1
LEAST_PAUSE, MORE_PAUSE = 0.015, 0.02
# Until when a step counts as streamed, how long the first read lasts, and after which time a step is lost.
STREAMED_MS, QUICK_SECONDS, LOST_SECONDS = 25.0, 0.25, 6.0
TRIES = 100
# After how many steps all workers are also asked whether they answer with what they pushed.
ASK_EVERY = 25


@dataclass(slots=True)
class Stepped:
    """Milliseconds from each push to the last worker; and to each subscriber of replicas without the leader, if any."""

    latencies: list[float] = field(default_factory=list)
    hops: list[float] = field(default_factory=list)
    polled: int = 0
    lost: int = 0
    wrong: int = 0

    def row(self, name: str) -> dict[str, Any]:
        """The figures, rounded for a table."""
        spread = {"p50_ms": 0.5, "p99_ms": 0.99, "max_ms": 1.0}
        found = {key: round(percentile(self.latencies, share), 1) for key, share in spread.items()}
        hops = {f"hop_{key}": round(percentile(self.hops, share), 1) for key, share in spread.items() if self.hops}
        counts = {"steps": len(self.latencies), "polled": self.polled, "lost": self.lost, "wrong": self.wrong}
        return {"name": name, **found, **hops, **counts}


def stepped(name: str, steps: int, over_redis: bool) -> dict[str, Any]:
    """Measure steps of one exchange, with the embedded store of one replica, or with three replicas over Redis."""
    with fleet(name, REPLICAS if over_redis else 1, WORKERS, over_redis, None, **SETTINGS) as running:
        running.exchange.push_every(0)
        leader = running.leader()
        with listening(running.services) as listeners:
            play = Play(running, listeners, _elsewhere(running, leader, listeners))
            play.make(WARM_UP_STEPS)
            play.found = Stepped()
            play.make(steps)
            return play.found.row(name)


def _elsewhere(running: Fleet, leader: int, listeners: Listeners) -> set[int]:
    """The subscribers of workers whose service is not the leader's."""
    near = next(pids for _, process in running.services if leader in (pids := process.pids()))
    return {number for number, listener in enumerate(listeners.all) if listener.pid not in near}


class Play:
    """Steps of one exchange, one after the other, and the results."""

    def __init__(self, running: Fleet, listeners: Listeners, elsewhere: set[int]) -> None:
        self.found = Stepped()
        self._exchange, self._listeners, self._elsewhere = running.exchange, listeners, elsewhere
        self._chance = random.Random(running.exchange.name)
        self._truth = self._price = PRICES[0]
        self._began_ns = 0

    def make(self, steps: int) -> None:
        """Make a number of steps."""
        polls = self._exchange.polls()
        for number in range(steps):
            self._wait()
            arrived = self._step()
            asked = self._exchange.polls()
            self.found.polled += bool(arrived) and min(arrived.values()) > STREAMED_MS and asked > polls
            polls = asked
            if number % ASK_EVERY == 0:
                answers = [each.answer() for each in self._listeners.all]
                self.found.wrong += sum(answer not in self._pushed(self._began_ns) for answer in answers)

    def _wait(self) -> None:
        """Read events until the next moment for a step."""
        pause = LEAST_PAUSE + MORE_PAUSE * self._chance.random()
        within = (time.time() + pause) % BEAT_SECONDS
        if not FROM_SECONDS <= within <= TO_SECONDS:
            pause += (FROM_SECONDS - within) % BEAT_SECONDS + self._chance.random() * (TO_SECONDS - FROM_SECONDS)
        until = time.monotonic() + pause
        while (left := until - time.monotonic()) > 0:
            self._listeners.read(left)

    def _step(self) -> dict[int, float]:
        """Move the price; returns the milliseconds from the push until each subscriber had it."""
        seen = list[Seen]()
        self._price = self._moved()
        for seconds in QUICK_SECONDS, LOST_SECONDS:
            self._read_all(self._price, seen, seconds)
            prices, arrived = self._pushed(self._began_ns), dict[int, float]()
            for listener, price, at_ns in seen:
                if price in prices and at_ns >= prices[price]:
                    arrived.setdefault(listener, (at_ns - prices[self._price]) / 1e6)
            if len(arrived) == len(self._listeners.all):
                self.found.latencies.append(max(arrived.values()))
                self.found.hops += [arrived[number] for number in self._elsewhere]
                return arrived
        self.found.lost += 1
        return {}

    def _moved(self) -> Decimal:
        """Move the price; returns the exchange's price, which differs a little. RuntimeError if it pushes nothing.

        It does not push a price that is already the current one, nor while a stream is being reopened.
        """
        for _ in range(TRIES):
            self._truth = self._chance.choice([each for each in PRICES if abs(each - self._truth) >= LEAST_STEP])
            self._began_ns = time.time_ns()
            self._exchange.move(str(self._truth))
            if pushed := self._pushed(self._began_ns):
                return next(iter(pushed))
            self._wait()
        raise RuntimeError(f"{self._exchange.name} pushes no price")

    def _pushed(self, since_ns: int) -> dict[Decimal, int]:
        """The prices that were pushed since a moment, in order, and when each of them was first pushed."""
        prices = dict[Decimal, int]()
        for push in self._exchange.pushed(since_ns):
            prices.setdefault(Decimal(push["price"]), int(push["at_ns"]))
        return prices

    def _read_all(self, wanted: Decimal, seen: list[Seen], seconds: float) -> None:
        """Read until every subscriber has the wanted price, or `seconds` have passed."""
        have = {each.listener for each in seen if each.price == wanted}
        until = time.monotonic() + seconds
        while len(have) < len(self._listeners.all) and (left := until - time.monotonic()) > 0:
            came = self._listeners.read(left)
            seen += came
            have |= {each.listener for each in came if each.price == wanted}


def of_exchanges(names: Sequence[str], steps: int, over_redis: bool) -> list[dict[str, Any]]:
    """Measure each exchange; returns one row for each."""
    rows = []
    for name in names:
        rows.append(row := stepped(name, steps, over_redis))
        print(" ".join(f"{key} {value}" for key, value in row.items()), flush=True)
    return rows
