"""Bybit spot, from its public documentation (v5: market tickers, rate limit rules, error codes, websocket connect,
websocket public: ticker, orderbook), and, for its refusals, from captures of live connections by others (2026-09).
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, complaint, names_a_place, retry_after, seconds_left
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, joined, rows_by
from fastprice.infrastructure.exchanges.stream import Channel, KeepAlive, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Op, Reject, Request, Row, Said, Topic, by_words, frame, is_duplicate, member, numbered
)
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    # Officially any wrong parameter; the symbol is the only one that can be wrong.
    UnknownSymbol: ("10001", "10029", "170121"),
    RateLimited: ("10006", "10018", "10429", "170222"),
    # The region, and compliance rules.
    Blocked: ("10009", "10024"),
    # Timeout, internal error, timeout of the backend.
    SourceDown: ("10000", "10016", "170001", "170007"),
    SourceRefused: ("10005", "10010", "10017"),
}
_TOO_FREQUENT_SECONDS = 600.0
_BLOCK_CODE = re.compile(rb'"retCode"\s*:\s*"?(?:10009|10024)\b')
_TICKER = Ticker(
    price="lastPrice", bid="bid1Price", ask="ask1Price", volume="volume24h", high="highPrice24h", low="lowPrice24h",
    open="prevPrice24h",
)  # fmt: skip
_ROWS = rows_by("symbol", ("result", "list"))
_TICKERS = "/v5/market/tickers?category=spot"
_open_envelope = envelope("retCode", "0", "retMsg", _ERRORS)


def _open(reply: Reply) -> Any:
    """A 403 means a blocked country (an HTML page of the edge, or a code), or ten minutes for too many requests."""
    if reply.status != 403:
        return _open_envelope(reply)
    if names_a_place(reply) or _BLOCK_CODE.search(reply.body):
        raise complaint(Blocked, reply, "HTTP 403: not served in this country")
    raise RateLimited("HTTP 403: access too frequent", max(_TOO_FREQUENT_SECONDS, retry_after(reply, 0)))


# The exchange names the first bad topic of a request, or only its symbol, and serves none of the others.
_REFUSED = re.compile(r"Invalid symbol\s*:\s*\[(?P<symbol>\w+)\]|topic:(?P<topic>[\w.]+)", re.ASCII)
_STREAM_ERRORS: Errors = {
    UnknownSymbol: ("invalid symbol", "handler not found"),
    RateLimited: ("10429", "20003", "too frequent", "too many"),
    SourceDown: ("10016", "internal", "system busy"),
}
# The member of a message's data that names the symbol, by channel.
_CHANNELS = {"tickers": "symbol", "orderbook.1": "s"}


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    return numbered(topics, _TOPICS, number, lambda group, at: {
        "req_id": str(at), "op": op.value, "args": [".".join(topic) for topic in group],
    })  # fmt: skip


def _read(message: Any) -> Iterable[Said]:
    topic = _topic(said(message, "topic"))
    if topic.channel in _CHANNELS:
        is_whole = said(message, "type") == "snapshot"
        is_its = said(message, ("data", _CHANNELS[topic.channel])) == topic.symbol
        return [Row(*topic, message)] if is_whole and is_its else []
    op, words, request = (said(message, name) for name in ("op", "ret_msg", "req_id"))
    if op == "pong" or words == "pong":
        return [Alive("pong")]
    if op != "subscribe":
        return []
    return [Ack(request=request)] if member(message, "success") is True else [_refusal(words, request)]


def _refusal(words: str, request: str) -> Said:
    match = _REFUSED.search(words)
    # A symbol that is not listed has none of the topics.
    symbols = [Topic(channel, match["symbol"]) for channel in _CHANNELS] if match and match["symbol"] else []
    topics = (_topic(match["topic"]),) if match and match["topic"] else tuple(symbols)
    if is_duplicate(words):
        return Ack(topics, request)
    return Reject(by_words(_STREAM_ERRORS, words), topics, request, others_too=bool(topics))


def _topic(name: str) -> Topic:
    channel, _, symbol = name.rpartition(".")
    return Topic(channel, symbol)


# A request with more arguments is refused.
_TOPICS = 10
_STREAM = Stream(
    host="wss://stream.bybit.com",
    path="/v5/public/spot",
    channels={
        # On the spot market this channel has no bid and ask.
        "tickers": Channel(
            Ticker(
                price=("data", "lastPrice"), volume=("data", "volume24h"), high=("data", "highPrice24h"),
                low=("data", "lowPrice24h"), open=("data", "prevPrice24h"), time="ts",
            ),
            order="cs",
        ),
        # Sent again after 3 s without a change; the count begins with 1 after a restart of the service.
        "orderbook.1": Channel(
            Ticker(bid=("data", "b", 0, 0), ask=("data", "a", 0, 0), time="cts"), order=("data", "u"), repeats=True,
            restart=1,
        ),
    },
    symbol=joined,
    requests=_requests,
    read=_read,
    # 21,000 letters of topics per connection, of which the longest pair needs 86; 500 connections in 5 minutes.
    limits=Limits(pairs=170, topics=_TOPICS, pause_seconds=0.1, connects=Limit(burst=20.0, per_second=1.5)),
    # Every book is sent again after 3 s.
    patience=Patience(any_frame=30.0, any_data=15.0),
    # A ticker has the time of its message, a repeated book that of its last change: neither is the time of a price.
    source_time=SourceTime.REPLY,
    # The exchange does not answer WebSocket pings.
    keep_alive=KeepAlive(lambda number, wall_ms: frame({"req_id": f"p{number}", "op": "ping"}), 20.0),
)  # fmt: skip

EXCHANGE = Exchange(
    name="bybit",
    base_url="https://api.bybit.com",
    source_time=SourceTime.REPLY,
    # 600 calls in 5 s.
    limit=Limit(burst=50.0, per_second=90.0),
    symbol=joined,
    open=_open,
    # The only time is that of the reply.
    single=Form(lambda symbols: f"{_TICKERS}&symbol={symbols[0]}", _ROWS, _TICKER, time="time"),
    whole=Form(lambda symbols: _TICKERS, _ROWS, _TICKER, time="time"),
    resets_in=seconds_left("x-bapi-limit-reset-timestamp", per_second=1000, is_time=True),
    stream=_STREAM,
)
