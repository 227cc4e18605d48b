"""One point of each axis: a service of that size is started, measured without and under load, and stopped."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import wrk
from bench.processes import SERVER_CORE, Running, answer_of, free_port, running
from bench.service import (
    ETH, Counter, fresh_prices, market_calls, redis_operations, running_market, running_redis, settings
)

PRICES = "/api/v1/prices/"
# Seconds from the first price until the refresh is steady; and how many connections wrk opens per second.
SETTLE_SECONDS, CONNECTIONS_PER_SECOND = 4, 2500
# Time to read the service's own count before wrk ends: a busy service takes a while to answer.
COUNT_SECONDS = 4
FLEET_WORKERS = 3
# The cost of refreshing is measured for this many times the 4 seconds of a load, so that it includes a cross-check.
QUIET_TIMES = 3
Row = dict[str, float]


@dataclass(frozen=True, slots=True)
class Service:
    """A running service, with its URL and that of its exchange."""

    process: Running
    url: str
    market: str
    directory: Path


@contextmanager
def service(pairs: Sequence[str] = ETH, **variables: str) -> Iterator[Service]:
    """A service on one core, which has settled, beside an exchange on the other core."""
    with ExitStack() as cleanup:
        market = cleanup.enter_context(running_market(cleanup.enter_context(directory()), pairs))
        here, port = cleanup.enter_context(directory()), free_port()
        told = settings(port, market, here, PAIRS=",".join(pairs), **variables)
        words = [sys.executable, "-m", "fastprice.cli", "serve"]
        process = cleanup.enter_context(running(words, SERVER_CORE, here, **told))
        url = f"http://127.0.0.1:{port}"
        answer_of(url + PRICES + ETH[0], process, here)
        time.sleep(SETTLE_SECONDS)
        yield Service(process, url, market, here)


@contextmanager
def directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="fastprice-bench-", ignore_cleanup_errors=True) as made:
        yield Path(made)


def named(count: int) -> list[str]:
    return [*ETH, *(f"c{number}-usdt" for number in range(1, count))]


def by_pairs(count: int, seconds: int, mode: str = "failover") -> Row:
    """Request every pair in turn; the cost of refreshing them is measured without load, and subtracted."""
    pairs = named(count)
    with service(pairs, WORKERS="1", PRICE_MODE=mode) as running_service:
        process = running_service.process
        calls, before, start = market_calls(running_service.market), process.cpu(), time.monotonic()
        time.sleep(QUIET_TIMES * seconds)
        lasted = time.monotonic() - start
        refresh = (process.cpu() - before).total / lasted
        per_second = (market_calls(running_service.market) - calls) / lasted
        fresh = fresh_prices(running_service.url)
        paths = running_service.directory / "paths"
        paths.write_text("".join(f"{PRICES}{pair}\n" for pair in pairs))
        wrk.run(running_service.url, 1, script={"PATHS": str(paths)})
        before = process.cpu()
        load = wrk.run(running_service.url, seconds, script={"PATHS": str(paths)})
        used = (process.cpu() - before).total
        return {
            "cpu_us": used / load.requests * 1e6,
            "net_us": max(used - refresh * load.seconds, 0) / load.requests * 1e6,
            "refresh_ms": refresh * 1000,
            "calls": per_second,
            "fresh": fresh,
            "pss_mb": process.memory_mb(),
            "wrong": load.not_2xx + load.failed,
        }


def by_pairs_as_medians(count: int, seconds: int) -> Row:
    return by_pairs(count, seconds, "median")


def by_connections(count: int, seconds: int) -> Row:
    """Requests are counted by the service itself between two moments, so that opening connections is not included."""
    with service(WORKERS="1") as running_service:
        process, opening = running_service.process, 1 + count // CONNECTIONS_PER_SECOND
        whole, served = opening + seconds + COUNT_SECONDS, Counter(running_service.url)
        with wrk.start(running_service.url + PRICES + ETH[0], whole, count) as generator:
            time.sleep(opening)
            # In this order both times, because a busy service takes a while to report its count.
            before, count_before = process.cpu(), served()
            time.sleep(seconds)
            used, requests = process.cpu() - before, served() - count_before
            memory = process.memory_mb()
            load = wrk.read(generator, whole)
    return {
        "cpu_us": used.total / requests * 1e6,
        "per_second": load.per_second,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "pss_mb": memory,
        "wrong": load.not_2xx + load.failed,
    }


def by_workers(count: int, seconds: int) -> Row:
    return _over_redis(ETH, count, seconds)


def by_pairs_of_a_fleet(count: int, seconds: int) -> Row:
    return _over_redis(named(count), FLEET_WORKERS, seconds)


def _over_redis(pairs: Sequence[str], workers: int, seconds: int) -> Row:
    """All workers over one Redis; calls and operations are counted without load, which must not affect them."""
    with directory() as place, running_redis(place) as (redis_url, redis):
        with service(pairs, WORKERS=str(workers), REDIS_URL=redis_url) as running_service:
            url, process = running_service.url + PRICES + ETH[0], running_service.process
            calls, operations = market_calls(running_service.market), redis_operations(redis)
            before, start = process.cpu(), time.monotonic()
            time.sleep(QUIET_TIMES * seconds)
            lasted, refresh = time.monotonic() - start, (process.cpu() - before).total
            calls = market_calls(running_service.market) - calls
            operations = redis_operations(redis) - operations
            fresh = fresh_prices(running_service.url)
            wrk.run(url, 1)
            before = process.cpu()
            load = wrk.run(url, seconds)
            return {
                "cpu_us": (process.cpu() - before).total / load.requests * 1e6,
                "p99_ms": load.p99_ms,
                "pss_mb": process.memory_mb(),
                "calls": calls / lasted,
                "operations": operations / lasted,
                "operations_each": operations / lasted / workers,
                "refresh_ms": refresh / lasted * 1000,
                "fresh": fresh,
                "wrong": load.not_2xx + load.failed,
            }
