"""Which process has which connection, read from /proc."""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from bench.processes import PROC

LISTENING = "0A"


def owners_of(port: int, pids: Iterable[int]) -> dict[int, int]:
    """Which of the processes that listen at a port has the connection from each client port."""
    inodes = {inode: pid for pid in pids for inode in _inodes(pid)}
    owners = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_, inode = line.split()[:10]
        if int(local.rpartition(":")[2], 16) == port and state != LISTENING and inode in inodes:
            owners[int(remote.rpartition(":")[2], 16)] = inodes[inode]
    return owners


def _inodes(pid: int) -> list[str]:
    found = []
    for link in (PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(link)
            if target.startswith("socket:["):
                found.append(target[len("socket:["):-1])
    return found
