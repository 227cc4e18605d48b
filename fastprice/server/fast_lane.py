"""Answering before ASGI: a request for a price that is known by its bytes costs a look-up and a write."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.config import Config
from uvicorn.server import ServerState

from fastprice.interface.prepared import PreparedCondition, PreparedPrice
from fastprice.server.careful_http import MAX_HEAD_BYTES, NO_SOCKET, CarefulProtocol

# The bounds of what a worker learns: at most 1 MiB of heads.
MAX_LEARNED, MAX_SEEN, MAX_LEARNED_BYTES = 1024, 1024, 1024
# Headers that make a request something else than a plain question.
UNUSUAL = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))
# Answers quicker than this are counted without being measured one by one: the first bucket of the histogram.
QUICK_SECONDS = 5e-5

Prepared = PreparedPrice | PreparedCondition


class Lane:
    """What the connections of one worker share: the prepared prices, the heads that were learned, the counts.

    `by_path` holds the prepared prices; none where the lane is switched off. `clock` is the monotonic clock of their
    deadlines.
    """

    def __init__(self, by_path: Mapping[bytes, PreparedPrice], clock: Callable[[], float]) -> None:
        self.by_path = dict(by_path)
        self.clock = clock
        self.learned: dict[bytes, Prepared] = {}
        self.counts = [0, 0, 0, 0]
        self.seconds = 0.0
        self.slow: list[float] = []
        self._seen: set[int] = set()
        self._reader = PlainRequest()

    def read(self, data: bytes) -> Prepared | None:
        """What answers these bytes, if they are exactly one plain request for a known price.

        Else not a byte of them counts as read, and the ordinary way gets them all.
        """
        if not self.by_path or len(data) > MAX_HEAD_BYTES:
            return None
        request = self._reader
        if not request.read(data):
            self._reader = PlainRequest()
            return None
        price = self.by_path.get(request.url)
        if price is None:
            return None
        conditions = [value for name, value in request.headers if name == b"if-none-match"]
        prepared = price.given(b",".join(conditions)) if conditions else price
        self._learn(data, prepared)
        return prepared

    def drain(self) -> tuple[list[int], float, list[float]]:
        """The counts by kind, all seconds, and each duration that was not quick, since the last time."""
        drained = self.counts.copy(), self.seconds, self.slow
        self.counts[:] = (0, 0, 0, 0)
        self.seconds, self.slow = 0.0, []
        return drained

    def _learn(self, head: bytes, prepared: Prepared) -> None:
        """Remember a head that the parser and every rule have accepted, once it has come twice.

        Heads that never come again would push out those that do; one look-up in a set is all that they cost.
        """
        if len(head) > MAX_LEARNED_BYTES:
            return
        # The hash is known already, from the look-up before; the bytes themselves need not be kept.
        mark = hash(head)
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return
        if len(self.learned) >= MAX_LEARNED:
            self.learned.clear()
        self.learned[head] = prepared


class PlainRequest:
    """Reads, with the parser of the ordinary way, bytes that may be exactly one GET that asks for nothing special.

    One serves all connections: it stands between two messages again after each success, and is thrown away else.
    """

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._begun = self._ended = 0
        self._plain = False
        self._parser = HttpRequestParser(self)

    def read(self, data: bytes) -> bool:
        """Whether they are; then `url` and `headers` tell what it says."""
        self.url, self.headers = b"", []
        self._begun = self._ended = 0
        self._plain = False
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            return False
        return self._plain and self._begun == self._ended == 1

    def on_message_begin(self) -> None:
        self._begun += 1

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_message_complete(self) -> None:
        self._ended += 1
        parser = self._parser
        names = [name for name, _ in self.headers]
        self._plain = (
            parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and bool(parser.should_keep_alive())
            and names.count(b"host") == 1
            and UNUSUAL.isdisjoint(names)
        )


class FastLaneProtocol(CarefulProtocol):
    """A connection whose requests for known prices are answered as soon as they are read.

    Only where nothing is in flight and the client has taken what it was sent; everything else goes the ordinary way,
    and gets the same bytes.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lane: Lane = app_state["lane"]
        self._learned = self._lane.learned
        # Where every request is to be logged or counted against a limit, each goes the ordinary way.
        self._open = not self.access_log and self.limit_concurrency is None
        self._unsent: Callable[[], int] = int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unsent = transport.get_write_buffer_size
        if transport.get_extra_info("sslcontext") is not None:
            self.descriptor = NO_SOCKET  # What is sent goes through the transport.

    def data_received(self, data: bytes) -> None:
        prepared = self._learned.get(data)
        if prepared is None and self.at_rest and self._open:
            prepared = self._lane.read(data)
        if prepared is None or not self.at_rest or self._unsent() or not self._give(prepared):
            super().data_received(data)

    def _give(self, prepared: Prepared) -> bool:
        """Send an answer that is right at this moment; False where there is none."""
        lane = self._lane
        now = lane.clock()
        if now > prepared.valid_until and not prepared.renew(now):
            return False
        message = prepared.message
        # To the kernel at once; what that does not take, and every error, is the transport's.
        try:
            sent = os.write(self.descriptor, message)
        except OSError:
            sent = 0
        if sent < len(message):
            self.transport.write(message[sent:])
        lane.counts[prepared.kind] += 1
        self.touched = True
        self.server_state.total_requests += 1
        elapsed = lane.clock() - now
        lane.seconds += elapsed
        if elapsed > QUICK_SECONDS:
            lane.slow.append(elapsed)
        return True
