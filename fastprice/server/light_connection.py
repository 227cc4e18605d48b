"""A connection as a descriptor with a callback: enough while its client requests only prepared answers."""

import asyncio
import contextlib
import os
import socket
import time
from typing import Any

from fastprice.server.descriptors import NO_SOCKET, make_room
from fastprice.server.lane import SENT, SENT_LAST, Outcome
from fastprice.server.lane_http import LaneProtocol
from fastprice.server.refusals import HEAD_SECONDS
from fastprice.server.shared import Shared, read
from fastprice.server.sweep import SWEEP_SECONDS, watch_over

# At shutdown, a client that sent a request in the last RECENT_SECONDS has LEAVE_SECONDS to send one more.
RECENT_SECONDS, LEAVE_SECONDS = 2 * SWEEP_SECONDS, 0.5


def begin(shared: Shared, descriptor: int) -> bool:
    """Answer a new connection's first bytes, and keep it if it goes on; False if there is no room for others now."""
    os.set_blocking(descriptor, False)
    try:
        data = read(descriptor)
    except BlockingIOError:
        return LightConnection(shared, descriptor).watch()
    served = shared.lane.serve(data, descriptor) if data else SENT_LAST
    if served is SENT_LAST:
        # Everything that had arrived was read, so closing causes no reset, which could destroy the answer.
        shared.state.total_requests += bool(data)
        os.close(descriptor)
        return True
    connection = LightConnection(shared, descriptor)
    connection.go_on(data, served)
    return connection.descriptor == NO_SOCKET or connection.watch()


class LightConnection:
    """A connection that has requested only prepared answers, with the methods that the sweep and uvicorn call."""

    __slots__ = ("descriptor", "touched", "_shared", "_since", "_served", "_is_told_to_leave", "_heir")

    def __init__(self, shared: Shared, descriptor: int) -> None:
        self.descriptor = descriptor
        # Set when a request is answered; the sweep turns it into a time.
        self.touched = False
        self._shared = shared
        self._since = time.monotonic()
        self._served = self._is_told_to_leave = False
        self._heir: LaneProtocol | None = None

    def watch(self) -> bool:
        """Wait for a request; False if there is no room for other connections now."""
        shared = self._shared
        shared.state.connections.add(self)  # type: ignore[arg-type]
        watch_over(shared.state, shared.loop)
        shared.poller.add(self.descriptor, self.read)
        over = self.descriptor - shared.highest
        return over <= 0 or make_room(shared.state.connections, int(over))

    def read(self) -> None:
        """Read once, and answer if that is one plain request; anything else goes the ordinary way."""
        shared, descriptor = self._shared, self.descriptor
        try:
            data = read(descriptor)
        except BlockingIOError:
            return
        if not data:
            self.abort()
            return
        served = shared.lane.serve(data, descriptor)
        if served is SENT:
            shared.state.total_requests += 1
            self.touched = True
        else:
            self.go_on(data, served)

    def go_on(self, data: bytes, served: Outcome | None) -> None:
        """Continue according to how the lane has served these bytes."""
        if served is None:
            self._shared.poller.remove(self.descriptor)
            if self._shared.subscribe(data, self.descriptor):
                self._shared.state.connections.discard(self)
                self.descriptor = NO_SOCKET
            else:
                self._hand_over(data)
            return
        self._shared.state.total_requests += 1
        self.touched = True
        if served[0]:
            self._hand_over(b"", *served)
        elif served[1]:
            self.abort()

    def shutdown(self) -> None:
        """Answer what has arrived, and close; a client that has just sent a request may send one more.

        If the connection closed at once, the next request of a busy client would be lost on its way.
        """
        self._is_told_to_leave = True
        self._read_last()
        if self.descriptor == NO_SOCKET:
            return
        if self.touched or self._served and time.monotonic() - self._since < RECENT_SECONDS:
            self._shared.poller.replace(self.descriptor, self._read_last)
            self._shared.loop.call_later(LEAVE_SECONDS, self._leave)
        else:
            self.abort()

    def _read_last(self) -> None:
        """Let the ordinary way answer, because it tells the client that the connection closes."""
        if self.descriptor == NO_SOCKET:
            return
        with contextlib.suppress(BlockingIOError):
            if data := read(self.descriptor):
                self._hand_over(data)
            else:
                self.abort()

    def _leave(self) -> None:
        """Answer what has arrived, and close."""
        self._read_last()
        if self.descriptor != NO_SOCKET:
            self.abort()

    @property
    def is_closing(self) -> bool:
        """Always False: a closed connection is no longer in the set of connections."""
        return False

    @property
    def has_asked(self) -> bool:
        """Whether this client was ever answered."""
        return self._served or self.touched

    @property
    def waits_since(self) -> float | None:
        """When this connection began to wait for its client; a request since the last sweep counts as served now."""
        if self.descriptor == NO_SOCKET:
            return None  # It is being handed over.
        return time.monotonic() if self.touched else self._since

    def close_if_overdue(self, now: float) -> None:
        """Close the connection if it has waited too long for the first request, or for the next one."""
        if self.descriptor == NO_SOCKET:
            return
        if self.touched:
            self.touched, self._served, self._since = False, True, now
        if now - self._since > (self._shared.keep_alive if self._served else HEAD_SECONDS):
            self._is_told_to_leave = True
            self._leave()

    def abort(self) -> None:
        """Close at once."""
        self._shared.state.connections.discard(self)
        self._shared.poller.forget(self.descriptor)
        descriptor, self.descriptor = self.descriptor, NO_SOCKET
        os.close(descriptor)

    def _hand_over(self, data: bytes, unsent: bytes = b"", is_last: bool = False) -> None:
        """Hand the connection over to the ordinary way, with the bytes already read and those not sent yet.

        1. The event loop makes the transport in a later turn. 2. The server is told to shut down before that turn. So
        this object stays in the set of connections until then, and passes the shutdown on.
        """
        shared, self._heir = self._shared, self._shared.protocol()
        shared.state.connections.add(self)  # type: ignore[arg-type]
        self._heir.inherit(data, unsent, is_last)
        shared.poller.remove(self.descriptor)
        heir, accepted = self._heir, socket.socket(fileno=self.descriptor)
        self.descriptor = NO_SOCKET
        task = shared.loop.create_task(shared.loop.connect_accepted_socket(lambda: heir, accepted))
        shared.state.tasks.add(task)  # type: ignore[arg-type]
        task.add_done_callback(lambda task: self._handed_over(task, accepted))

    def _handed_over(self, task: asyncio.Task[Any], accepted: socket.socket) -> None:
        state = self._shared.state
        state.tasks.discard(task)
        state.connections.discard(self)
        if task.cancelled() or task.exception() or self._heir is None:
            accepted.close()
            return
        self._heir.begin()
        if self._is_told_to_leave:
            self._heir.shutdown()
