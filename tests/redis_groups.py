"""Real groups of Redis servers on free ports, as production runs them: one with Sentinels, and a Cluster.

Tests and drills start them; every server of a group can be killed, stopped, and started again.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

from redis.crc import key_slot

from tests.conftest import RedisServer, free_port

# After this long without an answer a server counts as down: well above the delays of a busy machine.
DOWN_AFTER_MS = 1_000
PATIENCE_SECONDS = 60.0
# By default Sentinels take a second or more for each step; these are the same steps, ten times as fast.
SENTINEL_PERIODS = {"info-period": 200, "ask-period": 100, "publish-period": 200, "election-timeout": 1_000}
# After this long an attempt to hand over in order has ended.
HAND_OVER_SECONDS = 6.0
# A Cluster node's port for the other nodes is this much higher than its port for clients.
BUS = 10_000
# A replica is usable at once: by default a primary waits five seconds for more replicas before it fills the first.
AT_ONCE = ("--repl-diskless-sync-delay", "0")


class Group:
    """Servers that know each other; `url` names them all."""

    url: str

    def __init__(self, servers: list[RedisServer]) -> None:
        self.servers = servers

    def start(self) -> None:
        raise NotImplementedError

    def start_again(self, server: RedisServer) -> None:
        """Start a server again after it died: it follows the primary, if there is another one now."""
        raise NotImplementedError

    def hand_over(self, primary: RedisServer) -> None:
        """Move the lead to another server in order, as an operator does before maintenance: nothing fails."""
        raise NotImplementedError

    def primary(self) -> RedisServer:
        """The server that holds the prices now; waits until there is one."""
        wait_until(lambda: self.found() is not None, "there is no primary")
        primary = self.found()
        assert primary is not None
        return primary

    def found(self) -> RedisServer | None:
        """The primary, if any server knows one now."""
        raise NotImplementedError

    def fail_over(self, how: Callable[[RedisServer], object] | None = None) -> RedisServer:
        """Make the primary fail, by default by killing it; returns the new one once it leads."""
        old = self.primary()
        (how or RedisServer.stop)(old)
        wait_until(lambda: self.found() not in (None, old), "no other server took over")
        return self.primary()

    def _handed_over(self, old: RedisServer, ask: Callable[[], str]) -> None:
        """Ask for it until another server leads: soon after an election an attempt may end without enough votes."""

        def another_leads() -> bool:
            end = time.monotonic() + (HAND_OVER_SECONDS if ask().startswith("OK") else 0)
            while (leads := self.found() not in (None, old)) is False and time.monotonic() < end:
                time.sleep(0.05)
            return leads

        wait_until(another_leads, "no other server takes over in order")

    def listeners(self) -> int:
        """The number of subscriptions to updates of the service, over all servers that answer."""
        count = 0
        for server in self.servers:
            for channel in asked(server, "PUBSUB", "CHANNELS", "fastprice:*").split():
                count += int(asked(server, "PUBSUB", "NUMSUB", channel).split()[-1])
        return count

    def stop(self) -> None:
        for server in self.servers:
            resume(server)
            server.stop()


AnyGroup = TypeVar("AnyGroup", bound=Group)


class SentinelGroup(Group):
    """A primary, a replica, and three Sentinels that watch them under the name `NAME`."""

    NAME = "prices"

    def __init__(self, directory: Path, *options: str, program: str = "redis-server") -> None:
        self._options = (*AT_ONCE, *options)
        super().__init__([RedisServer(directory, free_port(), program=program) for _ in range(2)])
        self.sentinels = [RedisServer(directory, free_port(), program=program) for _ in range(3)]
        self.url = f"redis+sentinel://{','.join(address(each) for each in self.sentinels)}/{self.NAME}/0"

    def start(self) -> None:
        first, second = self.servers
        first.start(*self._options)
        self._start_as_replica(second, first)
        # Sentinels do not promote a replica that was never filled.
        wait_until(lambda: "master_link_status:up" in asked(second, "INFO", "replication"), "the replica is not filled")
        for number, sentinel in enumerate(self.sentinels):
            self._start_sentinel(sentinel, number)
        wait_until(self._all_see_all, "the Sentinels do not see each other")

    def start_again(self, server: RedisServer) -> None:
        self._start_as_replica(server, self.primary())

    def hand_over(self, primary: RedisServer) -> None:
        self._handed_over(primary, partial(asked, self.sentinels[0], "SENTINEL", "FAILOVER", self.NAME))

    def found(self) -> RedisServer | None:
        told = [asked(each, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME).split() for each in self.sentinels]
        ports = [int(words[1]) for words in told if words]
        return next((server for server in self.servers if ports and server.port == max(ports, key=ports.count)), None)

    def stop(self) -> None:
        for sentinel in self.sentinels:
            resume(sentinel)
            sentinel.stop()
        super().stop()

    def _start_as_replica(self, server: RedisServer, primary: RedisServer) -> None:
        server.start("--replicaof", f"127.0.0.1 {primary.port}", *self._options)

    def _start_sentinel(self, sentinel: RedisServer, number: int) -> None:
        known = f"sentinel known-replica {self.NAME} 127.0.0.1 {self.servers[1].port}\n"
        for other, each in enumerate(self.sentinels):
            if other != number:
                known += f"sentinel known-sentinel {self.NAME} 127.0.0.1 {each.port} {other:040x}\n"
        file = sentinel.directory / f"sentinel-{sentinel.port}.conf"
        file.write_text(
            f"sentinel myid {number:040x}\nsentinel monitor {self.NAME} 127.0.0.1 {self.servers[0].port} 2\n"
            f"sentinel down-after-milliseconds {self.NAME} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {self.NAME} 5000\n{known}"
        )
        sentinel.start(file=file)
        for name, milliseconds in SENTINEL_PERIODS.items():
            asked(sentinel, "SENTINEL", "DEBUG", name, milliseconds)

    def _all_see_all(self) -> bool:
        return all("3 usable" in asked(each, "SENTINEL", "CKQUORUM", self.NAME) for each in self.sentinels)


class ClusterGroup(Group):
    """Three primaries with a replica each; "the primary" is the one that holds `key`."""

    def __init__(self, directory: Path, *options: str, key: str = "prices", program: str = "redis-server") -> None:
        self.key = key
        timeout = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(DOWN_AFTER_MS))
        self._options = (*AT_ONCE, *timeout, "--cluster-replica-validity-factor", "0", *options)
        super().__init__([RedisServer(directory, port, program=program) for port in _node_ports(6)])
        self.url = f"redis+cluster://{','.join(address(each) for each in self.servers)}"

    def start(self) -> None:
        for server in self.servers:
            self.start_again(server)
        create = ["redis-cli", "--cluster", "create", *(address(each) for each in self.servers)]
        made = subprocess.run([*create, "--cluster-replicas", "1", "--cluster-yes"], capture_output=True, timeout=120)
        assert made.returncode == 0, made.stdout.decode()
        wait_until(lambda: all(map(self._is_whole, self.servers)), "the Cluster is not whole")

    def start_again(self, server: RedisServer) -> None:
        """The server reads what it knows of the others from a file."""
        server.start("--cluster-config-file", f"nodes-{server.port}.conf", *self._options)

    def hand_over(self, primary: RedisServer) -> None:
        wait_until(lambda: len(asked(primary, "ROLE").split()) > 3, "the primary has no replica")
        replica = int(asked(primary, "ROLE").split()[3])
        server = next(each for each in self.servers if each.port == replica)
        self._handed_over(primary, partial(asked, server, "CLUSTER", "FAILOVER"))

    def found(self) -> RedisServer | None:
        """Of the servers that claim to hold the key, the one whose claim is the newest."""
        epochs = {server.port: self._epoch(server) for server in self.servers}
        newest = max(self.servers, key=lambda server: epochs[server.port])
        return newest if epochs[newest.port] else None

    def _epoch(self, server: RedisServer) -> int:
        """The epoch of the server's claim that it holds the key; 0 if it does not claim it."""
        slot = key_slot(self.key.encode())
        for line in asked(server, "CLUSTER", "NODES").splitlines():
            _, _, flags, _, _, _, epoch, _, *ranges = line.split()
            spans = [span.split("-") for span in ranges if not span.startswith("[")]
            if flags == "myself,master" and any(int(span[0]) <= slot <= int(span[-1]) for span in spans):
                return int(epoch)
        return 0

    def _is_whole(self, server: RedisServer) -> bool:
        nodes = asked(server, "CLUSTER", "NODES").splitlines()
        return "cluster_state:ok" in asked(server, "CLUSTER", "INFO") and sum("slave " in line for line in nodes) == 3


@contextlib.contextmanager
def running_group(group: AnyGroup) -> Iterator[AnyGroup]:
    """Start the group, and stop it at the end."""
    try:
        group.start()
        yield group
    finally:
        group.stop()


def _node_ports(count: int) -> list[int]:
    ports: set[int] = set()
    while len(ports) < count:
        if (port := free_port()) < 32_000 - BUS:
            ports.add(port)
    return sorted(ports)


def address(server: RedisServer) -> str:
    return f"127.0.0.1:{server.port}"


def asked(server: RedisServer, *words: object) -> str:
    """What redis-cli prints; nothing if there is no answer in time, or the server is stopped."""
    if is_stopped(server):
        return ""
    program = ["redis-cli", "-p", str(server.port)]
    with contextlib.suppress(subprocess.TimeoutExpired):
        return subprocess.run([*program, *map(str, words)], capture_output=True, timeout=0.5, text=True).stdout
    return ""


def is_stopped(server: RedisServer) -> bool:
    """Whether the process is paused, so that nobody has to wait for it in vain."""
    with contextlib.suppress(OSError):
        if server.process is not None:
            return Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(") ")[2].startswith("T")
    return False


def pause(server: RedisServer) -> None:
    """Stop the server's process: it keeps its connections but answers no one."""
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)


def resume(server: RedisServer) -> None:
    if server.process is not None:
        os.kill(server.process.pid, signal.SIGCONT)


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < end, otherwise
        time.sleep(0.05)
