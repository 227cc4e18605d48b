"""A quote as bytes and headers: the only place that knows the wire shape of a price."""

import math
from dataclasses import dataclass, field
from email.utils import formatdate
from hashlib import blake2b
from typing import Any

import orjson

from fastprice.application.latest_price import Snapshot
from fastprice.domain.quote import Quote

Headers = list[tuple[bytes, bytes]]

ALLOW_ORIGIN = (b"access-control-allow-origin", b"*")
EXPOSE = (b"access-control-expose-headers", b"ETag, Last-Modified, Date, Retry-After")
CONTENT_TYPE = (b"content-type", b"application/json")


def price_fields(quote: Quote, stale: bool) -> dict[str, Any]:
    """The price object as spec'd in /openapi.json; amounts stay the decimal strings they came as."""
    return {
        "symbol": quote.pair.symbol,
        "base": quote.pair.base,
        "quote": quote.pair.quote,
        "price": quote.price,
        "bid": quote.bid,
        "ask": quote.ask,
        "volume_24h": quote.volume_24h,
        "source": quote.source,
        "source_time_ms": quote.source_time_ms,
        "fetched_at_ms": quote.fetched_at_ms,
        "stale": stale,
    }


@dataclass(slots=True)
class Answer:
    """One body with its headers for 200 and 304, one pair of lists for each value of Cache-Control."""

    body: bytes
    etag: bytes
    last_modified: bytes
    _headers: dict[int, tuple[Headers, Headers]] = field(default_factory=dict)

    def headers(self, max_age: int) -> tuple[Headers, Headers]:
        """The lists for 200 and for 304, made at most once per second of freshness left."""
        made = self._headers.get(max_age)
        if made is None:
            made = self._headers[max_age] = self._make(b"public, max-age=%d" % max_age)
        return made

    def _make(self, cache_control: bytes) -> tuple[Headers, Headers]:
        shared = [
            (b"cache-control", cache_control),
            (b"etag", self.etag),
            (b"last-modified", self.last_modified),
            ALLOW_ORIGIN,
            EXPOSE,
        ]
        return [CONTENT_TYPE, (b"content-length", b"%d" % len(self.body)), *shared], shared


@dataclass(frozen=True, slots=True)
class PriceAnswers:
    """What is served for a quote while it is fresh, and while it is stale."""

    fresh: Answer
    stale: Answer


def render(quote: Quote) -> PriceAnswers:
    """Render both answers of a quote: done once per change, not per request."""
    return PriceAnswers(_answer(quote, stale=False), _answer(quote, stale=True))


def longest_max_age(refresh_interval: float) -> int:
    """How many seconds a cache may keep a fresh price: about as long as there is no newer one."""
    return math.ceil(refresh_interval)


def current(snapshot: Snapshot[PriceAnswers], now: float, longest: int) -> tuple[Answer, int, bool] | None:
    """What is served at the monotonic second `now`: the answer, its max-age, whether it is fresh; None if expired.

    A cache may keep a fresh answer for the whole seconds of freshness left, but at most `longest`; and a stale answer
    for a second, but never past the end of its use.
    """
    if now <= snapshot.fresh_until:
        return snapshot.rendered.fresh, min(int(snapshot.fresh_until - now), longest), True
    if now <= snapshot.usable_until:
        return snapshot.rendered.stale, min(int(snapshot.usable_until - now), 1), False
    return None


def _answer(quote: Quote, stale: bool) -> Answer:
    body = orjson.dumps(price_fields(quote, stale))
    return Answer(body, etag(body), formatdate(quote.fetched_at_ms // 1000, usegmt=True).encode())


def etag(body: bytes) -> bytes:
    """A strong validator: the same bytes have the same one in every worker of every replica."""
    return b'"%s"' % blake2b(body, digest_size=9).hexdigest().encode()


def matches(if_none_match: bytes, tag: bytes) -> bool:
    """Whether an If-None-Match field names this tag, compared weakly (RFC 9110, 13.1.2)."""
    if if_none_match == tag:
        return True
    words = (word.strip().removeprefix(b"W/") for word in if_none_match.split(b","))
    return any(word in (tag, b"*") for word in words)
