"""The worker that listens to the exchange's stream is killed, again and again: how soon the next one listens."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Sequence
from typing import Any

from bench.failures.connections import Connection
from bench.failures.figures import figure, percentile
from bench.failures.fleet import Fleet, Replica, all_answer, fleet, until
from bench.failures.takeover import CLAIM_SECONDS, INTERVAL, REPLICAS, WORKERS, holder_of

PAIR, SOURCE = "eth-usdt", "binance"
# The market pushes a price this often, so a gap in the served prices means that no worker listened.
EVERY_MS, LOOK_SECONDS = 20, 0.02
CACHE_TTL = 5.0
# Pushes that only a dead listener's socket received do not count.
LAST_PUSH_SECONDS = 0.1
STREAMED_FOR_SECONDS = 1.0


async def measure(kills: int) -> dict[str, Any]:
    environ = {"REFRESH_INTERVAL": f"{INTERVAL:g}", "COLD_WAIT": "30", "STREAMS": "1", "CACHE_TTL": f"{CACHE_TTL:g}"}
    async with fleet(REPLICAS, WORKERS, SOURCES=SOURCE, **environ) as running:
        running.exchange.every_ms = EVERY_MS
        await until(lambda: bool(running.exchange.pushed[SOURCE]), "no stream")
        await all_answer(running)
        ages: list[float] = []
        clients = [asyncio.create_task(_watch(replica, ages)) for replica in running.replicas]
        began, moments = time.monotonic(), [await _take_over(running) for _ in range(kills)]
        for client in clients:
            client.cancel()
        for ended in await asyncio.gather(*clients, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise RuntimeError("a client ended before its time") from ended
        calls = running.exchange.between(began, time.monotonic())
    about = (
        f"{REPLICAS} replicas of {WORKERS} workers, REFRESH_INTERVAL={INTERVAL:g}, one source, whose stream tells a"
        f" price every {EVERY_MS} ms; the worker that listens to it is killed with -9, {kills} times. Somebody looks at"
        f" the price of each replica every {LOOK_SECONDS * 1000:g} ms."
    )
    rows = [
        figure("kills", kills),
        figure("kill to next message of the stream, p50 s", percentile(moments, 0.5)),
        figure("the same, longest s", max(moments), most=CLAIM_SECONDS + 2),
        figure("answers looked at", len(ages)),
        figure("age of the price, p50 ms", percentile(ages, 0.5)),
        figure("the same, oldest ms", max(ages), most=CACHE_TTL * 1000),
        figure("longest time without a poll, s", _longest(calls), most=CLAIM_SECONDS + 1),
    ]
    return {"name": "streaming", "about": about, "rows": rows}


async def _take_over(running: Fleet) -> float:
    """Kill the holder; returns after how many seconds another one got a push, when that one has listened a while."""
    holder, pushed = await holder_of(running), running.exchange.pushed[SOURCE]
    killed_ns, killed = time.time_ns(), time.monotonic()
    os.kill(holder, signal.SIGKILL)
    await asyncio.sleep(LAST_PUSH_SECONDS)
    start_ns = killed_ns + round(LAST_PUSH_SECONDS * 1e9)
    await until(lambda: bool(pushed) and pushed[-1].at_ns > start_ns, "the stream has no listener")
    seconds = time.monotonic() - killed
    await asyncio.sleep(STREAMED_FOR_SECONDS + random.random() * INTERVAL)
    return seconds


async def _watch(replica: Replica, ages: list[float]) -> None:
    """Read the price forever, on one connection after another."""
    while True:
        try:
            await _look(replica, ages)
        except OSError:  # The connection's worker was killed.
            await asyncio.sleep(LOOK_SECONDS)


async def _look(replica: Replica, ages: list[float]) -> None:
    connection = await Connection.to(replica.port)
    try:
        while True:
            status, body = await connection.get(f"/api/v1/prices/{PAIR}")
            if status != 200:
                raise RuntimeError(f"no price: {status} {body}")
            ages.append(time.time() * 1000 - body["fetched_at_ms"])
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        connection.close()


def _longest(moments: Sequence[float]) -> float:
    return max(after - before for before, after in zip(moments, moments[1:], strict=False))
