"""Binance spot, from its public documentation (binance-spot-api-docs: rest-api, errors, market data only,
web-socket-streams), and, for its stream, from reports of clients: binance-connector-go#90, crypto-crawler, ccxt.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import Banned, PairRefused, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Errors, Reply, check_status, complaint, cool_down, one_line, read_body, refuse, retry_after
)
from fastprice.infrastructure.exchanges.spec import Exchange, Form, by_symbol, joined
from fastprice.infrastructure.exchanges.stream import Channel, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Notice, Op, Reject, Request, Said, Topic, by_words, member, numbered, row_of
)
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    # -1100: characters that no symbol has, or too many; only the symbol varies in our requests.
    UnknownSymbol: ("-1121", "-1100"),
    # The symbol exists but is halted: not a configuration error, but there is no price until it trades again.
    PairRefused: ("-1220",),
    RateLimited: ("-1003", "-1015"),
    SourceDown: ("-1000", "-1001", "-1004", "-1006", "-1007", "-1008", "-1016"),
    # Not allowed, not supported, no such parameter: the same for any symbol.
    SourceRefused: ("-1002", "-1020", "-1101", "-1103", "-1104", "-1106", "-1122", "-1139"),
}
_BANNED_UNTIL = re.compile(r"banned until ([0-9]{13})\b", re.ASCII)
_TICKERS = "/api/v3/ticker/24hr"
# Without it, the answer for a halted symbol would be its last price. In the answer to a list it is left out.
_TRADING = "symbolStatus=TRADING"
_TICKER = Ticker(
    price="lastPrice", bid="bidPrice", ask="askPrice", volume="volume", high="highPrice", low="lowPrice",
    open="openPrice", time="closeTime",
)  # fmt: skip


def _open(reply: Reply) -> Any:
    body = read_body(reply)
    if code := said(body, "code"):
        message = said(body, "msg")
        if code == "-1003" and (until := _BANNED_UNTIL.search(message)):
            left = int(until[1]) / 1000 - reply.received_at_ms / 1000
            raise Banned(one_line(f"{code} {message}"), cool_down(max(left, retry_after(reply, 0.0))))
        # A ban carries the same code as the warning before it.
        if code == "-1003" and reply.status == 418:
            raise complaint(Banned, reply, f"{code} {message}")
        refuse(reply, code, message, _ERRORS)
    check_status(reply)
    return body


def _rows(body: Any, symbols: Sequence[str]) -> Any:
    return by_symbol(body if isinstance(body, list) else [body], lambda row: row.get("symbol"))


def _list(symbols: Sequence[str]) -> str:
    names = ",".join(f"%22{symbol}%22" for symbol in symbols)
    return f"{_TICKERS}?symbols=%5B{names}%5D&{_TRADING}"


def _weight(count: int) -> float:
    return 2.0 if count <= 20 else 40.0 if count <= 100 else 80.0


def _requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    # Streams are named in lower case; their messages name the symbol in upper case.
    return numbered(topics, _TOPICS, number, lambda group, at: {
        "method": op.value.upper(), "params": [f"{topic.symbol.lower()}@{topic.channel}" for topic in group], "id": at,
    })  # fmt: skip


def _read(message: Any) -> Iterable[Said]:
    kind = said(message, "e")
    if kind == "24hrTicker":
        return row_of("ticker", said(message, "s"), message)
    if kind == "serverShutdown":
        return [Notice()]
    request = said(message, "id")
    # The documentation shows the code next to the id, clients see it in an object of its own.
    for error in member(message, "error"), message:
        if code := said(error, "code"):
            return [Reject(by_words(_TOO_MANY, f"{code} {said(error, 'msg')}"), request=request)]
    # A symbol that is not listed is confirmed as well, and then stays silent: the polls detect that.
    is_done = isinstance(message, dict) and message.get("result", "") is None
    return [Ack(request=request)] if is_done and request else []


# With this many of the longest possible names a message stays below 4,096 bytes; a longer one ends the connection.
_TOPICS = 100
_TOO_MANY: Errors = {RateLimited: ("too many",)}
_STREAM = Stream(
    # The host for public market data only, as for polls.
    host="wss://data-stream.binance.vision",
    path="/ws",
    # All fields once a second. Trades and best prices in real time would be two streams with unlimited rates.
    channels={
        "ticker": Channel(Ticker(price="c", bid="b", ask="a", volume="v", high="h", low="l", open="o", time="E")),
    },
    symbol=joined,
    requests=_requests,
    read=_read,
    # 1,024 streams would be allowed. 5 messages a second including pings and pongs; 300 connections in 5 minutes.
    limits=Limits(pairs=200, topics=_TOPICS, pause_seconds=0.3, connects=Limit(burst=5.0, per_second=0.9)),
    # The server pings every 20 s. Data may be missing: unlisted symbols are confirmed too, and reconnecting is no help.
    patience=Patience(any_frame=60.0),
    source_time=SourceTime.PRICE,
    # The exchange cuts connections after 24 hours.
    lifetime_seconds=23 * 3600.0,
    # Too many messages; a message that is too long.
    closes={1008: RateLimited, 3001: SourceRefused},
)

EXCHANGE = Exchange(
    name="binance",
    base_url="https://data-api.binance.vision",
    source_time=SourceTime.PRICE,
    # 6,000 units a minute.
    limit=Limit(burst=500.0, per_second=82.0),
    symbol=joined,
    open=_open,
    single=Form(lambda symbols: f"{_TICKERS}?symbol={symbols[0]}&{_TRADING}", _rows, _TICKER, units=_weight),
    several=Form(_list, _rows, _TICKER, units=_weight),
    whole=Form(lambda symbols: f"{_TICKERS}?{_TRADING}", _rows, _TICKER, units=lambda count: 80.0),
    # Fewer pairs are requested one by one.
    whole_from=8,
    stream=_STREAM,
)
