"""The directory in which the workers of one service share their metrics, and how an abandoned one is recognised.

A pid cannot identify a service here: services in different containers can share the directory but not the pids. A lock
works across containers, and ends with its process, however that ends. So every user of a directory holds a shared lock
on it, and nobody uses a directory whose exclusive lock is free. systemd-tmpfiles leaves locked directories alone too.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def metrics_directory(parent: Path) -> Iterator[Path]:
    """A new directory for one service; directories of services that were killed are removed first."""
    # Not the prefix of version 0.1.0, which removes directories that do not end with the pid of a living process.
    prefix = f"fastprice-metrics-u{os.getuid()}-"
    for found in parent.glob(f"{prefix}*"):
        _remove_unused(found)
    while True:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        # 1. We make the directory. 2. Another service that starts finds it without a lock and removes it.
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            held = hold(directory)
            break
    try:
        yield directory
    finally:
        os.close(held)
        shutil.rmtree(directory, ignore_errors=True)


def hold(directory: Path) -> int:
    """Mark a directory as used for as long as the descriptor is open; a directory that was removed is created again.

    Raises FileNotFoundError or BlockingIOError while another process is removing it.
    """
    # Not `exist_ok`, which looks again whether it is a directory: it may have been removed just then.
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if not holds(held, directory):
            raise FileNotFoundError(f"{directory} was removed")
    except OSError:
        os.close(held)
        raise
    return held


def holds(held: int, directory: Path) -> bool:
    """Whether the directory of this descriptor is still the one with this name."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(held), os.stat(directory))
    return False


def _remove_unused(directory: Path) -> None:
    with contextlib.suppress(OSError):
        found = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(found)
