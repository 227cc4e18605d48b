"""OKX `/ws/v5/public`: one ack or error per argument; the text `ping`; 30 seconds without traffic end a connection."""

from typing import Any

from fastprice.market.connection import Connection
from fastprice.market.dialect import BOOK, LAST, WHOLE, Channel, Dialect, Patience, Push, Topic, parsed
from fastprice.market.exchange import dashed
from fastprice.market.exchanges.okx import ticker
from fastprice.market.forms import Json
from fastprice.market.limits import Limit

MOST_BYTES = 64 * 1024
CONNECTION_ID = "a4d3ae55"


def _said(channel: str, push: Push, data: Json) -> Json:
    return {"arg": {"channel": channel, "instId": push.symbol}, "data": [data]}


def _tickers(push: Push) -> Json:
    return _said("tickers", push, ticker(push.tick, push.symbol))


def _book(push: Push) -> Json:
    tick = push.tick
    sides = {
        "asks": [[tick.ask, "11", "0", "4"]] if tick.ask else [],
        "bids": [[tick.bid, "5", "0", "2"]] if tick.bid else [],
    }
    return _said("bbo-tbt", push, {**sides, "ts": str(push.sent_ms), "seqId": push.key})


def _trade(push: Push) -> Json:
    return _said("trades", push, {
        "instId": push.symbol, "tradeId": str(push.key), "px": push.tick.price, "sz": "0.1", "side": "buy",
        "ts": str(push.tick.time_ms), "count": "1", "source": "0", "seqId": push.key,
    })  # fmt: skip


def _hear(connection: Connection, text: str) -> None:
    if text == "ping":
        connection.pong("pong")
        return
    body = parsed(text)
    operation, args = (body.get("op"), body.get("args")) if isinstance(body, dict) else (None, None)
    if operation not in ("subscribe", "unsubscribe") or not isinstance(args, list):
        _complain(connection, "60012", f"Invalid request: {text[:200]}", None)
    elif connection.subscribes_too_often():
        _complain(connection, "60014", "Requests too frequent", body.get("id"))
    else:
        for arg in args:
            _hear_one(connection, operation, arg, body.get("id"))


def _hear_one(connection: Connection, operation: str, arg: Any, number: Any) -> None:
    channel, symbol = (str(arg.get("channel")), str(arg.get("instId"))) if isinstance(arg, dict) else ("", "")
    pair = connection.find(symbol)
    echo = {"id": number} if number is not None else {}
    if channel not in DIALECT.channels or pair is None:
        words = f"Wrong URL or channel:{channel},instId:{symbol} doesn't exist. Please use the correct URL."
        _complain(connection, "60018", words, number)
    elif operation == "subscribe":
        connection.ack(echo | {"event": "subscribe", "arg": arg, "connId": CONNECTION_ID})
        connection.listen(Topic(channel, symbol, pair))
    else:
        connection.unlisten(Topic(channel, symbol, pair))
        connection.say(echo | {"event": "unsubscribe", "arg": arg, "connId": CONNECTION_ID})


def _complain(connection: Connection, code: str, words: str, number: Any) -> None:
    echo = {"id": number} if number is not None else {}
    connection.say(echo | {"event": "error", "code": code, "msg": words, "connId": CONNECTION_ID})


def _notice(connection: Connection) -> Json:
    words = "The connection will soon be closed for a service upgrade. Please reconnect."
    return {"event": "notice", "code": "64008", "msg": words, "connId": CONNECTION_ID}


DIALECT = Dialect(
    name="okx",
    paths=("/ws/v5/public",),
    symbol=lambda pair: dashed(pair)[0],
    hear=_hear,
    channels={
        "tickers": Channel(_tickers, WHOLE, every_ms=100, snapshot=True),
        "bbo-tbt": Channel(_book, BOOK, every_ms=10, snapshot=True, repeat_ms=60_000),
        "trades": Channel(_trade, LAST),
    },
    patience=(Patience(30, "active_at", 4004, "No data received in 30s."),),
    attempts=(Limit(3, 1),),
    subscribes=(Limit(480, 3600),),
    message_bytes=MOST_BYTES,
    notice=_notice,
)
