"""One worker of the simulated fleet: the real application on fake ports."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from bench.fleet.exchanges import Exchange, FakeSource, Tape
from bench.fleet.fake_redis import Link, Redis
from bench.fleet.local_store import Disk, LocalStore
from bench.fleet.shared_store import SharedStore
from bench.fleet.virtual_time import Process, VirtualClock
from fastprice.application.events import Event
from fastprice.application.fallback_store import FallbackStore
from fastprice.application.latest_price import Snapshot
from fastprice.domain.quote import Pair, Quote
from fastprice.engine import engine
from fastprice.settings import Settings

PAIR = Pair("ETH", "USDT")


@dataclass(slots=True)
class Machine:
    """What the workers of one machine share: the link to Redis, a disk, and a clock that is some seconds ahead."""

    number: int
    link: Link
    disk: Disk
    clock_ahead: float = 0.0


@dataclass(slots=True)
class World:
    """What all workers share: settings, the random generator, Redis, the exchanges, and the record of what happened."""

    settings: Settings
    random: Random
    redis: Redis
    exchanges: dict[str, Exchange]
    tape: Tape
    events: Counter[str] = field(default_factory=Counter)
    understated: float = 0.0


class Worker:
    """Starts, pauses, continues, stops and dies as a process does; `latest` is what it serves."""

    def __init__(self, name: str, machine: Machine, world: World) -> None:
        self.machine = machine
        self.process = Process(name, machine.number)
        self._world = world
        self._clock = VirtualClock(self.process, machine.clock_ahead)
        clock = self._clock
        self.shared = SharedStore(machine.link, self.process, clock)
        local = LocalStore(machine.disk, self.process, clock, world.random)
        self.store = FallbackStore(self.shared, local, name, f"machine {machine.number}", clock, self._told)
        sources = [
            FakeSource(exchange, self.process, clock, world.settings.fetch_timeout)
            for exchange in world.exchanges.values()
        ]
        made = engine(
            world.settings, sources, self.store, self._snapshot, name, clock, self._told, world.random.random
        )
        self.latest, self._leader = made.latest, made.leader
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._leader.run()), asyncio.create_task(self.store.keep())]

    async def stop(self) -> None:
        """End as on SIGTERM."""
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.store.close()
        for end in ended:
            if not isinstance(end, asyncio.CancelledError):
                raise RuntimeError(f"{self.process.name} had ended by itself: {end!r}")

    async def die(self) -> None:
        """End as after SIGKILL: nothing is handed over, the kernel closes the connections."""
        self.process.dead = True
        self.process.resume()
        await self.stop()

    def _told(self, event: Event) -> None:
        if self.process.dead:
            return
        self._world.events[type(event).__name__] += 1
        if getattr(event, "announce", False):
            self._world.events[f"{type(event).__name__} announced"] += 1

    def _snapshot(self, quote: Quote, *until: float) -> Snapshot:
        """The quote as it is served; requests and rendered answers are left out."""
        if not self.process.dead:
            truth = self._clock.monotonic() - self._world.tape.age_began(quote)
            said = quote.age_ms(self._clock.wall_ms()) / 1000
            self._world.understated = max(self._world.understated, truth - said)
        return Snapshot(quote, *until)
