"""One worker of the simulated fleet: the real application on ports that are not."""

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from random import Random

from bench.fleet.exchanges import Exchange, FakeSource, Tape
from bench.fleet.fake_redis import Link, Redis
from bench.fleet.local_store import Disk, LocalStore
from bench.fleet.shared_store import SharedStore
from bench.fleet.virtual_time import Process, VirtualClock
from fastprice.application.bans import Bans
from fastprice.application.events import Event, QuoteTaken
from fastprice.application.failover import Failover, FailoverLimits
from fastprice.application.fallback_store import FallbackStore
from fastprice.application.latest_price import LatestPrice
from fastprice.application.leases import LeasedSource, Leases
from fastprice.application.ports import Clock, PriceSource
from fastprice.application.refresh_loop import Pace, RefreshLoop
from fastprice.application.refresh_price import RefreshPrice
from fastprice.application.retry import RetryingSource
from fastprice.domain.quote import MAX_SKEW_MS, Pair
from fastprice.infrastructure.circuit_breaker import GuardedSource
from fastprice.settings import Settings

PAIR = Pair("ETH", "USDT")


@dataclass(slots=True)
class Machine:
    """What the workers of one machine share: the way to Redis, a disk, and a clock ahead by so many seconds."""

    number: int
    link: Link
    disk: Disk
    clock_ahead: float = 0.0


@dataclass(slots=True)
class World:
    """What all workers share: settings, chance, Redis, the exchanges, and the record of what happened."""

    settings: Settings
    random: Random
    redis: Redis
    exchanges: dict[str, Exchange]
    tape: Tape
    events: Counter[str] = field(default_factory=Counter)
    understated: float = 0.0


class Worker:
    """Starts, pauses, goes on, stops and dies as a process does; `latest` is what it serves."""

    def __init__(self, name: str, machine: Machine, world: World) -> None:
        self.machine = machine
        self.process = Process(name, machine.number)
        self._world = world
        self._clock = VirtualClock(self.process, machine.clock_ahead)
        settings, clock = world.settings, self._clock
        # What requests would be answered with is left out; in its place stands when its price was given.
        self.latest = LatestPrice((PAIR,), settings.age_limits, world.tape.age_began, clock, self._told)
        self.shared = SharedStore(machine.link, self.process, clock, settings.max_stale)
        local = LocalStore(machine.disk, self.process, clock, world.random)
        self.store = FallbackStore(self.shared, local, name, f"machine {machine.number}", clock, self._told)
        bans, leases = Bans(self.store, settings.refresh_interval, clock, self._told), Leases(clock)
        failover = self._failover(settings, bans, leases)
        interval = settings.refresh_interval
        refresh = RefreshPrice(failover, bans, self.store, self.latest, interval, clock, self._told)
        pace = Pace(name, interval, world.random.random)
        self._loop = RefreshLoop(refresh, self.store, self.latest, pace, leases, clock, self._told)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._loop.run())

    async def stop(self) -> None:
        """End as on SIGTERM."""
        if self._task is not None:
            self._task.cancel()
            ended = await asyncio.gather(self._task, return_exceptions=True)
            await self.store.close()
            if not isinstance(ended[0], asyncio.CancelledError):
                raise RuntimeError(f"{self.process.name} had ended by itself: {ended[0]!r}")

    async def die(self) -> None:
        """End as after SIGKILL: nothing is handed over, the kernel closes the connections."""
        self.process.dead = True
        self.process.resume()
        await self.stop()

    def _failover(self, settings: Settings, bans: Bans, leases: Leases) -> Failover:
        """The sources as bootstrap wraps them, from the inside out."""
        clock: Clock = self._clock
        guarded: dict[str, GuardedSource] = {}
        for name, exchange in self._world.exchanges.items():
            bare: PriceSource = FakeSource(exchange, self.process, clock, settings.fetch_timeout)
            leased = LeasedSource(bare, leases)
            chance = self._world.random.random
            retrying = RetryingSource(leased, settings.retry_attempts, settings.retry_base, clock, chance)
            guarded[name] = GuardedSource(
                retrying, settings.breaker_fail_max, settings.breaker_reset, clock, self._told
            )
        limits = FailoverLimits(
            round_seconds=settings.round_timeout,
            attempt_seconds=settings.fetch_timeout,
            stall_seconds=settings.breaker_reset,
            fresh_lag_ms=settings.age_limits.fresh_ms + MAX_SKEW_MS,
            max_lag_ms=settings.age_limits.stale_ms,
            max_deviation=settings.max_deviation,
        )
        sources = list(guarded.values())
        return Failover(sources, limits, self.latest.held, lambda name: guarded[name].state, bans, clock, self._told)

    def _told(self, event: Event) -> None:
        if self.process.dead:
            return
        self._world.events[type(event).__name__] += 1
        if isinstance(event, QuoteTaken):
            truth = self._clock.monotonic() - self._world.tape.age_began(event.quote)
            said = event.quote.age_ms(self._clock.wall_ms()) / 1000
            self._world.understated = max(self._world.understated, truth - said)
        elif getattr(event, "announce", False):
            self._world.events[f"{type(event).__name__} announced"] += 1
