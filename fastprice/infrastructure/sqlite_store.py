"""The embedded L2: one sqlite3 file that the workers of one machine share, so that nothing has to be installed."""

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from fastprice.application.ports import LEADER, Clock, Stored
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import MAX_SKEW_MS
from fastprice.infrastructure.records import Records

Result = TypeVar("Result")

# How often a worker checks whether another one wrote: 28 µs per check, so 0.28 % of a core for updates 5 ms old. The
# last of eight workers has a price of a stream after 9 ms.
POLL_SECONDS = 0.01
# A writer holds the file for a fraction of a millisecond; longer means that it was stopped in the middle. This does
# not block the event loop: sqlite reports at once that the file is busy, and the operation is tried again later.
BUSY_SECONDS = 0.05
RETRY_SECONDS = 0.002
# Raised when the tables change: a file of another version is replaced, since it holds nothing worth keeping.
SCHEMA_VERSION = 3
NAMES = (b"round", b"reports", b"bans")

_SCHEMA = f"""
begin immediate;
create table if not exists record (name text primary key, content blob not null);
create table if not exists claim (
    name text primary key, holder text not null, until_ms integer not null, lasts_ms integer not null);
pragma user_version = {SCHEMA_VERSION};
commit;
"""
# A claim that ends later than a claim made now is left from before the clock was set back. If it ends only slightly
# later, it is valid: its worker read the clock after us and wrote before us.
_HOLDER = f"""
select holder from claim
where name = :name and until_ms > :now_ms and until_ms <= :now_ms + lasts_ms + {MAX_SKEW_MS}
"""
_CLAIM = f"""
insert into claim values (:name, :holder, :now_ms + :lasts_ms, :lasts_ms)
on conflict (name) do update
set holder = excluded.holder, until_ms = excluded.until_ms, lasts_ms = excluded.lasts_ms
where holder = excluded.holder or not exists ({_HOLDER})
"""


class SqliteStore:
    """A PriceStore in a file, best in a RAM file system; operations take microseconds and run on the event loop."""

    def __init__(self, path: Path, records: Records, clock: Clock) -> None:
        self._path = path
        self._records = records
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._found = (0, 0)
        self._seen_version = -1

    async def read(self) -> tuple[str | None, Stored]:
        def look(db: sqlite3.Connection) -> tuple[str | None, list[bytes | None]]:
            found = {name: content for name, content in db.execute("select name, content from record")}
            kept = [content if isinstance(content := found.get(name), bytes) else None for name in NAMES]
            return self._holder(db, LEADER), kept

        holder, kept = await self._do(look)
        return holder, await self._records.load(kept)

    async def write(self, holder: str, stored: Stored) -> bool:
        records = await self._records.dump(stored)
        rows = [(name.decode(), content) for name, content in zip(NAMES, records, strict=True)]

        def put(db: sqlite3.Connection) -> bool:
            with db:  # One transaction.
                db.execute("begin immediate")
                if self._holder(db, LEADER) not in (None, holder):
                    return False
                db.executemany("insert or replace into record values (?, ?)", rows)
            return True

        return await self._do(put)

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        times = {"now_ms": self._clock.wall_ms(), "lasts_ms": round(seconds * 1000)}
        return await self._do(lambda db: db.execute(_CLAIM, {"name": name, "holder": holder} | times).rowcount == 1)

    async def holder(self, name: str) -> str | None:
        return await self._do(lambda db: self._holder(db, name))

    async def release(self, holder: str, name: str = LEADER) -> None:
        await self._do(lambda db: db.execute("delete from claim where name = ? and holder = ?", (name, holder)))

    async def news(self, seconds: float) -> bool:
        deadline = self._clock.monotonic() + seconds
        while not (news := await self._do(self._is_news)) and self._clock.monotonic() < deadline:
            await self._clock.sleep(min(POLL_SECONDS, deadline - self._clock.monotonic()))
        return news

    async def close(self) -> None:
        self._close()

    def _holder(self, db: sqlite3.Connection, name: str) -> str | None:
        row = db.execute(_HOLDER, {"name": name, "now_ms": self._clock.wall_ms()}).fetchone()
        return row[0].decode("utf-8", "replace") if row and isinstance(row[0], bytes) else None

    def _is_news(self, db: sqlite3.Connection) -> bool:
        """Whether anybody but this connection has written to the file since the last check."""
        version = db.execute("pragma data_version").fetchone()[0]
        before, self._seen_version = self._seen_version, version
        return bool(version != before)

    async def _do(self, operation: Callable[[sqlite3.Connection], Result]) -> Result:
        """Run an operation; while another process is in the middle of a write, retry it for a short time."""
        deadline = self._clock.monotonic() + BUSY_SECONDS
        while True:
            try:
                return operation(self._open())
            except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
                busy = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
                if not busy:
                    self._close()
                if _damaged(error):
                    with contextlib.suppress(OSError):  # For example on a full disk: it is tried again at the next use.
                        _remove(self._path, self._found)
                if not busy or self._clock.monotonic() >= deadline:
                    raise StoreUnavailable(f"the embedded store {self._path} failed: {error}") from error
            await self._clock.sleep(RETRY_SECONDS)

    def _open(self) -> sqlite3.Connection:
        # If another worker removed or recreated the file, this one is closed, or we would go on alone in the old file.
        found = _identity(self._path)
        if self._connection is None or self._found[0] != found[0]:
            self._close()
            self._found, self._connection = found, _connect(self._path)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._seen_version = -1


def _connect(path: Path) -> sqlite3.Connection:
    # In a directory of another user, somebody else could have planted a price.
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.lstat().st_uid != os.getuid():
        raise OSError(f"{path.parent} belongs to another user; set STORE_DIR to a directory of your own")
    found = _identity(path)
    try:
        return _prepared(path)
    except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
        if not _damaged(error):
            raise
        _remove(path, found)
        return _prepared(path)


def _damaged(error: Exception) -> bool:
    """Whether the file is not, or no longer, a database of ours, rather than busy, full or out of reach."""
    # SQLITE_ERROR means that a statement does not fit the tables. A message that quotes a damaged table may not decode.
    unfit = isinstance(error, UnicodeDecodeError) or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR
    return unfit or isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def _remove(path: Path, found: tuple[int, int]) -> None:
    """Remove a damaged file, which held only a cache, unless another worker has just recreated it."""
    with open(f"{path}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _identity(path) == found:
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{path}{suffix}")


def _prepared(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=0, isolation_level=None)
    connection.text_factory = bytes  # Decoding would fail on invalid text.
    try:
        connection.execute("pragma synchronous = off")
        if (version := connection.execute("pragma user_version").fetchone()[0]) == 0:
            connection.execute("pragma journal_mode = wal")
            connection.executescript(_SCHEMA)
        elif version != SCHEMA_VERSION:
            raise sqlite3.DatabaseError("another version")
    except (sqlite3.Error, UnicodeDecodeError):
        connection.close()
        raise
    return connection


def _identity(path: Path) -> tuple[int, int]:
    """The inode of the file and the time of its last change: a new file may get the inode of the one before it."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns
