"""Gate spot, from its public documentation (API v4: list tickers, rate limits, error labels; websocket v4: tickers,
ping, error codes) and its maintainers' answers (gatews#25, #34); refused lists were captured by ccxt.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import Pair, SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, seconds_left
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, rows_by
from fastprice.infrastructure.exchanges.stream import Channel, KeepAlive, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Op, Reject, Request, Said, Topic, by_words, frame, is_duplicate, member, numbered, row_of
)
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    # INVALID_CURRENCY means a delisted currency.
    UnknownSymbol: ("INVALID_CURRENCY_PAIR", "INVALID_CURRENCY"),
    RateLimited: ("TOO_MANY_REQUESTS", "TOO_FAST"),
    SourceDown: ("SERVER_ERROR", "TOO_BUSY", "INTERNAL"),
    SourceRefused: (
        "FORBIDDEN", "IP_FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "NOT_ACCEPTABLE", "INVALID_PROTOCOL"
    ),
}
_TICKER = Ticker(
    price="last", bid="highest_bid", ask="lowest_ask", volume="base_volume", high="high_24h", low="low_24h"
)
_ROWS = rows_by("currency_pair")
_TICKERS = "/api/v4/spot/tickers"


def _symbol(pair: Pair) -> str:
    return f"{pair.base}_{pair.quote}"


_CHANNEL = "spot.tickers"
_REFUSED = re.compile(r"unknown currency pair:?\s*(\w+)", re.ASCII)
# By the text, and by the code in front of it, because the same code stands for every wrong argument.
_STREAM_ERRORS: Errors = {
    UnknownSymbol: ("unknown currency pair",),
    RateLimited: ("too many", "too fast", "too frequent"),
    SourceDown: ("code 3:", "internal"),
}


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    # The time must be within a minute of the server's.
    return numbered(topics, _TOPICS, number, lambda group, at: {
        "time": wall_ms // 1000, "id": at, "channel": _CHANNEL, "event": op.value,
        "payload": [topic.symbol for topic in group],
    })  # fmt: skip


def _read(message: Any) -> Iterable[Said]:
    channel, event = said(message, "channel"), said(message, "event")
    if channel == "spot.pong":
        return [Alive("pong")]
    if channel == _CHANNEL and event == "update":
        return row_of(channel, said(message, ("result", "currency_pair")), message)
    request, error = said(message, "id"), member(message, "error")
    if event == "unsubscribe":
        return []
    if isinstance(error, dict):
        return [_refusal(f"code {said(error, 'code')}: {said(error, 'message')}", request)]
    return [Ack(request=request)] if said(message, ("result", "status")) == "success" else []


def _refusal(words: str, request: str) -> Said:
    match = _REFUSED.search(words)
    topics = (Topic(_CHANNEL, match[1]),) if match else ()
    # One unknown pair makes the exchange refuse the whole list.
    refused = Reject(by_words(_STREAM_ERRORS, words), topics, request, others_too=bool(topics))
    return Ack(topics, request) if is_duplicate(words) else refused


# No limit is published.
_TOPICS = 100
_STREAM = Stream(
    host="wss://api.gateio.ws",
    # Without the trailing slash the path does not exist.
    path="/ws/v4/",
    # Once a second, if something has changed.
    channels={
        _CHANNEL: Channel(
            Ticker(
                price=("result", "last"), bid=("result", "highest_bid"), ask=("result", "lowest_ask"),
                volume=("result", "base_volume"), high=("result", "high_24h"), low=("result", "low_24h"),
                time="time_ms",
            )
        )
    },
    symbol=_symbol,
    requests=_requests,
    read=_read,
    # At most 300 connections per IP address, 100 advised. Slow readers are cut, so pairs per connection are limited.
    limits=Limits(pairs=170, topics=_TOPICS, pause_seconds=0.1, connects=Limit(burst=5.0, per_second=1.0)),
    patience=Patience(any_frame=30.0),
    # The stamp is that of the message.
    source_time=SourceTime.REPLY,
    keep_alive=KeepAlive(lambda number, wall_ms: frame({"time": wall_ms // 1000, "channel": "spot.ping"}), 15.0),
)

EXCHANGE = Exchange(
    name="gate",
    base_url="https://api.gateio.ws",
    source_time=SourceTime.NONE,
    # 200 calls in 10 s.
    limit=Limit(burst=25.0, per_second=14.0),
    symbol=_symbol,
    open=envelope("label", "", "message", _ERRORS),
    single=Form(lambda symbols: f"{_TICKERS}?currency_pair={symbols[0]}", _ROWS, _TICKER),
    whole=Form(lambda symbols: _TICKERS, _ROWS, _TICKER),
    resets_in=seconds_left("x-gate-ratelimit-reset-timestamp", is_time=True),
    stream=_STREAM,
)
