"""Two machines, as two network namespaces, with Redis between them; their links to it are cut and restored."""

import asyncio
import contextlib
import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from fastprice.market import Market, source_urls
from tests.conftest import RedisServer, free_port
from tests.service import PRICE, Answer, Service, polling, running

pytestmark = pytest.mark.anyio

INTERVAL = 0.5
# From 198.18.0.0/15, which is reserved for tests of networks (RFC 2544): no real host can be there.
NETWORK = "198.18"
MARKET_HOST = f"{NETWORK}.99.1"


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class Machine:
    """A network namespace with two links: one to the market and its users, one to Redis."""

    def __init__(self, number: int) -> None:
        self.name = f"fp{os.getpid()}m{number}"
        self.open_link, self.redis_link = f"fp{os.getpid() % 10**6}o{number}", f"fp{os.getpid() % 10**6}r{number}"
        self.market_host, self.host = f"{NETWORK}.{number}0.1", f"{NETWORK}.{number}0.2"
        self.redis_host = f"{NETWORK}.{number}1.1"
        ip("netns", "add", self.name)
        self._link(self.open_link, "open", self.market_host, self.host)
        self._link(self.redis_link, "redis", self.redis_host, f"{NETWORK}.{number}1.2")
        ip("-n", self.name, "link", "set", "lo", "up")
        # Both reach the market by one address, because services with different source addresses share no prices.
        ip("-n", self.name, "route", "add", f"{MARKET_HOST}/32", "via", self.market_host)

    def cut(self) -> None:
        """From now on packets to Redis get no answer, and no side sees an error."""
        ip("link", "set", self.redis_link, "down")

    def restore(self) -> None:
        ip("link", "set", self.redis_link, "up")

    def remove(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            ip("netns", "delete", self.name)

    def _link(self, outer: str, inner: str, outer_host: str, inner_host: str) -> None:
        ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", self.name)
        ip("address", "add", f"{outer_host}/24", "dev", outer)
        ip("link", "set", outer, "up")
        ip("-n", self.name, "address", "add", f"{inner_host}/24", "dev", inner)
        ip("-n", self.name, "link", "set", inner, "up")


@pytest.fixture
def machines() -> Iterator[list[Machine]]:
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made: list[Machine] = []
    ip("address", "add", f"{MARKET_HOST}/32", "dev", "lo")
    try:
        for number in (1, 2):
            made.append(Machine(number))
        yield made
    finally:
        for machine in made:
            machine.remove()
        ip("address", "delete", f"{MARKET_HOST}/32", "dev", "lo")


@pytest.fixture
def redis_everywhere(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that listens on every link."""
    server = RedisServer(tmp_path, free_port())
    server.start("--bind", "0.0.0.0", "--protected-mode", "no")
    yield server
    server.stop()


@contextlib.asynccontextmanager
async def on(machine: Machine, market: Market, directory: Path, server: RedisServer) -> AsyncIterator[Service]:
    url = f"http://{MARKET_HOST}:{market.url.rpartition(':')[2]}"
    async with running(
        market, directory / machine.name, inside=("ip", "netns", "exec", machine.name), host=machine.host, WORKERS=3,
        REFRESH_INTERVAL=INTERVAL, CACHE_TTL=5, MAX_STALE=60, COLD_WAIT=30, REDIS_TIMEOUT=0.2,
        REDIS_URL=f"redis://{machine.redis_host}:{server.port}/0", **source_urls(url),
    ) as service:  # fmt: skip
        yield service


async def calls_per_interval(market: Market) -> float:
    """Measured over ten intervals."""
    began, now = market.total_calls, asyncio.get_running_loop().time
    start = now()
    await asyncio.sleep(10 * INTERVAL)
    return (market.total_calls - began) / (now() - start) * INTERVAL


async def until_callers(market: Market, count: int) -> None:
    """Wait until `count` workers call the market, each once per interval."""
    rates = []
    for _ in polling():
        rates.append(await calls_per_interval(market))
        if count - 0.4 < rates[-1] < count + 0.4:
            return
    raise AssertionError(f"calls per interval were {rates}")


async def test_both_machines_stay_fresh_while_cut_off_and_are_one_caller_again_afterwards(
    tmp_path: Path, machines: list[Machine], redis_everywhere: RedisServer
) -> None:
    market = Market(seed=7)
    await market.start("0.0.0.0", 0)
    answers: list[Answer] = []

    async def ask(services: list[Service]) -> None:
        while True:
            answers.extend([await service.get(PRICE) for service in services])
            await asyncio.sleep(0.02)

    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(market.stop)
        entered = (on(machine, market, tmp_path, redis_everywhere) for machine in machines)
        services = list(await asyncio.gather(*map(stack.enter_async_context, entered)))
        for service in services:
            await service.until(200)
        asking = asyncio.create_task(ask(services))
        await until_callers(market, 1)
        for machine in machines:
            machine.cut()
        for service in services:
            await service.until_logged("shared store lost")
        await until_callers(market, 2)
        for machine in machines:
            machine.restore()
        for service in services:
            await service.until_logged("shared store back")
        await until_callers(market, 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert len(answers) > 100 and {answer.status for answer in answers} == {200}
    assert not any(answer.json["stale"] for answer in answers)
