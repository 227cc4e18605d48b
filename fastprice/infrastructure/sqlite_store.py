"""The embedded L2: one sqlite3 file that the workers of one machine share, so that nothing need be installed."""

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from fastprice.application.ports import MAX_BAN_SECONDS, Ban, Clock, SourceReport
from fastprice.application.records import dump_ban, dump_quote, dump_reports, load_ban, load_quote, load_reports
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote

# How often a worker looks whether another one wrote: 28 µs a look, so 0.14 % of a core for news 10 ms old.
POLL_SECONDS = 0.02
# A writer holds the file for a fraction of a millisecond; longer means that it was stopped in the middle.
BUSY_SECONDS = 0.05
CREATE_TRIES = 10
# Raised when the tables change: a file of another version is replaced, it holds nothing worth keeping.
SCHEMA_VERSION = 2

_SCHEMA = f"""
begin immediate;
create table if not exists quote (
    slug text primary key, record text not null, fetched_at_ms integer not null, change integer not null);
create index if not exists quote_change on quote (change);
create table if not exists report (slug text primary key, record text not null);
create table if not exists ban (name text primary key, record text not null, until_ms integer not null);
create table if not exists claim (name text primary key, holder text not null, until_ms integer not null);
pragma user_version = {SCHEMA_VERSION};
commit;
"""
_PUT = """
insert into quote values (?, ?, ?, (select coalesce(max(change), 0) + 1 from quote))
on conflict (slug) do update set record = excluded.record, fetched_at_ms = excluded.fetched_at_ms,
    change = excluded.change
where excluded.fetched_at_ms > quote.fetched_at_ms or quote.fetched_at_ms > ?
"""
_PUT_BAN = """
insert into ban values (?, ?, ?)
on conflict (name) do update set record = excluded.record, until_ms = excluded.until_ms
where excluded.until_ms > ban.until_ms or ban.until_ms > ?
"""
# A claim that ends far later than any made now could is left from before the clock was set back; a bit later is one
# of a worker that read the clock after us and got here before us.
_CLAIM = """
insert into claim values (:name, :holder, :until_ms)
on conflict (name) do update set holder = excluded.holder, until_ms = excluded.until_ms
where claim.holder = excluded.holder or claim.until_ms <= :now_ms or claim.until_ms > :future_ms
"""


class SqliteStore:
    """A QuoteStore in a file, best kept in memory; calls take microseconds and run on the event loop."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._found = (0, 0)
        self._seen_version = -1
        self._seen_change = 0

    async def get(self, pair: Pair) -> Quote | None:
        with self._open() as db:
            row = db.execute("select record from quote where slug = ?", (pair.slug,)).fetchone()
        return load_quote(row[0], pair) if row else None

    async def put(self, quote: Quote) -> bool:
        with self._open() as db:
            row = (quote.pair.slug, dump_quote(quote), quote.fetched_at_ms, self._clock.wall_ms() + MAX_SKEW_MS)
            return db.execute(_PUT, row).rowcount == 1

    async def get_reports(self, pair: Pair) -> tuple[SourceReport, ...]:
        with self._open() as db:
            row = db.execute("select record from report where slug = ?", (pair.slug,)).fetchone()
        return load_reports(row[0], pair) if row else ()

    async def put_reports(self, pair: Pair, reports: tuple[SourceReport, ...]) -> None:
        with self._open() as db:
            db.execute("insert or replace into report values (?, ?)", (pair.slug, dump_reports(reports)))

    async def get_bans(self) -> tuple[Ban, ...]:
        with self._open() as db:
            rows = db.execute("select record from ban where until_ms > ?", (self._clock.wall_ms(),)).fetchall()
        return tuple(ban for (record,) in rows if (ban := load_ban(record)))

    async def put_ban(self, ban: Ban) -> None:
        name = f"{ban.source}/{ban.pair.slug if ban.pair else ''}"
        latest_ms = self._clock.wall_ms() + round(MAX_BAN_SECONDS * 1000)
        with self._open() as db:
            db.execute(_PUT_BAN, (name, dump_ban(ban), ban.until_ms, latest_ms))

    async def claim(self, name: str, holder: str, seconds: float) -> bool:
        with self._open() as db:
            now_ms = self._clock.wall_ms()
            until_ms = now_ms + round(seconds * 1000)
            times = {"now_ms": now_ms, "until_ms": until_ms, "future_ms": until_ms + MAX_SKEW_MS}
            return db.execute(_CLAIM, {"name": name, "holder": holder} | times).rowcount == 1

    async def release(self, name: str, holder: str) -> None:
        with self._open() as db:
            db.execute("delete from claim where name = ? and holder = ?", (name, holder))

    async def news(self, seconds: float) -> tuple[Quote, ...]:
        deadline = self._clock.monotonic() + seconds
        while not (quotes := self._news()) and self._clock.monotonic() < deadline:
            await self._clock.sleep(POLL_SECONDS)
        return quotes

    async def close(self) -> None:
        self._close()

    def _news(self) -> tuple[Quote, ...]:
        with self._open() as db:
            if (version := db.execute("pragma data_version").fetchone()[0]) == self._seen_version:
                return ()
            newer = "select record, change from quote where change > ?"
            rows = db.execute(newer, (self._seen_change,)).fetchall()
        self._seen_version = version
        # A column takes values of any type, and one that is not ours must not stop us.
        self._seen_change = max((change for _, change in rows if type(change) is int), default=self._seen_change)
        return tuple(quote for record, _ in rows if (quote := load_quote(record)))

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            # A file that was removed or begun anew by another worker is left, or we would go on alone in the old one.
            found = _identity(self._path)
            if self._connection is None or self._found[0] != found[0]:
                self._close()
                self._found, self._connection = found, _connect(self._path)
            yield self._connection
        except (sqlite3.Error, OSError) as error:
            self._close()
            if _damaged(error):
                with contextlib.suppress(OSError):  # A full disk, say: it is tried again at the next use.
                    _remove(self._path, self._found)
            raise StoreUnavailable(f"the embedded store {self._path} failed: {error}") from error

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._seen_version, self._seen_change = -1, 0


def _connect(path: Path) -> sqlite3.Connection:
    _own_directory(path.parent)
    found = _identity(path)
    try:
        return _prepared(path)
    except sqlite3.DatabaseError as error:
        if not _damaged(error):
            raise
        _remove(path, found)
        return _prepared(path)


def _damaged(error: Exception) -> bool:
    """Whether the file is no database of ours (any more), rather than busy, full or out of reach."""
    # SQLITE_ERROR says that a statement does not fit the tables: they are not ours.
    unfit = getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return isinstance(error, sqlite3.DatabaseError) and (unfit or not isinstance(error, sqlite3.OperationalError))


def _remove(path: Path, found: tuple[int, int]) -> None:
    """Remove a damaged file, which held but a cache, unless another worker has just begun it anew."""
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _identity(path) == found:
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{path}{suffix}")


def _own_directory(directory: Path) -> None:
    """Make the directory, or refuse one in which somebody else could have laid a price for us."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.lstat().st_uid != os.getuid():
        raise OSError(f"{directory} belongs to another user; set STORE_DIR to a directory of your own")


def _prepared(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
    # Decoding would fail at a text that is none; the records' reader takes bytes as well.
    connection.text_factory = bytes
    try:
        connection.execute("pragma synchronous = off")
        if (version := connection.execute("pragma user_version").fetchone()[0]) == 0:
            _create(connection)
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError("another version")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _create(connection: sqlite3.Connection) -> None:
    """Make the tables; tried often, because the switch to WAL does not wait its turn while siblings start too."""
    for left in reversed(range(CREATE_TRIES)):
        try:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(_SCHEMA)
            return
        except sqlite3.OperationalError:
            if not left:
                raise
            time.sleep(BUSY_SECONDS / CREATE_TRIES)


def _identity(path: Path) -> tuple[int, int]:
    """Which file this is, and since when it is as it is: a new file may be given the inode of the one before it."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
