"""A quote as bytes and headers: the only place that knows the wire format of a price."""

from email.utils import formatdate
from hashlib import blake2b
from typing import Any

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from fastprice.domain.quote import Quote

Headers = list[tuple[bytes, bytes]]

JSON = b"content-type", b"application/json"
SHARED = [
    (b"access-control-allow-origin", b"*"),
    (b"access-control-expose-headers", b"ETag, Last-Modified, Date, Retry-After"),
]


def price_fields(quote: Quote) -> dict[str, Any]:
    """The fields of a quote as /openapi.json describes them; amounts stay the decimal strings that the quote has."""
    agreement = quote.agreement
    agreed = {
        "sources": agreement.sources, "spread": agreement.spread, "made_at_ms": agreement.made_at_ms,
    } if agreement else {}  # fmt: skip
    return {
        "symbol": quote.pair.symbol,
        "base": quote.pair.base,
        "quote": quote.pair.quote,
        "price": quote.price,
        "bid": quote.bid,
        "ask": quote.ask,
        "volume_24h": quote.volume_24h,
        "high_24h": quote.high_24h,
        "low_24h": quote.low_24h,
        "open_24h": quote.open_24h,
        "source": quote.source,
        "source_time_ms": quote.source_time_ms,
        "fetched_at_ms": quote.fetched_at_ms,
        **agreed,
    }


class Answer:
    """A body with its ETag and headers, as it may be sent any number of times; `modified_ms` is a wall time."""

    __slots__ = ("body", "etag", "_modified")

    def __init__(self, body: bytes, modified_ms: int | None = None) -> None:
        self.body = body
        # A strong ETag: the same bytes have the same one in every worker of every replica.
        self.etag = b'"%s"' % blake2b(body, digest_size=9).hexdigest().encode()
        self._modified = b"" if modified_ms is None else formatdate(modified_ms // 1000, usegmt=True).encode()

    def headers(self, max_age: int) -> tuple[Headers, Headers]:
        """The headers of a 200 and of a 304 that caches may keep for `max_age` seconds.

        They are not stored: the lane needs them once per message, and those of each pair would take 800 bytes.
        """
        modified = [(b"last-modified", self._modified)] if self._modified else []
        unchanged = [(b"cache-control", b"public, max-age=%d" % max_age), (b"etag", self.etag), *modified, *SHARED]
        return [JSON, (b"content-length", b"%d" % len(self.body)), *unchanged], unchanged

    async def send(self, max_age: int, scope: Scope, send: Send) -> None:
        """Answer a request with this: 304 if the request says that the client has the body already, else 200."""
        full, unchanged = self.headers(max_age)
        condition = b",".join([value for name, value in scope["headers"] if name == b"if-none-match"])
        if condition and matches(condition, self.etag):
            await send({"type": "http.response.start", "status": 304, "headers": unchanged})
            await send({"type": "http.response.body", "body": b""})
            return
        await send({"type": "http.response.start", "status": 200, "headers": full})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else self.body})

    def app(self, max_age: int) -> ASGIApp:
        """An ASGI application that sends this."""

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            await self.send(max_age, scope, send)

        return respond


def price_answer(quote: Quote, stale: bool) -> Answer:
    """The answer for a quote while it is fresh, or while it is stale."""
    body = orjson.dumps(price_fields(quote) | {"stale": stale})
    # A copy, because the bytes that orjson returns keep the buffer of 4 KB or more in which they were written.
    return Answer(bytes(memoryview(body)), quote.made_at_ms)


def matches(if_none_match: bytes, tag: bytes) -> bool:
    """Whether an If-None-Match field names this tag, compared weakly (RFC 9110, 13.1.2)."""
    if if_none_match == tag or if_none_match == b"*":
        return True
    if if_none_match.find(tag) < 0 and if_none_match.find(b"*") < 0:
        return False  # The usual case; checking every word of a list takes much longer.
    words = (word.strip().removeprefix(b"W/") for word in if_none_match.split(b","))
    return any(word in (tag, b"*") for word in words)
