"""Bitget `/v2/ws/public`: one ack or error per argument; tickers that are repeated without change; the text `ping`."""

import json
from typing import Any

from fastprice.market.connection import Connection
from fastprice.market.dialect import BOOK, LAST, WHOLE, Channel, Dialect, Patience, Push, Topic, parsed
from fastprice.market.exchange import joined
from fastprice.market.forms import Json
from fastprice.market.limits import Limit
from fastprice.market.tick import plain

MOST_ARGS_BYTES, MOST_CHANNELS = 4096, 1000


def _said(channel: str, push: Push, action: str, data: Json) -> Json:
    arg = {"instType": "SPOT", "channel": channel, "instId": push.symbol}
    return {"action": action, "arg": arg, "data": [data], "ts": push.sent_ms}


def _ticker(push: Push) -> Json:
    tick = push.tick
    share = plain(float(tick.percent) / 100, 5)
    return _said("ticker", push, "snapshot", {
        "instId": push.symbol, "lastPr": tick.price, "open24h": tick.open, "high24h": tick.high, "low24h": tick.low,
        "change24h": share, "bidPr": tick.bid, "askPr": tick.ask, "bidSz": "0.0084", "askSz": "19740.8811",
        "baseVolume": tick.volume, "quoteVolume": tick.turnover, "openUtc": tick.day_open, "changeUtc24h": share,
        "ts": str(tick.time_ms),
    })  # fmt: skip


def _book(push: Push) -> Json:
    tick = push.tick
    return _said("books1", push, "snapshot", {
        "asks": [[tick.ask, "19740.8811"]] if tick.ask else [], "bids": [[tick.bid, "0.0084"]] if tick.bid else [],
        "checksum": 0, "seq": push.key, "ts": str(tick.time_ms),
    })  # fmt: skip


def _trade(push: Push) -> Json:
    trade = {
        "ts": str(push.tick.time_ms), "price": push.tick.price, "size": "0.1", "side": "buy", "tradeId": str(push.key),
    }  # fmt: skip
    return _said("trade", push, "snapshot" if push.is_first else "update", trade)


def _hear(connection: Connection, text: str) -> None:
    if text == "ping":
        connection.pong("pong")
        return
    body = parsed(text)
    operation, args = (body.get("op"), body.get("args")) if isinstance(body, dict) else (None, None)
    if operation not in ("subscribe", "unsubscribe") or not isinstance(args, list):
        _complain(connection, None, 30003, "Invalid request", operation)
    elif connection.exceeds("args", len(json.dumps(args, separators=(",", ":"))) > MOST_ARGS_BYTES):
        _complain(connection, None, 30006, "Requests are too many", operation)
    elif connection.subscribes_too_often():
        _flood(connection)
    else:
        for arg in args:
            _hear_one(connection, operation, arg)


def _hear_one(connection: Connection, operation: str, arg: Any) -> None:
    kind, channel, symbol = (str(arg.get(name)) for name in _ARG) if isinstance(arg, dict) else ("", "", "")
    topic = Topic(channel, symbol, connection.find(symbol))
    if channel not in DIALECT.channels:
        _complain(connection, arg, 30016, "Param error", operation)
    elif topic.pair is None:
        words = f"instType:{kind},channel:{channel},instId:{symbol} doesn't exist"
        _complain(connection, arg, 30001, words, operation)
    elif operation == "unsubscribe":
        connection.unlisten(topic)
        connection.say({"event": "unsubscribe", "arg": arg})
    elif connection.exceeds("channels", len(connection.topics) >= MOST_CHANNELS and topic not in connection.topics):
        _complain(connection, arg, 30006, "Channels are too many", operation)
    else:
        connection.ack({"event": "subscribe", "arg": arg})
        # A type other than spot is acked, but nothing is pushed.
        connection.listen(topic if kind == "SPOT" else topic._replace(pair=None))


_ARG = ("instType", "channel", "instId")


def _complain(connection: Connection, arg: Any, code: int, words: str, operation: Any) -> None:
    echo = {"arg": arg} if arg is not None else {}
    connection.say({"event": "error", **echo, "code": code, "msg": words, "op": operation})


def _flood(connection: Connection) -> None:
    _complain(connection, None, 30007, "request over limit, connection close", None)
    connection.close(1008, "request over limit")


DIALECT = Dialect(
    name="bitget",
    paths=("/v2/ws/public",),
    symbol=lambda pair: joined(pair)[0],
    hear=_hear,
    channels={
        "ticker": Channel(_ticker, WHOLE, every_ms=100, snapshot=True, repeat_ms=200, renewed=True),
        "books1": Channel(_book, BOOK, every_ms=10, snapshot=True),
        "trade": Channel(_trade, LAST, snapshot=True),
    },
    patience=(Patience(120, "heard_at", 1006),),
    attempts=(Limit(300, 300),),
    messages=(Limit(10, 1),),
    subscribes=(Limit(240, 3600),),
    flood=_flood,
)
