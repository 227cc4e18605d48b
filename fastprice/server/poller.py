"""Descriptors that are ready to be read, found many at a time.

The event loop watches one descriptor, that of an epoll of our own, whose readers are then called in one go: per reader
that costs a third of what `loop.add_reader` costs. Also, uvloop drops the reader of a connection that its client has
reset, without calling it (libuv takes any error for a bad descriptor), so the reader would never learn of the reset.
"""

import select
from asyncio import AbstractEventLoop
from collections.abc import Callable

# How many readers are called before everything else in the loop gets its turn.
READERS_PER_TURN = 128


class Poller:
    """Calls a reader whenever its descriptor has data, an error, or reached the end."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._readers: dict[int, Callable[[], object]] = {}
        self._writers: dict[int, Callable[[], object]] = {}
        self._epoll = select.epoll()
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, descriptor: int, reader: Callable[[], object]) -> None:
        self._readers[descriptor] = reader
        self._epoll.register(descriptor, select.EPOLLIN)

    def replace(self, descriptor: int, reader: Callable[[], object]) -> None:
        """Call another reader from now on."""
        self._readers[descriptor] = reader

    def remove(self, descriptor: int) -> None:
        """Stop calling the descriptor's reader; without one, nothing happens."""
        if self._readers.pop(descriptor, None):
            self._epoll.unregister(descriptor)

    def forget(self, descriptor: int) -> None:
        """The same for a descriptor that is closed now: the close itself removes it from the epoll."""
        self._readers.pop(descriptor, None)
        self._writers.pop(descriptor, None)

    def wait_to_write(self, descriptor: int, writer: Callable[[], object]) -> None:
        """Also call a writer whenever the kernel has room for more data."""
        self._writers[descriptor] = writer
        self._epoll.modify(descriptor, select.EPOLLIN | select.EPOLLOUT)

    def stop_writing(self, descriptor: int) -> None:
        self._writers.pop(descriptor, None)
        self._epoll.modify(descriptor, select.EPOLLIN)

    def close(self) -> None:
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        readers = self._readers
        for descriptor, event in self._epoll.poll(0, READERS_PER_TURN):
            # A callback that ran earlier in this loop may have removed this one.
            if event & select.EPOLLOUT and (writer := self._writers.get(descriptor)):
                writer()
            if event != select.EPOLLOUT and (reader := readers.get(descriptor)):
                reader()
