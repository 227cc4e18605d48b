"""Redis killed, hung, full, read-only, slow, emptied, littered, moved: this costs coordination, never an answer."""

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from bench.drills.drill import Allowed, Drill, Notes
from bench.drills.measured import hold
from bench.drills.scene import Scene, scene
from bench.failures import outage
from bench.processes import free_port
from tests.conftest import RedisServer
from tests.redis_groups import ClusterGroup, SentinelGroup, asked, pause, resume

LOAD = "24 clients and 6 subscribers each; 2 replicas of 2 workers"
TROUBLE_SECONDS = 6.0
# By then each machine has its own caller; with cross-checks off: one call per interval and machine, plus a start.
MOST_CALLS = 2 * 1.3
SLOW_SECONDS = 0.3
Act = Callable[[Scene], Awaitable[object]]


def does(commands: str) -> Act:
    """Run commands, or send signals to the server, as in bench.chaos.troubles."""

    async def act(stage: Scene) -> None:
        assert stage.redis
        await stage.redis.act(commands)

    return act


async def litter(stage: Scene) -> None:
    """Replace records by lists, and by records that cannot be read."""
    assert stage.redis
    for number, key in enumerate(await stage.redis.do("KEYS", "fastprice:*") or ()):
        await stage.redis.do("DEL", key)
        await stage.redis.do(*(("RPUSH", key, "x") if number % 2 else ("SET", key, b"\xff\x00{", "PX", 3_600_000)))


def wire(**values: object) -> Act:
    """Set what happens on the connection to Redis."""

    async def act(stage: Scene) -> None:
        assert stage.wire
        for name, value in values.items():
            setattr(stage.wire, name, value)

    return act


async def cut(stage: Scene) -> None:
    assert stage.wire
    await stage.wire.cut()


async def joined(stage: Scene) -> None:
    assert stage.wire
    await stage.wire.join()


async def moved(stage: Scene) -> None:
    """The address now leads to another server, and the old one refuses writes: a fail-over behind one name."""
    assert stage.wire and stage.redis
    old, stage.redis = stage.redis, stage.another_redis()
    await stage.redis.start()
    stage.wire.target = stage.redis.port
    await old.do("REPLICAOF", "127.0.0.1", free_port())


async def nothing(stage: Scene) -> None:
    """Do nothing: Redis or the service recovers on its own."""


async def unused(stage: Scene) -> str:
    """A problem if Redis has no record of ours, which it gets as soon as it is used again; else an empty string."""
    assert stage.redis
    return "" if await stage.redis.do("KEYS", "fastprice:*:round") else "nothing is stored in Redis"


async def trouble(befall: Act, mend: Act, notes: Notes, size: float) -> None:
    async with scene(notes, 2, redis=True) as stage:
        await befall(stage)
        if mend is nothing:
            await stage.recovered(partial(unused, stage))
        await asyncio.sleep(1.5)  # Until each machine has found its caller.
        calls = await stage.calls_per_interval(TROUBLE_SECONDS * size)
        notes.expect(calls < MOST_CALLS, f"{calls:.1f} calls per interval")
        await mend(stage)
        await stage.recovered(partial(unused, stage))
        lost, back = ((stage.said(f"shared store {word}")) for word in ("lost", "back"))
        notes.expect(lost == back, f"{lost} losses of Redis told, and {back} returns")


async def unheard(group: SentinelGroup | ClusterGroup, stage: Scene) -> str:
    """A problem if some followers get no notifications from a server that answers; the leader needs none."""
    followers, heard_by = stage.workers * len(stage.services) - 1, await asyncio.to_thread(group.listeners)
    return f"{heard_by} of {followers} followers hear the news" if heard_by < followers else ""


async def fail_over(kind: type[SentinelGroup] | type[ClusterGroup], notes: Notes, size: float) -> None:
    """The primary dies, is told to hand over, or hangs; another server takes its place, and the old one follows it."""
    directory = Path(tempfile.mkdtemp(prefix="fastprice-drill-"))
    group = kind(directory)
    try:
        await asyncio.to_thread(group.start)
        async with scene(notes, 2, environ={"REDIS_URL": group.url}, uses_redis=True) as stage:
            if isinstance(group, ClusterGroup):
                keys = "KEYS", "fastprice:*:round"
                found = [await asyncio.to_thread(asked, server, *keys) for server in group.servers]
                group.key = max(found).strip()
            for how in (RedisServer.stop, group.hand_over, pause)[: max(1, round(3 * size))]:
                old = await asyncio.to_thread(group.primary)
                await asyncio.to_thread(group.fail_over, how)
                await stage.recovered(partial(unheard, group, stage))
                if how is RedisServer.stop:
                    await asyncio.to_thread(group.start_again, old)
                resume(old)
                await asyncio.sleep(2)
    finally:
        await asyncio.to_thread(group.stop)
        shutil.rmtree(directory, ignore_errors=True)


async def long_stop(notes: Notes, size: float) -> None:
    part = await outage.measure(max(5, round(60 * size)))
    hold(notes, part, requests="requests", lost="failed", oldest="oldest price served, ms")


TROUBLES: dict[str, tuple[str, Act, Act]] = {
    "killed": ("killed, and restarted empty", does("SIGKILL"), does("start")),
    "hung": ("stopped (SIGSTOP): connections stay open, nothing is answered", does("SIGSTOP"), does("SIGCONT")),
    "full": ("full: writes are refused", does("CONFIG SET maxmemory 1"), does("CONFIG SET maxmemory 0")),
    "read-only": ("made a replica: read-only", does("REPLICAOF 127.0.0.1 1"), does("REPLICAOF NO ONE")),
    "crowded": ("refusing new clients, and closing the existing ones",
                does("CONFIG SET maxclients 1; CLIENT KILL TYPE pubsub; CLIENT KILL TYPE normal"),
                does("CONFIG SET maxclients 10000")),
    "slow": (f"answering {SLOW_SECONDS * 1000:.0f} ms after the limit of an operation",
             wire(delay=SLOW_SECONDS), wire(delay=0.0)),
    "cut": ("resetting connections, and refusing new ones", cut, joined),
    "silent": ("behind half-open connections: what is sent disappears", wire(swallows=True), wire(swallows=False)),
    "sliced": ("answering byte by byte", wire(slices=True), wire(slices=False)),
    "emptied": ("losing all keys and scripts", does("FLUSHALL; SCRIPT FLUSH"), nothing),
    "littered": ("with lists and garbage in our keys", litter, nothing),
    "moved": ("moved: its address leads to another server, and the old one is read-only", moved, nothing),
}  # fmt: skip
PROVES = {"slow": (10,), "cut": (9, 10), "silent": (10,), "sliced": (10,), "hung": (8,)}
DRILLS = (
    *(
        Drill(f"redis-{name}", "no failure of Redis costs an answer; prices stay fresh, and each machine calls once",
              LOAD, f"Redis {words}", partial(trouble, befall, mend), Allowed(),
              "test_redis_failures.py", PROVES.get(name, (9,)))
        for name, (words, befall, mend) in TROUBLES.items()
    ),
    *(
        Drill(f"redis-{name}", "a fail-over is followed within 2 s of its end, and costs no answer", LOAD,
              f"the primary of a {words} is killed, hands over, hangs", partial(fail_over, kind),
              Allowed(recovered=2.0), "test_redis_groups.py", (9,))
        for name, words, kind in (
            ("sentinel", "Sentinel group", SentinelGroup), ("cluster", "Cluster", ClusterGroup),
        )
    ),
    Drill("redis-stopped", "60 s without Redis: no error, p99 as before, back within 5 s",
          "300 connections of hey; 8 workers", "SIGSTOP, and SIGCONT 60 s later", long_stop, Allowed(oldest_ms=5000),
          "test_redis_failures.py", (2, 8), needs=("hey",)),
)  # fmt: skip
