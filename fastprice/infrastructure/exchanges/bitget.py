"""Bitget spot, from its public documentation (API v2: spot tickers, error codes, websocket: connect, ticker channel);
refusals and frequencies were captured by others (ccxt; arbitrage-observatory, 2026-09).
"""

from collections.abc import Iterable, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, joined, rows_by
from fastprice.infrastructure.exchanges.stream import Channel, KeepAlive, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Op, Reject, Request, Row, Said, Topic, by_code, is_duplicate, member, rows, unnamed
)
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    UnknownSymbol: ("40034", "40309"),
    RateLimited: ("429", "1001", "30007", "30014", "30026"),
    Blocked: ("40000",),
    # Timeout, system, upgrade, busy, unknown.
    SourceDown: ("500", "40010", "40015", "40200", "40604", "40725", "45001"),
    SourceRefused: ("404", "405", "40018", "40404"),
}
_TICKER = Ticker(
    price="lastPr", bid="bidPr", ask="askPr", volume="baseVolume", high="high24h", low="low24h", open="open", time="ts"
)
_ROWS = rows_by("symbol", "data")
_TICKERS = "/api/v2/spot/market/tickers"


_STREAM_ERRORS: Errors = {UnknownSymbol: ("30001",), RateLimited: ("30006", "30007")}


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    return unnamed(topics, _TOPICS, lambda group: {
        "op": op.value,
        "args": [{"instType": "SPOT", "channel": topic.channel, "instId": topic.symbol} for topic in group],
    })  # fmt: skip


def _read(message: Any) -> Iterable[Said]:
    if message == "pong":
        return [Alive("pong")]
    argument = member(message, "arg")
    named = Topic(said(argument, "channel"), said(argument, "instId")) if argument else Topic("", "")
    topics = (named,) if all(named) and said(argument, "instType") == "SPOT" else ()
    if data := rows(member(message, "data")):
        is_price = topics and named.channel in _STREAM.channels
        return [Row(*named, row) for row in data if said(row, "instId") == named.symbol] if is_price else []
    event = said(message, "event")
    if event == "subscribe" and topics:
        return [Ack(topics)]
    if event == "error" and said(message, "op") != "unsubscribe":
        code, words = said(message, "code"), said(message, "msg")
        return [Ack(topics) if is_duplicate(words) else Reject(by_code(_STREAM_ERRORS, code, words), topics)]
    return []


# 4,096 bytes of arguments are allowed, and 60 were accepted; the successor of this API drops clients that send 25.
_TOPICS = 20
_STREAM = Stream(
    host="wss://ws.bitget.com",
    path="/v2/ws/public",
    # Several times a second, whether something changes or not.
    channels={
        "ticker": Channel(
            Ticker(
                price="lastPr", bid="bidPr", ask="askPr", volume="baseVolume", high="high24h", low="low24h",
                open="open24h", time="ts",
            )
        )
    },
    symbol=joined,
    requests=_requests,
    read=_read,
    # Fewer than 50 channels per connection are recommended. 10 messages a second and 240 requests an hour per
    # connection; 300 connections in 5 minutes.
    limits=Limits(pairs=49, topics=_TOPICS, pause_seconds=0.15, connects=Limit(burst=5.0, per_second=0.9)),
    # The documentation promises a message only if something changes, so a single pair may be quiet for a while.
    patience=Patience(any_frame=40.0, any_data=30.0),
    source_time=SourceTime.PRICE,
    # Without it the connection ends after two minutes, also while data flows.
    keep_alive=KeepAlive(lambda number, wall_ms: "ping", 30.0),
    # The exchange cuts connections after 24 hours.
    lifetime_seconds=23 * 3600.0,
)

EXCHANGE = Exchange(
    name="bitget",
    base_url="https://api.bitget.com",
    source_time=SourceTime.PRICE,
    # 20 calls a second, and 6,000 a minute.
    limit=Limit(burst=3.0, per_second=12.0),
    symbol=joined,
    open=envelope("code", "00000", "msg", _ERRORS),
    single=Form(lambda symbols: f"{_TICKERS}?symbol={symbols[0]}", _ROWS, _TICKER),
    whole=Form(lambda symbols: _TICKERS, _ROWS, _TICKER),
    stream=_STREAM,
)
