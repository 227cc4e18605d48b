"""Bybit `/v5/public/spot`: one answer per request, which succeeds as a whole or names the first bad topic."""

from fastprice.market.connection import Connection
from fastprice.market.dialect import BOOK, LAST, Channel, Dialect, Patience, Push, Topic, parsed, strings
from fastprice.market.exchange import joined
from fastprice.market.forms import Json
from fastprice.market.limits import Limit
from fastprice.market.tick import plain

MOST_ARGS, MOST_CHARACTERS = 10, 21_000
CONNECTION_ID = "2324d924-aa4d-45b0-a858-7b8be29ab52b"


def _tickers(push: Push) -> Json:
    tick = push.tick
    data = {
        "symbol": push.symbol, "lastPrice": tick.price, "highPrice24h": tick.high, "lowPrice24h": tick.low,
        "prevPrice24h": tick.open, "volume24h": tick.volume, "turnover24h": tick.turnover,
        "price24hPcnt": plain(float(tick.percent) / 100, 4), "usdIndexPrice": tick.open,
    }  # fmt: skip
    return {
        "topic": f"tickers.{push.symbol}", "ts": push.sent_ms, "type": "snapshot", "cs": push.key, "data": data,
    }  # fmt: skip


def _book(push: Push) -> Json:
    tick = push.tick
    data = {
        "s": push.symbol, "b": [[tick.bid, "2"]] if tick.bid else [], "a": [[tick.ask, "1.862172"]] if tick.ask else [],
        "u": push.key, "seq": push.key + 7_000_000_000,
    }  # fmt: skip
    return {
        "topic": f"orderbook.1.{push.symbol}", "ts": push.sent_ms, "type": "snapshot", "data": data,
        "cts": tick.time_ms,
    }  # fmt: skip


def _trade(push: Push) -> Json:
    trade = {
        "i": str(push.key), "T": push.tick.time_ms, "p": push.tick.price, "v": "0.0014", "S": "Buy", "s": push.symbol,
        "BT": False, "RPI": False, "seq": push.key,
    }  # fmt: skip
    return {"topic": f"publicTrade.{push.symbol}", "ts": push.sent_ms, "type": "snapshot", "data": [trade]}


def _topic(connection: Connection, name: str) -> Topic | str:
    """What an argument means, or what is wrong with it."""
    channel, _, symbol = name.rpartition(".")
    if channel not in DIALECT.channels:
        return f"error:handler not found,topic:{name}"
    pair = connection.find(symbol)
    return Topic(channel, symbol, pair) if pair else f"Invalid symbol :[{symbol}]"


def _hear(connection: Connection, text: str) -> None:
    body = parsed(text)
    operation = body.get("op") if isinstance(body, dict) else None
    if operation == "ping":
        connection.pong(_answer(body, "pong"))
    elif operation in ("subscribe", "unsubscribe"):
        _change(connection, body, operation)
    else:
        words = f"unsupported op: {operation}" if isinstance(body, dict) else "error:request json invalid"
        connection.say(_answer(body if isinstance(body, dict) else {}, words, success=False))


def _change(connection: Connection, body: dict[str, object], operation: str) -> None:
    names = strings(body.get("args"))
    topics = [_topic(connection, name) for name in names]
    wrong = next((topic for topic in topics if isinstance(topic, str)), "" if names else "error:args is empty")
    if connection.exceeds("args", len(names) > MOST_ARGS):
        wrong = "args size >10"
    found = [topic for topic in topics if isinstance(topic, Topic)]
    twice = next((topic for topic in found if topic in connection.topics), None)
    if operation == "subscribe" and twice:
        wrong = wrong or f"error:already subscribed,topic:{twice.channel}.{twice.symbol}"
    characters = sum(len(f"{topic.channel}.{topic.symbol}") for topic in (*connection.topics, *found))
    if operation == "subscribe" and connection.exceeds("channels", characters > MOST_CHARACTERS):
        wrong = wrong or "error:args too long"
    if wrong:
        connection.say(_answer(body, wrong, success=False))
    elif operation == "subscribe":
        connection.ack(_answer(body, "subscribe"))
        connection.listen(*found)
    else:
        connection.unlisten(*found)
        connection.say(_answer(body, ""))


def _answer(body: dict[str, object], words: str, success: bool = True) -> Json:
    echo = {"req_id": body["req_id"]} if "req_id" in body else {}
    return {"success": success, "ret_msg": words, "conn_id": CONNECTION_ID, **echo, "op": body.get("op", "")}


DIALECT = Dialect(
    name="bybit",
    paths=("/v5/public/spot",),
    symbol=lambda pair: joined(pair)[0],
    hear=_hear,
    channels={
        "tickers": Channel(_tickers, LAST, every_ms=50, snapshot=True),
        "orderbook.1": Channel(_book, BOOK, every_ms=10, snapshot=True, repeat_ms=3000),
        "publicTrade": Channel(_trade, LAST),
    },
    patience=(Patience(600, "heard_at", 1006), Patience(61, "opened_at", 1006, idle=True)),
    attempts=(Limit(500, 300),),
    refused=403,
)
