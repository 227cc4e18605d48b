"""uvicorn's httptools protocol with the limits it lacks: heads that end, in time and in size, and one Host each."""

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
# Who has not taken what was sent by then is cut off.
UNREAD_SECONDS = 30.0
# The kernel keeps twice as much for a subscriber that does not read.
STREAM_SNDBUF = 8192


class Refused(Exception):
    """Raised inside of the parser, to end it at a request that is not to be answered."""


class CarefulProtocol(LingeringProtocol):
    """One connection.

    Refuses a head that is too long (431), or that has not exactly one Host or is not of HTTP/1 (400; RFC 9112, 2.3
    and 3.2); what was asked before a broken request is answered before that is refused. Once a second one sweep per
    server closes what has been silent, half-said, idle or unread for too long.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        # Set by whoever serves a request; the sweep turns it into a time.
        self.touched = False
        self._since = time.monotonic()
        self._served = self._in_head = False
        self._line_bytes = 0
        self._parts = 0  # Of what the bytes being read are part: messages, and pieces of a body.
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
            # uvicorn starts the answer in a task, so it has not begun. Every answer here has a length, and may be kept.
            self.cycle.keep_alive = True
            self.cycle.default_headers = [(b"connection", b"keep-alive"), *self.cycle.default_headers]

    def begin_stream(self) -> Callable[[], None]:
        """The answer under way has no end yet; returns what is to be called before its end.

        uvicorn would send chunks, which a client of HTTP/1.0 does not know.
        """
        self._streams, cycle = True, self.cycle
        if self._has_heard_all:  # The end came between the request and its task. The first event is sent all the same.
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
        self._unset_keepalive_if_required()  # The sweep does it, without a timer per request.
        if self._refused and not self._unanswered and not self.transport.is_closing():
            self.refuse(self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = time.monotonic()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None

    def refuse(self, status: int) -> None:
        """Say why and close; but first let be answered what was asked before."""
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
            # The parser keeps what it has of an unfinished line to itself, so bytes that were nothing else count too.
            self._line_bytes += len(piece)
            if self._line_bytes > MAX_HEAD_BYTES:
                self.refuse(431)

    @property
    def has_asked(self) -> bool:
        """Whether this client was ever answered."""
        return self._served or self.touched

    @property
    def waits_since(self) -> float | None:
        """Since when this connection waits for its client; None while the client waits for us.

        What was served since the last sweep counts as served now: else a client that asks all the time would seem to
        have been idle for longer than those that have just connected and ask nothing.
        """
        if self._unread_since is not None:
            return self._unread_since
        if self._unanswered:
            return None
        return time.monotonic() if self.touched else self._since

    def close_if_overdue(self, now: float) -> None:
        """Close what has waited for too long: for a head, for the next request, or for its answers to be read."""
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
        """The head is whole: refuse it, or let it be answered."""
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
        if self.parser.get_method() == b"CONNECT":  # Behind it comes what is meant for somebody else.
            raise Refused
