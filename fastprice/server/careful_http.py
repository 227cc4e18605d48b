"""uvicorn's httptools protocol with the limits it lacks: heads that end, in time and in size, and one Host each."""

import asyncio
import time
from collections import deque
from typing import Any
from weakref import WeakSet

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

MAX_HEAD_BYTES = 16 * 1024
# Who has connected, or begun a head, must have finished the head by then.
HEAD_SECONDS = 10.0
# Who has not taken what was sent by then is cut off.
UNREAD_SECONDS = 30.0
SWEEP_SECONDS = 1.0
REFUSALS = {
    400: ("Bad Request", "this is not a request that HTTP/1.1 allows"),
    408: ("Request Timeout", f"the head of the request was not finished within {HEAD_SECONDS:g} s"),
    431: ("Request Header Fields Too Large", f"the head of the request is longer than {MAX_HEAD_BYTES} bytes"),
}

_swept: WeakSet[ServerState] = WeakSet()


class Refused(Exception):
    """Raised inside of the parser, to end it at a request that is not to be answered."""


class CarefulProtocol(HttpToolsProtocol):
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
        # Between two messages with nothing in flight: the only state in which a request may be answered at once.
        self.at_rest = True
        # Set by whoever serves a request; the sweep turns it into a time.
        self.touched = False
        self._since = time.monotonic()
        self._served = self._in_message = self._in_head = False
        self._line_bytes = 0
        self._parts = 0  # Of what the bytes being read are part: messages, and pieces of a body.
        self._refused, self._refusal = False, 400
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._unread_since: float | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if self.server_state not in _swept:
            _swept.add(self.server_state)
            self.loop.call_later(SWEEP_SECONDS, sweep, self.server_state, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for cycle in self._unanswered:  # uvicorn tells none but the newest, and the others would go on writing.
            cycle.disconnected = True

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._parts = int(self._in_message)
        super().data_received(data)
        if self._in_message and self._parts == 1 and not self._refused:
            # The parser keeps what it has of an unfinished line to itself, so bytes that were nothing else count too.
            self._line_bytes += len(data)
            if self._line_bytes > MAX_HEAD_BYTES:
                self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.at_rest = False
        self._in_message = self._in_head = True
        self._since = time.monotonic()
        self._parts += 1
        self._line_bytes = 0

    def on_headers_complete(self) -> None:
        self._check_head()
        super().on_headers_complete()
        self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        super().on_body(body)
        self._parts, self._line_bytes = self._parts + 1, 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_message = False
        self._rest_if_done()

    def on_response_complete(self) -> None:
        self.touched = True
        self._unanswered.popleft()
        super().on_response_complete()
        self._unset_keepalive_if_required()  # The sweep does it, without a timer per request.
        if self.pipeline:
            self.flow.pause_reading()  # Else every answer would let in another read's worth of them.
        self._rest_if_done()
        if self._refused and not self._unanswered and not self.transport.is_closing():
            self._refuse(self._refusal)

    def send_400_response(self, msg: str) -> None:
        self._refuse(self._refusal)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_since = time.monotonic()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_since = None

    def close_if_overdue(self, now: float) -> None:
        """Close what has waited for too long: for a head, for the next request, or for its answers to be read."""
        if self.touched:
            self.touched, self._served, self._since = False, True, now
        if self._unread_since is None and self.transport.is_closing():
            self._unread_since = now
        if self._unread_since is not None:
            if now - self._unread_since > UNREAD_SECONDS:
                self.transport.abort()
        elif self._in_head and not self._unanswered:
            if now - self._since > HEAD_SECONDS:
                self._refuse(408)
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

    def _rest_if_done(self) -> None:
        self.at_rest = not (self._in_message or self._refused or self._unanswered)

    def _refuse(self, status: int) -> None:
        """Say why and close; but first let be answered what was asked before."""
        self._refused, self.at_rest, self._refusal = True, False, status
        if self._unanswered:
            self.flow.pause_reading()
            return
        self.transport.write(refusal(status))
        self.transport.close()


def sweep(server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
    """Look at every connection of a server, once a second for as long as it has any."""
    now = time.monotonic()
    for connection in list(server_state.connections):
        if isinstance(connection, CarefulProtocol):
            connection.close_if_overdue(now)
    if server_state.connections:
        loop.call_later(SWEEP_SECONDS, sweep, server_state, loop)
    else:
        _swept.discard(server_state)


def refusal(status: int) -> bytes:
    """A whole response in the shape of the service's other errors, after which the connection is closed."""
    title, detail = REFUSALS[status]
    code = title.lower().replace(" ", "_")
    body = f'{{"type":"about:blank","title":"{title}","status":{status},"code":"{code}","detail":"{detail}"}}'
    head = f"HTTP/1.1 {status} {title}\r\ncontent-type: application/problem+json\r\ncontent-length: {len(body)}"
    return f"{head}\r\ncache-control: no-store\r\nconnection: close\r\n\r\n{body}".encode()
