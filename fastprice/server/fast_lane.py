"""Answers before ASGI: a request whose bytes were seen before costs a look-up and a write."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.config import Config
from uvicorn.server import ServerState

from fastprice.interface.price_json import matches
from fastprice.interface.price_snapshot import UNCHANGED, PricePlace
from fastprice.server.careful_http import MAX_HEAD_BYTES, NO_SOCKET, CarefulProtocol

# The limits of what a worker learns: at most 1 MiB of heads.
MAX_LEARNED, MAX_SEEN, MAX_LEARNED_BYTES = 1024, 1024, 1024
# A request with one of these headers is not a plain request.
UNUSUAL = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))
# The first bucket of the histogram: only the durations of slower answers are kept one by one.
QUICK_SECONDS = 5e-5

# What a plain request asks for: where the price is, and the request's If-None-Match if it has one.
Question = tuple[PricePlace, bytes | None]


class Lane:
    """What the connections of one worker share: where the prices are, the heads that were learned, the counts.

    `by_path` is empty where the lane is switched off. `clock` is the monotonic clock of the snapshots' deadlines.
    """

    def __init__(self, by_path: Mapping[bytes, PricePlace], clock: Callable[[], float]) -> None:
        self.by_path = dict(by_path)
        self.clock = clock
        self.learned: dict[bytes, Question] = {}
        self.counts = [0, 0, 0, 0]
        self.seconds = 0.0
        self.slow: list[float] = []
        self._seen: set[int] = set()
        self._reader = PlainRequest()

    def read(self, data: bytes) -> Question | None:
        """What these bytes ask for, if they are exactly one plain request for a known price.

        If not, no byte of them counts as read, and the ordinary way gets them all.
        """
        if not self.by_path or len(data) > MAX_HEAD_BYTES:
            return None
        request = self._reader
        if not request.read(data):
            self._reader = PlainRequest()
            return None
        place = self.by_path.get(request.url)
        if place is None:
            return None
        conditions = [value for name, value in request.headers if name == b"if-none-match"]
        question = place, b",".join(conditions) or None
        self._learn(data, question)
        return question

    def drain(self) -> tuple[list[int], float, list[float]]:
        """The counts by kind, the sum of all seconds, and each duration beyond QUICK_SECONDS, since the last call."""
        drained = self.counts.copy(), self.seconds, self.slow
        self.counts[:] = (0, 0, 0, 0)
        self.seconds, self.slow = 0.0, []
        return drained

    def _learn(self, head: bytes, question: Question) -> None:
        """Remember a head that the parser and every rule have accepted when it comes for the second time.

        Otherwise heads that never come again would push out those that do. They cost one look-up in a set.
        """
        if len(head) > MAX_LEARNED_BYTES:
            return
        # The look-up before this has computed the hash; the bytes themselves are not kept.
        mark = hash(head)
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return
        if len(self.learned) >= MAX_LEARNED:
            self.learned.clear()
        self.learned[head] = question


class PlainRequest:
    """Reads bytes that may be exactly one plain GET, with the parser of the ordinary way.

    One of these serves all connections: after a success its parser is between two messages again, as it was before.
    After a failure it is replaced.
    """

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self._begun = self._ended = 0
        self._plain = False
        self._parser = HttpRequestParser(self)

    def read(self, data: bytes) -> bool:
        """Whether they are one; then `url` and `headers` are those of the request."""
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
    """A connection whose plain requests for prices are answered as soon as they are read.

    This is done only while no other request is in flight and the client has taken everything that it was sent. All
    other requests go the ordinary way, and get the same bytes.
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
        # Where each request must be logged, or counted against a limit, all of them go the ordinary way.
        self._open = not self.access_log and self.limit_concurrency is None
        self._unsent: Callable[[], int] = int

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._unsent = transport.get_write_buffer_size
        if transport.get_extra_info("sslcontext") is not None:
            self.descriptor = NO_SOCKET  # What is sent goes through the transport.

    def data_received(self, data: bytes) -> None:
        # All in one function, and with few look-ups: this is the path of nearly every request.
        question = self._learned.get(data)
        if question is None and self.at_rest and self._open:
            question = self._lane.read(data)
        if question is None or not self.at_rest or self._unsent():
            super().data_received(data)
            return
        place, condition = question
        lane, snapshot = self._lane, place.snapshot
        now = lane.clock()
        if snapshot is None or now > snapshot.valid_until and not snapshot.renew(now):
            super().data_received(data)
            return
        message, kind = snapshot.message, snapshot.kind
        if condition is not None and matches(condition, snapshot.etag):
            message, kind = snapshot.unchanged, kind + UNCHANGED
        # To the kernel at once. The transport sends what the kernel does not take, and handles every error.
        try:
            sent = os.write(self.descriptor, message)
        except OSError:
            sent = 0
        if sent < len(message):
            self.transport.write(message[sent:])
        lane.counts[kind] += 1
        self.touched = True
        self.server_state.total_requests += 1
        elapsed = lane.clock() - now
        lane.seconds += elapsed
        if elapsed > QUICK_SECONDS:
            lane.slow.append(elapsed)
