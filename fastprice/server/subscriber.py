"""A subscriber below ASGI: a descriptor that is written the same bytes as all others of its channel."""

import os
import socket
import sys
import time
from asyncio import AbstractEventLoop
from collections.abc import Sequence
from dataclasses import dataclass
from os import write

from uvicorn.server import ServerState

from fastprice.interface.channel import Channel, Choice
from fastprice.interface.sse import COMMENT, LAST_CHUNK, Message
from fastprice.interface.streams import Streams
from fastprice.server.careful_http import STREAM_SNDBUF, UNREAD_SECONDS
from fastprice.server.descriptors import NO_SOCKET
from fastprice.server.poller import Poller
from fastprice.server.sweep import watch_over

# What a client says on its stream is dropped, but so much of it means that this is no subscriber.
MAX_SAID_BYTES, READ_BYTES = 64 * 1024, 4096
# About as many as an event has.
EVENT_BYTES = 512


@dataclass(slots=True)
class Around:
    """What the subscribers of one server share."""

    streams: Streams
    poller: Poller
    state: ServerState
    loop: AbstractEventLoop


class PushedTo:
    """One subscriber, with what the sweep and uvicorn call on each of their connections."""

    __slots__ = (
        "channel", "descriptor", "version", "_around", "_unsent", "_unsent_since", "_said", "_is_leaving"
    )  # fmt: skip
    is_chunked = True
    is_closing = False
    has_asked = True
    # It waits for us, not we for it: nobody else's need for descriptors ends a stream.
    waits_since = None
    channel: Channel

    def __init__(self, around: Around, descriptor: int) -> None:
        self.descriptor, self.version, self._around = descriptor, 0, around
        self._unsent, self._unsent_since = b"", 0.0
        self._said, self._is_leaving = 0, False

    def begin(self, head: bytes, choice: Choice, known: bytes | None) -> None:
        """Send the head and what a new subscriber is sent at once, and wait for more."""
        around = self._around
        with socket.socket(fileno=self.descriptor) as named:
            # Else the kernel would keep thousands of events for one that reads none; one of each pair has room.
            room = max(STREAM_SNDBUF, EVENT_BYTES * len(choice.slugs))
            named.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, room)
            named.detach()
        around.state.connections.add(self)  # type: ignore[arg-type]
        watch_over(around.state, around.loop)
        around.poller.add(self.descriptor, self._read)
        first = around.streams.join(self, choice, known)
        self._send(head + (first.chunk if self.is_chunked else first.body))

    @classmethod
    def push(cls, several: Sequence["PushedTo"], common: Message, before: int, after: int) -> int:
        """Write the same bytes to each, unless something older is still unsent: then the newest follows that."""
        data, events = common.chunk if cls.is_chunked else common.body, 0
        size = len(data)
        for each in several:
            if each.version != before or each._unsent:
                events += each._push_other(common)
                continue
            each.version = after
            events += common.events
            try:
                taken = write(each.descriptor, data)
            except OSError as error:
                taken = each._taken_at(error)
            if taken < size:
                each._keep(data[taken:])
        return events

    def shutdown(self) -> None:
        """The server ends; the streams are let go one by one."""

    def leave(self) -> None:
        """End the stream, as soon as what was begun is sent."""
        self._is_leaving = True
        if not self._unsent:
            self._send(LAST_CHUNK if self.is_chunked else b"")
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self.descriptor != NO_SOCKET:
            self._around.streams.part(self)
            self._around.state.connections.discard(self)
            self._around.poller.forget(self.descriptor)
            descriptor, self.descriptor = self.descriptor, NO_SOCKET
            os.close(descriptor)

    def close_if_overdue(self, now: float) -> None:
        """Close one that has taken nothing of what was sent for too long."""
        if self._unsent and now - self._unsent_since > UNREAD_SECONDS:
            self._around.streams.counts.closed += 1
            self.abort()

    def _push_other(self, common: Message) -> int:
        if self._unsent:
            self._around.streams.counts.dropped += common.events
            return 0
        new = self._news()
        # If it lacks nothing, a comment is still worth sending.
        return self._give(new if new.body or common is not COMMENT else COMMENT)

    def _news(self) -> Message:
        """What this subscriber lacks."""
        streams = self._around.streams
        new = self.channel.news(self.version, streams.clock.monotonic())
        self.version = streams.version
        return new

    def _give(self, new: Message) -> int:
        if new.body:
            self._send(new.chunk if self.is_chunked else new.body)
        return new.events

    def _send(self, data: bytes) -> None:
        try:
            taken = write(self.descriptor, data)
        except OSError as error:
            taken = self._taken_at(error)
        if taken < len(data):
            self._keep(data[taken:])

    def _taken_at(self, error: OSError) -> int:
        """What the kernel takes of data at an error; of a lost connection nothing is kept, so that is as if all."""
        if isinstance(error, BlockingIOError):
            return 0
        self.abort()
        return sys.maxsize

    def _keep(self, unsent: bytes) -> None:
        """Send it when there is room for it."""
        self._unsent, self._unsent_since = unsent, time.monotonic()
        self._around.poller.wait_to_write(self.descriptor, self._go_on)

    def _go_on(self) -> None:
        """The client takes more: first what was begun, and then only what is newest."""
        unsent, self._unsent = self._unsent, b""
        self._around.poller.stop_writing(self.descriptor)
        self._send(unsent)
        if self._is_leaving:
            self.leave()
        elif not self._unsent and self.descriptor != NO_SOCKET:
            self._around.streams.counts.events += self._give(self._news())

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


class PushedToOld(PushedTo):
    """One of HTTP/1.0."""

    __slots__ = ()
    is_chunked = False
