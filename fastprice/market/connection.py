"""One client of a source's streams: what it listens to, what is sent to it, and how it is disconnected."""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from aiohttp import WSMessage, WSMsgType

from fastprice.domain.quote import Pair
from fastprice.market.deeds import Deed
from fastprice.market.dialect import Topic
from fastprice.market.forms import Json, encoded
from fastprice.market.frames import PING, PONG, closing, frame
from fastprice.market.limits import Bucket, Window

if TYPE_CHECKING:
    from fastprice.market.feed import Feed

ABNORMAL = 1006
HEARTBEAT_SECONDS = 0.9
RESET = struct.pack("ii", 1, 0)
# How long a client has to answer the closing frame.
CLOSE_SECONDS = 1.0
# A client with more unread bytes is disconnected, as exchanges do; a burst and the largest frame still fit.
MAX_UNSENT_BYTES = 64 << 20


class Connection:
    """One client; what is sent goes straight to the socket, and no method waits."""

    def __init__(self, feed: "Feed", transport: asyncio.Transport, path: str, query: Mapping[str, str]) -> None:
        self.feed, self.path, self.query = feed, path, query
        self.topics: dict[Topic, None] = {}
        self.is_closing = False
        self.opened_at = self.heard_at = self.active_at = self.ponged_at = self.pinged_at = feed.pace.clock()
        self.reproached: set[str] = set()
        # For a fault that sends bytes one by one.
        self.slow: bytearray | None = None
        self._transport, self._unsent = transport, list[bytes]()
        dialect = feed.dialect
        self._messages = [limit.meter() for limit in dialect.messages]
        self._subscribes = [limit.meter() for limit in dialect.subscribes]

    @property
    def is_gone(self) -> bool:
        return self._transport.is_closing()

    def say(self, body: Json | str) -> None:
        """Send a reply at once."""
        self.put(frame(body.encode() if isinstance(body, str) else encoded(body)))
        self.flush()

    def ack(self, body: Json) -> None:
        """Confirm a subscribe."""
        if self.feed.permits(Deed.ACK):
            self.say(body)

    def pong(self, body: Json | str) -> None:
        """Answer a ping of the exchange's own kind."""
        if self.feed.permits(Deed.PONG):
            self.say(body)

    def ping(self) -> None:
        self.pinged_at = self.feed.pace.clock()
        self.put(frame(b"", PING))
        self.flush()

    def put(self, data: bytes) -> None:
        """Add to what the next `flush` sends."""
        self._unsent.append(data)

    def flush(self) -> None:
        data = b"".join(self._unsent)
        self._unsent.clear()
        if not data or self.is_closing or self.is_gone or not self.feed.permits(Deed.WRITE):
            return
        self.active_at = self.feed.pace.clock()
        if self.slow is not None:
            self.slow += data
        else:
            self.write(data)

    def write(self, data: bytes) -> None:
        if self._transport.get_write_buffer_size() + len(data) > MAX_UNSENT_BYTES:
            self.feed.exceeded["slow reader"] += 1
            self._transport.abort()
        elif not self.is_gone:
            self._transport.write(data)

    def find(self, symbol: str) -> Pair | None:
        """The listed pair of a symbol."""
        pair = self.feed.find(symbol)
        return pair if self.feed.permits(Deed.FIND, pair) else None

    def listen(self, *topics: Topic) -> None:
        """Send the client the pushes of these topics from now on."""
        for topic in topics:
            if topic not in self.topics:
                self.topics[topic] = None
                self.feed.add(self, topic)
        self.feed.flush()

    def unlisten(self, *topics: Topic) -> None:
        for topic in topics:
            if topic in self.topics:
                del self.topics[topic]
                self.feed.remove(self, topic)

    def exceeds(self, limit: str, is_over: bool) -> bool:
        """Count what exceeds a documented limit; true only if limits are enforced."""
        self.feed.exceeded[limit] += is_over
        return is_over and self.feed.pace.limits

    def subscribes_too_often(self) -> bool:
        return self.exceeds("subscribes", self._is_over(self._subscribes))

    def heard(self, message: WSMessage) -> None:
        """Handle what the client sent."""
        if self.is_closing or not self.feed.permits(Deed.HEAR):
            return
        dialect, now = self.feed.dialect, self.feed.pace.clock()
        self.active_at = now
        is_text = message.type in (WSMsgType.TEXT, WSMsgType.BINARY)
        if message.type is WSMsgType.PONG:
            self.ponged_at = now
        if (is_text or dialect.counts_frames) and self.exceeds("messages", self._is_over(self._messages)):
            dialect.flood(self)
        elif message.type is WSMsgType.PING and self.feed.permits(Deed.PONG):
            self.put(frame(message.data, PONG))
            self.flush()
        elif is_text:
            self.heard_at = now
            text = message.data if isinstance(message.data, str) else message.data.decode(errors="replace")
            self._take(text)

    def tend(self) -> None:
        """Send a heartbeat and a ping if they are due, and disconnect a client that took too long."""
        dialect, now = self.feed.dialect, self.feed.pace.clock()
        for patience in dialect.patience:
            waited = now - getattr(self, patience.since)
            if waited <= patience.seconds or (patience.idle and self.topics) or patience.since in self.reproached:
                continue
            self.reproached.add(patience.since)
            if self.exceeds("patience", True):
                self.close(patience.code, patience.reason)
        if dialect.ping_seconds and now - self.pinged_at >= dialect.ping_seconds:
            self.ping()
        if dialect.heartbeat and self.topics and now - self.active_at >= HEARTBEAT_SECONDS:
            self.say(dialect.heartbeat)

    def close(self, code: int, reason: str = "") -> None:
        """Send the closing frame, or none with 1006, and close when the client has answered."""
        self.flush()
        if self.is_closing or self.is_gone:
            return
        self.is_closing = True
        if code == ABNORMAL:
            self._transport.close()
        else:
            self._transport.write(closing(code, reason))
            asyncio.get_running_loop().call_later(CLOSE_SECONDS, self._transport.close)

    def hang_up(self) -> None:
        self._transport.close()

    def reset(self) -> None:
        self.is_closing = True
        self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after some time, unless the connection is closed or the fault has changed by then."""
        switch = self.feed.switch

        def due() -> None:
            if not self.is_closing and not self.is_gone and self.feed.switch is switch:
                act()

        asyncio.get_running_loop().call_later(seconds, due)

    def _take(self, text: str) -> None:
        dialect = self.feed.dialect
        if self.exceeds("message bytes", len(text.encode()) > dialect.message_bytes):
            self.close(*dialect.too_long)
        else:
            dialect.hear(self, text)

    def _is_over(self, meters: list[Window | Bucket]) -> bool:
        now_ms = int(self.feed.pace.clock() * 1000)
        if any(meter.wait_ms(1, now_ms) for meter in meters):
            return True
        for meter in meters:
            meter.spend(1, now_ms)
        return False
