"""The service, its simulated exchange and its Redis as processes of their own, for the measurements."""

import json
import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from prometheus_client.mmap_dict import MmapedDict
from redis import Redis
from redis.exceptions import ConnectionError

from bench.processes import GENERATOR_CORE, PROC, answer_of, free_port, running
from fastprice.market import source_urls

# An exchange answers in about this time.
EXCHANGE_SECONDS = 0.1
ETH = ("eth-usdt",)
# The commands with which we look at Redis ourselves.
OWN_COMMANDS = ("cmdstat_info", "cmdstat_ping")
SERVED = "fastprice_http_requests_total{"
# The same metric in the files of single workers.
SERVED_KEY = '"fastprice_http_requests_total"'


def settings(port: int, market: str, directory: Path, **more: str) -> dict[str, str]:
    """The environment of a service on a simulated exchange, which keeps everything in `directory`."""
    return {"HOST": "127.0.0.1", "PORT": str(port), "STORE_DIR": str(directory / "store")} | source_urls(market) | more


@contextmanager
def running_market(directory: Path, pairs: Sequence[str] = ETH, latency: float = EXCHANGE_SECONDS) -> Iterator[str]:
    """A simulated exchange beside the load generator; yields its URL."""
    port = free_port()
    words = [sys.executable, "-m", "fastprice.cli", "market", "--port", str(port), "--latency", f"{latency:g}"]
    words += ["--pairs", ",".join(pairs)]
    with running(words, GENERATOR_CORE, directory) as market:
        answer_of(f"http://127.0.0.1:{port}/calls", market, directory)
        yield f"http://127.0.0.1:{port}"


def market_calls(market: str) -> int:
    """How many requests the exchange has received since its start."""
    with urllib.request.urlopen(f"{market}/calls", timeout=10) as response:
        total: int = json.load(response)["total"]
        return total


def fresh_prices(service: str) -> int:
    """How many pairs have a fresh price."""
    with urllib.request.urlopen(f"{service}/api/v1/prices", timeout=30) as response:
        return sum(not price["stale"] for price in json.load(response)["prices"])


class Counter:
    """How many answers a service of one worker has sent: its own count, exact at the moment of the request.

    It uses its own connection, opened before the load, so that it never waits to be accepted.
    """

    def __init__(self, service: str) -> None:
        self._connection = HTTPConnection(service.removeprefix("http://"), timeout=30)
        self()

    def __call__(self) -> float:
        self._connection.request("GET", "/metrics")
        lines = self._connection.getresponse().read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(SERVED))


def served_by_each(workers: Sequence[int]) -> list[float]:
    """How many answers each worker has counted and saved, in any order; the counts are up to a second old."""
    return [
        sum(number for key, number, *_ in MmapedDict.read_all_values_from_file(str(file)) if SERVED_KEY in key)
        for file in sorted(metrics_directory(workers[0]).glob("counter_*.db"))
    ]


def metrics_directory(worker: int) -> Path:
    """The directory of metrics, which every worker keeps open."""
    targets = (Path(os.readlink(link)) for link in (PROC / str(worker) / "fd").iterdir())
    return next(target for target in targets if target.name.startswith("fastprice-metrics-"))


def redis_operations(redis: Redis) -> int:
    """How many commands other clients have sent to a Redis since its start."""
    commands: dict[str, Any] = redis.info("commandstats")
    return sum(int(numbers["calls"]) for name, numbers in commands.items() if name not in OWN_COMMANDS)


@contextmanager
def running_redis(directory: Path) -> Iterator[tuple[str, Redis]]:
    """A redis-server without persistence; yields its URL and a client of it."""
    port = free_port()
    words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    with running(words, GENERATOR_CORE, directory), Redis(port=port) as client:
        while not _answers(client):
            time.sleep(0.02)
        yield f"redis://127.0.0.1:{port}/0", client


def _answers(client: Redis) -> bool:
    try:
        return bool(client.ping())
    except ConnectionError:
        return False
