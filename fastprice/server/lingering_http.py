"""uvicorn's httptools protocol with a close that does not destroy the answer to a client that is still sending.

The kernel resets a connection that is closed while data is unread or still arrives, and a reset makes the client's
kernel drop what its program has not read yet, such as the answer that gives the reason. So the server closes only its
sending side, and drops what the client sends until the client closes too (RFC 9112, 9.6).
"""

import asyncio
import math
import os
import socket
import time

from uvicorn.server import ServerState

from fastprice.server.descriptors import NO_SOCKET, highest_of_clients
from fastprice.server.paced_http import PacedProtocol
from fastprice.server.sweep import watch_over

# A client that sends more than this, or for longer, is cut off.
MAX_DROPPED_BYTES, LINGER_SECONDS = 4 * 1024 * 1024, 5.0
READ_BYTES = 64 * 1024


class LingeringProtocol(PacedProtocol):
    """One connection; if it is closed while its client is still sending, its descriptor lingers for a while."""

    descriptor = NO_SOCKET
    _is_cut = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        named = transport.get_extra_info("socket")
        if named is not None:
            self.descriptor = named.fileno()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport closes its descriptor after this, when everything is sent; a copy keeps the connection open."""
        is_sending = self._refused or self._in_message or bool(self._unparsed)
        if exc is None and is_sending and not self._is_cut and self.descriptor != NO_SOCKET:
            linger(self.descriptor, self.server_state, self.loop)
        self.descriptor = NO_SOCKET
        super().connection_lost(exc)

    @property
    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def abort(self) -> None:
        """Close at once."""
        self._is_cut = True
        self.transport.abort()


def linger(descriptor: int, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
    """Let a copy of this descriptor linger, unless it is above the limit: then the connection is just closed."""
    try:
        copy = os.dup(descriptor)
    except OSError:
        return
    if copy > highest_of_clients():
        os.close(copy)
        return
    Lingering(socket.socket(fileno=copy), state, loop).begin()


class Lingering:
    """A connection that has received its last answer, with the methods that the sweep and uvicorn call."""

    __slots__ = ("descriptor", "_socket", "_state", "_loop", "_since", "_dropped")
    # It still uses a descriptor; where descriptors are short, it is one of the first to be closed.
    is_closing = False
    has_asked = False

    def __init__(self, named: socket.socket, state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
        self.descriptor = named.fileno()
        self._socket, self._state, self._loop = named, state, loop
        self._since, self._dropped = time.monotonic(), 0

    def begin(self) -> None:
        """Close the sending side, and wait for the client to do the same."""
        self._socket.setblocking(False)
        self._state.connections.add(self)  # type: ignore[arg-type]
        watch_over(self._state, self._loop)
        self._loop.add_reader(self.descriptor, self._drop)
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:  # The client has gone already.
            self.abort()
        else:
            self._drop()

    @property
    def waits_since(self) -> float:
        return self._since

    def shutdown(self) -> None:
        """Let the next sweep close this connection, so that the server's shutdown waits for no client."""
        self._since = -math.inf

    def close_if_overdue(self, now: float) -> None:
        """Close a connection that has lingered too long, or was reset: after a reset, uvloop calls no reader."""
        if now - self._since > LINGER_SECONDS:
            self.abort()
        else:
            self._drop()

    def abort(self) -> None:
        """Close at once."""
        if self.descriptor != NO_SOCKET:
            self._state.connections.discard(self)
            self._loop.remove_reader(self.descriptor)
            self._socket.close()
            self.descriptor = NO_SOCKET

    def _drop(self) -> None:
        """Read once, and drop the data."""
        if self.descriptor == NO_SOCKET:
            return
        try:
            said = len(self._socket.recv(READ_BYTES))
        except BlockingIOError:
            return
        except OSError:
            said = 0
        self._dropped += said
        if not said or self._dropped > MAX_DROPPED_BYTES:
            self.abort()
