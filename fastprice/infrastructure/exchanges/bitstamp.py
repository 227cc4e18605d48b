"""Bitstamp spot, from its public documentation (www.bitstamp.net/api: ticker, error codes; websocket v2: live trades,
live order book, heartbeat, reconnection); sizes and errors were measured by others (arbitrage-observatory, 2026-09).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import Pair, SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, check_status, complaint, read_body, refuse
from fastprice.infrastructure.exchanges.spec import Exchange, Form, by_symbol
from fastprice.infrastructure.exchanges.stream import Channel, KeepAlive, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Notice, Op, Reject, Request, Said, Topic, by_words, frame, is_duplicate, member, row_of, unnamed
)
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker, microseconds, seconds, without_exponent

# By the number before the dot of a code, except for one full code.
_ERRORS: Errors = {
    UnknownSymbol: ("404",), RateLimited: ("429", "400.002"), SourceDown: ("500", "502", "503", "504")
}  # fmt: skip
# The trailing slash is required, and a query parameter would be refused.
_TICKERS = "/api/v2/ticker/"
_TICKER = Ticker(
    price="last", bid="bid", ask="ask", volume="volume", high="high", low="low", open="open_24", time="timestamp",
    read_time=seconds,
)  # fmt: skip


def _market(pair: Pair) -> str:
    return (pair.base + pair.quote).lower()


def _open(reply: Reply) -> Any:
    if reply.status == 404:
        raise UnknownSymbol("HTTP 404: it is not listed")
    body = read_body(reply)
    # Codes are documented, the name of their field is not: both names in use are read.
    if code := said(body, "response_code") or said(body, "code"):
        message, family = said(body, "response_explanation") or said(body, "reason"), code.partition(".")[0]
        known = {kind: (code,) for kind, codes in _ERRORS.items() if code in codes or family in codes}
        refuse(reply, code, message, known)
    if "maintenance" in (words := said(body, "error")):
        raise complaint(SourceDown, reply, words)
    check_status(reply)
    return body


def _single_row(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    """The ticker; its body names no market, so only the requested path tells which one it is."""
    # For a market that is not listed, the answer is a list of all markets.
    if isinstance(body, list):
        raise UnknownSymbol(f"{symbols[0]} is not listed")
    return {symbols[0]: body}


def _spot_rows(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    return by_symbol(body, _symbol)


def _symbol(row: Mapping[str, Any]) -> str:
    """The symbol of a spot market, which a row names BTC/USD; empty for perpetual contracts, which are listed too."""
    name = row.get("pair")
    is_spot = isinstance(name, str) and row.get("market_type", "SPOT") == "SPOT"
    return str(name).replace("/", "").lower() if is_spot else ""


# There is no channel of tickers: trades have the price, books bid and ask.
_EVENTS = {"trade": "live_trades", "data": "order_book"}
_STREAM_ERRORS: Errors = {
    UnknownSymbol: ("invalid channel",), RateLimited: ("too many", "rate limit"), SourceDown: ("internal",)
}  # fmt: skip


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    return unnamed(topics, 1, lambda group: {"event": f"bts:{op.value}", "data": {"channel": "_".join(group[0])}})


def _read(message: Any) -> Iterable[Said]:
    event, topic = said(message, "event"), _topic(said(message, "channel"))
    if event in _EVENTS and topic:
        return row_of(*topic, member(message, "data")) if topic.channel == _EVENTS[event] else []
    if event == "bts:subscription_succeeded" and topic:
        return [Ack((topic,))]
    if event == "bts:heartbeat":
        return [Alive("pong")]
    if event == "bts:request_reconnect":
        return [Notice()]
    if event != "bts:error":
        return []
    words, topics = said(message, ("data", "message")), (topic,) if topic else ()
    return [Ack(topics) if is_duplicate(words) else Reject(by_words(_STREAM_ERRORS, words), topics)]


def _topic(name: str) -> Topic | None:
    channel, _, symbol = name.rpartition("_")
    return Topic(channel, symbol) if channel else None


_STREAM = Stream(
    host="wss://ws.bitstamp.net",
    path="",
    # It sends a hundred levels of the book; a book built from changes has to be put together, and cannot be checked.
    channels={
        "live_trades": Channel(
            Ticker(price="price_str", time="microtimestamp", digits=without_exponent, read_time=microseconds),
            order="microtimestamp",
        ),
        "order_book": Channel(
            Ticker(
                bid=("bids", 0, 0), ask=("asks", 0, 0), time="microtimestamp", digits=without_exponent,
                read_time=microseconds,
            ),
            order="microtimestamp",
        ),
    },
    symbol=_market,
    requests=_requests,
    read=_read,
    # 1,024 channels per connection, 512 bytes and one channel per message. Other limits are not published.
    limits=Limits(pairs=250, topics=1, pause_seconds=0.03, connects=Limit(burst=2.0, per_second=0.5)),
    # Data may be missing: a market that is not listed is confirmed but stays silent, and so does a quiet market.
    patience=Patience(any_frame=40.0),
    source_time=SourceTime.PRICE,
    keep_alive=KeepAlive(lambda number, wall_ms: frame({"event": "bts:heartbeat"}), 15.0),
    # A message that is too long.
    closes={1009: SourceRefused},
)

EXCHANGE = Exchange(
    name="bitstamp",
    base_url="https://www.bitstamp.net",
    source_time=SourceTime.PRICE,
    # 400 calls a second, and 10,000 in 10 minutes.
    limit=Limit(burst=50.0, per_second=15.0),
    symbol=_market,
    open=_open,
    single=Form(lambda symbols: f"{_TICKERS}{symbols[0]}/", _single_row, _TICKER),
    whole=Form(lambda symbols: _TICKERS, _spot_rows, _TICKER),
    stream=_STREAM,
)
