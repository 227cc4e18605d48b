"""One contract for every store, so that tests may use the one in memory; then faults of a file and of Redis."""

import asyncio
import contextlib
import itertools
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from fastprice.application.events import StoreAsked
from fastprice.application.fallback_store import FallbackStore
from fastprice.application.ports import Ban, PairReport, PriceStore, SourceReport, Stored
from fastprice.domain.errors import StoreUnavailable
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.records import Records
from fastprice.infrastructure.redis_store import RedisStore
from fastprice.infrastructure.sqlite_store import SqliteStore
from tests.conftest import RedisServer, free_port
from tests.fakes import BTC, ETH, FakeClock, RecordingEvents, a_quote
from tests.memory_store import MemoryStore, Shelf
from tests.redis_groups import ClusterGroup, Group, SentinelGroup, running_group

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()
REDIS_SECONDS = 0.2
NAMES = ("round", "reports", "bans")
SOURCES = ("binance", "okx", "gate")


@dataclass
class Place:
    """What the stores share: `open` gives another worker's store, `write` changes a record without using a store."""

    make: Callable[[], PriceStore]
    write: Callable[[str, Any], None]
    opened: list[PriceStore] = field(default_factory=list)

    def open(self) -> PriceStore:
        self.opened.append(self.make())
        return self.opened[-1]

    async def close(self) -> None:
        for store in self.opened:
            await store.close()


def records() -> Records:
    return Records((ETH, BTC), SOURCES)


def memory_place() -> Place:
    shelf = Shelf()

    def write(name: str, record: Any) -> None:
        raise NotImplementedError("memory holds no garbage")

    return Place(lambda: MemoryStore(CLOCK, shelf), write)


def sqlite_place(path: Path) -> Place:
    def write(name: str, record: Any) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.execute("insert or replace into record values (?, ?)", (name, record))

    return Place(lambda: SqliteStore(path, records(), CLOCK), write)


def group_place(group: Group | RedisServer, seconds: float = 2.0) -> Place:
    """A prefix of its own on a server or a group that other tests use too."""
    prefix = f"{{{uuid.uuid4().hex}}}"

    def write(name: str, record: Any) -> None:
        raise NotImplementedError("what is garbage to one server is garbage to all")

    return Place(lambda: redis_store(group.url, seconds, prefix), write)


def redis_place(server: RedisServer, url: str | None = None, seconds: float = REDIS_SECONDS) -> Place:
    def write(name: str, record: Any) -> None:
        control(server, "SET", f"test:v3:{name}", "" if record is None else record)

    return Place(lambda: redis_store(url or server.url, seconds), write)


def redis_store(
    url: str, seconds: float = REDIS_SECONDS, prefix: str = "test", events: RecordingEvents | None = None
) -> RedisStore:
    return RedisStore(url, prefix, records(), seconds, 60.0, CLOCK, events or RecordingEvents())


def control(server: RedisServer, *words: Any, password: str | None = None) -> Any:
    with redis.Redis(port=server.port, password=password) as client:
        return client.execute_command(*words)


@pytest.fixture(scope="module")
def sentinel_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    with running_group(SentinelGroup(tmp_path_factory.mktemp("sentinel"))) as group:
        yield group


@pytest.fixture(scope="module")
def cluster_group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    with running_group(ClusterGroup(tmp_path_factory.mktemp("cluster"))) as group:
        yield group


KINDS = (
    "memory", "sqlite", "redis", "redis with a fallback", "the fallback of a dead redis", "sentinel_group", "cluster_group"
)  # fmt: skip


@pytest.fixture(params=KINDS)
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    path = tmp_path / "deep" / "store.db"
    if request.param == "memory":
        place = memory_place()
    elif request.param == "sqlite":
        place = sqlite_place(path)
    elif request.param == "redis":
        place = redis_place(request.getfixturevalue("redis_server"))
    elif request.param.endswith("_group"):
        place = group_place(request.getfixturevalue(request.param))
    else:
        dead = request.param.startswith("the fallback")
        url = f"redis://127.0.0.1:{free_port()}" if dead else request.getfixturevalue("redis_server").url
        place = fallback_place(url, path)
    yield place
    await place.close()


def fallback_place(url: str, path: Path) -> Place:
    """Stores for the workers of one machine."""
    inside = sqlite_place(path)

    def make() -> PriceStore:
        return FallbackStore(redis_store(url), inside.make(), uuid.uuid4().hex, "service", CLOCK, RecordingEvents())

    return Place(make, inside.write)


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Place]:
    place = sqlite_place(tmp_path / "store.db")
    yield place
    await place.close()


def a_round(price: str = "3120.45", after_ms: int = 0, **other: Any) -> Stored:
    """A round of one quote of ETH-USDT, made now."""
    at_ms = CLOCK.wall_ms() + after_ms
    return Stored(at_ms, (a_quote(price, at_ms),), **other)


async def stored(store: PriceStore) -> Stored:
    return (await store.read())[1]


async def in_time(happens: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it happens, and fail after some seconds."""
    async with asyncio.timeout(10):
        while not await happens():
            await asyncio.sleep(0.005)


# ---- the contract ----


async def test_an_empty_store_holds_nothing_and_nobody_leads(stores: Place) -> None:
    store = stores.open()
    assert await store.read() == (None, Stored())
    assert await store.holder("a right") is None
    assert await store.claim("a", 60) is True


async def test_what_is_stored_is_given_back_to_every_worker(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    now_ms = CLOCK.wall_ms()
    quote = a_quote(
        "0.000001000", now_ms - 5, bid="0.0000009", ask="0.00000110", volume_24h="0", high_24h="0.2", low_24h="0.0000001",
        open_24h="0.1", source_time_ms=1_753_300_000_012,
    )
    said = {ETH: PairReport(quote, 'refused "é"', now_ms - 1, now_ms + 1, 0.0012, "frozen"), BTC: PairReport(unlisted_until_ms=now_ms)}
    reports = (
        SourceReport("okx", "open", now_ms, "asked too often", 'refused "é"', now_ms - 1, -0.01, 1, {BTC: (now_ms, "x")}, said),
        SourceReport("binance", "closed"),
    )
    bans = (Ban("okx", now_ms + 60_000, 'asked "too often" é'),)
    everything = Stored(now_ms, (quote, a_quote("60000.10", now_ms, pair=BTC)), frozenset({BTC}), reports, bans)
    assert await one.write("a", everything) is True
    assert await stored(one) == await stored(two) == await stored(stores.open()) == everything
    await two.write("a", later := a_round("7"))
    assert await stored(one) == await stored(two) == later


async def test_only_who_leads_may_write_where_somebody_leads(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await one.claim("a", 60)
    assert await one.write("a", first := a_round("1")) is True
    assert await two.write("b", a_round("2")) is False
    assert await two.read() == ("a", first)
    await one.release("a")
    assert await two.write("b", second := a_round("3")) is True
    assert await one.read() == (None, second)


async def test_a_claim_has_one_holder_who_may_renew_it_and_whom_everybody_sees(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    assert await one.claim("a", 60) is True
    assert [await store.claim("b", 60) for store in (one, two)] == [False, False]
    assert [await store.claim("a", 60) for store in (one, two)] == [True, True]
    assert await two.claim("b", 60, "another right") is True
    assert [(await store.read())[0] for store in (one, two)] == ["a", "a"]
    assert [await store.holder("another right") for store in (one, two)] == ["b", "b"]


async def test_looking_at_a_claim_takes_nothing_from_its_holder(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await one.claim("a", 60, "a right")
    for _ in range(3):
        assert await two.holder("a right") == "a"
    assert await two.claim("b", 60, "a right") is False


async def test_of_many_claimants_at_once_one_succeeds(stores: Place) -> None:
    workers = [stores.open() for _ in range(6)]
    claims = (worker.claim(str(number), 60) for number, worker in enumerate(workers))
    assert sorted(await asyncio.gather(*claims)) == [False] * 5 + [True]


async def test_a_claim_that_is_not_renewed_ends_by_itself(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    assert await one.claim("a", 0.3) is True
    assert await two.claim("b", 60) is False
    await in_time(lambda: two.claim("b", 60))
    assert await one.claim("a", 60) is False


async def test_a_renewal_moves_the_end_of_a_claim(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await one.claim("a", 0.05)
    await one.claim("a", 60)
    await one.claim("a", 0.1, "end")
    await in_time(lambda: two.claim("b", 60, "end"))
    assert await two.claim("b", 60) is False


async def test_only_its_holder_gives_a_claim_back(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await one.claim("a", 60)
    await two.release("b")
    assert await two.claim("b", 60) is False
    await one.release("a")
    assert await two.claim("b", 60) is True
    await one.release("a", "never claimed")


@pytest.mark.parametrize(
    ("behind_seconds", "taken"), [(0.005, False), (1.5, False), (3600, True)], ids=["a bit", "within skew", "an hour"]
)
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_claim_is_taken_from_before_a_set_back_clock_but_not_by_who_read_the_clock_a_bit_earlier(
    tmp_path: Path, kind: str, behind_seconds: float, taken: bool
) -> None:
    ahead, behind, shelf, path = FakeClock(), FakeClock(), Shelf(), tmp_path / "store.db"
    behind.step_wall(-behind_seconds)
    one, two = (MemoryStore(c, shelf) if kind == "memory" else SqliteStore(path, records(), c) for c in (ahead, behind))
    assert await one.claim("a", 2) is True
    assert await two.claim("b", 2) is taken
    for store in (one, two):
        await store.close()


async def test_news_of_what_another_worker_stored_wakes_the_one_who_waits(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await two.read()
    await two.news(0.01)
    waiting = asyncio.create_task(two.news(60))
    await asyncio.sleep(0)
    await one.write("a", a_round())
    async with asyncio.timeout(10):
        assert await waiting is True


async def test_no_news_is_told_when_the_time_is_over(stores: Place) -> None:
    store = stores.open()
    await store.read()
    await store.news(0.01)
    async with asyncio.timeout(10):
        assert await store.news(0.02) is False


GARBAGE: dict[str, Any] = {
    "nothing": "", "null": "null", "a number": "5", "a text": '"x"', "a list": "[]", "an empty object": "{}",
    "no json": "{{", "bytes": b"\xff\xfe\x00", "deep": "[" * 5_000, "another version": "[1,1753300000000,[],[]]",
    "a record of the first layout": '{"v":1,"pair":"eth-usdt","price":"1"}', "half a surrogate": r'["\ud800"]',
    "wrong lengths": "[2,[[1],[2,3]]]",
}


@pytest.mark.parametrize("stores", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("record", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_record_of_ours_counts_as_none_and_is_overwritten(stores: Place, record: Any) -> None:
    store = stores.open()
    await store.read()
    for name in NAMES:
        stores.write(name, record)
        stores.write(name, record.encode() if isinstance(record, str) else record)
    assert await stored(store) == Stored()
    now_ms = CLOCK.wall_ms()
    good = a_round(reports=(SourceReport("okx", "closed"),), bans=(Ban("okx", now_ms + 90_000, "banned"),))
    assert await store.write("a", good) is True
    assert await stored(store) == await stored(stores.open()) == good


async def test_a_store_may_be_closed_twice_and_before_its_first_use(stores: Place) -> None:
    store = stores.open()
    await store.close()
    await store.close()


# ---- sqlite ----


@pytest.mark.parametrize("spoil", ["garbage", "another schema"])
async def test_a_file_that_is_not_our_database_is_replaced(sqlite: Place, tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "store.db"
    if spoil == "garbage":
        path.write_bytes(b"not a database " * 1_000)
    else:
        other = sqlite3.connect(path)
        other.executescript("pragma user_version = 99; create table record (x)")
        other.close()
    one, two = sqlite.open(), sqlite.open()
    assert await one.write("a", good := a_round()) is True
    assert await stored(two) == good


@pytest.mark.parametrize("content", [None, 5, 1.5, "text"], ids=repr)
async def test_a_row_of_another_type_counts_as_none(sqlite: Place, tmp_path: Path, content: Any) -> None:
    store = sqlite.open()
    await store.write("a", a_round())
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as stranger:
        stranger.executescript("drop table record; create table record (name text primary key, content)")
        stranger.execute("insert into record values ('round', ?)", (content,))
    assert await stored(store) == Stored()


async def test_a_file_that_is_removed_or_replaced_parts_no_workers(sqlite: Place, tmp_path: Path) -> None:
    one, two = sqlite.open(), sqlite.open()
    await one.write("a", a_round("100", -1_000))
    await two.read()
    for part in tmp_path.glob("store.db*"):
        part.unlink()
    late = sqlite.open()
    assert await late.claim("late", 60) is True
    assert [await store.claim(name, 60) for store, name in ((one, "one"), (two, "two"))] == [False, False]
    await late.write("late", good := a_round())
    assert await stored(one) == await stored(two) == good


async def test_damage_deep_in_the_file_is_cured_too(sqlite: Place, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first = sqlite.open()
    await first.write("a", a_round())
    await first.close()
    with path.open("r+b") as file:  # Page 1, with the version and the names of the tables, stays intact.
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    worker, good = sqlite.open(), a_round("101", 1_000)
    for _ in range(3):
        with contextlib.suppress(StoreUnavailable):
            await worker.write("a", good)
    assert await stored(worker) == await stored(sqlite.open()) == good


async def test_a_file_damaged_while_in_use_costs_one_operation_each_at_most(sqlite: Place, tmp_path: Path) -> None:
    workers = [sqlite.open(), sqlite.open()]
    for worker in workers:
        await worker.write("a", a_round())
    for part in tmp_path.glob("store.db*"):
        part.write_bytes(b"\0garbage" * 4_096)
    for worker in workers:
        try:
            await worker.claim("a", 60)
        except StoreUnavailable:
            await worker.claim("a", 60)
    assert await workers[0].claim("b", 60) is False


@pytest.mark.parametrize("obstacle", ["a file for a directory", "a directory for a file"])
async def test_a_place_that_cannot_be_used_is_told_in_one_clear_line(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "place" / "store.db"
    if obstacle == "a file for a directory":
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
    store = SqliteStore(path, records(), CLOCK)
    with pytest.raises(StoreUnavailable) as caught:
        await store.write("a", a_round())
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.parent.unlink() if path.parent.is_file() else path.rmdir()
    assert await store.write("a", a_round()) is True
    await store.close()


async def test_a_writer_that_stopped_in_the_middle_costs_the_writes_no_reads_and_no_time_of_the_event_loop(
    sqlite: Place, tmp_path: Path
) -> None:
    store = sqlite.open()
    await store.write("a", good := a_round("100", -1_000))
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("begin immediate")
    for _ in range(3):
        turns, writing = 0, asyncio.ensure_future(store.write("a", a_round()))
        while not writing.done():
            await asyncio.sleep(0)
            turns += 1
        with pytest.raises(StoreUnavailable, match="locked"):
            await writing
        assert turns > 10, "others had their turns while it was tried again"
        assert await stored(store) == await stored(sqlite.open()) == good
    writing = asyncio.ensure_future(store.write("a", good := a_round()))
    await asyncio.sleep(0)
    other.execute("rollback")
    other.close()
    assert await writing is True and await stored(store) == good


PROCESS = """
import asyncio, sys
from pathlib import Path
from fastprice.application.ports import Stored
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.records import Records
from fastprice.infrastructure.sqlite_store import SqliteStore
from tests.fakes import ETH, a_quote

async def main(path, name):
    clock = SystemClock()
    store = SqliteStore(Path(path), Records((ETH,), ("binance",)), clock)
    print("ready", flush=True)
    sys.stdin.readline()
    claimed = await store.claim(name, 60)
    if claimed:
        await store.write(name, Stored(clock.wall_ms(), (a_quote("777", clock.wall_ms()),)))
    print(claimed, flush=True)
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize("spoilt", [False, True], ids=["a new file", "a spoilt file"])
async def test_processes_that_open_the_file_at_once_agree_on_one_claimant(
    sqlite: Place, tmp_path: Path, spoilt: bool
) -> None:
    if spoilt:
        (tmp_path / "store.db").write_bytes(b"not a database " * 1_000)
    with processes(4, tmp_path / "store.db") as running:
        for process in running:
            assert process.stdout and process.stdout.readline() == "ready\n"
        for process in running:
            assert process.stdin
            process.stdin.write("go\n")
            process.stdin.flush()
        outputs = [process.communicate() for process in running]
    assert sorted(out for out, _ in outputs) == ["False\n"] * 3 + ["True\n"], outputs
    (quote,) = (await stored(sqlite.open())).quotes
    assert quote.price == "777"


class processes:
    """This many processes that run `PROCESS`; at the end of the block all are killed."""

    def __init__(self, count: int, path: Path) -> None:
        self._words = [[sys.executable, "-c", PROCESS, str(path), str(number)] for number in range(count)]

    def __enter__(self) -> list[subprocess.Popen[str]]:
        pipe = subprocess.PIPE
        self._running = [subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for words in self._words]
        return self._running

    def __exit__(self, *_: object) -> None:
        for process in self._running:
            process.kill()
            process.communicate()


# ---- Redis ----

SECRET = "hunter2"
OTHER_SECRET = "correct-horse"


def pause(server: RedisServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)


def resume(server: RedisServer) -> None:
    assert server.process is not None
    server.process.send_signal(signal.SIGCONT)


Act = Callable[[RedisServer], None]
# The fault, what ends it, and whether the server's content can be read meanwhile.
FAULTS: dict[str, tuple[Act, Act, bool]] = {
    "dead": (RedisServer.stop, RedisServer.start, False),
    "paused": (pause, resume, False),
    "full": (
        lambda server: control(server, "CONFIG", "SET", "maxmemory", "1"),
        lambda server: control(server, "CONFIG", "SET", "maxmemory", "0"), True,
    ),
    "read-only": (
        lambda server: control(server, "REPLICAOF", "127.0.0.1", free_port()),
        lambda server: control(server, "REPLICAOF", "NO", "ONE"), True,
    ),
}


@pytest.fixture
async def in_redis(redis_server: RedisServer) -> AsyncIterator[Place]:
    place = redis_place(redis_server)
    yield place
    await place.close()


@pytest.fixture
def resumed(redis_server: RedisServer) -> Iterator[None]:
    """A stopped process does not react to SIGTERM: resume it, however the test ends."""
    yield
    if redis_server.process is not None:
        resume(redis_server)


async def failing(operation: Awaitable[object]) -> str:
    """The one line with which an operation fails within its time limit."""
    started = CLOCK.monotonic()
    with pytest.raises(StoreUnavailable) as caught:
        await operation
    assert CLOCK.monotonic() - started < 10 * REDIS_SECONDS
    line = str(caught.value)
    assert line.startswith("Redis at 127.0.0.1:") and "\n" not in line and len(line) < 200
    assert SECRET not in line and OTHER_SECRET not in line
    return line


@pytest.mark.usefixtures("resumed")
@pytest.mark.parametrize(("befall", "mend", "readable"), FAULTS.values(), ids=FAULTS)
async def test_redis_in_trouble_fails_in_its_time_and_works_again_afterwards(
    in_redis: Place, redis_server: RedisServer, befall: Act, mend: Act, readable: bool
) -> None:
    store = in_redis.open()
    await store.write("a", good := a_round("100", -1_000))
    befall(redis_server)
    await failing(store.write("a", a_round()))
    await failing(store.claim("a", 60))
    if readable:
        assert await stored(store) == good
    else:
        await failing(store.read())
        await failing(store.holder("a right"))
        await failing(store.release("a"))
    async with asyncio.timeout(10):
        assert await store.news(0.01) is False
    mend(redis_server)
    await in_time(lambda: works(store))
    assert await store.write("a", newer := a_round("200")) is True
    assert await stored(store) == newer
    assert await store.claim("a", 60) is True


async def works(store: PriceStore) -> bool:
    with contextlib.suppress(StoreUnavailable):
        return await store.claim("a", 60)
    return False


@pytest.mark.parametrize("kind", ["redis_server", "sentinel_group", "cluster_group"])
async def test_a_worker_that_was_itself_late_does_not_call_redis_lost(
    request: pytest.FixtureRequest, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_connection = asyncio.open_connection

    async def late(*args: Any, **options: Any) -> Any:
        """The connection is established while the worker is paused."""
        connecting = asyncio.ensure_future(open_connection(*args, **options))
        await asyncio.sleep(0)
        time.sleep(0.15)
        return await connecting

    place = group_place(request.getfixturevalue(kind), seconds=0.1)
    monkeypatch.setattr(asyncio, "open_connection", late)
    operations: list[Callable[[PriceStore], Awaitable[object]]] = [
        lambda store: store.read(), lambda store: store.claim("a", 60), lambda store: store.write("a", a_round())
    ]
    for _ in range(2):
        store = place.open()
        for operation in operations:
            asking = asyncio.ensure_future(operation(store))
            for _ in range(4):  # Pauses at the start, while connecting, while asking, and while waiting for the answer.
                asyncio.get_running_loop().call_soon(time.sleep, 0.15)
                await asyncio.sleep(0)
            await asking
    await place.close()


async def test_a_redis_that_is_slow_at_every_step_fails_in_the_time_of_one() -> None:
    ended = asyncio.Event()

    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await reader.read(1 << 16):
            await asyncio.sleep(REDIS_SECONDS * 0.7)
            writer.write(b"+OK\r\n" * (words.startswith(b"*") + words.count(b"\r\n*")))
        writer.close()
        ended.set()

    async with await asyncio.start_server(dawdle, "127.0.0.1", 0) as server:
        store = redis_store(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert "no answer in time" in await failing(store.read())
        await store.close()
        await ended.wait()


async def test_a_turn_costs_a_follower_one_command_and_the_leader_twelve(
    in_redis: Place, redis_server: RedisServer
) -> None:
    leader, follower = in_redis.open(), in_redis.open()
    for store in (leader, follower):  # The first operations connect and load the scripts.
        await store.read()
        await store.claim("a", 60)
        await store.write("a", a_round())
    control(redis_server, "CONFIG", "RESETSTAT")
    for _ in range(10):
        await follower.read()
    assert commands(redis_server) == 10
    control(redis_server, "CONFIG", "RESETSTAT")
    for _ in range(10):
        await leader.read()
        await leader.claim("a", 60)
        await leader.write("a", a_round())
    assert commands(redis_server) <= 120


def commands(server: RedisServer) -> int:
    """How many commands Redis has executed, including those inside scripts, without the tests' own."""
    with redis.Redis(port=server.port) as client:
        done: dict[str, dict[str, int]] = client.info("commandstats")
    ours = ("cmdstat_info", "cmdstat_config", "cmdstat_client", "cmdstat_hello", "cmdstat_select")
    return sum(row["calls"] for name, row in done.items() if not name.startswith(ours))


async def test_reports_that_redis_has_lost_are_written_again_though_they_are_not_new(
    in_redis: Place, redis_server: RedisServer
) -> None:
    leader, reader = in_redis.open(), in_redis.open()
    round_ = a_round(reports=(SourceReport("binance", "closed"),))
    await leader.claim("a", 60)
    await leader.write("a", round_)
    with redis.Redis(port=redis_server.port) as client:
        for name in client.keys("*:reports"):
            client.delete(name)
    assert await leader.write("a", round_)
    assert (await stored(reader)).reports == round_.reports


async def test_a_redis_that_was_flushed_takes_everything_again(in_redis: Place, redis_server: RedisServer) -> None:
    store = in_redis.open()
    await store.write("a", good := a_round())
    await store.claim("a", 60)
    control(redis_server, "FLUSHALL")
    control(redis_server, "SCRIPT", "FLUSH")
    assert await store.read() == (None, Stored())
    assert await store.claim("b", 60) is True
    assert await store.write("b", good) is True
    assert await stored(store) == good


async def test_keys_of_the_wrong_type_count_as_none_and_are_overwritten(
    in_redis: Place, redis_server: RedisServer
) -> None:
    store = in_redis.open()
    for name in (*NAMES, "claim:leader", "claim:a right"):
        control(redis_server, "RPUSH", f"test:v3:{name}", "x")
    assert await store.read() == (None, Stored())
    assert await store.holder("a right") is None
    await store.release("a")
    assert await store.write("a", good := a_round()) is True
    assert await store.claim("a", 60) is True and await store.claim("a", 60, "a right") is True
    assert await store.read() == ("a", good)
    assert await store.claim("b", 60) is False


async def test_a_claim_with_no_end_is_not_one_of_ours_and_is_taken(in_redis: Place, redis_server: RedisServer) -> None:
    store = in_redis.open()
    control(redis_server, "SET", "test:v3:claim:leader", "somebody")
    assert await store.claim("a", 60) is True
    assert await store.claim("b", 60) is False


async def test_a_wrong_password_is_told_without_it(redis_server: RedisServer) -> None:
    place = redis_place(redis_server, f"redis://user:{SECRET}@127.0.0.1:{redis_server.port}/0")
    control(redis_server, "CONFIG", "SET", "requirepass", OTHER_SECRET)
    store = place.open()
    await failing(store.write("a", a_round()))
    async with asyncio.timeout(10):
        assert await store.news(0.01) is False
    control(redis_server, "ACL", "SETUSER", "user", "on", f">{SECRET}", "~*", "&*", "+@all", password=OTHER_SECRET)
    assert await store.write("a", a_round()) is True
    await place.close()


async def test_who_may_not_publish_has_stored_the_round_all_the_same(redis_server: RedisServer) -> None:
    place = redis_place(redis_server, f"redis://quiet:{SECRET}@127.0.0.1:{redis_server.port}/0")
    control(redis_server, "ACL", "SETUSER", "quiet", "on", f">{SECRET}", "~*", "resetchannels", "+@all")
    store = place.open()
    assert await store.write("a", good := a_round()) is True
    assert await stored(store) == good
    await place.close()


async def test_news_come_again_after_redis_was_restarted(in_redis: Place, redis_server: RedisServer) -> None:
    one, two = in_redis.open(), in_redis.open()

    async def heard() -> bool:
        with contextlib.suppress(StoreUnavailable):
            await one.write("a", a_round())
        return await two.news(0.02)

    await in_time(heard)
    redis_server.stop()
    await in_time(lambda: no_news(two))
    redis_server.start()
    await in_time(heard)


async def test_a_subscription_that_stays_with_a_server_where_nobody_writes_is_opened_anew(tmp_path: Path) -> None:
    """An address moves to another server, and since then only the connection for commands has been reopened."""
    old, new = (RedisServer(tmp_path, free_port()) for _ in range(2))
    place = redis_place(new, seconds=1.0)
    for server in old, new:
        server.start()
    leader, follower = place.open(), redis_store(old.url)
    pool = follower._redis.connection_pool
    try:
        await follower.news(0.01)
        pool.connection_kwargs["port"] = new.port
        pool.reset()
        prices = itertools.count(1)

        async def heard() -> bool:
            await leader.write("a", a_round(str(next(prices))))
            await follower.read()
            return await follower.news(0.02)

        await in_time(heard)
    finally:
        await follower.close()
        await place.close()
        for server in old, new:
            server.stop()


async def test_what_was_told_while_nobody_listened_is_no_news(in_redis: Place, redis_server: RedisServer) -> None:
    """Otherwise a worker that led for a day would then have a day's worth of turns, one right after the other."""
    clock = FakeClock()
    led = RedisStore(redis_server.url, "test", records(), 1.0, 60.0, clock, RecordingEvents())
    other = in_redis.open()
    assert await led.news(0.05) is False
    for _ in range(20):
        await other.write("a", a_round())
    await clock.advance(60)
    assert await led.news(0.05) is False
    await other.write("a", a_round())
    assert await led.news(5) is True
    await led.close()


async def no_news(store: PriceStore) -> bool:
    return not await store.news(0.01)


async def test_a_thousand_reads_at_once_wait_for_each_other_and_all_succeed(redis_server: RedisServer) -> None:
    place = redis_place(redis_server, seconds=10.0)
    store = place.open()
    await store.write("a", good := a_round())
    assert await asyncio.gather(*(stored(store) for _ in range(1_000))) == [good] * 1_000
    await place.close()


async def test_cancelled_operations_leave_no_answer_for_the_next_one(in_redis: Place) -> None:
    store = in_redis.open()
    await store.claim("a", 60, "a right")
    await store.write("a", good := a_round())
    for turn in range(30):
        tasks = [asyncio.create_task(store.holder("a right")) for _ in range(5)]
        for _ in range(turn % 6):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await store.read(), await store.holder("a right")) == ((None, good), "a")


async def test_who_is_told_to_stop_while_redis_is_asked_stops(in_redis: Place) -> None:
    store, ended = in_redis.open(), asyncio.get_running_loop().time() + 60

    async def asks_for_ever() -> None:
        while asyncio.get_running_loop().time() < ended:
            await store.read()

    for turns in range(200):
        asking = asyncio.create_task(asks_for_ever())
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        await asyncio.sleep(turns / 40_000)
        asking.cancel()
        assert await asyncio.wait([asking], timeout=5) == ({asking}, set())
        assert asking.cancelled()


async def test_every_operation_is_told_with_its_result(redis_server: RedisServer) -> None:
    events = RecordingEvents()
    store = redis_store(redis_server.url, events=events)
    await store.read()
    await store.write("a", a_round())
    redis_server.stop()
    with pytest.raises(StoreUnavailable):
        await store.claim("a", 1)
    told = [(event.op, event.result) for event in events.of(StoreAsked)]
    assert told == [("read", "ok"), ("write", "ok"), ("claim", "error")]
    await store.close()


async def test_two_services_with_different_prefixes_share_nothing(redis_server: RedisServer) -> None:
    stores = [redis_store(redis_server.url, prefix=uuid.uuid4().hex) for _ in range(2)]
    await stores[0].write("a", a_round())
    assert await stores[1].read() == (None, Stored())
    assert [await store.claim(str(store), 60) for store in stores] == [True, True]
    for store in stores:
        await store.close()
