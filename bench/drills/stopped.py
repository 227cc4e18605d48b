"""Workers, the leader and the master are stopped: they stay alive, keep what they hold, and do nothing."""

import asyncio
import os
import signal
import time

from bench.chaos.oracle import INTERVAL
from bench.drills.drill import FRESH_MS, Allowed, Drill, Notes
from bench.drills.scene import Scene, scene
from bench.failures.takeover import CLAIM_KEYS, LAST_REQUEST_SECONDS
from fastprice.application.leader import CLAIM_TURNS

# A worker without a heartbeat is replaced after this time, plus a second until the master checks.
STUCK_SECONDS = 30
# How long the leader is stopped, which is longer than its claim; and the master, which replaces no worker meanwhile.
LEADER_SECONDS, MASTER_SECONDS = 4.0, 6.0
NEXT_CALL_SECONDS = INTERVAL * CLAIM_TURNS + 1
LOOK_SECONDS = 0.01
# One call per interval, plus what a busy machine adds.
MOST_CALLS = 1.3


async def stop_worker(notes: Notes, size: float) -> None:
    async with scene(notes, workers=3, expected="WORKER TIMEOUT") as stage:
        stage.service.upset()
        stopped = stage.service.workers[0]
        os.kill(stopped, signal.SIGSTOP)
        began = time.monotonic()
        while stopped in stage.service.workers and time.monotonic() - began < 2 * STUCK_SECONDS:
            await asyncio.sleep(0.1)
        notes.healed(time.monotonic() - began)
        await stage.recovered()


async def stop_leader(notes: Notes, size: float) -> None:
    """The leader is stopped for longer than its claim lasts, and continues when another worker calls the exchange."""
    async with scene(notes, 2, redis=True) as stage:
        for _ in range(max(1, round(4 * size))):
            leader = await _leader(stage)
            os.kill(leader, signal.SIGSTOP)
            began = time.monotonic()
            try:
                await asyncio.sleep(LAST_REQUEST_SECONDS)
                before = stage.exchange.total_calls
                while stage.exchange.total_calls == before and time.monotonic() - began < LEADER_SECONDS:
                    await asyncio.sleep(LOOK_SECONDS)
                took = time.monotonic() - began
                notes.expect(took < NEXT_CALL_SECONDS, f"nobody asked for {took:.1f} s")
                await asyncio.sleep(LEADER_SECONDS - took)
            finally:
                os.kill(leader, signal.SIGCONT)
            await stage.recovered()
            calls = await stage.calls_per_interval()
            notes.expect(calls < MOST_CALLS, f"{calls:.1f} calls per interval when it went on")


async def _leader(stage: Scene) -> int:
    """The worker that holds the claim, which is free for a moment now and then."""
    assert stage.redis
    workers = {pid for service in stage.services for pid in service.workers}
    while True:
        for key in await stage.redis.do("KEYS", CLAIM_KEYS) or ():
            name = await stage.redis.do("GET", key)
            if name and (pid := int(name.split(b":")[1])) in workers:
                return pid
        await asyncio.sleep(LOOK_SECONDS)


async def stop_master(notes: Notes, size: float) -> None:
    """No worker is replaced while the master is stopped; living workers keep serving, and then all is as before."""
    async with scene(notes, workers=3) as stage:
        for _ in range(max(1, round(2 * size))):
            master, workers = stage.service.process.pid, stage.service.workers
            os.kill(master, signal.SIGSTOP)
            try:
                await asyncio.sleep(MASTER_SECONDS / 2)
                stage.service.upset()
                os.kill(workers[0], signal.SIGKILL)
                await asyncio.sleep(MASTER_SECONDS / 2)
            finally:
                os.kill(master, signal.SIGCONT)
            await stage.recovered()
            kept = set(workers[1:]) <= set(stage.service.workers)
            notes.expect(kept, "workers that lived were replaced when the master went on")


DRILLS = (
    Drill("stop-worker", "a worker that hangs is replaced within 31 s; the others continue to serve",
          "24 clients and 6 subscribers; 3 workers", "SIGSTOP to a worker; its clients wait 20 s",
          stop_worker, Allowed(lost=48, oldest_ms=4 * FRESH_MS, recovered=STUCK_SECONDS + 4),
          "test_processes.py", (12,)),
    Drill("stop-leader", "when the leader hangs, another worker takes over, and nothing goes wrong when it resumes",
          "24 clients and 6 subscribers each; 2 replicas of 2 workers, Redis",
          f"SIGSTOP to the leader, and SIGCONT {LEADER_SECONDS:g} s later", stop_leader,
          Allowed(oldest_ms=LEADER_SECONDS * 1000 + FRESH_MS), "test_leader.py", (3,)),
    Drill("stop-master", "a master that hangs costs nothing but the clients of a worker that dies meanwhile",
          "24 clients and 6 subscribers; 3 workers",
          f"SIGSTOP to the master, kill -9 of a worker, and SIGCONT {MASTER_SECONDS:g} s later", stop_master,
          Allowed(lost=48), "test_processes.py", (11,)),
)  # fmt: skip
