"""Subscribers below ASGI: a subscriber is a descriptor, and a push is a write of the same bytes to each of them."""

import os
import socket
import time
from asyncio import AbstractEventLoop

from uvicorn.server import ServerState

from fastprice.interface.channel import Channel, Choice
from fastprice.interface.middleware import STREAM_ROUTE, STREAMS, HttpDate
from fastprice.interface.parameters import BadParameter, UnknownPair
from fastprice.interface.prepared import CLOSED
from fastprice.interface.sse import COMMENT, HEADERS, LAST_CHUNK, Message
from fastprice.interface.stream_endpoint import LAST_EVENT_ID
from fastprice.interface.streams import Streams
from fastprice.server.careful_http import NO_SOCKET, STREAM_SNDBUF, UNREAD_SECONDS
from fastprice.server.lane import Lane
from fastprice.server.plain_request import PlainRequest
from fastprice.server.poller import Poller
from fastprice.server.sweep import watch_over

# What a client says on its stream is dropped, but so much of it means that this is no subscriber.
MAX_SAID_BYTES, READ_BYTES = 64 * 1024, 4096
# About as many as an event has.
EVENT_BYTES = 512
STREAM_WORD = b"/stream"


class Push:
    """Takes connections that ask for a stream, one of a server's ways to answer."""

    def __init__(
        self, streams: Streams, lane: Lane, poller: Poller, state: ServerState, loop: AbstractEventLoop
    ) -> None:
        self.streams, self.poller, self.state, self.loop = streams, poller, state, loop
        self._lane = lane
        self._date = HttpDate()
        self._reader = PlainRequest()

    def take(self, data: bytes, descriptor: int) -> bool:
        """Make a subscriber of a connection if these bytes are exactly one plain GET of a stream that can be had.

        If they are not, nothing has happened, and the ordinary way says why.
        """
        started = time.monotonic()
        if STREAM_WORD not in data or self.streams.is_full:
            return False
        request = self._reader
        if not request.read(data):
            self._reader = PlainRequest()
            return False
        choice = self._choice(request) if request.method == "GET" else None
        if choice is None:
            return False
        known = next((value for name, value in request.headers if name == LAST_EVENT_ID), None)
        subscriber = PushedTo(self, descriptor, is_chunked=request.version == "1.1")
        self.state.total_requests += 1
        subscriber.begin(self._head(request), choice, known)
        self._lane.count(STREAM_ROUTE if choice.of_one else STREAMS, "GET", time.monotonic() - started)
        return True

    def _choice(self, request: PlainRequest) -> Choice | None:
        path, _, query = request.url.partition(b"?")
        # Anything else with that word is for the ordinary way, escaped letters too.
        is_stream = path.startswith(b"/api/v1/") and path.endswith(STREAM_WORD) and b"%" not in path
        try:
            return self.streams.choose(path.decode("ascii"), query) if is_stream and b"#" not in query else None
        except (BadParameter, UnknownPair, UnicodeDecodeError):
            return None

    def _head(self, request: PlainRequest) -> bytes:
        """As uvicorn lays it out. A client of HTTP/1.0 does not know chunks: its stream ends with the connection."""
        fields = [(b"date", self._date(self.streams.clock.wall_ms())), *HEADERS]
        if request.form % 3 == CLOSED or request.version == "1.0":
            fields.append((b"connection", b"close"))
        if request.version == "1.1":
            fields.append((b"transfer-encoding", b"chunked"))
        return b"".join([b"HTTP/1.1 200 OK\r\n", *[b"%b: %b\r\n" % field for field in fields], b"\r\n"])


class PushedTo:
    """One subscriber, with what the sweep and uvicorn call on each of their connections."""

    __slots__ = (
        "channel", "descriptor", "version", "_push", "_is_chunked", "_unsent", "_unsent_since", "_said", "_is_leaving"
    )  # fmt: skip
    is_closing = False
    has_asked = True
    # It waits for us, not we for it: nobody else's need for descriptors ends a stream.
    waits_since = None
    channel: Channel

    def __init__(self, push: Push, descriptor: int, is_chunked: bool) -> None:
        self.descriptor, self.version = descriptor, 0
        self._push, self._is_chunked = push, is_chunked
        self._unsent, self._unsent_since = b"", 0.0
        self._said, self._is_leaving = 0, False

    def begin(self, head: bytes, choice: Choice, known: bytes | None) -> None:
        """Send the head and what a new subscriber is sent at once, and wait for more."""
        push = self._push
        with socket.socket(fileno=self.descriptor) as named:
            # Else the kernel would keep thousands of events for one that reads none; one of each pair has room.
            room = max(STREAM_SNDBUF, EVENT_BYTES * len(choice.slugs))
            named.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
            named.detach()
        push.state.connections.add(self)  # type: ignore[arg-type]
        watch_over(push.state, push.loop)
        push.poller.add(self.descriptor, self._read)
        first = push.streams.join(self, choice, known)
        self._send(head + (first.chunk if self._is_chunked else first.body))

    def push(self, common: Message, before: int, after: int) -> int:
        """Send what is new, unless something older is still unsent: then the newest follows that."""
        if self._unsent or self.version != before:
            return self._push_other(common)
        self.version = after
        self._send(common.chunk if self._is_chunked else common.body)
        return common.events

    def shutdown(self) -> None:
        """The server ends; the streams are let go one by one."""

    def leave(self) -> None:
        """End the stream, as soon as what was begun is sent."""
        self._is_leaving = True
        if not self._unsent:
            self._send(LAST_CHUNK if self._is_chunked else b"")
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self.descriptor != NO_SOCKET:
            self._push.streams.part(self)
            self._push.state.connections.discard(self)
            self._push.poller.forget(self.descriptor)
            descriptor, self.descriptor = self.descriptor, NO_SOCKET
            os.close(descriptor)

    def close_if_overdue(self, now: float) -> None:
        """Close one that has taken nothing of what was sent for too long."""
        if self._unsent and now - self._unsent_since > UNREAD_SECONDS:
            self._push.streams.counts.closed += 1
            self.abort()

    def _push_other(self, common: Message) -> int:
        if self._unsent:
            self._push.streams.counts.dropped += common.events
            return 0
        new = self._news()
        # If it lacks nothing, a comment is still worth sending.
        return self._give(new if new.body or common is not COMMENT else COMMENT)

    def _news(self) -> Message:
        """What this subscriber lacks."""
        streams = self._push.streams
        new = self.channel.news(self.version, streams.clock.monotonic())
        self.version = streams.version
        return new

    def _give(self, new: Message) -> int:
        if new.body:
            self._send(new.chunk if self._is_chunked else new.body)
        return new.events

    def _send(self, data: bytes) -> None:
        try:
            sent = os.write(self.descriptor, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.abort()
            return
        if sent < len(data):
            self._unsent, self._unsent_since = data[sent:], time.monotonic()
            self._push.poller.wait_to_write(self.descriptor, self._go_on)

    def _go_on(self) -> None:
        """The client takes more: first what was begun, and then only what is newest."""
        unsent, self._unsent = self._unsent, b""
        self._push.poller.stop_writing(self.descriptor)
        self._send(unsent)
        if self._is_leaving:
            self.leave()
        elif not self._unsent and self.descriptor != NO_SOCKET:
            self._push.streams.counts.events += self._give(self._news())

    def _read(self) -> None:
        """Drop what the client says; its end is the end of the subscription."""
        try:
            said = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        self._said += len(said)
        if not said or self._said > MAX_SAID_BYTES:
            self.abort()
