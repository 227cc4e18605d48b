"""Gate `/ws/v4/`: channels with payloads, one answer per request, and a ping of its own."""

from typing import Any

from fastprice.market.connection import Connection
from fastprice.market.dialect import BOOK, LAST, WHOLE, Channel, Dialect, Patience, Push, Topic, parsed, strings
from fastprice.market.exchanges.gate import EXCHANGE
from fastprice.market.forms import Json
from fastprice.market.limits import Limit

MAX_SKEW_SECONDS = 60
CONNECTION_ID, TRACE_ID = "5e74253e9c793974", "1bde5aaa0acf2f5f48edfd4392e1fa68"


def _update(channel: str, push: Push, result: Json) -> Json:
    stamp = {"time": push.sent_ms // 1000, "time_ms": push.sent_ms}
    return {**stamp, "channel": channel, "event": "update", "result": result}


def _ticker(push: Push) -> Json:
    tick = push.tick
    return _update("spot.tickers", push, {
        "currency_pair": push.symbol, "last": tick.price, "lowest_ask": tick.ask, "highest_bid": tick.bid,
        "change_percentage": tick.percent, "base_volume": tick.volume, "quote_volume": tick.turnover,
        "high_24h": tick.high, "low_24h": tick.low,
    })  # fmt: skip


def _book(push: Push) -> Json:
    tick = push.tick
    return _update("spot.book_ticker", push, {
        "t": tick.time_ms, "u": push.key, "s": push.symbol, "b": tick.bid, "B": "0.0003", "a": tick.ask, "A": "0.09",
    })  # fmt: skip


def _trade(push: Push) -> Json:
    return _update("spot.trades", push, {
        "id": push.key, "id_market": push.key, "create_time": push.tick.time_ms // 1000,
        "create_time_ms": f"{push.tick.time_ms}.213800", "side": "sell", "currency_pair": push.symbol,
        "amount": "16.4700000000", "price": push.tick.price, "range": f"{push.key}-{push.key}",
    })  # fmt: skip


def _hear(connection: Connection, text: str) -> None:
    body = parsed(text)
    if not isinstance(body, dict):
        _answer(connection, {}, {"code": 1, "message": "Invalid request body"})
        return
    channel, event, now_ms = str(body.get("channel")), body.get("event"), connection.feed.pace.now_ms()
    sent = body.get("time")
    if channel == "spot.ping":
        stamp = {"time": now_ms // 1000, "time_ms": now_ms, "conn_id": CONNECTION_ID, "trace_id": TRACE_ID}
        connection.pong({**stamp, "channel": "spot.pong", "event": "", "error": None, "result": None})
    elif not isinstance(sent, int) or abs(sent - now_ms / 1000) > MAX_SKEW_SECONDS:
        _answer(connection, body, {"code": 2, "message": "invalid argument: time"})
    elif channel not in DIALECT.channels:
        _answer(connection, body, {"code": 2, "message": f"unknown channel {channel}"})
    elif event not in ("subscribe", "unsubscribe") or not strings(body.get("payload")):
        _answer(connection, body, {"code": 2, "message": "invalid argument: event or payload"})
    else:
        _change(connection, body)


def _change(connection: Connection, body: dict[str, Any]) -> None:
    """One unknown pair fails the whole payload."""
    topics = [Topic(body["channel"], symbol, connection.find(symbol)) for symbol in body["payload"]]
    unknown = next((topic.symbol for topic in topics if not topic.pair), None)
    if unknown is not None:
        _answer(connection, body, {"code": 2, "message": f"unknown currency pair: {unknown}"})
    elif body["event"] == "subscribe":
        _answer(connection, body)
        connection.listen(*topics)
    else:
        connection.unlisten(*topics)
        _answer(connection, body)


def _answer(connection: Connection, body: dict[str, Any], error: Json | None = None) -> None:
    now_ms = connection.feed.pace.now_ms()
    echo = {name: body.get(name) for name in ("id", "channel", "event", "payload") if name in body}
    ids = {"conn_id": CONNECTION_ID, "trace_id": TRACE_ID, "requestId": TRACE_ID}
    status = {"error": error, "result": {"status": "fail" if error else "success"}}
    said = {"time": now_ms // 1000, "time_ms": now_ms} | echo | ids | status
    if error or body.get("event") != "subscribe":
        connection.say(said)
    else:
        connection.ack(said)


DIALECT = Dialect(
    name="gate",
    paths=("/ws/v4/",),
    symbol=lambda pair: EXCHANGE.spellings(pair)[0],
    hear=_hear,
    channels={
        "spot.tickers": Channel(_ticker, WHOLE, every_ms=1000),
        "spot.book_ticker": Channel(_book, BOOK, every_ms=10),
        "spot.trades": Channel(_trade, LAST),
    },
    patience=(Patience(60, "active_at", 1006),),
    attempts=(Limit(300, 60),),
)
