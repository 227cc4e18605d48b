"""KuCoin spot, from its public documentation (orderbook level 1, all tickers, rate limits, error codes; websocket:
apply connect token, create connection, ping, ticker), and, for its errors, from captures of clients (ccxt).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from fastprice.application.ports import Limit
from fastprice.domain.errors import Blocked, InvalidReply, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, cool_down, decimal, seconds_left
from fastprice.infrastructure.exchanges.spec import Exchange, Form, dashed, envelope, rows_by
from fastprice.infrastructure.exchanges.stream import Address, Channel, KeepAlive, Limits, Patience, Stream, Token
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Op, Reject, Request, Said, Topic, by_words, frame, is_duplicate, member, numbered, row_of
)
from fastprice.infrastructure.exchanges.strict_json import field, said
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    # Officially any wrong parameter; the symbol is the only one sent.
    UnknownSymbol: ("400000", "400100", "400600", "900001"),
    RateLimited: ("429000",),
    Blocked: ("400302", "400500"),
    SourceDown: ("500000", "503000"),
    SourceRefused: ("400303", "404000", "415000"),
}
_EDGE_LIMIT_SECONDS = 30.0
_LEVEL_1 = Ticker(price="price", bid="bestBid", ask="bestAsk", time="time")
_TICKER = Ticker(price="last", bid="buy", ask="sell", volume="vol", high="high", low="low")
_open_envelope = envelope("code", "200000", "msg", _ERRORS)


def _open(reply: Reply) -> Any:
    # Cloudflare's own limit, error 1015, bypasses KuCoin's codes.
    if reply.status in (403, 429) and b"1015" in reply.body:
        seconds = _EDGE_LIMIT_SECONDS if reply.resets_in is None else cool_down(reply.resets_in)
        raise RateLimited(f"HTTP {reply.status}: rate limited at the edge (1015)", seconds)
    return _open_envelope(reply)


def _single_row(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    """The level 1 ticker; it names no symbol, so only the query tells which one it is."""
    ticker = field(body, "data")
    # The answer for an unknown symbol has the code of success.
    if ticker is None:
        raise UnknownSymbol(f"no data for {symbols[0]}")
    return {symbols[0]: ticker}


_PREFIX = "/market/ticker:"
_STREAM_ERRORS: Errors = {
    UnknownSymbol: ("is not found", "does not exist"), RateLimited: ("exceed max",),
    # The next connection has a new token.
    SourceDown: ("token is", "ping timeout"),
}  # fmt: skip

# With less frequent pings, a connection without updates would be taken for a dead one.
_MAX_PING_SECONDS = 30.0


def _address(reply: Reply) -> Address:
    """The address for which the token is valid; the ping interval comes in milliseconds."""
    body = _open(reply)
    token, server = said(body, ("data", "token")), member(body, ("data", "instanceServers", 0))
    endpoint, interval = said(server, "endpoint"), decimal(said(server, "pingInterval"))
    if not token or not endpoint:
        raise InvalidReply("the body has no token, or no endpoint")
    url = f"{endpoint}?token={quote(token, safe='')}&connectId={reply.received_at_ms}"
    return Address(url, min((interval or 0.0) / 1000, _MAX_PING_SECONDS))


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    return numbered(topics, _TOPICS, number, lambda group, at: {
        "id": str(at), "type": op.value, "topic": _PREFIX + ",".join(topic.symbol for topic in group),
        "response": True,
    })  # fmt: skip


def _read(message: Any) -> Iterable[Said]:
    kind = said(message, "type")
    if kind == "message":
        name = said(message, "topic")
        symbol = name.removeprefix(_PREFIX) if name.startswith(_PREFIX) else ""
        return row_of("ticker", symbol, member(message, "data"))
    request = said(message, "id")
    if kind in ("welcome", "pong"):
        return [Alive(kind)]
    if kind == "ack":
        return [Ack(request=request)]
    return [_refusal(said(message, "code"), said(message, "data"), request)] if kind == "error" else []


def _refusal(code: str, words: str, request: str) -> Said:
    name = words.partition(_PREFIX)[2].partition(" ")[0]
    # If the error repeats the whole list, it does not say which symbol it means.
    topics = (Topic("ticker", name),) if name and "," not in name else ()
    if is_duplicate(words):
        return Ack(topics, request)
    # It is not documented whether the others are served; requesting them once more should do no harm.
    error = by_words(_STREAM_ERRORS, f"{code} {words}")
    return Reject(error, topics, request, others_too=isinstance(error, UnknownSymbol))


# More topics are refused; each symbol in a list counts as one topic.
_TOPICS = 100
_STREAM = Stream(
    # The answer with the token names the host to use.
    host="wss://ws-api-spot.kucoin.com",
    path="",
    # On every change of the best prices, at most ten times a second.
    channels={"ticker": Channel(Ticker(price="price", bid="bestBid", ask="bestAsk", time="time"), order="sequence")},
    symbol=dashed,
    requests=_requests,
    read=_read,
    # 400 topics per connection are allowed, but several with more than 98 were refused (kucoin-api-docs#389).
    # 100 messages in 10 s; 30 connections a minute.
    limits=Limits(pairs=98, topics=_TOPICS, pause_seconds=0.15, connects=Limit(burst=2.0, per_second=0.45)),
    patience=Patience(any_frame=45.0),
    # The stamp is that of the last trade.
    source_time=SourceTime.TRADE,
    # It closes a connection after a minute without a message from us; the answer with the token gives the interval.
    keep_alive=KeepAlive(lambda number, wall_ms: frame({"id": f"p{number}", "type": "ping"}), 18.0),
    token=Token("/api/v1/bullet-public", _address),
    # A token is valid for 24 hours.
    lifetime_seconds=23 * 3600.0,
    waits_for_welcome=True,
)

EXCHANGE = Exchange(
    name="kucoin",
    base_url="https://api.kucoin.com",
    source_time=SourceTime.PRICE,
    # A pool of 2,000 units in 30 s; all tickers cost 15 of them, level 1 at most as much.
    limit=Limit(burst=200.0, per_second=50.0),
    symbol=dashed,
    open=_open,
    single=Form(
        lambda symbols: f"/api/v1/market/orderbook/level1?symbol={symbols[0]}", _single_row, _LEVEL_1,
        units=lambda count: 15.0,
    ),
    # All tickers as they were at one time.
    whole=Form(
        lambda symbols: "/api/v1/market/allTickers", rows_by("symbol", ("data", "ticker")), _TICKER,
        time=("data", "time"), units=lambda count: 15.0,
    ),
    resets_in=seconds_left("gw-ratelimit-reset", per_second=1000),
    stream=_STREAM,
)  # fmt: skip
