"""A subscriber below ASGI: a descriptor that gets the same bytes as all others of its channel."""

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

# What a client sends on its stream is dropped; one that sends more than this is no subscriber, and is closed.
MAX_SAID_BYTES, READ_BYTES = 64 * 1024, 4096
# The approximate size of an event.
EVENT_BYTES = 512


@dataclass(slots=True)
class Around:
    """What the subscribers of one server share."""

    streams: Streams
    poller: Poller
    state: ServerState
    loop: AbstractEventLoop


class PushedTo:
    """One subscriber, with the methods that the sweep and uvicorn call on each connection."""

    __slots__ = (
        "channel", "descriptor", "version", "_around", "_unsent", "_unsent_since", "_said", "_is_leaving"
    )  # fmt: skip
    is_chunked = True
    is_closing = False
    has_asked = True
    # The client waits for the server, not the reverse: a shortage of descriptors never ends a stream.
    waits_since = None
    channel: Channel

    def __init__(self, around: Around, descriptor: int) -> None:
        self.descriptor, self.version, self._around = descriptor, 0, around
        self._unsent, self._unsent_since = b"", 0.0
        self._said, self._is_leaving = 0, False

    def begin(self, head: bytes, choice: Choice, known: bytes | None) -> None:
        """Send the head and the first events, and wait for more."""
        around = self._around
        with socket.socket(fileno=self.descriptor) as named:
            # Otherwise the kernel would keep thousands of events for a client that reads none; one per pair has room.
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
        """Write the same bytes to each; if older bytes are still unsent, only the newest events follow them."""
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
        """Do nothing: at shutdown, `Streams.drain` ends the streams one by one."""

    def leave(self) -> None:
        """End the stream as soon as its unsent bytes are sent."""
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
        """Close a subscriber that has not read what was sent for too long."""
        if self._unsent and now - self._unsent_since > UNREAD_SECONDS:
            self._around.streams.counts.closed += 1
            self.abort()

    def _push_other(self, common: Message) -> int:
        if self._unsent:
            self._around.streams.counts.dropped += common.events
            return 0
        new = self._news()
        # A comment is sent even to a subscriber that lacks no event.
        return self._give(new if new.body or common is not COMMENT else COMMENT)

    def _news(self) -> Message:
        """The events that this subscriber lacks."""
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
        """How many bytes count as taken at an error: none if the write would block, all if the connection is lost."""
        if isinstance(error, BlockingIOError):
            return 0
        self.abort()
        return sys.maxsize

    def _keep(self, unsent: bytes) -> None:
        """Keep these bytes until the kernel has room for them."""
        self._unsent, self._unsent_since = unsent, time.monotonic()
        self._around.poller.wait_to_write(self.descriptor, self._go_on)

    def _go_on(self) -> None:
        """The kernel has room again: send the unsent bytes first, and then only the newest events."""
        unsent, self._unsent = self._unsent, b""
        self._around.poller.stop_writing(self.descriptor)
        self._send(unsent)
        if self._is_leaving:
            self.leave()
        elif not self._unsent and self.descriptor != NO_SOCKET:
            self._around.streams.counts.events += self._give(self._news())

    def _read(self) -> None:
        """Drop what the client sends; when it closes, the subscription ends."""
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
    """A subscriber with HTTP/1.0."""

    __slots__ = ()
    is_chunked = False
