"""Every way in which Redis can fail, under a whole service: what it may cost, and that the service recovers."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from bench.drills.wire import Wire
from fastprice.market import Market
from tests.conftest import RedisServer, free_port
from tests.service import PRICE, Answer, Service, polling, running

pytestmark = pytest.mark.anyio

READINESS = "/health/readiness"
WORKERS, INTERVAL = 3, 0.2
# Longer than a busy machine delays an operation on a healthy Redis, shorter than the pause of a slow one.
REDIS_TIMEOUT, SLOW = 0.4, 0.5
# Readiness is requested on so many connections that every worker answers.
EVERY_WORKER = 16
NAME, SECRET, OTHER_SECRET = "prices", "p@ss:w/rd?%#", "correct-horse"
OURS = "fastprice:*"


@dataclass
class World:
    """A service of several workers, the wire to its Redis, and everything that any client has been told."""

    service: Service
    market: Market
    wire: Wire
    server: RedisServer
    admin: "redis.Redis"
    told: list[str] = field(default_factory=list)

    async def readiness(self) -> list[str]:
        """The state of Redis, as many answers report it."""
        answers = await self.service.from_many_workers(EVERY_WORKER, READINESS)
        self.told += [answer.body.decode() for answer in answers]
        return [answer.json["redis"] for answer in answers]

    async def until_redis(self, is_up: bool) -> None:
        """Wait until all answers agree twice in a row, since a worker may have answered none of the first requests."""
        said = 0
        for _ in polling():
            said = said + 1 if all((word == "up") is is_up for word in await self.readiness()) else 0
            if said == 2:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"never {is_up=}: {await self.readiness()}\n" + "".join(self.service.log))

    async def settled_calls(self, intervals: float) -> float:
        """Upstream calls per interval, once the workers have left one store and all use the other.

        Two callers would make two per interval, three independent workers three, for as long as the test measures.
        """
        for _ in range(5):
            if 0.2 < (calls := await self._calls_in(intervals)) < 1.6:
                break
        return calls

    async def _calls_in(self, intervals: float) -> float:
        calls, began = self.market.total_calls, time.monotonic()
        await asyncio.sleep(intervals * INTERVAL)
        return (self.market.total_calls - calls) * INTERVAL / (time.monotonic() - began)

    async def errors(self) -> float:
        """The number of failed operations on Redis, by the metrics."""
        body = (await self.service.get("/metrics")).body.decode()
        self.told.append(body)
        rows = [line for line in body.splitlines() if line.startswith("fastprice_redis_operations_total{")]
        return sum(float(row.rpartition(" ")[2]) for row in rows if 'result="error"' in row)

    async def until_more_errors(self, than: float) -> None:
        """Wait for a higher count; each worker shares its own with the others once a second."""
        for _ in polling():
            if await self.errors() > than:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"still {than} errors")

    def keys(self) -> list[str]:
        return [key.decode() for key in self.admin.scan_iter(OURS)]

    async def until_stored(self) -> dict[str, str]:
        """The keys of our records by their last part, once all records are there."""
        for _ in polling():
            places = {key.rpartition(":")[2]: key for key in self.keys()}
            if {"round", "reports", "bans", "leader"} <= places.keys():
                return places
            await asyncio.sleep(0.05)
        raise AssertionError(f"there are only {self.keys()}")

    def lines(self, words: str) -> int:
        return "".join(self.service.log).count(words)

    def act(self, *words: Any) -> None:
        self.admin.execute_command(*words)  # type: ignore[no-untyped-call]

    def drop_clients(self) -> None:
        self.act("CLIENT", "KILL", "USER", NAME)


Act = Callable[[World], Awaitable[None] | None]


@dataclass(frozen=True)
class Failure:
    """How Redis fails, how it is repaired, and whether it counts as lost meanwhile; None if either is acceptable."""

    befall: Act
    mend: Act
    lost: bool | None = True


def signalled(number: signal.Signals) -> Act:
    def act(world: World) -> None:
        assert world.server.process is not None
        world.server.process.send_signal(number)

    return act


async def die(world: World) -> None:
    world.server.stop()
    await world.wire.cut()


async def come_back(world: World) -> None:
    start(world.server)
    await world.wire.join()


async def restart(world: World) -> None:
    world.server.stop()
    start(world.server)


def no_more_clients(room_for: int) -> Act:
    """Disconnect all clients; besides the admin connection only this many may reconnect."""

    def act(world: World) -> None:
        world.act("CONFIG", "SET", "maxclients", 1 + room_for)
        world.drop_clients()

    return act


def room_again(world: World) -> None:
    world.act("CONFIG", "SET", "maxclients", 1000)


def password(secret: str) -> Act:
    def act(world: World) -> None:
        world.act("ACL", "SETUSER", NAME, "resetpass", f">{secret}")
        world.drop_clients()

    return act


def slow(seconds: float) -> Act:
    return lambda world: setattr(world.wire, "delay", seconds)


def swallowing(swallows: bool) -> Act:
    return lambda world: setattr(world.wire, "swallows", swallows)


def flush(world: World) -> None:
    world.act("FLUSHALL")
    world.act("SCRIPT", "FLUSH")


def wrong_type(world: World) -> None:
    for key in world.keys():
        world.act("DEL", key)
        world.act("RPUSH", key, "x")


def garbage(world: World) -> None:
    for key in world.keys():
        world.act("SET", key, b"\xff\x00{", "PX", 3_600_000)


def nothing(world: World) -> None:
    pass


FAILURES = {
    "dead": Failure(die, come_back),
    "paused": Failure(signalled(signal.SIGSTOP), signalled(signal.SIGCONT)),
    "restarted empty": Failure(restart, nothing, lost=None),
    "flushed": Failure(flush, nothing, lost=False),
    "full": Failure(
        lambda world: world.act("CONFIG", "SET", "maxmemory", 1),
        lambda world: world.act("CONFIG", "SET", "maxmemory", 0),
    ),
    "read-only": Failure(
        lambda world: world.act("REPLICAOF", "127.0.0.1", free_port()),
        lambda world: world.act("REPLICAOF", "NO", "ONE"),
    ),
    "wrong type": Failure(wrong_type, nothing, lost=False),
    "garbage": Failure(garbage, nothing, lost=False),
    "slow": Failure(slow(SLOW), slow(0.0)),
    "half-open": Failure(swallowing(True), swallowing(False)),
    "no more clients": Failure(no_more_clients(0), room_again),
    # Each of the three workers wants one connection for commands and another one for updates.
    "too few clients": Failure(no_more_clients(2), room_again),
    "wrong password": Failure(password(OTHER_SECRET), password(SECRET)),
}  # fmt: skip


def start(server: RedisServer, *options: str) -> None:
    server.start("--user", NAME, "on", f">{SECRET}", "~*", "&*", "+@all", *options)


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The service outlives a single test, so the event loop must too."""
    return "asyncio"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"), free_port())
    start(server)
    yield server
    if server.process is not None:
        server.process.send_signal(signal.SIGCONT)
    server.stop()


@pytest.fixture(scope="module")
async def exchange() -> AsyncIterator[Market]:
    market = Market(pairs=("eth-usdt",), seed=7)
    await market.start()
    yield market
    await market.stop()


@pytest.fixture(scope="module")
async def world(
    exchange: Market, server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[World]:
    wire = Wire(free_port(), server.port)
    await wire.join()
    environ = settings(wire.port)
    async with running(exchange, tmp_path_factory.mktemp("service"), **environ) as service:
        # Wait for all workers: one that starts while Redis is dead has never used Redis.
        on_redis = f'fastprice_workers{{store="redis"}} {WORKERS}.0'
        await service.until_answer(lambda answer: on_redis in answer.body.decode(), "/metrics")
        with redis.Redis(port=server.port, single_connection_client=True) as admin:
            yield World(service, exchange, wire, server, admin)
    await wire.cut()


def settings(redis_port: int) -> dict[str, Any]:
    """With the log level debug, so that a secret would show up if anything logged it."""
    return {
        "WORKERS": WORKERS, "REFRESH_INTERVAL": INTERVAL, "CACHE_TTL": 3, "MAX_STALE": 30, "LOG_LEVEL": "debug",
        "REDIS_TIMEOUT": REDIS_TIMEOUT, "REDIS_URL": f"redis://{NAME}:{quote(SECRET, safe='')}@127.0.0.1:{redis_port}/0",
    }  # fmt: skip


@contextlib.asynccontextmanager
async def asking(service: Service) -> AsyncIterator[list[Answer]]:
    """A client requests the price all the time; yields the answers so far."""
    answers: list[Answer] = []

    async def ask() -> None:
        while True:
            answers.append(await service.get())
            await asyncio.sleep(0.01)

    task = asyncio.create_task(ask())
    try:
        yield answers
    finally:
        task.cancel()
        await asyncio.wait([task])
    if not task.cancelled():
        task.result()


async def does(world: World, act: Act) -> None:
    doing = act(world)
    if doing is not None:
        await doing


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
async def test_no_failure_of_redis_is_one_of_the_service(world: World, failure: Failure) -> None:
    await world.until_redis(is_up=True)
    lost, back, errors = world.lines("shared store lost"), world.lines("shared store back"), await world.errors()
    async with asking(world.service) as answers:
        await does(world, failure.befall)
        if failure.lost:
            await world.until_redis(is_up=False)
            await world.until_more_errors(errors)
        calls = await world.settled_calls(intervals=6)
        if failure.lost:
            assert all(word.startswith("down: ") for word in await world.readiness())
        await does(world, failure.mend)
        mended_at = time.monotonic()
        await world.until_redis(is_up=True)
        healed_after = time.monotonic() - mended_at
        after = await world.settled_calls(intervals=4)
    assert {answer.status for answer in answers} == {200}
    assert not any(answer.json["stale"] for answer in answers)
    assert 0.2 < calls < 1.6 and 0.2 < after < 1.6
    lost, back = world.lines("shared store lost") - lost, world.lines("shared store back") - back
    if failure.lost is None:
        assert max(lost, back) <= 1, "it may be over before anybody notices"
    else:
        assert lost == back == failure.lost
    # The promise is five seconds; the rest is the test's own time on a busy machine.
    assert healed_after < 10
    world.told += [answer.body.decode() for answer in answers]


@pytest.mark.parametrize("name", ["dead", "half-open"])
async def test_waiting_for_redis_costs_no_more_than_using_it(world: World, name: str) -> None:
    failure = FAILURES[name]
    await world.until_redis(is_up=True)
    with_redis = await cpu_of(world.service, 1.5)
    await does(world, failure.befall)
    await world.until_redis(is_up=False)
    without_redis = await cpu_of(world.service, 1.5)
    await does(world, failure.mend)
    await world.until_redis(is_up=True)
    # A worker that retried without a pause would use all the CPU time it can get: seconds.
    assert without_redis < 1.5 * with_redis + 0.15


# A report in our format: source, breaker, end and reason of a ban, last error and its time, and reports about pairs.
STRANGE_REPORTS: dict[str, Any] = {
    "half a character": [["\ud800", "open", None, None, None, None, []]],
    "half a character in an error": [["binance", "open", None, None, "\udfff", None, []]],
    "a forged line": [["binance", "open", None, None, "x\nERROR stranger", None, []]],
    "a state of its own": [["binance", "stranger", None, None, None, None, []]],
    "made-up names": [[f"stranger{number}", "open", None, None, None, None, []] for number in range(2_000)],
}


@pytest.mark.parametrize("reports", STRANGE_REPORTS.values(), ids=STRANGE_REPORTS)
async def test_what_a_stranger_writes_into_redis_is_none_of_our_records(world: World, reports: Any) -> None:
    await world.until_redis(is_up=True)
    places = await world.until_stored()
    async with asking(world.service) as answers:
        for source in ("\ud800", "stranger", "binance\n") * 3:
            now_ms = round(time.time() * 1000)
            quote = ["eth-usdt", "1.5", None, None, None, None, None, None, source, None, now_ms]
            world.act("SET", places["round"], json.dumps([2, now_ms, [quote], []]))
            world.act("SET", places["reports"], json.dumps([2, reports]))
            world.act("SET", places["bans"], json.dumps([2, [[source, now_ms + 60_000, "x"]]]))
            world.act("PUBLISH", places["round"].removesuffix("round") + "news:0", "stranger")
            for path in (READINESS, "/api/v1/prices/eth-usdt/sources", "/metrics"):
                shown = await world.service.from_many_workers(6, path)
                assert {answer.status for answer in shown} == {200}
                assert not any(b"stranger" in answer.body for answer in shown)
    assert {(answer.status, answer.json["source"], answer.json["stale"]) for answer in answers} == {(200, "binance", False)}
    assert not any(words in "".join(world.service.log) for words in ("Traceback", "stranger"))


async def cpu_of(service: Service, seconds: float) -> float:
    """The CPU time that the service uses in this many seconds without requests."""
    before = processor_seconds(service)
    await asyncio.sleep(seconds)
    return processor_seconds(service) - before


def processor_seconds(service: Service) -> float:
    ticks = 0
    for pid in (service.process.pid, *service.workers()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def test_nobody_was_ever_told_a_secret(world: World) -> None:
    """Runs last, over everything that the service has said in the other tests."""
    await world.readiness()
    for path in (PRICE, "/api/v1/prices/eth-usdt/sources", "/api/", "/api/v1/nothing", "/openapi.json", "/metrics"):
        world.told.append((await world.service.get(path)).body.decode())
    everything = "".join(world.told + world.service.log)
    assert "127.0.0.1:" in everything and "Traceback" not in everything
    for secret in (SECRET, quote(SECRET, safe=""), OTHER_SECRET):
        assert secret not in everything


@pytest.mark.parametrize("how", ["down", "paused", "of another kind"])
async def test_it_starts_without_redis_and_joins_it_when_it_is_there(
    exchange: Market, tmp_path: Path, how: str
) -> None:
    server = RedisServer(tmp_path, next(port for port in iter(free_port, None) if port < 22_000))
    if how != "down":
        start(server, *(["--cluster-enabled", "yes"] if how == "of another kind" else []))
    if how == "paused":
        os.kill(server_pid(server), signal.SIGSTOP)
    try:
        async with running(exchange, tmp_path, **settings(server.port)) as service:
            await service.until(200)
            line = await service.until_logged("shared store lost")
            assert how != "of another kind" or "REDIS_URL must be redis+cluster://" in line
            assert {answer.status for answer in await service.from_many_workers(EVERY_WORKER)} == {200}
            server.stop()
            start(server)
            await service.until_logged("shared store back")
            await service.until_answer(lambda answer: answer.json["redis"] == "up", READINESS)
            log = "".join(service.log)
            assert log.count("shared store lost") == log.count("shared store back") == 1
    finally:
        server.stop()


@pytest.mark.parametrize("serves_stale", ["yes", "no"], ids=["reads work", "nothing works"])
async def test_a_fail_over_through_an_address_that_moves_is_followed(
    exchange: Market, tmp_path: Path, serves_stale: str
) -> None:
    """From now on the address leads to another server; existing connections stay with the old one."""
    old, new = (RedisServer(tmp_path, free_port()) for _ in range(2))
    for server in (old, new):
        start(server)
    wire = Wire(free_port(), old.port)
    await wire.join()
    try:
        async with running(exchange, tmp_path, **settings(wire.port)) as service:
            world = World(service, exchange, wire, old, redis.Redis(port=old.port, single_connection_client=True))
            await service.until(200)
            await world.until_redis(is_up=True)
            wire.target = new.port
            world.act("CONFIG", "SET", "replica-serve-stale-data", serves_stale)
            world.act("REPLICAOF", "127.0.0.1", free_port())
            line = await service.until_logged("shared store lost")
            await service.until_logged("shared store back")
            await world.until_redis(is_up=True)
            with redis.Redis(port=new.port) as admin:
                await World(service, exchange, wire, new, admin).until_stored()
                for _ in polling():
                    heard_by = [count for _, count in admin.pubsub_numsub(*admin.pubsub_channels())]
                    if heard_by and heard_by[0] >= WORKERS - 1:
                        break
                    await asyncio.sleep(0.05)
            assert heard_by[0] >= WORKERS - 1, "each that follows hears the news of the new one"
            assert "REDIS_URL must lead to the primary" in line and "Cluster" not in "".join(service.log)
            world.admin.close()
    finally:
        await wire.cut()
        old.stop()
        new.stop()


@pytest.mark.parametrize("killed", [False, True], ids=["stopped", "killed"])
async def test_a_service_that_is_started_again_over_a_dead_redis_says_lost_before_back(
    exchange: Market, tmp_path: Path, killed: bool
) -> None:
    server = RedisServer(tmp_path, free_port())
    async with running(exchange, tmp_path, **settings(server.port)) as service:
        await service.until_logged("shared store lost")
        if killed:
            for pid in (service.process.pid, *service.workers()):
                os.kill(pid, signal.SIGKILL)
    try:
        async with running(exchange, tmp_path, **settings(server.port)) as service:
            await service.until_logged("shared store lost")
            await service.until(200)
            start(server)
            await service.until_logged("shared store back")
            world = World(service, exchange, Wire(0, 0), server, redis.Redis(port=server.port))
            await world.until_redis(is_up=True)
            world.admin.close()
            said = [line.split("shared store ")[1][:4] for line in service.log if "shared store" in line]
            assert said == ["lost", "back"]
    finally:
        server.stop()


def server_pid(server: RedisServer) -> int:
    assert server.process is not None
    return server.process.pid
