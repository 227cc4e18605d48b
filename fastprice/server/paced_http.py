"""uvicorn's httptools protocol, which parses a client's requests only as fast as they are answered."""

import asyncio
from collections import deque
from typing import Any
from weakref import WeakKeyDictionary

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

END_OF_HEAD = b"\r\n\r\n"
SHORTEST_HEAD = len(b"GET / HTTP/1.0\r\n\r\n")
MAX_PIECE_BYTES = 16 * 1024
PIECES_PER_TURN = 8
# A client with more unsent bytes than this gets no further answers. To keep a short answer, the event loop needs ten
# times its size.
MAX_UNSENT_BYTES = 8 * 1024


def size_of_piece(data: bytes | bytearray) -> int:
    """The size up to the end of the first head, so that a piece never holds two whole messages."""
    end = data.find(END_OF_HEAD, SHORTEST_HEAD - len(END_OF_HEAD), MAX_PIECE_BYTES)
    return end + len(END_OF_HEAD) if end >= 0 else min(len(data), MAX_PIECE_BYTES)


class Turns:
    """Requests that clients of one server sent in advance, parsed a few pieces per turn of the event loop.

    So a client that sends one request at a time waits for only a few pieces, however much other clients send.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[PacedProtocol] = deque()

    def add(self, connection: "PacedProtocol") -> None:
        if not self._waiting:
            self._loop.call_soon(self._take)
        self._waiting.append(connection)

    def _take(self) -> None:
        taken = [self._waiting.popleft() for _ in range(min(PIECES_PER_TURN, len(self._waiting)))]
        if self._waiting:
            self._loop.call_soon(self._take)
        for connection in taken:
            connection.parse_on()


_turns: WeakKeyDictionary[ServerState, Turns] = WeakKeyDictionary()


class PacedProtocol(HttpToolsProtocol):
    """One connection, whose requests are parsed one by one: the next when the last is answered and mostly sent.

    Until then nothing more is read. So however much a client sends at once, at most two reads of it wait here as bytes,
    and one answer beyond what the transport keeps. Bodies are dropped, because no route takes one.
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
        # Nothing more is read from a refused client; the derived class tells the client why.
        self._refused, self._refusal = False, 400
        self._in_message = False
        self._unanswered: deque[RequestResponseCycle] = deque()
        self._unparsed = bytearray()
        self._turns = _turns.get(server_state) or _turns.setdefault(server_state, Turns(self.loop))
        self._parses_soon = self._is_leaving = False
        self._asked_again = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=MAX_UNSENT_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        for cycle in self._unanswered:  # uvicorn tells only the newest, and the others would go on writing.
            cycle.disconnected = True
        self._unparsed.clear()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        if not (self._unparsed or self._unanswered) and len(data) == size_of_piece(data):
            self.parse(data)
            self._go_on()
            return
        self._unparsed += data
        if not self._parses_soon:
            self.parse_on()

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client that has stopped sending still gets its answers; True keeps the connection open for them."""
        self.shutdown()
        return not self.transport.is_closing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.at_rest = False
        self._in_message = True

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            self._asked_again = self._without_upgrade()
            return
        super().on_headers_complete()
        self._unanswered.append(self.cycle)

    def on_body(self, body: bytes) -> None:
        """Drop the body."""

    def on_message_complete(self) -> None:
        if not self._asked_again:
            super().on_message_complete()
        self._in_message = False

    def on_response_complete(self) -> None:
        self._unanswered.popleft()
        super().on_response_complete()
        self._go_on()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._parse_soon()

    def shutdown(self) -> None:
        """Answer what has been read so far, and close."""
        self._is_leaving = True
        if not self._unparsed:
            super().shutdown()

    def refuse(self, status: int) -> None:
        """End the connection with this status."""
        raise NotImplementedError

    def parse(self, piece: bytes) -> None:
        """Give the parser a piece of a message, or all of it."""
        try:
            self.parser.feed_data(piece)
        except HttpParserUpgrade as upgrade:
            self._unparsed[:0] = self._asked_again + piece[upgrade.args[0] :]
            self._asked_again = b""
        except HttpParserError:
            self.logger.warning("Invalid HTTP request received.")
            self.refuse(self._refusal)

    def _without_upgrade(self) -> bytes:
        """The head without its request for another protocol, which we ignore (RFC 9110, 7.8).

        Otherwise the parser would take what follows for that protocol, not for the body and the next request.
        """
        first = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        others = [b"%b: %b\r\n" % (name, value) for name, value in self.headers if name != b"upgrade"]
        return b"".join((first, *others, b"\r\n"))

    def parse_on(self) -> None:
        """Parse one more message, or piece of one, if it may be parsed now."""
        self._parses_soon = False
        if self._unparsed and self._may_parse():
            size = size_of_piece(self._unparsed)
            piece = bytes(self._unparsed[:size])
            del self._unparsed[:size]
            self.parse(piece)
        self._go_on()

    def _go_on(self) -> None:
        """Wait for a turn to parse the rest, or continue reading when there is no rest."""
        self.at_rest = not (self._in_message or self._refused or self._unanswered or self._unparsed)
        if self._unparsed or self._refused:
            if not self.transport.is_closing():
                self.flow.pause_reading()
                self._parse_soon()
        elif self._is_leaving:
            super().shutdown()
        elif self.flow.read_paused and not self.transport.is_closing():
            self.flow.resume_reading()

    def _parse_soon(self) -> None:
        if self._unparsed and not self._parses_soon and self._may_parse():
            self._parses_soon = True
            self._turns.add(self)

    def _may_parse(self) -> bool:
        """Whether all earlier messages are answered and mostly sent; a message that has begun may always continue."""
        is_its_turn = self._in_message or not self._unanswered
        return is_its_turn and not (self._refused or self.flow.write_paused or self.transport.is_closing())
