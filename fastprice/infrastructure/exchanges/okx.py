"""OKX spot, from its public documentation (docs-v5: market data, error codes, websocket tickers).

Captures by others (streams of 2026-10) show that the other pairs of a refused request are served.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors
from fastprice.infrastructure.exchanges.spec import Exchange, Form, dashed, envelope, rows_by
from fastprice.infrastructure.exchanges.stream import Channel, KeepAlive, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Notice, Op, Reject, Request, Row, Said, Topic, by_code, is_duplicate, member, numbered, rows
)
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker

# Errors come with HTTP 200 as well.
_ERRORS: Errors = {
    # No such instrument, token or index, or one of another type.
    UnknownSymbol: ("51001", "51002", "51012", "51014", "51015", "51026"),
    RateLimited: ("50011", "50040", "50061"),
    # Upgrade, timeout, offline, busy, system error.
    SourceDown: ("50001", "50004", "50005", "50013", "50026"),
    # A form of request that the exchange does not accept.
    SourceRefused: ("50002", "50006", "50062", "50115"),
}
_TICKER = Ticker(
    price="last", bid="bidPx", ask="askPx", volume="vol24h", high="high24h", low="low24h", open="open24h", time="ts"
)
_ROWS = rows_by("instId", "data")


# If an error says which argument it means, it does so only in its text.
_REFUSED = re.compile(r"channel:([\w-]+),\s*instId:([\w-]+)", re.ASCII)
_STREAM_ERRORS: Errors = {UnknownSymbol: ("60018",), RateLimited: ("60014",), SourceDown: ("64007",)}


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    return numbered(topics, _TOPICS, number, lambda group, at: {
        "id": str(at), "op": op.value,
        "args": [{"channel": topic.channel, "instId": topic.symbol} for topic in group],
    })  # fmt: skip


def _read(message: Any) -> Iterable[Said]:
    if message == "pong":
        return [Alive("pong")]
    argument = member(message, "arg")
    named = Topic(said(argument, "channel"), said(argument, "instId")) if argument else Topic("", "")
    if data := rows(member(message, "data")):
        is_price = named.channel in _STREAM.channels
        return [Row(*named, row) for row in data if _is_of(named.symbol, row)] if is_price else []
    event, request = said(message, "event"), said(message, "id")
    if event == "subscribe" and all(named):
        return [Ack((named,), request)]
    if event == "error":
        return [_refusal(said(message, "code"), said(message, "msg"), request)]
    return [Notice()] if event == "notice" and said(message, "code") == "64008" else []


def _is_of(symbol: str, row: Any) -> bool:
    """Whether a row is of this pair and has a trade: with a last size of zero, the pair was never traded."""
    size = said(row, "lastSz")
    return said(row, "instId") == symbol and (not size or size.strip("0.") != "")


def _refusal(code: str, words: str, request: str) -> Said:
    match = _REFUSED.search(words)
    topics = (Topic(match[1], match[2]),) if match else ()
    if is_duplicate(words):
        return Ack(topics, request)
    return Reject(by_code(_STREAM_ERRORS, code, words), topics, request)


# This many of the longest names stay below the 4,096 bytes of older documentation; the newer one allows 64 KB.
_TOPICS = 50
_STREAM = Stream(
    host="wss://ws.okx.com:8443",
    path="/ws/v5/public",
    # On every trade and every change of the best prices, at most ten times a second.
    channels={"tickers": Channel(_TICKER)},
    symbol=dashed,
    requests=_requests,
    read=_read,
    # 3 connections a second; 480 requests an hour per connection. The limit of channels is not published.
    limits=Limits(pairs=100, topics=_TOPICS, pause_seconds=0.3, connects=Limit(burst=1.0, per_second=2.0)),
    patience=Patience(any_frame=30.0),
    source_time=SourceTime.PRICE,
    # It closes a connection after 30 s without a message from us; WebSocket pings do not count.
    keep_alive=KeepAlive(lambda number, wall_ms: "ping", 20.0),
    closes={
        1009: SourceRefused, 4002: SourceRefused, 4004: SourceDown, 4005: SourceDown, 4006: SourceDown,
        4008: RateLimited, 4009: RateLimited,
    },
)  # fmt: skip

EXCHANGE = Exchange(
    name="okx",
    base_url="https://www.okx.com",
    source_time=SourceTime.PRICE,
    # 20 calls in 2 s.
    limit=Limit(burst=3.0, per_second=6.0),
    symbol=dashed,
    open=envelope("code", "0", "msg", _ERRORS),
    single=Form(lambda symbols: f"/api/v5/market/ticker?instId={symbols[0]}", _ROWS, _TICKER),
    whole=Form(lambda symbols: "/api/v5/market/tickers?instType=SPOT", _ROWS, _TICKER),
    stream=_STREAM,
)
