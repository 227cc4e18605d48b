"""A cold start of three replicas with a thousand clients: how often they call the exchange, how far workers differ."""

import asyncio
import time
from typing import Any

from bench.failures.connections import Connection, one_to_each_worker
from bench.failures.figures import Row, figure, percentile
from bench.failures.fleet import PATIENCE_SECONDS, Exchange, Fleet, close_calls, fleet, until

REPLICAS, WORKERS, CLIENTS = 3, 8, 1000
INTERVAL = 1.0
# On a machine that starts everything at once, the first call may be late and the second early. With two callers, a call
# of one always comes within half an interval of a call of the other.
FIRST_SECONDS = 0.5 * INTERVAL
SPREAD_MS = 50.0
RETRY_SECONDS = 0.005


async def measure(intervals: int) -> dict[str, Any]:
    settings = {"REFRESH_INTERVAL": f"{INTERVAL:g}", "COLD_WAIT": "30"}
    async with fleet(REPLICAS, WORKERS, **settings) as running:
        rows = await cold(running)
        connections = [each for replica in running.replicas for each in await one_to_each_worker(replica)]
        start = time.monotonic()
        spreads = [await spread(running.exchange, connections) for _ in range(intervals)]
        took = time.monotonic() - start
        calls = running.exchange.between(start, start + took)
        rows += [
            figure("intervals", intervals),
            figure("seconds they took", took),
            figure("calls in them", len(calls)),
            figure("intervals with two or more calls", close_calls(running.exchange.asked, INTERVAL), most=0),
            figure("all workers serve the new quote − exchange answered, p50 ms", percentile(spreads, 0.5)),
            figure("the same, p99 ms", percentile(spreads, 0.99), most=SPREAD_MS),
            figure("the same, longest ms", max(spreads)),
        ]
    about = (
        f"{REPLICAS} replicas of {WORKERS} workers over one Redis, {CLIENTS:,} clients that send as soon as theirs"
        f" listens, then {intervals} intervals of {INTERVAL:g} s. The exchange is in the measuring process and notes"
        " when it answers; every worker is then asked over and over, on a connection of its own, until all have it."
    )
    return {"name": "replicas", "about": about, "rows": rows}


async def cold(running: Fleet) -> list[Row]:
    """Every client sends as soon as a replica listens, which is before its workers have started."""
    listening = [asyncio.create_task(_listening(replica.port)) for replica in running.replicas]
    clients = [_client(listening[number % REPLICAS]) for number in range(CLIENTS)]
    answers = await asyncio.gather(*clients)
    exchange = running.exchange
    first = exchange.asked[0]
    await asyncio.sleep(max(first + FIRST_SECONDS - time.monotonic(), 0))
    before = sum(sent < exchange.told[0][0] for sent, _ in answers)
    calls = exchange.between(first, first + FIRST_SECONDS)
    return [
        figure("requests sent before the exchange first answered", before),
        figure("requests that got no price", sum(status != 200 for _, status in answers), most=0),
        figure("upstream calls in the first half of an interval", len(calls), least=1, most=1),
    ]


async def _listening(port: int) -> int:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            (await Connection.to(port)).close()
            return port
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(RETRY_SECONDS)


async def _client(listening: "asyncio.Task[int]") -> tuple[float, int]:
    """Send a request; returns when it was sent, and the status."""
    connection = await Connection.to(await listening)
    sent = time.monotonic()
    status, _ = await connection.get()
    connection.close()
    return sent, status


async def spread(exchange: Exchange, connections: list[Connection]) -> float:
    """For the next quote: milliseconds from the exchange's answer until the last worker serves it."""
    told = len(exchange.told)
    await until(lambda: len(exchange.told) > told, "no further answer of the exchange")
    (answered, stamp), waiting, served = exchange.told[told], connections, 0.0
    async with asyncio.timeout(PATIENCE_SECONDS):
        while waiting:
            for connection in waiting:
                connection.ask()
            stamps = [(connection, (await connection.answer())[1]["source_time_ms"]) for connection in waiting]
            served = time.monotonic()
            waiting = [connection for connection, known in stamps if known < stamp]
    return (served - answered) * 1000
