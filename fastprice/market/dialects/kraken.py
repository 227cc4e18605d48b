"""Kraken `/v2`: one ack or refusal per symbol, JSON numbers, heartbeats, and BTC and DOGE under their usual names."""

from datetime import UTC, datetime
from typing import Any

from fastprice.domain.quote import Pair
from fastprice.market.connection import Connection
from fastprice.market.dialect import LAST, WHOLE, Channel, Dialect, Patience, Push, Topic, parsed, strings
from fastprice.market.forms import Json, number
from fastprice.market.limits import Limit

VERSION = "2.0.10"
# A ticker has its own name for each trigger, because both may be sent for one symbol to different clients.
_TRIGGERS = {"trades": "ticker", "bbo": "ticker/bbo"}


def _symbol(pair: Pair) -> str:
    return f"{pair.base}/{pair.quote}"


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _ticker(push: Push) -> Json:
    tick = push.tick
    data = {
        "symbol": push.symbol, "bid": number(tick.bid), "bid_qty": 0.00047, "ask": number(tick.ask), "ask_qty": 1.0,
        "last": number(tick.price), "volume": number(tick.volume), "vwap": number(tick.open), "low": number(tick.low),
        "high": number(tick.high), "change": number(tick.change), "change_pct": number(tick.percent),
        "timestamp": _time(tick.time_ms),
    }  # fmt: skip
    return {"channel": "ticker", "type": "snapshot" if push.is_first else "update", "data": [data]}


def _trade(push: Push) -> Json:
    data = {
        "symbol": push.symbol, "side": "sell", "price": number(push.tick.price), "qty": 0.5, "ord_type": "market",
        "trade_id": push.key, "timestamp": _time(push.tick.time_ms),
    }  # fmt: skip
    return {"channel": "trade", "type": "snapshot" if push.is_first else "update", "data": [data]}


def _greet(connection: Connection) -> None:
    data = {"version": VERSION, "system": "online", "api_version": "v2", "connection_id": 13834774380200032777}
    connection.say({"channel": "status", "type": "update", "data": [data]})


def _hear(connection: Connection, text: str) -> None:
    body = parsed(text)
    if not isinstance(body, dict):
        connection.say({"error": "Malformed message", "success": False} | _times(connection))
        return
    method, params = body.get("method"), body.get("params")
    echo = _times(connection) | ({"req_id": body["req_id"]} if "req_id" in body else {})
    if method == "ping":
        connection.pong({"method": "pong"} | echo)
    elif method in ("subscribe", "unsubscribe") and isinstance(params, dict):
        for symbol in strings(params.get("symbol")) or ("",):
            _change(connection, method, symbol, params, echo)
    else:
        connection.say({"method": method, "error": "Method not found", "success": False} | echo)


def _change(connection: Connection, method: str, symbol: str, params: dict[str, Any], echo: dict[str, Any]) -> None:
    name, pair = params.get("channel"), connection.find(symbol)
    result = {"channel": name, "symbol": symbol}
    if name == "heartbeat":
        connection.ack({"method": method, "result": {"channel": name}, "success": True} | echo)
        return
    if name not in ("ticker", "trade"):
        _refuse(connection, method, symbol, "Unsupported channel", echo)
        return
    if pair is None:
        _refuse(connection, method, symbol, f"Currency pair not supported {symbol}", echo)
        return
    snapshot = params.get("snapshot", name == "ticker") is True
    trigger = str(params.get("event_trigger", "trades"))
    held = [topic for topic in connection.topics if topic.pair == pair and topic.channel.startswith(name)]
    if method == "unsubscribe":
        connection.unlisten(*held)
        connection.say({"method": method, "result": result, "success": True} | echo)
    elif held:
        _refuse(connection, method, symbol, "Already subscribed", echo)
    elif name == "ticker" and trigger not in _TRIGGERS:
        _refuse(connection, method, symbol, "Invalid event_trigger", echo)
    else:
        extra = {"event_trigger": trigger} if name == "ticker" else {}
        connection.ack({"method": method, "result": result | extra | {"snapshot": snapshot}, "success": True} | echo)
        kind = _TRIGGERS[trigger] if name == "ticker" else "trade"
        connection.listen(Topic(kind + ("" if snapshot else "/quiet"), symbol, pair))


def _refuse(connection: Connection, method: str, symbol: str, words: str, echo: dict[str, Any]) -> None:
    connection.say({"error": words, "method": method, "success": False, "symbol": symbol} | echo)


def _times(connection: Connection) -> dict[str, str]:
    now = _time(connection.feed.pace.now_ms())
    return {"time_in": now, "time_out": now}


def _flood(connection: Connection) -> None:
    connection.say({"Error": "Exceeded msg rate"})


_CHANNELS = {
    "ticker": Channel(_ticker, WHOLE, snapshot=True),
    "ticker/bbo": Channel(_ticker, WHOLE, snapshot=True),
    "trade": Channel(_trade, LAST, snapshot=True),
}

DIALECT = Dialect(
    name="kraken",
    paths=("/v2",),
    symbol=_symbol,
    greet=_greet,
    hear=_hear,
    channels=_CHANNELS | {
        f"{name}/quiet": Channel(channel.write, channel.tells) for name, channel in _CHANNELS.items()
    },
    patience=(Patience(60, "opened_at", 1000, idle=True),),
    attempts=(Limit(150, 600),),
    # The limit depends on the load and is not published; clients are known to work with this one.
    messages=(Limit(20, 1),),
    flood=_flood,
    heartbeat={"channel": "heartbeat"},
)  # fmt: skip
