"""The worker that calls the exchange is killed, again and again: how soon another one does, and what clients notice."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from typing import Any

from bench.failures.connections import Connection
from bench.failures.figures import figure, percentile
from bench.failures.fleet import Fleet, all_answer, close_calls, fleet, until
from fastprice.application.leader import CLAIM_TURNS

REPLICAS, WORKERS, CLIENTS = 2, 3, 24
INTERVAL = 0.5
CLAIM_SECONDS = INTERVAL * CLAIM_TURNS
CLAIM_KEYS = "fastprice:*:claim:leader"
# A dead caller's last request may still be on its way; no other worker calls this early, as the claim has not ended.
LAST_REQUEST_SECONDS = 0.1
# Connections are not kept forever, so that restarted workers get their share.
PAUSE_SECONDS, KEPT_REQUESTS = 0.02, 50
CALLS_TO_SETTLE = 2


async def measure(kills: int) -> dict[str, Any]:
    async with fleet(REPLICAS, WORKERS, REFRESH_INTERVAL=f"{INTERVAL:g}", COLD_WAIT="30") as running:
        await until(lambda: len(running.exchange.told) > CALLS_TO_SETTLE, "no calls")
        await all_answer(running)
        answers, ages = Counter[str](), list[float]()
        ports = [running.replicas[number % REPLICAS].port for number in range(CLIENTS)]
        clients = [asyncio.create_task(_client(port, answers, ages)) for port in ports]
        moments = [await _take_over(running) for _ in range(kills)]
        for client in clients:
            client.cancel()
        ends = [killed for killed, _ in moments[1:]] + [time.monotonic()]
        settled = [running.exchange.between(first, end) for (_, first), end in zip(moments, ends, strict=True)]
        for ended in await asyncio.gather(*clients, return_exceptions=True):
            if not isinstance(ended, asyncio.CancelledError):
                raise RuntimeError("a client ended before its time") from ended
    seconds = [first - killed for killed, first in moments]
    about = (
        f"{REPLICAS} replicas of {WORKERS} workers, REFRESH_INTERVAL={INTERVAL:g}, so that a claim ends after"
        f" {CLAIM_SECONDS:g} s; the worker that holds it is killed with -9, {kills} times, at a random moment."
        f" {CLIENTS} clients ask all the time, each on a connection that it keeps for {KEPT_REQUESTS} requests; a"
        " request whose connection breaks is tried once on another, as a proxy does."
    )
    rows = [
        figure("kills", kills),
        figure("kill to next upstream call, p50 s", percentile(seconds, 0.5)),
        figure("the same, p99 s", percentile(seconds, 0.99)),
        figure("the same, longest s", max(seconds), most=CLAIM_SECONDS + 1),
        figure("requests", answers.total() - answers["broken"]),
        figure("of them tried twice", answers["broken"]),
        figure("oldest price served, ms", max(ages)),
        figure("failed", answers.total() - answers["broken"] - answers["200"], most=0),
        figure("two calls within half an interval, after a takeover",
               sum(close_calls(calls, INTERVAL) for calls in settled), most=0),
    ]  # fmt: skip
    return {"name": "takeover", "about": about, "rows": rows}


async def _take_over(running: Fleet) -> tuple[float, float]:
    """Kill the holder; returns when that was and when another one called, at a random moment after it has settled."""
    holder = await holder_of(running)
    killed = time.monotonic()
    os.kill(holder, signal.SIGKILL)
    start, exchange = killed + LAST_REQUEST_SECONDS, running.exchange
    await until(lambda: sum(moment > start for moment in exchange.asked[-9:]) >= CALLS_TO_SETTLE, "no takeover")
    await asyncio.sleep(random.random() * INTERVAL)
    return killed, next(moment for moment in exchange.asked if moment > start)


async def holder_of(running: Fleet) -> int:
    """The worker that holds the claim; on a busy machine the claim may be free for a moment."""
    while not (holders := _holders(running)):
        await asyncio.sleep(0.001)
    return holders[0]


def _holders(running: Fleet) -> list[int]:
    workers = {pid for replica in running.replicas for pid in replica.workers()}
    names = [running.redis.get(key) for key in running.redis.scan_iter(CLAIM_KEYS)]
    holders = [int(name.split(b":")[1]) for name in names if isinstance(name, bytes)]
    return [holder for holder in holders if holder in workers]


async def _client(port: int, answers: Counter[str], ages: list[float]) -> None:
    """Send requests forever, and note how old prices are when they arrive."""
    while True:
        connection = await Connection.to(port)
        try:
            for _ in range(KEPT_REQUESTS):
                status, price = await connection.get()
                answers[str(status)] += 1
                ages += [time.time() * 1000 - price["fetched_at_ms"]] if status == 200 else []
                await asyncio.sleep(PAUSE_SECONDS)
        except OSError:
            answers["broken"] += 1
            answers[await _tried_again(port)] += 1
        finally:
            connection.close()


async def _tried_again(port: int) -> str:
    try:
        connection = await Connection.to(port)
        try:
            return str((await connection.get())[0])
        finally:
            connection.close()
    except OSError:
        return "failed"
