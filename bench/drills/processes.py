"""Workers, the leader and the master are killed, told to stop or to restart."""

import asyncio
import contextlib
import os
import random
import re
import signal
import time

from bench.chaos.fleet import GRACEFUL_TIMEOUT, Service
from bench.chaos.wire import Ask
from bench.drills.clients import Door
from bench.drills.drill import STALE_MS, Allowed, Drill, Notes
from bench.drills.front import behind_nginx, join
from bench.drills.measured import hold
from bench.drills.scene import Scene, scene
from bench.failures import replicas, streaming, takeover
from bench.service import metrics_directory

# The share of requests that may be lost through nginx, which repeats a GET unless its answer has already begun.
SHARE = 1e-4
KILL_SECONDS = 0.8
# Until every client is connected and sends requests.
CONNECTED_SECONDS = 0.7
# How soon a new replica must get requests, and how long nginx may still know one that leaves.
JOIN_SECONDS, FORGET_SECONDS = 5.0, 1.5
SERVED = re.compile(r'fastprice_http_requests_total\{.*route="/api/v1/prices/\{pair\}".*\} (.*)')
NGINX = "60 clients and 6 subscribers through nginx; 2 replicas of 2 workers, Redis"


async def kill_workers(notes: Notes, size: float) -> None:
    async with behind_nginx(notes) as (stage, _):
        rng, end = random.Random(1), time.monotonic() + 24 * size
        while time.monotonic() < end:
            if workers := rng.choice(stage.services).workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
                notes.seen["workers killed"] += 1
            await asyncio.sleep(KILL_SECONDS)
        await stage.recovered()


async def kill_masters(notes: Notes, size: float) -> None:
    async with behind_nginx(notes) as (stage, _):
        for number in range(max(1, round(3 * size))):
            service = stage.services[number % 2]
            await service.stop(signal.SIGKILL)
            await service.start()
            await stage.recovered()


async def reload(notes: Notes, size: float) -> None:
    async with behind_nginx(notes) as (stage, _):
        for number in range(max(1, round(4 * size))):
            await _reloaded(notes, stage.services[number % 2])
            await stage.recovered()


async def _reloaded(notes: Notes, service: Service) -> None:
    service.upset()
    before, end = set(service.workers), time.monotonic() + 2 * GRACEFUL_TIMEOUT
    service.process.send_signal(signal.SIGHUP)
    while before & set(service.workers) and time.monotonic() < end:
        await asyncio.sleep(0.05)
    notes.expect(not before & set(service.workers), "a worker was not replaced after SIGHUP")


async def roll(notes: Notes, size: float) -> None:
    """One replica becomes two, the first one leaves, and so on, as with `make roll`, and as fleets grow and shrink."""
    async with behind_nginx(notes, 1) as (stage, front):
        for _ in range(max(1, round(3 * size))):
            began = time.monotonic()
            await join(stage, front)
            joined = time.monotonic()
            while await _served(stage.services[-1]) < 1 and time.monotonic() < joined + 2 * JOIN_SECONDS:
                await asyncio.sleep(0.1)
            notes.seen[f"served {time.monotonic() - began:.1f} s after its start"] += 1
            notes.expect(time.monotonic() - joined < JOIN_SECONDS, "a new replica got no requests")
            await stage.recovered()
            old = stage.services[0]
            front.names.addresses.remove(old.host)
            await asyncio.sleep(FORGET_SECONDS)
            await stage.retire(old)


async def _served(service: Service) -> float:
    """How many prices a replica has served."""
    return sum(map(float, SERVED.findall((await service.get("/metrics")).body.decode())))


async def end(notes: Notes, size: float) -> None:
    """Clients without a proxy: every request that was sent before SIGTERM is answered."""
    for _ in range(max(1, round(6 * size))):
        async with scene(notes, workers=4) as stage:
            await asyncio.sleep(CONNECTED_SECONDS)
            stage.doors[0].is_leaving = True
            began = time.monotonic()
            await stage.service.stop()
            notes.expect(stage.service.process.returncode == 0, f"exit code {stage.service.process.returncode}")
            notes.seen["slowest end, s"] = max(notes.seen["slowest end, s"], round(time.monotonic() - began))


async def renew(notes: Notes, size: float) -> None:
    """The same when all workers are replaced: a client connected to a worker that leaves is told so in time."""
    for _ in range(max(1, round(6 * size))):
        async with scene(notes) as stage:
            await asyncio.sleep(CONNECTED_SECONDS)
            await _reloaded(notes, stage.service)
            await stage.recovered()


async def churn(notes: Notes, size: float) -> None:
    """Workers die again and again while metrics are scraped, and metrics files are damaged."""
    async with scene(notes, workers=3) as stage:
        scraper = asyncio.create_task(_scrape(stage))
        rng, directory = random.Random(2), metrics_directory(stage.service.workers[0])
        for _ in range(round(100 * size)):
            stage.service.upset()
            if workers := stage.service.workers:
                os.kill(rng.choice(workers), signal.SIGKILL)
            await asyncio.sleep(0.15)
            notes.expect(not scraper.done(), f"no scrapes any more: {scraper}")
        await stage.recovered()
        for length in (0, 100):
            for file in directory.glob("*.db"):
                with contextlib.suppress(FileNotFoundError):
                    os.truncate(file, length)
            stage.judge.restarted(Door("scrapes", 0))
            metrics = await stage.service.get("/metrics")
            notes.expect(metrics.status == 200, f"metrics {metrics.status} with files of {length} bytes")
        scraper.cancel()


async def _scrape(stage: Scene) -> None:
    """Scrape forever; the oracle checks that counters never fall."""
    door, ask = Door("scrapes", 0), Ask("/metrics")
    while True:
        with contextlib.suppress(OSError), contextlib.closing(await stage.line()) as line:
            answer, = await line.ask(ask)
            stage.judge.judge(door, line, ask, answer)
            stage.notes.expect(answer.status == 200, f"metrics {answer.status}")
            stage.notes.seen["scrapes"] += 1
        await asyncio.sleep(0.1)


async def start_cold(notes: Notes, size: float) -> None:
    """Without any exchange and Redis the service stays up, says so, and serves as soon as an exchange answers."""
    async with scene(notes, redis=True) as stage:
        stage.doors[0].may_refuse, stage.judge.honest_since = True, float("inf")
        stage.exchange.set_fault("all", "refuse")
        assert stage.wire
        await stage.wire.cut()
        # A client that is about to connect when a listening socket is closed is lost, whatever a server does.
        await asyncio.sleep(CONNECTED_SECONDS)
        stage.doors[0].is_leaving = True
        await stage.service.stop()
        await stage.service.start()
        stage.doors[0].is_leaving = False
        await asyncio.sleep(3)
        before = stage.service.workers
        await asyncio.sleep(6 * size)
        liveness = await stage.service.get("/health/liveness")
        notes.expect(liveness.status == 200, f"liveness {liveness.status}")
        notes.expect(stage.service.workers == before, "workers have ended")
        stage.exchange.clear_fault()
        await stage.wire.join()
        await stage.recovered()


async def one_caller(notes: Notes, size: float) -> None:
    hold(notes, await replicas.measure(max(3, round(30 * size))), requests="calls in them")


async def kill_leader(notes: Notes, size: float) -> None:
    hold(notes, await takeover.measure(max(2, round(25 * size))), requests="requests", lost="failed",
         oldest="oldest price served, ms")


async def kill_listener(notes: Notes, size: float) -> None:
    part = await streaming.measure(max(2, round(12 * size)))
    hold(notes, part, requests="answers looked at", oldest="the same, oldest ms")


DRILLS = (
    Drill("kill-workers", "a worker that is killed costs at most one of 10,000 requests", NGINX,
          f"kill -9 of any worker every {KILL_SECONDS} s", kill_workers, Allowed(share=SHARE),
          "test_service.py", (11,)),
    Drill("kill-masters", "a replica that is killed costs at most one of 10,000 requests", NGINX,
          "kill -9 of a master; its workers then exit by themselves", kill_masters,
          Allowed(share=SHARE, recovered=8), "test_processes.py", (11,)),
    Drill("reload", "SIGHUP replaces every worker and loses nothing", NGINX, "SIGHUP to a master, one after the other",
          reload, Allowed(share=SHARE), "test_processes.py", (14,)),
    Drill("roll", "replicas are added and stopped without loss; a new one gets requests within 5 s", NGINX,
          "one replica more, then SIGTERM to the oldest", roll, Allowed(share=SHARE), "test_nginx.py", (13, 14)),
    Drill("end", "on SIGTERM pending requests are answered, and the exit code is 0",
          "24 clients and 6 subscribers, no proxy; 4 workers", "SIGTERM to the master", end, Allowed(lost=3),
          "test_service.py, test_acceptor.py", (13,)),
    Drill("renew", "on SIGHUP pending requests are answered",
          "24 clients and 6 subscribers, no proxy; 2 workers", "SIGHUP to the master", renew, Allowed(lost=3),
          "test_service.py, test_processes.py", (14,)),
    Drill("churn", "scrapes are answered, and counters never fall, whatever happens to workers and files",
          "24 clients, 6 subscribers and a scrape ten times a second; 3 workers",
          "100 workers killed, one every 0.15 s; then files of metrics emptied and cut", churn, Allowed(lost=1000),
          "test_shared_places.py", (24,)),
    Drill("start-cold", "started without Redis and exchanges, it stays up, and serves once an exchange answers",
          "24 clients and 6 subscribers; 2 workers", "a start while every exchange refuses and Redis is down",
          start_cold, Allowed(lost=2, oldest_ms=STALE_MS, recovered=8), "test_redis_failures.py", (15,)),
    Drill("one-caller", "24 workers are one caller, also when 1,000 clients wait for the first price",
          "1,000 clients at the start; 3 replicas of 8 workers, Redis", "a cold start", one_caller, Allowed(),
          "test_fleet.py", (1,)),
    Drill("kill-leader", "after the leader dies, the next call is at most a claim and 1 s later",
          "24 clients; 2 replicas of 3 workers, Redis", "kill -9 of the leader, again and again", kill_leader,
          Allowed(oldest_ms=5000), "test_fleet.py", (3,)),
    Drill("kill-listener", "the same after the worker dies that listens to the exchange's stream",
          "a look every 20 ms; 2 replicas of 3 workers, Redis", "kill -9 of the worker that listens", kill_listener,
          Allowed(oldest_ms=5000), "test_stream_processes.py", (3,)),
)  # fmt: skip
