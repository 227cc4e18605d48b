"""One contract for every store, so that the fake cannot drift; then what may go wrong with a file and with Redis."""

import asyncio
import contextlib
import signal
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis

from fastprice.application.events import StoreAsked
from fastprice.application.ports import MAX_BAN_SECONDS, Ban, QuoteStore, SourceReport
from fastprice.application.records import dump_quote
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import MAX_SKEW_MS, Quote
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.redis_store import RedisStore
from fastprice.infrastructure.redis_store.link import place
from fastprice.infrastructure.sqlite_store import SqliteStore
from tests.conftest import RedisServer, free_port
from tests.fakes import BTC, ETH, FakeClock, FakeStore, RecordingEvents, Shelf, a_quote

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()
REDIS_SECONDS = 0.2
HOUR_MS = 3_600_000


@dataclass
class Place:
    """Where stores meet: `open` gives another worker's store, `write` puts a record behind their backs."""

    make: Callable[[], QuoteStore]
    write: Callable[[str, str | bytes], None]
    opened: list[QuoteStore] = field(default_factory=list)

    def open(self) -> QuoteStore:
        self.opened.append(self.make())
        return self.opened[-1]

    async def close(self) -> None:
        for store in self.opened:
            await store.close()


def fake_place() -> Place:
    shelf = Shelf()

    def write(table: str, record: str | bytes) -> None:
        raise NotImplementedError("a dict holds no garbage")

    return Place(lambda: FakeStore(CLOCK, shelf), write)


def sqlite_place(path: Path) -> Place:
    def write(table: str, record: str | bytes) -> None:
        with sqlite3.connect(path) as db:
            now_ms = CLOCK.wall_ms()
            values: tuple[Any, ...] = (ETH.slug, record, now_ms, 1) if table == "quote" else (ETH.slug, record)
            if table == "ban":
                values = "okx/", record, now_ms + 60_000
            db.execute(f"insert or replace into {table} values ({', '.join('?' * len(values))})", values)
        db.close()

    return Place(lambda: SqliteStore(path, CLOCK), write)


def redis_place(server: RedisServer, url: str | None = None, seconds: float = REDIS_SECONDS) -> Place:
    events = RecordingEvents()
    keys = {"quote": f"quote:{ETH.slug}", "report": f"sources:{ETH.slug}"}

    def write(table: str, record: str | bytes) -> None:
        if table == "ban":
            control(server, "HSET", "test:v1:bans", "okx/", record)
        else:
            control(server, "SET", f"test:v1:{keys[table]}", record)

    return Place(lambda: RedisStore(url or server.url, "test", seconds, 60.0, CLOCK, events), write)


def control(server: RedisServer, *words: Any, password: str | None = None) -> None:
    with redis.Redis(port=server.port, password=password) as client:
        client.execute_command(*words)


@pytest.fixture(params=["fake", "sqlite", "redis"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    if request.param == "redis":
        place = redis_place(request.getfixturevalue("redis_server"))
    else:
        place = fake_place() if request.param == "fake" else sqlite_place(tmp_path / "deep" / "store.db")
    yield place
    await place.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Place]:
    place = sqlite_place(tmp_path / "store.db")
    yield place
    await place.close()


def a_new_quote(price: str = "3120.45", after_ms: int = 0, **other: Any) -> Quote:
    return a_quote(price, CLOCK.wall_ms() + after_ms, **other)


async def in_time(happens: Callable[[], Awaitable[bool]]) -> None:
    """Wait until it happens, and fail if it does not."""
    async with asyncio.timeout(10):
        while not await happens():
            await asyncio.sleep(0.005)


# ---- the contract ----


async def test_an_empty_store_holds_nothing_and_its_claims_are_free(stores: Place) -> None:
    store = stores.open()
    assert await store.get(ETH) is None
    assert await store.get_reports(ETH) == ()
    assert await store.claim("eth", "a", 60) is True


async def test_a_quote_is_given_back_as_it_was_put_to_every_worker(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    quotes = [
        a_new_quote("0.000001000", bid="0.0000009", ask="0.00000110", volume_24h="0", source_time_ms=1_753_300_000_012),
        a_new_quote("60000.10", pair=BTC),
    ]
    for quote in quotes:
        assert await one.put(quote) is True
        assert await one.get(quote.pair) == await two.get(quote.pair) == quote


@pytest.mark.parametrize(
    ("after_ms", "taken"), [(-1, False), (0, False), (1, True)], ids=["older", "of the same time", "newer"]
)
async def test_only_a_newer_quote_replaces_the_stored_one(stores: Place, after_ms: int, taken: bool) -> None:
    one, two = stores.open(), stores.open()
    held = a_new_quote("100")
    await one.put(held)
    other = a_quote("200", held.fetched_at_ms + after_ms)
    assert await two.put(other) is taken
    assert await one.get(ETH) == (other if taken else held)


async def test_one_pairs_quote_stands_in_no_other_pairs_way(stores: Place) -> None:
    store = stores.open()
    await store.put(a_new_quote("100"))
    assert await store.put(a_new_quote("60000", -5, pair=BTC)) is True


@pytest.mark.parametrize(
    ("ahead_ms", "taken"), [(HOUR_MS, True), (MAX_SKEW_MS // 2, False)], ids=["an hour ahead", "within clocks' skew"]
)
async def test_a_quote_from_before_the_clock_was_set_back_is_replaced(
    stores: Place, ahead_ms: int, taken: bool
) -> None:
    store = stores.open()
    await store.put(a_new_quote("100", ahead_ms))
    assert await store.put(a_new_quote("200")) is taken


async def test_reports_are_given_back_as_they_were_put_to_every_worker(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    at_ms = CLOCK.wall_ms()
    reports = (
        SourceReport("okx", "open", None, at_ms, "asked too often", 'refused "é"', at_ms - 1),
        SourceReport("binance", "closed", a_new_quote()),
    )
    await one.put_reports(ETH, reports)
    assert await one.get_reports(ETH) == await two.get_reports(ETH) == reports
    assert await two.get_reports(BTC) == ()
    await two.put_reports(ETH, reports[:1])
    assert await one.get_reports(ETH) == reports[:1]


async def test_bans_are_known_to_every_worker_until_they_are_over(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    now_ms = CLOCK.wall_ms()
    long = Ban("okx", None, now_ms + 60_000, 'asked "too often" é')
    unlisted, over = Ban("okx", ETH, now_ms + 90_000, "no such symbol"), Ban("gate", None, now_ms - 1, "over")
    for ban in long, unlisted, over:
        await one.put_ban(ban)
    assert set(await one.get_bans()) == set(await two.get_bans()) == {long, unlisted}
    soon = Ban("bybit", None, CLOCK.wall_ms() + 100, "soon over")
    await two.put_ban(soon)
    await in_time(lambda: is_not_in(soon, one))
    assert set(await one.get_bans()) == {long, unlisted}


async def is_not_in(ban: Ban, store: QuoteStore) -> bool:
    return ban not in await store.get_bans()


async def test_of_two_bans_the_longer_one_stays(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    now_ms = CLOCK.wall_ms()
    short, long, longer = (Ban("okx", None, now_ms + seconds * 1000, "x") for seconds in (30, 60, 90))
    await one.put_ban(long)
    await two.put_ban(short)
    assert await one.get_bans() == (long,)
    await two.put_ban(longer)
    assert await one.get_bans() == (longer,)


async def test_a_ban_of_impossible_length_keeps_no_true_one_out(stores: Place) -> None:
    store = stores.open()
    now_ms = CLOCK.wall_ms()
    await store.put_ban(Ban("okx", None, now_ms + round(MAX_BAN_SECONDS * 1000) + 60_000, "from before a set back clock"))
    true = Ban("okx", None, now_ms + 60_000, "x")
    await store.put_ban(true)
    assert await store.get_bans() == (true,)


async def test_a_claim_has_one_holder_who_may_renew_it(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    assert await one.claim("eth", "a", 60) is True
    assert [await store.claim("eth", "b", 60) for store in (one, two)] == [False, False]
    assert [await store.claim("eth", "a", 60) for store in (one, two)] == [True, True]
    assert await two.claim("btc", "b", 60) is True


async def test_of_many_claimants_at_once_one_succeeds(stores: Place) -> None:
    workers = [stores.open() for _ in range(6)]
    claims = (worker.claim("eth", str(number), 60) for number, worker in enumerate(workers))
    assert sorted(await asyncio.gather(*claims)) == [False] * 5 + [True]


async def test_a_claim_that_is_not_renewed_ends_by_itself(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    assert await one.claim("eth", "a", 0.3) is True
    assert await two.claim("eth", "b", 60) is False
    await in_time(lambda: two.claim("eth", "b", 60))
    assert await one.claim("eth", "a", 60) is False


async def test_a_renewal_moves_the_end_of_a_claim(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await one.claim("eth", "a", 0.01)
    await one.claim("eth", "a", 60)
    await one.claim("end", "a", 0.02)
    await in_time(lambda: two.claim("end", "b", 60))
    assert await two.claim("eth", "b", 60) is False


async def test_only_its_holder_gives_a_claim_back(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await one.claim("eth", "a", 60)
    await two.release("eth", "b")
    assert await two.claim("eth", "b", 60) is False
    await one.release("eth", "a")
    assert await two.claim("eth", "b", 60) is True
    await one.release("never claimed", "a")


@pytest.mark.parametrize(
    ("behind_seconds", "taken"), [(0.005, False), (1.5, False), (3600, True)], ids=["a bit", "within skew", "an hour"]
)
@pytest.mark.parametrize("kind", ["fake", "sqlite"])
async def test_a_claim_is_taken_from_before_a_set_back_clock_but_not_by_who_read_the_clock_a_bit_earlier(
    tmp_path: Path, kind: str, behind_seconds: float, taken: bool
) -> None:
    ahead, behind, shelf, path = FakeClock(), FakeClock(), Shelf(), tmp_path / "store.db"
    behind.step_wall(-behind_seconds)
    one, two = (FakeStore(c, shelf) if kind == "fake" else SqliteStore(path, c) for c in (ahead, behind))
    assert await one.claim("eth", "a", 2) is True
    assert await two.claim("eth", "b", 2) is taken
    for store in (one, two):
        await store.close()


async def test_news_of_another_workers_quote_wakes_the_one_who_waits(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await two.news(0.01)
    waiting = asyncio.create_task(two.news(60))
    await asyncio.sleep(0)
    quote = a_new_quote()
    await one.put(quote)
    async with asyncio.timeout(10):
        assert await waiting == (quote,)


async def test_no_news_is_told_when_the_time_is_over(stores: Place) -> None:
    store = stores.open()
    await store.news(0.01)
    async with asyncio.timeout(10):
        assert await store.news(0.02) == ()


async def test_a_quote_that_was_refused_is_no_news(stores: Place) -> None:
    one, two = stores.open(), stores.open()
    await two.news(0.01)
    quote = a_new_quote()
    heard: list[Quote] = []

    async def both_there() -> bool:
        heard.extend(await two.news(0.05))
        return last in heard

    await one.put(quote)
    await one.put(a_quote("1", quote.fetched_at_ms - 1))
    last = a_quote("2", quote.fetched_at_ms + 1)
    await one.put(last)
    await in_time(both_there)
    assert {quote.price for quote in heard} <= {quote.price, "2"}


GARBAGE: dict[str, str | bytes] = {
    "nothing": "", "null": "null", "a number": "5", "a text": '"x"', "a list": "[]", "an empty object": "{}",
    "no json": "{{", "bytes": b"\xff\xfe\x00", "deep": "[" * 5_000,
    "another version": dump_quote(a_quote()).replace('"v":1', '"v":2'),
    "another pair": dump_quote(a_quote(pair=BTC)),
    "no price": dump_quote(a_quote()).replace("3120.45", "-1"),
}


@pytest.mark.parametrize("stores", ["sqlite", "redis"], indirect=True)
@pytest.mark.parametrize("record", GARBAGE.values(), ids=GARBAGE)
async def test_what_is_no_quote_or_report_counts_as_none_and_is_overwritten(
    stores: Place, record: str | bytes
) -> None:
    store = stores.open()
    await store.get(ETH)
    stores.write("quote", record)
    stores.write("report", record)
    stores.write("ban", record)
    assert await store.get(ETH) is None
    assert (await store.get_reports(ETH), await store.get_bans()) == ((), ())
    quote, reports = a_new_quote(after_ms=5), (SourceReport("okx", "closed"),)
    ban = Ban("okx", None, CLOCK.wall_ms() + 90_000, "banned")
    assert await store.put(quote) is True
    await store.put_reports(ETH, reports)
    await store.put_ban(ban)
    assert (await store.get(ETH), await store.get_reports(ETH), await store.get_bans()) == (quote, reports, (ban,))


async def test_a_store_may_be_closed_twice_and_before_its_first_use(stores: Place) -> None:
    store = stores.open()
    await store.close()
    await store.close()


# ---- sqlite ----


@pytest.mark.parametrize("spoil", ["garbage", "another schema"])
async def test_a_file_that_is_not_our_database_is_begun_anew(sqlite: Place, tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "store.db"
    if spoil == "garbage":
        path.write_bytes(b"not a database " * 1_000)
    else:
        other = sqlite3.connect(path)
        other.executescript("pragma user_version = 99; create table quote (x)")
        other.close()
    one, two = sqlite.open(), sqlite.open()
    quote = a_new_quote()
    assert await one.put(quote) is True
    assert await two.get(ETH) == quote


async def test_a_file_that_is_removed_or_replaced_parts_no_workers(sqlite: Place, tmp_path: Path) -> None:
    one, two = sqlite.open(), sqlite.open()
    await one.put(a_new_quote("100", -1_000))
    await two.get(ETH)
    for part in tmp_path.glob("store.db*"):
        part.unlink()
    late = sqlite.open()
    assert await late.claim("eth", "late", 60) is True
    assert [await store.claim("eth", name, 60) for store, name in ((one, "one"), (two, "two"))] == [False, False]
    quote = a_new_quote()
    await late.put(quote)
    assert await one.get(ETH) == await two.get(ETH) == quote


# A column takes values of any type, whatever its own.
STRANGE_VALUES = {
    "no text": "cast(x'ff00fe' as text)", "bytes": "x'ff00fe'", "half a character": """'{"v":1,"source":"\\ud800"}'""",
    "a number": "5", "a huge number": "9223372036854775807", "a fraction": "0.5", "no finite number": "9e999", "empty": "''",
}


@pytest.mark.parametrize("value", STRANGE_VALUES.values(), ids=STRANGE_VALUES)
async def test_a_row_of_strange_values_counts_as_none_and_is_overwritten(
    sqlite: Place, tmp_path: Path, value: str
) -> None:
    store, other = sqlite.open(), sqlite.open()
    await store.claim(ETH.slug, "a", 60)
    await other.news(0)
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.execute(f"insert into quote values ('eth-usdt', {value}, {value}, {value})")
        db.execute(f"insert into quote values ({value}, {value}, {value}, {value})")
        db.execute(f"insert into report values ('eth-usdt', {value})")
        db.execute(f"insert into ban values ('okx/', {value}, {value})")
        db.execute(f"update claim set holder = {value}, until_ms = {value}")
    db.close()
    assert (await store.get(ETH), await store.get_reports(ETH), await store.get_bans()) == (None, (), ())
    assert await other.news(0) == ()
    quote, reports, ban = a_new_quote(), (SourceReport("okx", "closed"),), Ban("okx", None, CLOCK.wall_ms() + 90_000, "x")
    assert await store.put(quote) is True
    await store.put_reports(ETH, reports)
    await store.put_ban(ban)
    assert await store.claim(ETH.slug, "b", 60) is True
    assert (await other.get(ETH), await other.get_reports(ETH), await other.get_bans()) == (quote, reports, (ban,))


@pytest.mark.parametrize("tables", ["", "create table quote (x)", "create view quote as select 1"], ids=["no", "other", "views"])
async def test_a_file_of_our_version_with_tables_that_are_not_ours_is_replaced(
    sqlite: Place, tmp_path: Path, tables: str
) -> None:
    with sqlite3.connect(tmp_path / "store.db") as db:
        db.executescript(f"pragma user_version = 2; {tables}")
    db.close()
    store, quote = sqlite.open(), a_new_quote()
    with contextlib.suppress(StoreUnavailable):  # The statement that finds it out.
        await store.put(quote)
    assert await store.put(quote) is True or await store.get(ETH) == quote
    assert await store.claim("eth", "a", 60) is True


async def test_damage_deep_in_the_file_is_cured_too(sqlite: Place, tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    first = sqlite.open()
    await first.put(a_new_quote())
    await first.close()
    with path.open("r+b") as file:  # Page 1, with the version and the names of the tables, stays whole.
        file.seek(4096)
        file.write(b"\xff" * (path.stat().st_size - 4096))
    worker, quote = sqlite.open(), a_new_quote("101", 1_000)
    for _ in range(3):
        with contextlib.suppress(StoreUnavailable):
            await worker.put(quote)
    assert await worker.get(ETH) == await sqlite.open().get(ETH) == quote


async def test_a_row_that_is_no_quote_is_no_news(sqlite: Place, tmp_path: Path) -> None:
    reader, writer = sqlite.open(), sqlite.open()
    await reader.news(0)
    await writer.put(quote := a_new_quote())
    with contextlib.closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as stranger:
        stranger.execute("insert into quote values ('no pair at all', 'x', 1, 99)")
    assert await reader.news(0) == (quote,)


async def test_a_file_damaged_while_in_use_costs_one_operation_each_at_most(sqlite: Place, tmp_path: Path) -> None:
    workers = [sqlite.open(), sqlite.open()]
    for worker in workers:
        await worker.put(a_new_quote())
    for part in tmp_path.glob("store.db*"):
        part.write_bytes(b"\0garbage" * 4_096)
    for worker in workers:
        try:
            await worker.claim("eth", "a", 60)
        except StoreUnavailable:
            await worker.claim("eth", "a", 60)
    assert await workers[0].claim("eth", "b", 60) is False


@pytest.mark.parametrize("obstacle", ["a file for a directory", "a directory for a file"])
async def test_a_place_that_cannot_be_used_is_told_in_one_clear_line(tmp_path: Path, obstacle: str) -> None:
    path = tmp_path / "place" / "store.db"
    if obstacle == "a file for a directory":
        path.parent.write_text("")
    else:
        path.mkdir(parents=True)
    store = SqliteStore(path, CLOCK)
    with pytest.raises(StoreUnavailable) as caught:
        await store.put(a_new_quote())
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    path.parent.unlink() if path.parent.is_file() else path.rmdir()
    assert await store.put(a_new_quote()) is True
    await store.close()


async def test_a_writer_that_stopped_in_the_middle_costs_the_writes_and_no_reads(sqlite: Place, tmp_path: Path) -> None:
    store = sqlite.open()
    quote = a_new_quote("100", -1_000)
    await store.put(quote)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("begin immediate")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="locked"):
            await store.put(a_new_quote())
        assert await store.get(ETH) == quote
        assert await sqlite.open().get(ETH) == quote
    other.execute("rollback")
    other.close()
    assert await store.put(a_new_quote()) is True


PROCESS = """
import asyncio, sys
from pathlib import Path
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.sqlite_store import SqliteStore
from tests.fakes import a_quote

async def main(path, name):
    clock = SystemClock()
    store = SqliteStore(Path(path), clock)
    print("ready", flush=True)
    sys.stdin.readline()
    claimed = await store.claim("eth", name, 60)
    if claimed:
        await store.put(a_quote("777", clock.wall_ms()))
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
    stored = await sqlite.open().get(ETH)
    assert stored is not None and stored.price == "777"


class processes:
    """So many processes of `PROCESS`, ended at the latest when the block is."""

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
# What befalls the server, what ends it, and whether what it holds can be read meanwhile.
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
    """A stopped process cannot be ended politely: let it go on, however the test ends."""
    yield
    if redis_server.process is not None:
        resume(redis_server)


async def failing(operation: Awaitable[object]) -> str:
    """The one line in which an operation fails, in its time."""
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
    quote = a_new_quote("100", -1_000)
    await store.put(quote)
    befall(redis_server)
    for operation in (
        lambda: store.put(a_new_quote()), lambda: store.claim("eth", "a", 60), lambda: store.put_reports(ETH, ())
    ):
        await failing(operation())
    if readable:
        assert await store.get(ETH) == quote
    else:
        await failing(store.get(ETH))
        await failing(store.get_reports(ETH))
        await failing(store.release("eth", "a"))
    async with asyncio.timeout(10):
        assert await store.news(0.01) == ()
    mend(redis_server)
    newer = a_new_quote("200")
    assert await store.put(newer) is True
    assert await store.get(ETH) == newer
    assert await store.claim("eth", "a", 60) is True


async def test_a_redis_that_is_slow_at_every_step_fails_in_the_time_of_one() -> None:
    ended = asyncio.Event()

    async def dawdle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while words := await reader.read(1 << 16):
            await asyncio.sleep(REDIS_SECONDS * 0.7)
            writer.write(b"+OK\r\n" * (words.startswith(b"*") + words.count(b"\r\n*")))
        writer.close()
        ended.set()

    async with await asyncio.start_server(dawdle, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = RedisStore(f"redis://127.0.0.1:{port}", "test", REDIS_SECONDS, 60.0, CLOCK, RecordingEvents())
        assert "no answer in time" in await failing(store.get(ETH))
        await store.close()
        await ended.wait()


async def test_a_redis_that_was_flushed_takes_everything_anew(in_redis: Place, redis_server: RedisServer) -> None:
    store, quote = in_redis.open(), a_new_quote()
    await store.put(quote)
    await store.claim("eth", "a", 60)
    control(redis_server, "FLUSHALL")
    control(redis_server, "SCRIPT", "FLUSH")
    assert await store.get(ETH) is None
    assert await store.claim("eth", "b", 60) is True
    assert await store.put(quote) is True


async def test_keys_of_the_wrong_type_count_as_none_and_are_overwritten(
    in_redis: Place, redis_server: RedisServer
) -> None:
    store, quote = in_redis.open(), a_new_quote()
    for kind in ("quote", "sources", "claim"):
        control(redis_server, "RPUSH", f"test:v1:{kind}:{ETH.slug}", "x")
    control(redis_server, "SET", "test:v1:bans", "x")
    ban = Ban("okx", None, CLOCK.wall_ms() + 60_000, "banned")
    assert await store.get_bans() == ()
    await store.put_ban(ban)
    assert await store.get_bans() == (ban,)
    assert (await store.get(ETH), await store.get_reports(ETH)) == (None, ())
    await store.release(ETH.slug, "a")
    assert await store.put(quote) is True
    await store.put_reports(ETH, (SourceReport("okx", "closed"),))
    assert await store.claim(ETH.slug, "a", 60) is True
    assert (await store.get(ETH), await store.get_reports(ETH)) == (quote, (SourceReport("okx", "closed"),))
    assert await store.claim(ETH.slug, "b", 60) is False


async def test_a_claim_with_no_end_is_not_one_of_ours_and_is_taken(in_redis: Place, redis_server: RedisServer) -> None:
    store = in_redis.open()
    control(redis_server, "SET", f"test:v1:claim:{ETH.slug}", "somebody")
    assert await store.claim(ETH.slug, "a", 60) is True
    assert await store.claim(ETH.slug, "b", 60) is False


async def test_a_wrong_password_is_told_without_it(redis_server: RedisServer) -> None:
    place = redis_place(redis_server, f"redis://user:{SECRET}@127.0.0.1:{redis_server.port}/0")
    control(redis_server, "CONFIG", "SET", "requirepass", OTHER_SECRET)
    store = place.open()
    await failing(store.put(a_new_quote()))
    async with asyncio.timeout(10):
        assert await store.news(0.01) == ()
    control(redis_server, "ACL", "SETUSER", "user", "on", f">{SECRET}", "~*", "&*", "+@all", password=OTHER_SECRET)
    assert await store.put(a_new_quote()) is True
    await place.close()


async def test_news_come_again_after_redis_was_restarted(in_redis: Place, redis_server: RedisServer) -> None:
    one, two = in_redis.open(), in_redis.open()
    heard: list[Quote] = []

    async def heard_of_a_newer_one() -> bool:
        await one.put(a_new_quote())
        heard.extend(await two.news(0.02))
        return bool(heard)

    await in_time(heard_of_a_newer_one)
    redis_server.stop()
    heard.clear()
    assert await two.news(0.01) == ()
    redis_server.start()
    await in_time(heard_of_a_newer_one)


async def test_what_is_longer_than_any_record_is_not_even_read(in_redis: Place, redis_server: RedisServer) -> None:
    store, quote = in_redis.open(), a_new_quote()
    for key in ("quote", "sources"):
        control(redis_server, "SETRANGE", f"test:v1:{key}:{ETH.slug}", 400_000_000, "x")
    assert (await store.get(ETH), await store.get_reports(ETH)) == (None, ())
    assert await store.put(quote) is True
    assert await store.get(ETH) == quote


@pytest.mark.parametrize("message", [b"", b"x", b"eth-usdt", b"eth-usdt null", b"\xff\xfe", b"eth-usdt {}", b"eth-usdt " + b"[" * 9_999], ids=repr)
async def test_garbage_on_the_channel_is_no_news(
    in_redis: Place, redis_server: RedisServer, message: bytes
) -> None:
    one, two = in_redis.open(), in_redis.open()
    await two.news(0.01)
    control(redis_server, "PUBLISH", "test:v1:news:0", message)
    quote, heard = a_new_quote(), list[Quote]()
    await one.put(quote)

    async def heard_of_it() -> bool:
        heard.extend(await two.news(0.05))
        return bool(heard)

    await in_time(heard_of_it)
    assert heard == [quote]


async def test_a_thousand_reads_at_once_wait_for_each_other_and_all_succeed(redis_server: RedisServer) -> None:
    place = redis_place(redis_server, seconds=10.0)
    store, quote = place.open(), a_new_quote()
    await store.put(quote)
    assert await asyncio.gather(*(store.get(ETH) for _ in range(1_000))) == [quote] * 1_000
    await place.close()


async def test_cancelled_operations_leave_no_answer_for_the_next_one(in_redis: Place) -> None:
    store, eth, btc = in_redis.open(), a_new_quote("100"), a_new_quote("60000", pair=BTC)
    await store.put(eth)
    await store.put(btc)
    for turn in range(30):
        tasks = [asyncio.create_task(store.get(ETH)) for _ in range(5)]
        for _ in range(turn % 6):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (await store.get(BTC), await store.get(ETH)) == (btc, eth)


async def test_who_is_told_to_stop_while_redis_is_asked_stops(in_redis: Place) -> None:
    store, ended = in_redis.open(), asyncio.get_running_loop().time() + 60

    async def asks_for_ever() -> None:
        while asyncio.get_running_loop().time() < ended:
            await store.get(ETH)

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
    store = RedisStore(redis_server.url, "test", REDIS_SECONDS, 60.0, CLOCK, events)
    await store.get(ETH)
    await store.put(a_new_quote())
    redis_server.stop()
    with pytest.raises(StoreUnavailable):
        await store.claim("eth", "a", 1)
    told = [(event.op, event.result) for event in events.of(StoreAsked)]
    assert told == [("get", "ok"), ("put", "ok"), ("claim", "error")]
    await store.close()


async def test_two_services_with_different_prefixes_share_nothing(redis_server: RedisServer) -> None:
    stores = [
        RedisStore(redis_server.url, f"{uuid.uuid4().hex}", REDIS_SECONDS, 60.0, CLOCK, RecordingEvents())
        for _ in range(2)
    ]
    await stores[0].put(a_new_quote())
    assert await stores[1].get(ETH) is None
    assert [await store.claim("eth", str(store), 60) for store in stores] == [True, True]
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "localhost:6379"),
        ("redis://localhost/", "localhost:6379"),
        ("redis://:hunter2@10.0.0.1:6380/2", "10.0.0.1:6380/2"),
        ("rediss://user:hunter2@cache.example:7000/0?password=hunter2", "cache.example:7000/0"),
        ("redis://:hunter2@[::1]:6380/2", "[::1]:6380/2"),
        ("unix:///run/redis.sock?db=1&password=hunter2", "unix:///run/redis.sock"),
        ("unix://user:hunter2@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_the_place_of_redis_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert place(url) == shown
