"""Which process has which connection, according to /proc."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from bench.processes import PROC

LISTENING, ESTABLISHED = "0A", "01"


def owners_of(port: int, pids: Iterable[int]) -> dict[int, int]:
    """Which of the processes that listen at a port has the connection from each client port."""
    inodes = {inode: pid for pid in pids for inode in _inodes(pid)}
    owners = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_, inode = line.split()[:10]
        if _port(local) == port and state != LISTENING and inode in inodes:
            owners[_port(remote)] = inodes[inode]
    return owners


def clients_of(port: int, pids: Iterable[int]) -> list[int]:
    """The processes that have connections to a port, those with the most of them first."""
    inodes = {inode: pid for pid in pids for inode in _inodes(pid)}
    held = Counter(inodes[inode] for inode in _connections_to(port) if inode in inodes)
    return [pid for pid, _ in held.most_common()]


def waiting_bytes(port: int) -> int:
    """How many bytes were sent from or to a port and are not yet read."""
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return sum(
        int(queue, 16)
        for _, local, remote, _, queues, *_ in lines
        if port in (_port(local), _port(remote))
        for queue in queues.split(":")
    )


def _connections_to(port: int) -> list[str]:
    lines = (line.split()[:10] for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return [inode for _, _, remote, state, *_, inode in lines if _port(remote) == port and state == ESTABLISHED]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)


def _inodes(pid: int) -> list[str]:
    found = []
    for link in (PROC / str(pid) / "fd").iterdir():
        with contextlib.suppress(OSError):
            target = os.readlink(link)
            if target.startswith("socket:["):
                found.append(target[len("socket:["):-1])
    return found
