"""The seeded plan of an episode: what is broken and repaired, where, and for how long."""

import asyncio
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path

from bench.chaos.exchange import OLD_SECONDS
from bench.chaos.fleet import GRACEFUL_TIMEOUT, Group, RedisServer, Service
from bench.chaos.oracle import MAX_STALE
from fastprice.market.floor import MEANINGS
from fastprice.settings import Settings

LONGEST_SECONDS = 6.0
# After these the service rightly leaves a source alone for long, so only some get them: else none would be left.
LASTING, EXPENDABLE = ("blocked", "geo", "unknown_symbol", "wrong_symbol", "halted"), 3
# With these faults, `seconds` is how long the source tells clients to stay away.
RESTING = ("rate_limited", "banned")
SOURCES = Settings.from_env({}).sources
SECONDS, FACTORS = (0.1, 0.3, 1.0, 3.0, 50.0), (0.5, 1.2, 3.0)
# Shares of episodes in which one source never has a fault, signals are sent, Redis has troubles, and the embedded
# stores of services with a Redis have troubles too.
ANCHORED, SIGNALLED, REDIS_TROUBLED, BOTH_TROUBLED = 0.7, 0.7, 0.7, 0.3
TO_WORKERS = ("KILL", "KILL", "KILL", "TERM", "STOP", "STOP", "QUIT", "INT", "HUP", "ABRT", "USR1", "USR2", "WINCH")
TO_MASTERS = ("HUP", "HUP", "TTIN TTOU", "TTOU TTIN", "STOP", "USR1", "USR2", "WINCH")
ENDINGS = ("TERM", "TERM", "INT", "QUIT", "KILL")
# Troubles of Redis: what causes each, and what repairs it.
REDIS = {
    "killed": ("SIGKILL", "start"),
    "stopped": ("SIGSTOP", "SIGCONT"),
    "full": ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0"),
    "read-only": ("REPLICAOF 127.0.0.1 1", "REPLICAOF NO ONE"),
    "crowded": ("CONFIG SET maxclients 1; CLIENT KILL TYPE normal", "CONFIG SET maxclients 10000"),
    "emptied": ("FLUSHALL", ""),
    "without scripts": ("SCRIPT FLUSH", ""),
    "hanging up": ("CLIENT KILL TYPE pubsub; CLIENT KILL TYPE normal", ""),
    "paused": ("CLIENT PAUSE 1500 ALL", ""),
    "paused for writes": ("CLIENT PAUSE 2000 WRITE", ""),
}
# What another program may leave in one of our keys: no record at all, or a record with something we never write.
LITTER = (
    b"", b"null", b"[]", b"{}", b"\xff\xfe", b"[" * 3000, b"9" * 400, b'"\\ud800"', b"[2]", b"[2,1,[],[]]",
    b'[2,4000000000000,[["eth-usdt"]],["\\ud800"]]', b'[2,[["binance",4000000000000,"."]]]',
)  # fmt: skip
FORGED: tuple[object, ...] = ("\ud800", "nobody", "NaN", "-1", "ajar", 4_000_000_000_000, 2.5, True, [], {})
Trouble = Callable[[random.Random], Awaitable[None]]


class Plan:
    """The troubles of one group for some seconds; every kind of trouble has its own random generator."""

    def __init__(self, group: Group, seed: int, seconds: float) -> None:
        self._group = group
        self._seed = f"{seed}/{group.name}"
        self._end = time.monotonic() + seconds
        rng = random.Random(self._seed)
        self._sound = rng.sample(SOURCES, len(SOURCES))
        self._anchor = self._sound.pop() if rng.random() < ANCHORED else None
        self._expendable = frozenset(self._sound[:EXPENDABLE])
        self._jumping, self._everywhere = False, ""
        self._signalled, self._redis_too = rng.random() < SIGNALLED, rng.random() < REDIS_TROUBLED
        self._store_too = not group.redis or rng.random() < BOTH_TROUBLED
        group.undisturbed = not (self._signalled or self._store_too)

    async def run(self) -> None:
        """Carry out the plan; when this returns, everything is repaired."""
        group, oracle = self._group, self._group.oracle
        if self._anchor:
            oracle.honest_since = time.monotonic()
        sorts = [self._repeat(f"market {number}", 0.3, self._fault) for number in range(3)]
        if not self._anchor:
            sorts.append(self._repeat("blackout", MAX_STALE, self._blackout))
        if group.redis and self._redis_too:
            sorts.append(self._repeat("redis", 2, self._redis_trouble))
        for service in group.services:
            if self._signalled:
                sorts.append(self._repeat(f"signals {service.name}", 3, partial(self._signal, service)))
            if self._store_too:
                sorts.append(self._repeat(f"store {service.name}", 2, partial(self._store_trouble, service)))
        await asyncio.gather(*sorts)
        oracle.honest_since = min(time.monotonic(), oracle.honest_since)

    async def _repeat(self, sort: str, pause: float, trouble: Trouble) -> None:
        rng = random.Random(f"{self._seed}/{sort}")
        while time.monotonic() + pause < self._end:
            await asyncio.sleep(rng.uniform(0.1, 2 * pause))
            await trouble(rng)

    async def _last(self, rng: random.Random, least: float = 0.1) -> None:
        left = max(self._end - time.monotonic(), 0.5)
        await asyncio.sleep(min(least + rng.uniform(0.0, LONGEST_SECONDS), left))

    async def _fault(self, rng: random.Random) -> None:
        """Set one fault at one or more of the sources that have none."""
        fault, count = rng.choice(list(MEANINGS)), rng.choice((1, 1, 3, len(SOURCES)))
        free = [name for name in self._sound if fault not in LASTING or name in self._expendable]
        # Two sources that jump would agree, and rightly be believed; for one, only the first to be called matters.
        names = sorted(free, key=SOURCES.index)[:1] if fault == "jump" else free[:count]
        if not names or fault == "jump" and self._jumping:
            return
        self._jumping |= fault == "jump"
        seconds = OLD_SECONDS if fault == "old" else rng.choice(SECONDS[:4] if fault in RESTING else SECONDS)
        for name in names:
            self._sound.remove(name)
            self._group.exchange.set_fault(name, fault, seconds, rng.choice(FACTORS))
        with self._group.ledger.on(f"{self._group.name}: {fault} at {'+'.join(names)}"):
            await self._last(rng)
        for name in names:
            self._sound.insert(rng.randrange(len(self._sound) + 1), name)
        self._mend(names)
        self._jumping &= fault != "jump"

    async def _blackout(self, rng: random.Random) -> None:
        """Break all sources at once, until even the last price is too old."""
        self._everywhere = rng.choice(("hang", "refuse", "error", "html", "zero"))
        self._mend(self._sound)
        with self._group.ledger.on(f"{self._group.name}: {self._everywhere} everywhere"):
            await self._last(rng, MAX_STALE)
        self._everywhere = ""
        self._mend(self._sound)

    def _mend(self, names: list[str]) -> None:
        """Reset these sources to the fault that all sources have, or to none."""
        for name in names:
            if self._everywhere:
                self._group.exchange.set_fault(name, self._everywhere)
            else:
                self._group.exchange.clear_fault(name)

    async def _signal(self, service: Service, rng: random.Random) -> None:
        act = rng.choices((self._to_worker, self._to_master, self._restart, self._short_life), (6, 2, 1, 1))[0]
        await act(service, rng)

    async def _to_worker(self, service: Service, rng: random.Random) -> None:
        await self._send(service, rng.choice(TO_WORKERS), rng.choice(service.workers or [service.process.pid]), rng)

    async def _to_master(self, service: Service, rng: random.Random) -> None:
        await self._send(service, rng.choice(TO_MASTERS), service.process.pid, rng)

    async def _send(self, service: Service, names: str, pid: int, rng: random.Random) -> None:
        who = "the master" if pid == service.process.pid else "a worker"
        with self._group.ledger.on(f"{service.name}: {names} to {who}"):
            for name in names.split():
                service.upset()
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.Signals[f"SIG{name}"])
                    await asyncio.sleep(rng.uniform(0.1, 3))
                    os.kill(pid, signal.SIGCONT)
            service.upset()

    async def _restart(self, service: Service, rng: random.Random) -> None:
        ending = signal.Signals[f"SIG{rng.choice(ENDINGS)}"]
        with self._group.ledger.on(f"{service.name}: restart by {ending.name}"):
            await service.stop(ending)
            self._group.oracle.restarted(service)
            await service.start()

    async def _short_life(self, neighbour: Service, rng: random.Random) -> None:
        """Stop a service while it starts: no client is connected, so it has nothing to finish."""
        service = self._group.service(f"{neighbour.name}-short-{rng.getrandbits(32):x}")
        with self._group.ledger.on(f"{service.name}: TERM while it starts"):
            await service.spawn()
            try:
                await asyncio.sleep(rng.uniform(0.5, 3))
                await service.stop(most=GRACEFUL_TIMEOUT - 2)
            finally:
                await service.kill()
        service.examine_log(undisturbed=False)

    async def _redis_trouble(self, rng: random.Random) -> None:
        redis, name = self._group.redis, rng.choice([*REDIS, "littered", "littered"])
        assert redis is not None
        befall, mend = REDIS.get(name, ("", ""))
        with self._robbing(f"{self._group.name}: Redis {name}", self._group.services):
            await (redis.act(befall) if befall else _litter(redis, rng))
            await self._last(rng)
            await redis.act(mend)

    async def _store_trouble(self, service: Service, rng: random.Random) -> None:
        trouble, store = rng.choice(STORE), service.directory / "store"
        with self._robbing(f"{service.name}: store {trouble.__name__[1:].replace('_', ' ')}", [service]):
            # The store's file may be missing, because it was just removed or not created again yet.
            with contextlib.suppress(OSError, sqlite3.Error, StopIteration):
                mend = trouble(store, rng)
                await self._last(rng)
                mend()

    @contextlib.contextmanager
    def _robbing(self, what: str, services: list[Service]) -> Iterator[None]:
        """Record a trouble with the store of these services while it lasts."""
        with self._group.ledger.on(what):
            for service in services:
                service.robbed()
            yield
            for service in services:
                service.robbed()


async def _litter(redis: RedisServer, rng: random.Random) -> None:
    """Write to our keys, and publish, data that are not valid records."""
    keys = sorted(await redis.do("KEYS", "fastprice:*") or ())
    for _ in range(rng.randrange(1, 40) if keys else 0):
        key = rng.choice(keys)
        held, word = await redis.do("GET", key), rng.choice([*LITTER, rng.randbytes(rng.randrange(200))])
        if held and rng.random() < 0.7:
            word = _forged(held, rng)
        if rng.random() < 0.3:
            await redis.do("DEL", key)
        publish = ("PUBLISH", key.rsplit(b":", 1)[0] + b":news:0", word)
        await redis.do(*rng.choice((("SET", key, word), ("HSET", key, word, word), ("LPUSH", key, word), publish)))


def _forged(held: bytes, rng: random.Random) -> bytes:
    """A record with a value in one place that the service never writes."""
    try:
        record = row = json.loads(held)
        while isinstance(row[place := rng.randrange(len(row))], list) and row[place]:
            row = row[place]
        row[place] = rng.choice(FORGED)
    except (ValueError, AttributeError, LookupError, TypeError, RecursionError):
        return held[: len(held) // 2]  # A claim, or earlier litter.
    return json.dumps(record).encode()


def _removed(store: Path, rng: random.Random) -> Callable[[], object]:
    shutil.rmtree(store)
    return list


def _deleted(store: Path, rng: random.Random) -> Callable[[], object]:
    _database(store).unlink()
    return list


def _truncated(store: Path, rng: random.Random) -> Callable[[], object]:
    path = _database(store)
    os.truncate(path, rng.choice((0, 1, 100, path.stat().st_size // 2)))
    return list


def _overwritten(store: Path, rng: random.Random) -> Callable[[], object]:
    with rng.choice([path for path in store.rglob("*") if path.suffix in (".db", ".db-wal")]).open("r+b") as file:
        file.seek(rng.choice((0, rng.randrange(8192))))
        file.write(rng.randbytes(rng.choice((1, 20, 5000))))
    return list


def _replaced_by_another(store: Path, rng: random.Random) -> Callable[[], object]:
    path = _database(store)
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.executescript(f"pragma user_version = {rng.choice((0, 1, 3))}; create table quote (other text)")
    return list


def _locked(store: Path, rng: random.Random) -> Callable[[], object]:
    other = sqlite3.connect(_database(store), timeout=1, isolation_level=None)
    other.execute(rng.choice(("begin immediate", "begin exclusive")))
    return other.close


def _owned_by_another(store: Path, rng: random.Random) -> Callable[[], object]:
    path = _database(store)
    path.unlink()
    os.chown(path.parent, 12345, 12345)
    return lambda: os.chown(path.parent, os.getuid(), os.getgid())


def _no_directory(store: Path, rng: random.Random) -> Callable[[], object]:
    shutil.rmtree(store)
    store.write_text("")
    return store.unlink


STORE = (_removed, _deleted, _truncated, _overwritten, _replaced_by_another, _locked, _owned_by_another, _no_directory)


def _database(store: Path) -> Path:
    return next(store.rglob("*.db"))
