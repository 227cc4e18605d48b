"""Kraken spot, from its public documentation (docs.kraken.com: ticker information, API errors, asset codes,
websocket v2: ticker, heartbeat, status, ping; guides: reconnection) and kraken-api-sdk (docs/guides: streaming).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import Banned, InvalidQuote, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Errors, Reply, check_status, cool_down, decimal, one_line, read_body, refuse
)
from fastprice.infrastructure.exchanges.spec import Exchange, Form, unique
from fastprice.infrastructure.exchanges.stream import Channel, KeepAlive, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Op, Reject, Request, Said, Topic, by_words, frame, is_duplicate, member, numbered, row_of, rows
)
from fastprice.infrastructure.exchanges.strict_json import field, said
from fastprice.infrastructure.exchanges.ticker import Ticker, nanoseconds, rfc3339, without_exponent

_ERRORS: Errors = {
    UnknownSymbol: ("EQuery:Unknown asset pair", "EQuery:Invalid asset pair", "EQuery:Unknown asset"),
    RateLimited: ("EGeneral:Too many requests", "EAPI:Rate limit exceeded", "EService:Throttled"),
    Banned: ("EGeneral:Temporary lockout",),
    SourceDown: (
        "EGeneral:Internal error", "EDatabase:Internal error", "EService:Unavailable", "EService:Busy",
        "EService:Timeout", "EService:Deadline elapsed",
    ),
    SourceRefused: ("EGeneral:Unknown method", "EGeneral:Permission denied"),
}  # fmt: skip
_CODES = {"BTC": "XBT", "DOGE": "XDG"}
# Only the assets of the first years have a prefix, and only in the key of the answer: XXBTZUSD for XBTUSD.
_X_ASSETS = {"ETC", "ETH", "LTC", "MLN", "REP", "XBT", "XDG", "XLM", "XMR", "XRP", "ZEC"}
_Z_ASSETS = {"AUD", "CAD", "EUR", "GBP", "JPY", "USD"}
_TICKER = Ticker(price=("c", 0), bid=("b", 0), ask=("a", 0), volume=("v", 1), high=("h", 1), low=("l", 1))


def _open(reply: Reply) -> Any:
    body = read_body(reply)
    # Errors come with HTTP 200.
    if error := _error(body):
        code, _, detail = error.rpartition(":") if error.count(":") > 1 else (error, "", "")
        until = decimal(detail.strip())
        if code == "EService:Throttled" and until is not None:
            raise RateLimited(one_line(error), cool_down(until - reply.received_at_ms / 1000))
        refuse(reply, code, detail, _ERRORS)
    check_status(reply)
    return body


def _error(body: Any) -> str:
    """The first complaint, or an empty text; one that begins with W is only a warning with a good answer."""
    errors = body.get("error", []) if isinstance(body, dict) else []
    lines = [line if isinstance(line, str) else "" for line in errors] if isinstance(errors, list) else [""]
    return next((line or "an unreadable error" for line in lines if not line.startswith("W")), "")


def _rows(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    result = field(body, "result")
    if not isinstance(result, dict):
        raise InvalidQuote("result is not an object of tickers")
    asked = {_old_key(symbol): symbol for symbol in symbols}
    return unique((asked.get(key, key), ticker) for key, ticker in result.items())


def _old_key(symbol: str) -> str:
    """The key that an old pair has in the answer; the symbol itself for a newer one."""
    base, quote_code = symbol[:-3], symbol[-3:]
    if quote_code not in _X_ASSETS | _Z_ASSETS:
        return symbol
    return _prefix(base) + base + _prefix(quote_code) + quote_code


def _prefix(code: str) -> str:
    return "X" if code in _X_ASSETS else "Z" if code in _Z_ASSETS else ""


def _target(symbols: Sequence[str]) -> str:
    return f"/0/public/Ticker?pair={','.join(symbols)}"


_STREAM_ERRORS: Errors = {
    UnknownSymbol: ("currency pair not supported", "unknown asset pair"),
    RateLimited: ("exceeded msg rate", "rate limit", "too many"),
    SourceDown: ("internal error", "unavailable", "busy", "timeout"),
}


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    # By default only trades would cause messages. A snapshot gives a quiet pair its first price.
    only_to_subscribe = {"snapshot": True} if op is Op.SUBSCRIBE else {}
    return numbered(topics, _TOPICS, number, lambda group, at: {
        "method": op.value,
        "params": {
            "channel": "ticker", "symbol": [topic.symbol for topic in group], "event_trigger": "bbo",
            **only_to_subscribe,
        },
        "req_id": at,
    })  # fmt: skip


def _read(message: Any) -> Iterable[Said]:
    channel = said(message, "channel")
    if channel == "ticker":
        return [row for data in rows(member(message, "data")) for row in row_of(channel, said(data, "symbol"), data)]
    if channel in ("heartbeat", "status"):
        return [Alive(channel)]
    method = said(message, "method")
    if method == "pong":
        return [Alive(method)]
    error = said(message, "error") or said(message, "Error")
    if method != "subscribe" and not (error and not method):
        return []
    symbol = said(message, ("result", "symbol")) or said(message, "symbol")
    topics = (Topic("ticker", symbol),) if symbol else ()
    request = said(message, "req_id")
    if member(message, "success") is True or is_duplicate(error):
        return [Ack(topics, request)]
    return [Reject(by_words(_STREAM_ERRORS, error or "no success"), topics, request)]


# No limit is published; each symbol gets its own answer, so not too many at once.
_TOPICS = 50
_STREAM = Stream(
    host="wss://ws.kraken.com",
    path="/v2",
    channels={
        # Numbers are JSON numbers. Milliseconds are too coarse to order messages on every change of the best prices.
        "ticker": Channel(
            Ticker(
                price="last", bid="bid", ask="ask", volume="volume", high="high", low="low", time="timestamp",
                digits=without_exponent, read_time=rfc3339,
            ),
            order="timestamp",
            read_order=nanoseconds,
        )
    },
    # In the stream assets have their usual names: BTC and DOGE.
    symbol=lambda pair: f"{pair.base}/{pair.quote}",
    requests=_requests,
    read=_read,
    # About 150 connections in 10 minutes, then none for 10 minutes.
    limits=Limits(pairs=100, topics=_TOPICS, pause_seconds=0.2, connects=Limit(burst=5.0, per_second=1 / 6)),
    # A heartbeat comes every second in which nothing else does; by the documentation half of this would be enough.
    patience=Patience(any_frame=10.0),
    source_time=SourceTime.PRICE,
    keep_alive=KeepAlive(lambda number, wall_ms: frame({"method": "ping", "req_id": number}), 20.0),
    # A policy violation, after which clients must stop.
    closes={1008: RateLimited},
)

EXCHANGE = Exchange(
    name="kraken",
    base_url="https://api.kraken.com",
    source_time=SourceTime.NONE,
    # About one call a second.
    limit=Limit(burst=1.0, per_second=1.0),
    symbol=lambda pair: "".join(_CODES.get(code, code) for code in (pair.base, pair.quote)),
    open=_open,
    single=Form(_target, _rows, _TICKER),
    several=Form(_target, _rows, _TICKER),
    whole=Form(lambda symbols: "/0/public/Ticker", _rows, _TICKER),
    # The limit leaves no room for one call per pair.
    whole_from=2,
    stream=_STREAM,
)
