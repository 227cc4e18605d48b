"""Connections that ask for a stream become subscribers below ASGI."""

import time
from asyncio import AbstractEventLoop

from uvicorn.server import ServerState

from fastprice.interface.channel import Choice
from fastprice.interface.middleware import STREAM_ROUTE, STREAMS, HttpDate
from fastprice.interface.parameters import BadParameter, UnknownPair
from fastprice.interface.prepared import CLOSED
from fastprice.interface.sse import HEADERS
from fastprice.interface.stream_endpoint import LAST_EVENT_ID
from fastprice.interface.streams import Streams
from fastprice.server.lane import Lane
from fastprice.server.plain_request import PlainRequest
from fastprice.server.poller import Poller
from fastprice.server.subscriber import Around, PushedTo, PushedToOld

STREAM_WORD = b"/stream"


class Push:
    """Takes over connections that request a stream."""

    def __init__(
        self, streams: Streams, lane: Lane, poller: Poller, state: ServerState, loop: AbstractEventLoop
    ) -> None:
        self._around, self._lane = Around(streams, poller, state, loop), lane
        self._date = HttpDate()
        self._reader = PlainRequest()

    def take(self, data: bytes, descriptor: int) -> bool:
        """Make a subscriber of a connection if these bytes are exactly one plain GET of an available stream.

        If they are not, nothing is changed, and the ordinary way gives the reason.
        """
        started = time.monotonic()
        if STREAM_WORD not in data or self._around.streams.is_full:
            return False
        request = self._reader
        if not request.read(data):
            self._reader = PlainRequest()
            return False
        choice = self._choice(request) if request.method == "GET" else None
        if choice is None:
            return False
        known = next((value for name, value in request.headers if name == LAST_EVENT_ID), None)
        subscriber = (PushedTo if request.version == "1.1" else PushedToOld)(self._around, descriptor)
        self._around.state.total_requests += 1
        subscriber.begin(self._head(request), choice, known)
        self._lane.count(STREAM_ROUTE if choice.of_one else STREAMS, "GET", time.monotonic() - started)
        return True

    def _choice(self, request: PlainRequest) -> Choice | None:
        path, _, query = request.url.partition(b"?")
        # Anything else with that word goes the ordinary way, and so do escaped letters.
        is_stream = path.startswith(b"/api/v1/") and path.endswith(STREAM_WORD) and b"%" not in path
        try:
            return self._around.streams.choose(path.decode("ascii"), query) if is_stream and b"#" not in query else None
        except (BadParameter, UnknownPair, UnicodeDecodeError):
            return None

    def _head(self, request: PlainRequest) -> bytes:
        """The head as uvicorn writes it; HTTP/1.0 has no chunks, so there the stream ends with the connection."""
        fields = [(b"date", self._date(self._around.streams.clock.wall_ms())), *HEADERS]
        if request.form % 3 == CLOSED or request.version == "1.0":
            fields.append((b"connection", b"close"))
        if request.version == "1.1":
            fields.append((b"transfer-encoding", b"chunked"))
        return b"".join([b"HTTP/1.1 200 OK\r\n", *[b"%b: %b\r\n" % field for field in fields], b"\r\n"])
