"""The stage of a drill: real services beside an exchange, a Redis on a wire, and clients all the time."""

import asyncio
import contextlib
import random
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.calm import CONNECTIONS, memory_mb
from bench.chaos.exchange import NotingExchange
from bench.chaos.fleet import PAIRS, RedisServer, Service
from bench.chaos.ledger import Ledger
from bench.chaos.oracle import INTERVAL, MAX_STALE
from bench.chaos.wire import PRICES, Ask, Line
from bench.drills import site
from bench.drills.clients import Door, ask_on, subscribe
from bench.drills.drill import Notes
from bench.drills.judge import Judge
from bench.drills.wire import Wire
from bench.processes import free_port

# Longer than any recovery that happens at all.
PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.05
ASKERS, SUBSCRIBERS = 24, 6
# How long calls are counted: another source is cross-checked once in this time. Two seconds were too short: eight calls
# are due in them, and a cross-check at Coinbase, a call for each pair, is three more, which looks like a second caller.
COUNTED_SECONDS = 10.0
FILES = 4096


@dataclass
class Scene:
    """Everything that runs; `doors` are where clients connect."""

    notes: Notes
    exchange: NotingExchange
    judge: Judge
    ledger: Ledger
    directory: Path
    workers: int
    services: list[Service] = field(default_factory=list)
    retired: list[Service] = field(default_factory=list)
    doors: list[Door] = field(default_factory=list)
    redis: RedisServer | None = None
    uses_redis: bool = False
    servers: list[RedisServer] = field(default_factory=list)
    wire: Wire | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    inside: Sequence[str] = ()
    files: int = FILES
    # Code that every process of a service runs at its start.
    code: Sequence[str] = ()
    # A pattern of log lines that the drill provokes, which are no defect.
    expected: str = ""

    @property
    def service(self) -> Service:
        return self.services[0]

    def made(self, **variables: str) -> Service:
        """One more service, not yet started."""
        name = f"replica{len(self.services) + len(self.retired)}"
        shared = {"REDIS_URL": f"redis://127.0.0.1:{self.wire.port}/0"} if self.wire else {}
        host = f"127.{random.randrange(64, 255)}.{random.randrange(1, 255)}.1"  # An address that nothing else uses.
        told = {"WORKERS": str(self.workers), "HOST": host} | shared | dict(self.variables) | variables
        told |= site.environ(self.directory / "site", *self.code)
        service = Service(name, self.directory, self.exchange.url, self.ledger, **told)
        service.inside, service.open_files = self.inside, self.files
        self.services.append(service)
        return service

    async def line(self) -> Line:
        """One more connection to the first service."""
        return await Line.to(self.service.port, self.service.host)

    def memory_mb(self) -> int:
        """The memory of the largest worker."""
        return max(memory_mb(Path(f"/proc/{pid}")) for service in self.services for pid in service.workers)

    def another_redis(self) -> RedisServer:
        """A Redis that is not yet started, and is stopped with everything else."""
        self.servers.append(RedisServer())
        return self.servers[-1]

    def said(self, words: str) -> int:
        """How often the logs contain these words."""
        return sum(service.log().count(words) for service in (*self.services, *self.retired))

    async def learn(self) -> None:
        """Tell the oracle which answers are allowed."""
        if self.services:
            self.judge.learn((await self.service.get("/openapi.json")).json)

    def door(self) -> Door:
        """Let clients connect directly to the newest service."""
        service = self.services[-1]
        self.doors.append(Door(service.name, service.port, service.host))
        return self.doors[-1]

    async def retire(self, service: Service) -> None:
        """Stop a service in good order; from now on it is not expected to run."""
        self.services.remove(service)
        self.retired.append(service)
        await service.stop()
        self.notes.expect(service.process.returncode == 0, f"exit code {service.process.returncode} after SIGTERM")

    async def recovered(self, also: Callable[[], Awaitable[str]] | None = None) -> None:
        """Wait until all is well, and note how long that took."""
        began, last = time.monotonic(), ""
        while lacks := await self._lacks() or (await also() if also else ""):
            last = lacks
            if time.monotonic() - began > PATIENCE_SECONDS:
                self.notes.amiss.append(f"never well again: {lacks}"[:300])
                return
            await asyncio.sleep(LOOK_SECONDS)
        self.notes.healed(time.monotonic() - began)
        if last:
            self.notes.seen[f"lacking last: {last[:100]}"] += 1

    async def settle(self) -> None:
        """Wait until all is well at the start; RuntimeError if it never is."""
        end = time.monotonic() + PATIENCE_SECONDS
        while lacks := await self._lacks():
            if time.monotonic() > end:
                raise RuntimeError(f"not well at the start: {lacks}"[:300])
            await asyncio.sleep(LOOK_SECONDS)

    async def _lacks(self) -> str:
        for service in self.services:
            if lacks := await self._missing(service):
                return f"{service.name}: {lacks}"
        return ""

    async def _missing(self, service: Service) -> str:
        """What a service lacks: a fresh price in every worker, its workers, its Redis."""
        asks = [*(Ask(f"{PRICES}/{pair}") for pair in PAIRS), Ask("/health/readiness")]
        if len(service.workers) != self.workers:
            return f"{len(service.workers)} workers"
        try:
            for _ in range(CONNECTIONS):
                with contextlib.closing(await Line.to(service.port, service.host)) as line:
                    *prices, readiness = await line.ask(*asks)
                if any(answer.status != 200 or answer.json["stale"] for answer in prices):
                    return f"no fresh price: {prices[0].status} {prices[0].body.decode()}"
                if self.uses_redis and readiness.json["redis"] != "up":
                    return f"Redis is {readiness.json['redis']}"
        except OSError as error:
            return f"{type(error).__name__}: {error}"
        return ""

    async def calls_per_interval(self, seconds: float = COUNTED_SECONDS) -> float:
        """How often all sources together are called, per refresh interval."""
        before, began = self.exchange.total_calls, time.monotonic()
        await asyncio.sleep(seconds)
        return (self.exchange.total_calls - before) * INTERVAL / (time.monotonic() - began)


@contextlib.asynccontextmanager
async def scene(
    notes: Notes, replicas: int = 1, workers: int = 2, *, redis: bool = False, doors: bool = True,
    inside: Sequence[str] = (), files: int = FILES, askers: int = ASKERS, expected: str = "",
    environ: Mapping[str, str] | None = None, code: Sequence[str] = (), directory: Path | None = None, named: str = "",
    uses_redis: bool = False,
) -> AsyncIterator[Scene]:  # fmt: skip
    """Healthy services, each with clients at its own door; the findings go into the notes."""
    made = directory or Path(tempfile.mkdtemp(prefix="fastprice-drill-"))
    notes.places.append(made)
    ledger = Ledger(0)
    exchange = NotingExchange(PAIRS, 7, MAX_STALE * 1000)
    stage = Scene(notes, exchange, Judge(exchange, ledger, notes), ledger, made, workers, variables=environ or {},
                  inside=inside, files=files, code=code, expected=expected,
                  uses_redis=redis or uses_redis)  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        await exchange.start()
        if named:
            # The first source is reached by a host name.
            url = f"{exchange.url.replace('127.0.0.1', named)}/binance"
            stage.variables = {**stage.variables, "BINANCE_URL": url}
        stack.push_async_callback(exchange.stop)
        pulse = asyncio.create_task(ledger.pulse())
        stack.callback(pulse.cancel)
        stack.push_async_callback(_end_redis, stage)
        if redis:
            stage.redis = stage.another_redis()
            await stage.redis.start()
            stage.wire = Wire(free_port(), stage.redis.port)
            await stage.wire.join()
            stack.push_async_callback(stage.wire.cut)
        stack.push_async_callback(_kill, stage)
        for _ in range(replicas):
            stage.made()
            if doors:
                stage.door()
        await asyncio.gather(*(service.start() for service in stage.services))
        await stage.learn()
        await stage.settle()
        stage.judge.honest_since = time.monotonic()
        async with clients(stage, askers):
            yield stage
        await asyncio.gather(*(service.stop() for service in stage.services if service.process.returncode is None))
        _found(stage)


@contextlib.asynccontextmanager
async def clients(stage: Scene, askers: int) -> AsyncIterator[None]:
    """Run askers and subscribers at every door, until the end."""
    tasks = [
        asyncio.create_task(act(door, stage.judge, stage.notes, number))
        for door in stage.doors
        for act, count in ((ask_on, askers), (subscribe, SUBSCRIBERS if askers else 0))
        for number in range(count)
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                stage.notes.amiss.append(f"a client of ours has a defect: {ended!r}")


async def _end_redis(stage: Scene) -> None:
    for server in stage.servers:
        await server.end()


async def _kill(stage: Scene) -> None:
    for service in (*stage.services, *stage.retired):
        await service.kill()


def _found(stage: Scene) -> None:
    """Copy what the oracle has found, and what is in the logs, into the notes."""
    for service in (*stage.services, *stage.retired):
        service.examine_log(undisturbed=False, expected=stage.expected)
    stage.notes.oldest_ms = max(stage.notes.oldest_ms, stage.ledger.oldest_ms)
    for what, times in stage.ledger.found.items():
        stage.notes.wrong += times
        stage.notes.seen[what] += times
