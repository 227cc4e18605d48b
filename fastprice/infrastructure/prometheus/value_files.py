"""Values of metrics that workers share through files, kept in memory and saved from time to time.

prometheus-client's own shared values are files mapped into memory. If the file system is full, or a file is truncated,
access to such a mapping kills the process with SIGBUS, which no code can catch. Here a failed write is an ordinary
error, and only metrics are lost at most. The file format and the code that reads it are the library's.
"""

import contextlib
import errno
import glob
import logging
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.values import MutexValue

from fastprice.infrastructure.prometheus.directory import hold, holds

logger = logging.getLogger(__name__)

_HEADER = struct.Struct("i4x")
_NUMBERS = struct.Struct("dd")


class Value(MutexValue):
    """One number of one worker, as the library keeps it in memory, and as an entry in the library's file format."""

    def __init__(self, key: str, number: float = 0.0) -> None:
        super().__init__(None, None, None, (), (), "")
        self.set(number)
        encoded = key.encode()
        # The length and the key, padded so that the numbers are aligned to 8 bytes.
        self._head = struct.pack("i", len(encoded)) + encoded + b" " * (8 - (len(encoded) + 4) % 8)

    def entry(self) -> bytes:
        # The second number is the time when a gauge was set, for gauges whose newest value counts; we have none.
        return self._head + _NUMBERS.pack(self.get(), 0.0)


class ValueFiles:
    """Makes and saves the values of one worker: one file for each type of metric, named after the worker's slot.

    The next worker in the slot goes on counting in these files, so counters never fall and files never pile up.
    """

    def __init__(self, directory: Path, slot: int) -> None:
        self._directory = directory
        self._slot = slot
        self._files: dict[Path, dict[str, Value]] = {}
        self._held: int | None = None
        self._works = True

    def __call__(
        self, typ: str, metric_name: str, name: str, labelnames: Sequence[str], labelvalues: Sequence[str],
        help_text: str, multiprocess_mode: str = "", **_: Any,
    ) -> Value:
        """What the library calls for each value of each metric."""
        kind = f"{typ}_{multiprocess_mode}" if multiprocess_mode else typ
        path = self._directory / f"{kind}_{self._slot}.db"
        if path not in self._files:
            self._files[path] = _predecessors(path)
        key = mmap_key(metric_name, name, list(labelnames), list(labelvalues), help_text)
        return self._files[path].setdefault(key, Value(key))

    def save(self) -> None:
        """Save every value; a failure is logged once, and so is its end."""
        errors: list[OSError] = []
        try:
            self._hold()
        except OSError as error:
            errors.append(error)
        else:
            for path, numbers in self._files.items():
                try:
                    _write(path, b"".join(value.entry() for value in numbers.values()))
                except OSError as error:
                    errors.append(error)
        if errors and self._works:
            logger.warning("metrics cannot be saved (%s): /metrics shows old values until they can", errors[0])
        elif not errors and not self._works:
            logger.info("metrics are saved again")
        self._works = not errors

    def collect(self) -> Any:
        """The metrics of all workers together."""
        while True:
            # A file can disappear after it was found: then try again, until none does.
            with contextlib.suppress(FileNotFoundError):
                names = glob.glob(f"{glob.escape(str(self._directory))}/*.db")
                return MultiProcessCollector.merge([name for name in names if _readable(name)], accumulate=True)

    def _hold(self) -> None:
        """Mark the directory as used, for other services; it may be a new one, if a cleaner removed the last."""
        if self._held is not None and not holds(self._held, self._directory):
            os.close(self._held)
            self._held = None
        if self._held is None:
            self._held = hold(self._directory)


def _predecessors(path: Path) -> dict[str, Value]:
    """What was counted in this slot before, by key."""
    if not path.exists():
        return {}
    if not _readable(str(path)):
        logger.warning("metrics file %s is damaged: it starts again from zero", path.name)
        return {}
    return {key: Value(key, number) for key, number, *_ in MmapedDict.read_all_values_from_file(str(path))}


def _readable(name: str) -> bool:
    """Whether the library can read a file; one that is empty or damaged would break every scrape."""
    try:
        with open(name, "rb") as file:
            used = _HEADER.unpack(file.read(_HEADER.size))[0]
        # The library accepts a negative length as zero, and an empty key; both would break it later.
        return 0 <= used <= os.path.getsize(name) and all(key for key, *_ in MmapedDict.read_all_values_from_file(name))
    except OSError as error:
        # Without a free descriptor the file cannot be checked, and leaving it out would make its counts disappear.
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        return False
    except Exception:  # A damaged file can make the library raise anything.
        return False


def _write(path: Path, entries: bytes) -> None:
    """Write a file so that a reader never sees half of it.

    The same keys take the same space: new numbers overwrite the old ones in place, which works on a full disk too. With
    other keys, or if the file is missing, a new file is written next to it and then replaces it as a whole.
    """
    content = _HEADER.pack(_HEADER.size + len(entries)) + entries
    with contextlib.suppress(FileNotFoundError), open(path, "r+b", buffering=0) as file:
        if os.fstat(file.fileno()).st_size == len(content):
            file.write(content)
            return
    new = path.with_suffix(".new")
    new.write_bytes(content)
    new.replace(path)


def share_between_workers(directory: Path, slot: int) -> None:
    """Save this process's values in files that every worker can read; to be called before the first metric is made."""
    values.ValueClass = ValueFiles(directory, slot)


def forget_worker(directory: Path, slot: int) -> None:
    """Remove a dead worker from the gauges of living workers; its counters stay."""
    for name in directory.glob(f"gauge_live*_{slot}.db"):
        name.unlink(missing_ok=True)
