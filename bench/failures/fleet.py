"""Replicas as real processes over one Redis, beside a simulated exchange that records each call."""

import asyncio
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from aiohttp import web
from redis import Redis

from bench.processes import Running, free_port, running
from bench.service import EXCHANGE_SECONDS, running_redis, settings
from fastprice.market import Market
from fastprice.market.call import Call

PRICE = "/api/v1/prices/eth-usdt"
# How long anything may take before a measurement gives up: a time limit, not a measurement.
PATIENCE_SECONDS = 60.0


class Exchange(Market):
    """A simulated exchange in this process; its times are those of the monotonic clock."""

    def __init__(self) -> None:
        super().__init__(latency=EXCHANGE_SECONDS)
        self.asked: list[float] = []
        self.told: list[tuple[float, int]] = []  # when, and the time stamp that identifies the price

    def record(self, call: Call) -> None:
        super().record(call)
        self.told.append((time.monotonic(), call.tick.time_ms))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(time.monotonic())
        return await super()._answer(request)

    def between(self, start: float, end: float) -> list[float]:
        """The calls between two moments."""
        return [moment for moment in self.asked if start <= moment < end]


@dataclass(frozen=True, slots=True)
class Replica:
    """A service with its own embedded store."""

    process: Running
    port: int
    directory: Path

    def workers(self) -> list[int]:
        return self.process.pids()[1:]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything that runs for a measurement."""

    exchange: Exchange
    redis: Redis
    replicas: list[Replica]


@asynccontextmanager
async def fleet(replicas: int, workers: int, **variables: str) -> AsyncIterator[Fleet]:
    """Start replicas at the same time, without waiting for them; stop them all at the end."""
    exchange, stack = Exchange(), ExitStack()
    await exchange.start()
    try:
        redis_url, redis = stack.enter_context(running_redis(_directory(stack)))
        started = [
            _started(stack, exchange.url, WORKERS=str(workers), REDIS_URL=redis_url, **variables)
            for _ in range(replicas)
        ]
        yield Fleet(exchange, redis, started)
    finally:
        # In a thread, because a stopping service may still wait for the exchange, which runs in this event loop.
        await asyncio.to_thread(stack.close)
        await exchange.stop()


def _started(stack: ExitStack, market: str, **variables: str) -> Replica:
    directory, port = _directory(stack), free_port()
    words = [sys.executable, "-m", "fastprice.cli", "serve"]
    # A call to a second source for a cross-check would be counted as a second caller.
    alone = {"CROSS_CHECK_INTERVAL": "0", "STREAMS": "0"}
    told = settings(port, market, directory, **alone | variables)
    return Replica(stack.enter_context(running(words, None, directory, **told)), port, directory)


def _directory(stack: ExitStack) -> Path:
    made = tempfile.TemporaryDirectory(prefix="fastprice-bench-", ignore_cleanup_errors=True)
    return Path(stack.enter_context(made))


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; TimeoutError if it never does."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(what)
        await asyncio.sleep(0.001)


async def all_answer(running: Fleet) -> None:
    """Wait until every replica accepts connections."""
    for replica in running.replicas:
        await until(partial(_takes_connections, replica.port), "no replica")


def _takes_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def close_calls(moments: list[float], interval: float) -> int:
    """How often two calls came closer than half an interval, as is always the case with two callers."""
    return sum(after - before < interval / 2 for before, after in zip(moments, moments[1:], strict=False))
