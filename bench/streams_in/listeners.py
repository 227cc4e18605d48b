"""Subscribers of a price, one at every worker, which note when the kernel received each event.

A worker pushes a price in the same turn of its event loop in which it begins to answer with it, so its subscriber sees
when its answer changes without sending requests. (Polling all workers all the time would use the processor that they
need.) The times are the kernel's, so it does not matter when this program reads. `answer` sends a plain GET, to check
that both agree.
"""

import re
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import NamedTuple

from bench.connections.client import request
from bench.peers.answer import PATH
from bench.processes import Running
from bench.push.event import STREAM
from bench.push.reader import ACCEPT
from bench.sockets import owners_of

PATIENCE_SECONDS, TRIES, AT_ONCE = 10.0, 40, 48
RECEIVED, ROOM = 1 << 16, socket.CMSG_SPACE(16)
# The number is Linux's; Python has no name for it.
SO_TIMESTAMPNS = 35
ASK = request(PATH)
PRICE = re.compile(rb'data: ?\{[^\n]*"price":"([0-9.]+)"')


class Seen(NamedTuple):
    """A price that a subscriber received, and the wall time in nanoseconds when the kernel had it."""

    listener: int
    price: Decimal
    at_ns: int


class Listener:
    """A subscriber of one worker, and a plain connection to the same worker."""

    def __init__(self, pid: int, stream: socket.socket, plain: socket.socket) -> None:
        self.pid, self.stream, self._plain = pid, stream, plain
        self._unread = b""

    def receive(self) -> list[tuple[Decimal, int]]:
        """The prices in what has arrived, and when it arrived; raises RuntimeError if the worker hangs up."""
        data, at_ns = timed(self.stream)
        if not data:
            raise RuntimeError("a worker ended the stream of prices")
        *events, self._unread = (self._unread + data).split(b"\n\n")
        found = (PRICE.search(event) for event in events)
        return [(Decimal(match[1].decode()), at_ns) for match in found if match]

    def answer(self) -> Decimal:
        """The price in a plain answer."""
        return Decimal(re.findall(rb'"price":"([0-9.]+)"', asked(self._plain))[0].decode())


class Listeners:
    """One subscriber for each worker of all services, in the given order of services."""

    def __init__(self, listeners: Sequence[Listener]) -> None:
        self.all = listeners
        self._selector = selectors.DefaultSelector()
        for number, listener in enumerate(listeners):
            self._selector.register(listener.stream, selectors.EVENT_READ, number)

    def read(self, seconds: float) -> list[Seen]:
        """What arrives first within `seconds`; empty if nothing does."""
        return [
            Seen(key.data, price, at_ns)
            for key, _ in self._selector.select(seconds)
            for price, at_ns in self.all[key.data].receive()
        ]

    def close(self) -> None:
        self._selector.close()


def timed(connection: socket.socket) -> tuple[bytes, int]:
    """The received data, and the wall time in nanoseconds when the kernel had the last of it."""
    data, parts, _, _ = connection.recvmsg(RECEIVED, ROOM)
    for _, kind, value in parts:
        if kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("qq", value[:16])
            return data, seconds * 1_000_000_000 + nanoseconds
    return data, time.time_ns()


def asked(connection: socket.socket) -> bytes:
    """The answer to a plain request for the price, which is one packet."""
    connection.sendall(ASK)
    return connection.recv(RECEIVED)


@contextmanager
def listening(services: Sequence[tuple[int, Running]]) -> Iterator[Listeners]:
    """Subscribe at every worker of services, each a port and a process, and wait for the first events."""
    with ExitStack() as cleanup:
        found = [each for port, process in services for each in _one_at_each_worker(cleanup, port, process.pids()[1:])]
        listeners = Listeners(found)
        cleanup.callback(listeners.close)
        yield listeners


def _one_at_each_worker(cleanup: ExitStack, port: int, workers: Sequence[int]) -> list[Listener]:
    words = request(STREAM, "GET", "1.1", *map(": ".join, ACCEPT.items()))
    streams = _one_each(cleanup, port, workers, lambda connection: connection.sendall(words))
    plain = _one_each(cleanup, port, workers, asked)
    return [Listener(pid, streams[pid], plain[pid]) for pid in workers]


def _one_each(
    cleanup: ExitStack, port: int, workers: Sequence[int], begin: Callable[[socket.socket], object]
) -> dict[int, socket.socket]:
    """Open connections until each worker has one; superfluous ones are closed."""
    kept: dict[int, socket.socket] = {}
    for _ in range(TRIES):
        opened = {(made := connected(port)).getsockname()[1]: made for _ in range(AT_ONCE)}
        for connection in opened.values():
            begin(connection)
        time.sleep(0.2)
        owners = owners_of(port, workers)
        for own_port, connection in opened.items():
            owner = owners.get(own_port)
            if owner is not None and owner not in kept:
                kept[owner] = cleanup.enter_context(connection)
            else:
                connection.close()
        if len(kept) == len(workers):
            return kept
    raise RuntimeError(f"only {len(kept)} of {len(workers)} workers accepted a connection")


def connected(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
    connection.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
