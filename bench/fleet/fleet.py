"""A fleet in virtual time: started, disturbed and watched by the scenarios."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from random import Random

from bench.fleet.exchanges import Exchange, Tape
from bench.fleet.fake_redis import Link, Redis
from bench.fleet.local_store import Disk
from bench.fleet.virtual_time import Process
from bench.fleet.worker import PAIR, Machine, Worker, World
from fastprice.settings import Settings

# The exchanges that are called before any other; more of them would change nothing here.
EXCHANGES = ("binance", "okx", "coinbase")
# Workers start within this time of each other, and a successor within this time after its predecessor.
START_SECONDS = 1.0
# Not a divisor of an interval, so that the age of prices is sampled at every point of it.
SAMPLE_SECONDS = 0.173

Group = Callable[[Process], bool]


@dataclass(slots=True)
class Phase:
    """A period with what was seen in it; `ages` counts how often each age in milliseconds was served."""

    name: str
    begins: float
    ends: float = 0.0
    ages: Counter[int] = field(default_factory=Counter)
    without_price: int = 0
    done: Counter[str] = field(default_factory=Counter)
    deliveries: int = 0


@dataclass(frozen=True, slots=True)
class Orphaned:
    """From `at` on no process called an exchange for this group; the first one in it that calls has taken over."""

    at: float
    group: Group


class Fleet:
    """Workers on machines, one Redis, three exchanges; the same seed makes the same things happen.

    The wall clocks of the machines are wrong by up to `clocks_apart` seconds, either way.
    """

    def __init__(self, workers: int, machines: int, seed: str, clocks_apart: float = 0.0) -> None:
        self.random = Random(seed)
        self.redis = Redis(self.random)
        self.tape = Tape()
        exchanges = {name: Exchange(name, self.tape, self.random) for name in EXCHANGES}
        # A call to a second source for a cross-check would be counted as a second caller.
        settings = Settings.from_env({"CROSS_CHECK_INTERVAL": "0"})
        self.world = World(settings, self.random, self.redis, exchanges, self.tape)
        self.machines = [
            Machine(number, Link(self.redis, settings.redis_timeout), Disk(), clocks_apart * self.random.uniform(-1, 1))
            for number in range(machines)
        ]
        self.workers = [self._worker(number, 1) for number in range(workers)]
        self.orphaned: list[Orphaned] = []
        self.phases: list[Phase] = []
        self._loop = asyncio.get_running_loop()
        self._seen: Counter[str] = Counter()
        self._delivered = 0
        self._generation = 1

    @property
    def holder(self) -> Worker | None:
        """The worker that may call exchanges for all, according to Redis."""
        return next((worker for worker in self.workers if worker.process.name == self.redis.leader), None)

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.workers if not worker.process.dead]

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Fleet"]:
        """Start all workers within a second, watch them, and end them; RuntimeError if they logged a defect."""
        with _no_defects():
            watch = asyncio.create_task(self._watch())
            await asyncio.gather(*(self._start(worker) for worker in self.workers))
            yield self
            self._end_phase()
            watch.cancel()
            await asyncio.gather(*(worker.die() for worker in self.alive))

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def phase(self, name: str) -> None:
        """Start a new phase: what is seen from now on belongs to it."""
        self._end_phase()
        self.phases.append(Phase(name, self._loop.time()))

    def orphan(self, group: Group) -> None:
        """Record that a group of processes has just lost its caller."""
        self.orphaned.append(Orphaned(self._loop.time(), group))

    async def replace(self, worker: Worker, kill: bool) -> None:
        """End a worker; its successor comes up a little later, under its own name."""
        await (worker.die() if kill else worker.stop())
        worker.process.dead = True
        number = self.workers.index(worker)
        self._generation += 1
        self.workers[number] = self._worker(number, self._generation)
        await self._start(self.workers[number])

    async def _start(self, worker: Worker) -> None:
        worker.process.pause()
        await asyncio.sleep(START_SECONDS * self.random.random())
        worker.process.resume()
        worker.start()

    def _worker(self, number: int, generation: int) -> Worker:
        machine = self.machines[number % len(self.machines)]
        return Worker(f"machine {machine.number} worker {number} start {generation}", machine, self.world)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_SECONDS)
            if self.phases:
                now, phase = self._loop.time(), self.phases[-1]
                running = [worker for worker in self.workers if not (worker.process.paused or worker.process.dead)]
                held = [snapshot for worker in running if (snapshot := worker.latest.by_slug[PAIR.slug].snapshot)]
                phase.without_price += len(running) - len(held)
                for given_at, count in Counter(self.world.tape.age_began(each.quote) for each in held).items():
                    phase.ages[round((now - given_at) * 1000)] += count

    def _end_phase(self) -> None:
        if self.phases:
            phase = self.phases[-1]
            phase.ends = self._loop.time()
            phase.done = self.redis.done - self._seen
            phase.deliveries = self.redis.deliveries - self._delivered
        self._seen, self._delivered = self.redis.done.copy(), self.redis.deliveries


class _Defects(logging.Handler):
    """Keeps the defects that the application logs."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(f"{record.getMessage()}: {record.exc_info[1] if record.exc_info else None!r}")


@contextlib.contextmanager
def _no_defects() -> Iterator[None]:
    """Raise RuntimeError at the end if the application logged a defect meanwhile."""
    defects, logger = _Defects(), logging.getLogger("fastprice")
    logger.addHandler(defects)
    try:
        yield
    finally:
        logger.removeHandler(defects)
    if defects.found:
        raise RuntimeError(f"{len(defects.found)} defects, the first: {defects.found[0]}")
