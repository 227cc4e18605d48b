"""uvicorn's httptools protocol with the limits it lacks: heads limited in time and size, and one Host per request."""

import asyncio
import sys
import time
from collections.abc import Callable
from socket import SO_SNDBUF, SOL_SOCKET
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from fastprice.server.descriptors import highest_of_clients, make_room
from fastprice.server.lingering_http import LingeringProtocol
from fastprice.server.paced_http import MAX_PIECE_BYTES
from fastprice.server.refusals import HEAD_SECONDS, refusal
from fastprice.server.sweep import watch_over

MAX_HEAD_BYTES = MAX_PIECE_BYTES
# A client that has not read what was sent within this time is cut off.
UNREAD_SECONDS = 30.0
# The kernel buffers twice as much for a subscriber that does not read.
STREAM_SNDBUF = 8192


class Refused(Exception):
    """Raised inside the parser, to stop it at a request that must not be answered."""


class CarefulProtocol(LingeringProtocol):
    """One connection.

    Refuses a head that is too long (431), or that is not HTTP/1 or does not have exactly one Host (400; RFC 9112, 2.3
    and 3.2). Requests before a broken one are answered before that one is refused. Once a second, one sweep per server
    closes connections that have been silent, unfinished, idle or unread for too long.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Set when a request is served; the sweep turns it into a time.
        self.touched = False
        self._since = time.monotonic()
        self._served = self._in_head = False
        self._line_bytes = 0
        self._parts = 0  # How many messages, and pieces of a body, the bytes being parsed are part of.
        self._unread_since: float | None = None
        self._streams = self._has_heard_all = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        watch_over(self.server_state, self.loop)
        if (over := self.descriptor - highest_of_clients()) > 0:
            make_room(self.server_state.connections, int(over))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._since = time.monotonic()
        self._parts += 1
        self._line_bytes = 0

    def on_headers_complete(self) -> None:
        self._check_head()
        super().on_headers_complete()
        self.scope["state"]["begin_stream"] = self.begin_stream
        if self.parser.get_http_version() == "1.0" and self.parser.should_keep_alive() and not self._asked_again:
            # uvicorn answers in a task, which has not begun. Each answer has a length, so the connection may be kept.
            self.cycle.keep_alive = True
            self.cycle.default_headers = [(b"connection", b"keep-alive"), *self.cycle.default_headers]

    def begin_stream(self) -> Callable[[], None]:
        """The answer under way is a stream of unknown length; returns a function to call just before it ends.

        uvicorn would send chunks, which an HTTP/1.0 client does not understand.
        """
        self._streams, cycle = True, self.cycle
        if self._has_heard_all:  # The client's EOF came before the request's task. The first event is still sent.
            self.loop.call_soon(self.transport.close)
        socket = self.transport.get_extra_info("socket")
        if socket is not None:
            socket.setsockopt(SOL_SOCKET, SO_SNDBUF, STREAM_SNDBUF)
        if self.scope["http_version"] != "1.0":
            return lambda: None
        cycle.keep_alive, cycle.default_headers = False, self.server_state.default_headers
        cycle.chunked_encoding, cycle.expected_content_length = False, sys.maxsize
        return lambda: setattr(cycle, "expected_content_length", 0)

    def eof_received(self) -> bool:  # type: ignore[override]
        self._has_heard_all = True
        if self._streams:
            self.transport.close()
        return super().eof_received()

    def on_body(self, body: bytes) -> None:
        self._parts, self._line_bytes = self._parts + 1, 0

    def on_response_complete(self) -> None:
        self.touched, self._streams = True, False
        super().on_response_complete()
        self._unset_keepalive_if_required()  # The sweep closes idle connections, without a timer per request.
        if self._refused and not self._unanswered and not self.transport.is_closing():
            self.refuse(self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = time.monotonic()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None

    def refuse(self, status: int) -> None:
        """Send the reason and close, but only after the earlier requests are answered."""
        self._refused, self.at_rest, self._refusal = True, False, status
        self._unparsed.clear()
        if self._unanswered:
            return
        self.transport.write(refusal(status))
        self.transport.close()

    def parse(self, piece: bytes) -> None:
        self._parts = int(self._in_message)
        super().parse(piece)
        if self._in_message and self._parts == 1 and not self._refused:
            # The parser does not report an unfinished line, so bytes for which it reported nothing count too.
            self._line_bytes += len(piece)
            if self._line_bytes > MAX_HEAD_BYTES:
                self.refuse(431)

    @property
    def has_asked(self) -> bool:
        """Whether this client was ever answered."""
        return self._served or self.touched

    @property
    def waits_since(self) -> float | None:
        """When this connection began to wait for its client; None while the client waits for us.

        A request served since the last sweep counts as served now: otherwise a client that sends requests all the time
        would seem to have been idle for longer than clients that have just connected and send nothing.
        """
        if self._unread_since is not None:
            return self._unread_since
        if self._unanswered:
            return None
        return time.monotonic() if self.touched else self._since

    def close_if_overdue(self, now: float) -> None:
        """Close the connection if it has waited too long for a head, the next request, or its answers to be read."""
        if self.touched:
            self.touched, self._served, self._since = False, True, now
        if self._unread_since is None and self.transport.is_closing():
            self._unread_since = now
        if self._unread_since is not None:
            if now - self._unread_since > UNREAD_SECONDS:
                self.abort()
        elif self._in_head and not self._unanswered:
            if now - self._since > HEAD_SECONDS:
                self.refuse(408)
        elif not self._unanswered:
            is_idle = self._served and not self._in_message
            if now - self._since > (self.timeout_keep_alive if is_idle else HEAD_SECONDS):
                self.transport.close()

    def _check_head(self) -> None:
        """Refuse the complete head, or let it be answered."""
        self._in_head = False
        size, hosts = len(self.url), 0
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name == b"host":
                hosts += 1
        if size > MAX_HEAD_BYTES:
            self._refusal = 431
            raise Refused
        version = self.parser.get_http_version()
        if hosts != 1 and (hosts or version == "1.1") or version not in ("1.1", "1.0"):
            raise Refused
        if self.parser.get_method() == b"CONNECT":  # What follows it is meant for another server.
            raise Refused
