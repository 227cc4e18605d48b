"""Coinbase Exchange, from its public documentation (docs.cdp.coinbase.com/exchange: product ticker, errors,
websocket feed: overview, channels, rate limits).

Whether the other products of a refused request are served differs between captures (coinbase-pro-node#174).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, check_status, complaint, read_body
from fastprice.infrastructure.exchanges.spec import Exchange, Form, dashed
from fastprice.infrastructure.exchanges.stream import Channel, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Op, Reject, Request, Said, Topic, by_words, is_duplicate, member, row_of, rows, unnamed
)
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker, rfc3339


def _open(reply: Reply) -> Any:
    body = None if reply.status == 404 else read_body(reply)
    message = said(body, "message")
    if reply.status == 404 or reply.status == 400 and "delisted" in message:
        raise complaint(UnknownSymbol, reply, f"HTTP {reply.status}: it is not listed. {message}")
    check_status(reply, message)
    return body


_REFUSED = re.compile(r"([\w-]+) is not a valid product", re.ASCII)
_STREAM_ERRORS: Errors = {
    UnknownSymbol: ("not a valid product", "delisted"),
    RateLimited: ("rate limit", "too many"),
    SourceDown: ("internal", "try again"),
}


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    def message(group: Sequence[Topic]) -> Any:
        channels = [{"name": "ticker", "product_ids": [topic.symbol for topic in group]}]
        # Tickers come with trades only, so one product's heartbeat shows that the connection is alive.
        if op is Op.SUBSCRIBE and group[0] == topics[0]:
            channels.append({"name": "heartbeat", "product_ids": [group[0].symbol]})
        return {"type": op.value, "channels": channels}

    return unnamed(topics, _TOPICS, message)


def _read(message: Any) -> Iterable[Said]:
    kind = said(message, "type")
    if kind == "ticker":
        return row_of(kind, said(message, "product_id"), message)
    if kind == "heartbeat":
        return [Alive(kind)]
    if kind == "subscriptions":
        topics = tuple(_listed(message))
        # An Ack without topics would confirm everything that was requested.
        return [Ack(topics)] if topics else [Alive(kind)]
    return [_refusal(message)] if kind == "error" else []


def _listed(message: Any) -> Iterable[Topic]:
    """All topics that are subscribed to now."""
    for channel in rows(member(message, "channels")):
        if said(channel, "name") == "ticker":
            products = rows(member(channel, "product_ids"))
            yield from (Topic("ticker", product) for product in products if isinstance(product, str))


def _refusal(message: Any) -> Said:
    words = f"{said(message, 'message')} {said(message, 'reason')}"
    match = _REFUSED.search(words)
    topics = (Topic("ticker", match[1]),) if match else ()
    if is_duplicate(words):
        return Ack(topics)
    return Reject(by_words(_STREAM_ERRORS, words), topics, others_too=bool(topics))


# The limit per request is not published; with few topics, few are lost if one of them makes the whole request fail.
_TOPICS = 50
_STREAM = Stream(
    host="wss://ws-feed.exchange.coinbase.com",
    path="",
    # Up-to-date best prices would need the channel of whole order books.
    channels={
        "ticker": Channel(
            Ticker(
                price="price", bid="best_bid", ask="best_ask", volume="volume_24h", high="high_24h", low="low_24h",
                open="open_24h", time="time", read_time=rfc3339,
            ),
            order="sequence",
        )
    },
    symbol=dashed,
    requests=_requests,
    read=_read,
    # 8 requests a second, 20 at once; the first must come within 5 s.
    limits=Limits(pairs=170, topics=_TOPICS, pause_seconds=0.15, connects=Limit(burst=5.0, per_second=3.0)),
    # A heartbeat comes every second.
    patience=Patience(any_frame=10.0),
    source_time=SourceTime.TRADE,
    book_as_of_trade=True,
)  # fmt: skip

EXCHANGE = Exchange(
    name="coinbase",
    base_url="https://api.exchange.coinbase.com",
    source_time=SourceTime.TRADE,
    # 10 calls a second, 15 at once. No ticker request for several products gives bid and ask.
    limit=Limit(burst=5.0, per_second=7.0),
    symbol=dashed,
    open=_open,
    single=Form(
        lambda symbols: f"/products/{symbols[0]}/ticker",
        # The body names no product, so only the requested path tells which one it is.
        lambda body, symbols: {symbols[0]: body},
        Ticker(price="price", bid="bid", ask="ask", volume="volume", time="time", read_time=rfc3339),
    ),
    stream=_STREAM,
)
