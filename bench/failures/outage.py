"""Redis stops answering for a while under load: what clients notice, how old prices get, how soon all is well again."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from statistics import fmean
from typing import Any

from bench import load
from bench.failures.connections import Connection, one_to_each_worker
from bench.failures.figures import Row, figure
from bench.failures.fleet import PATIENCE_SECONDS, PRICE, Fleet, close_calls, fleet, until

WORKERS, CLIENTS = 8, 300
INTERVAL = 1.0
# Also the length of each run while Redis is stopped: hey forgets all answers after its millionth.
BESIDE_SECONDS = 10
# hey starts a moment before Redis stops, and ends after it is back, so that both happen under load.
MARGIN_SECONDS = 1.0
SAMPLE_SECONDS, LOOK_SECONDS = 0.5, 0.05
P99_RATIO, HEAL_SECONDS, FRESH_MS = 1.5, 5.0, 5000.0


async def measure(seconds: int) -> dict[str, Any]:
    async with fleet(1, WORKERS, REFRESH_INTERVAL=f"{INTERVAL:g}", COLD_WAIT="30") as running:
        (replica,), exchange = running.replicas, running.exchange
        await until(lambda: len(exchange.told) > 1, "no calls")
        samplers, lookers = [await one_to_each_worker(replica) for _ in range(2)]
        before = [await _hey(replica.port, BESIDE_SECONDS)]
        ages: list[float] = []
        async with _sampled(samplers, ages):
            loaded = asyncio.create_task(_hey_for(replica.port, seconds + 2 * round(MARGIN_SECONDS)))
            await asyncio.sleep(MARGIN_SECONDS)
            stopped, back, healed = await _outage(running, seconds, lookers)
            during = await loaded
        after = [await _hey(replica.port, BESIDE_SECONDS)]
    calls = exchange.between(stopped, back)
    about = (
        f"One replica of {WORKERS} workers, REFRESH_INTERVAL={INTERVAL:g}; Redis is stopped for {seconds} s, and goes"
        f" on, under `hey -c {CLIENTS}` in runs of {BESIDE_SECONDS} s, one after the other; one more ran before and one"
        " after. p99 is the mean of the runs'. Twice a second every worker is asked how old its price is."
    )
    rows = [
        *_hey_rows(before, during, after),
        figure("oldest price served, ms", max(ages), most=FRESH_MS),
        figure("upstream calls per interval while stopped", len(calls) * INTERVAL / (back - stopped)),
        figure("of them within half an interval of another", close_calls(calls, INTERVAL)),
        figure("Redis back to all workers using it, s", healed - back, most=HEAL_SECONDS),
    ]
    return {"name": "outage", "about": about, "rows": rows}


async def _outage(running: Fleet, seconds: int, connections: list[Connection]) -> tuple[float, float, float]:
    """Stop and continue Redis; returns when it stopped, when it was back, and when every worker used it again."""
    info: Any = running.redis.info("server")
    redis = int(info["process_id"])
    os.kill(redis, signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        await asyncio.sleep(seconds)
        states = await _redis_states(connections)
    finally:
        os.kill(redis, signal.SIGCONT)
    back = time.monotonic()
    if any(state == "up" for state in states):
        raise RuntimeError(f"Redis was not missed: {states}")
    async with asyncio.timeout(PATIENCE_SECONDS):
        while any(state != "up" for state in await _redis_states(connections)):
            await asyncio.sleep(LOOK_SECONDS)
    return stopped, back, time.monotonic()


async def _redis_states(connections: list[Connection]) -> list[str]:
    answers = await asyncio.gather(*(connection.get("/health/readiness") for connection in connections))
    return [body["redis"] for _, body in answers]


@asynccontextmanager
async def _sampled(connections: list[Connection], ages: list[float]) -> AsyncIterator[None]:
    """In the background, note how old the price of every worker is when its answer arrives."""
    async def ask_on() -> None:
        while True:
            for connection in connections:
                _, price = await connection.get()
                ages.append(time.time() * 1000 - price["fetched_at_ms"])
            await asyncio.sleep(SAMPLE_SECONDS)

    asking = asyncio.create_task(ask_on())
    try:
        yield
        if asking.done():
            await asking
    finally:
        asking.cancel()


async def _hey_for(port: int, seconds: int) -> list[dict[str, Any]]:
    """Run hey repeatedly, until `seconds` are over."""
    runs = []
    while seconds > 0:
        runs.append(await _hey(port, min(seconds, BESIDE_SECONDS)))
        seconds -= BESIDE_SECONDS
    return runs


async def _hey(port: int, seconds: int) -> dict[str, Any]:
    words = ["hey", "-z", f"{seconds}s", "-c", str(CLIENTS), f"http://127.0.0.1:{port}{PRICE}"]
    hey = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    try:
        async with asyncio.timeout(seconds + PATIENCE_SECONDS):
            report, _ = await hey.communicate()
    finally:
        if hey.returncode is None:
            hey.kill()
            await hey.wait()
    run = load.read(report.decode())
    if sum(run["statuses"].values()) >= load.MOST_ANSWERS:
        raise RuntimeError("hey has forgotten a part of its answers: the run was too long")
    return run


def _hey_rows(before: list[dict[str, Any]], during: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[Row]:
    runs = [*before, *during, *after]
    failed = sum(
        sum(run["errors"].values()) + sum(count for status, count in run["statuses"].items() if status != "200")
        for run in runs
    )
    p99 = {
        when: fmean(run["summary"]["p99 ms"] for run in each)
        for when, each in (("before", before), ("during", during), ("after", after))
    }
    return [
        figure("requests", sum(sum(run["statuses"].values()) for run in runs)),
        figure("failed", failed, most=0),
        *(figure(f"p99 ms {when}", value) for when, value in p99.items()),
        figure("p99 during / before", p99["during"] / p99["before"], most=P99_RATIO),
    ]
