"""A connection as a descriptor with a callback: all that one needs which only asks for what is prepared."""

import asyncio
import contextlib
import fcntl
import socket
import termios
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from uvicorn.server import ServerState

from fastprice.server.careful_http import HEAD_SECONDS, NO_SOCKET
from fastprice.server.descriptors import clients_over_limit, make_room
from fastprice.server.lane import NEVER_WAIT, SENT, Lane
from fastprice.server.lane_http import LaneProtocol
from fastprice.server.sweep import watch_over

# The head of a request is rarely longer; the rest of a longer one is read on the ordinary way.
READ_BYTES = 4096
NOTHING = b"\0\0\0\0"
# What a client may still send behind its last request, and for how long, before it is cut off.
MAX_IGNORED_BYTES, LEAVE_SECONDS = 256 * 1024, 2.0


@dataclass(slots=True)
class Shared:
    """What the connections of one server share; `protocol` makes what takes one over, `keep_alive` is in seconds."""

    lane: Lane
    state: ServerState
    loop: asyncio.AbstractEventLoop
    protocol: Callable[[], LaneProtocol]
    keep_alive: float


class LightConnection:
    """A connection that has only asked for what is prepared, with what the sweep and uvicorn call on each of theirs."""

    __slots__ = (
        "descriptor", "touched", "_shared", "_socket", "_since", "_served", "_is_watched", "_is_leaving",
        "_is_told_to_leave", "_ignored_bytes", "_heir",
    )  # fmt: skip

    def __init__(self, shared: Shared, accepted: socket.SocketType) -> None:
        self.descriptor = accepted.fileno()
        # Set when a request is answered; the sweep turns it into a time.
        self.touched = False
        self._shared = shared
        self._socket = accepted
        self._since = time.monotonic()
        self._served = self._is_watched = self._is_leaving = self._is_told_to_leave = False
        self._ignored_bytes = 0
        self._heir: LaneProtocol | None = None

    def begin(self) -> bool:
        """Answer what has come with the connection, and wait for more if it goes on; False if none has room now."""
        self.read()
        if not self._is_plain:
            return True
        self._watch(self.read)
        over = clients_over_limit(self.descriptor)
        return not over or make_room(self._shared.state.connections, over)

    def read(self) -> None:
        """Read once, and answer it if that is one plain request; whatever else it is, the ordinary way gets it."""
        shared = self._shared
        try:
            data = self._socket.recv(READ_BYTES, NEVER_WAIT)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.abort()
            return
        served = shared.lane.serve(data, self._socket.send)
        if served is None:
            self._hand_over(data)
            return
        shared.state.total_requests += 1
        self.touched = True
        if served is SENT:
            return
        if served[0]:
            self._hand_over(b"", *served)
        else:
            self._leave()

    def shutdown(self) -> None:
        """Answer what has come, and close."""
        self._is_told_to_leave = True
        if self._is_plain:
            self.read()
        if self._is_plain:
            self._leave()

    @property
    def is_closing(self) -> bool:
        return self._is_leaving

    @property
    def _is_plain(self) -> bool:
        """Whether this is still a connection that waits for a request, and neither closed nor handed over."""
        return not (self.descriptor == NO_SOCKET or self._is_leaving or self._heir)

    @property
    def has_asked(self) -> bool:
        """Whether this client was ever answered."""
        return self._served or self.touched

    @property
    def waits_since(self) -> float | None:
        """Since when this connection waits for its client; what was served since the last sweep was served now."""
        if self._heir:
            return None
        return time.monotonic() if self.touched else self._since

    def close_if_overdue(self, now: float) -> None:
        """Close what has waited for too long: for the first request, for the next one, or for the client to leave."""
        if self._heir:
            return
        if self.touched:
            self.touched, self._served, self._since = False, True, now
        if self._is_leaving:
            if now - self._since > LEAVE_SECONDS:
                self.abort()
        elif now - self._since > (self._shared.keep_alive if self._served else HEAD_SECONDS):
            self.shutdown()

    def abort(self) -> None:
        """Close at once."""
        self._forget()
        self._socket.close()

    def _watch(self, callback: Callable[[], None]) -> None:
        shared, self._is_watched = self._shared, True
        shared.state.connections.add(self)  # type: ignore[arg-type]
        watch_over(shared.state, shared.loop)
        shared.loop.add_reader(self.descriptor, callback)

    def _forget(self) -> None:
        if self._is_watched:
            self._is_watched = False
            self._shared.loop.remove_reader(self.descriptor)
            self._shared.state.connections.discard(self)
        self.descriptor = NO_SOCKET

    def _leave(self) -> None:
        """Close behind the last answer.

        While something is unread that the client has sent behind its last request, closing would reset the connection,
        which could take the answer from the client. So that is read first, within bounds.
        """
        if fcntl.ioctl(self.descriptor, termios.FIONREAD, NOTHING) == NOTHING:
            self.abort()
            return
        self._is_leaving, self._since = True, time.monotonic()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        self._watch(self._ignore)

    def _ignore(self) -> None:
        try:
            ignored = len(self._socket.recv(READ_BYTES, NEVER_WAIT))
        except OSError:
            ignored = 0
        self._ignored_bytes += ignored
        if not ignored or self._ignored_bytes > MAX_IGNORED_BYTES:
            self.abort()

    def _hand_over(self, data: bytes, unsent: bytes = b"", is_last: bool = False) -> None:
        """Let the ordinary way have the connection, what was read of it, and what the client has not taken yet.

        1. The event loop makes the transport in a turn to come. 2. The server is told to shut down before that. So this
        object stays among the connections until then, and passes it on.
        """
        shared = self._shared
        if self._is_watched:
            shared.loop.remove_reader(self.descriptor)
        shared.state.connections.add(self)  # type: ignore[arg-type]
        heir = self._heir = shared.protocol()
        heir.inherit(data, unsent, is_last)
        accepted = socket.socket(fileno=self._socket.detach())
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
