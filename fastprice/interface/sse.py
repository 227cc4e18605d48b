"""What subscribers are sent: Server-Sent Events of pairs, and the head before them."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from fastprice.domain.quote import Freshness
from fastprice.interface.price_json import SHARED, Headers
from fastprice.interface.price_snapshot import PricePlace

RETRY = b"retry: 1000\n\n"
SILENCE = b":\n\n"
HEADERS: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
    *SHARED,
]


class Message(NamedTuple):
    """Some events as they are, and as one chunk of an HTTP/1.1 body."""

    events: int
    body: bytes
    chunk: bytes


def message(parts: Sequence[bytes], events: int) -> Message:
    body = b"".join(parts)
    return Message(events, body, b"%x\r\n%b\r\n" % (len(body), body) if body else b"")


COMMENT = message([SILENCE], 0)
LAST_CHUNK = b"0\r\n\r\n"


class Feed:
    """One pair as subscribers see it; price and state last changed at the versions `price_at` and `state_at`."""

    def __init__(self, place: PricePlace) -> None:
        self.place = place
        self.state: Freshness | None = None
        self.price_at = self.state_at = 0

    def price(self, now: float, with_id: bool) -> bytes:
        """The event of the price that may be served at the monotonic second `now`; empty where there is none."""
        snapshot = self.place.snapshot
        served = snapshot.current(now) if snapshot else None
        if snapshot is None or served is None:
            return b""
        identity = b"id: %d\n" % snapshot.quote.made_at_ms if with_id else b""
        return b"%bevent: price\ndata: %b\n\n" % (identity, served.answer.body)

    def freshness(self) -> bytes:
        """The event of the state; empty before the first price."""
        snapshot = self.place.snapshot
        if snapshot is None or self.state is None:
            return b""
        told = (self.place.pair.symbol.encode(), self.state.value.encode(), snapshot.quote.fetched_at_ms)
        return b'event: state\ndata: {"symbol":"%b","state":"%b","fetched_at_ms":%d}\n\n' % told


def news(feeds: Iterable[Feed], version: int, now: float, with_id: bool) -> Message:
    """What is new about these pairs since a version: the newest price, then the state it is in."""
    parts = []
    for feed in feeds:
        if feed.price_at > version:
            parts.append(feed.price(now, with_id))
        if feed.state_at > version:
            parts.append(feed.freshness())
    return message(parts, sum(map(bool, parts)))


def welcome(feeds: Iterable[Feed], now: float, with_id: bool, known: bytes | None) -> Message:
    """What a new subscriber is sent at once: every current price except a known one, and each state that is not fresh.

    `known` is its Last-Event-ID; it counts only where events have an id.
    """
    parts = [RETRY]
    for feed in feeds:
        snapshot = feed.place.snapshot
        if snapshot and not (with_id and known == b"%d" % snapshot.quote.made_at_ms):
            parts.append(feed.price(now, with_id))
        if snapshot and snapshot.freshness(now) is not Freshness.FRESH:
            parts.append(feed.freshness())
    return message(parts, sum(map(bool, parts)) - 1)
