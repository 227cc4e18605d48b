"""Binance spot streams: `/ws` raw, `/stream` wrapped; an unlisted symbol is acked, but nothing is pushed."""

from typing import Any

from fastprice.market.connection import Connection
from fastprice.market.dialect import BOOK, LAST, WHOLE, Channel, Dialect, Patience, Push, Topic, parsed, strings
from fastprice.market.exchange import lowered
from fastprice.market.forms import Json
from fastprice.market.limits import Limit
from fastprice.market.tick import DAY_MS

MOST_STREAMS = 1024
WRAPPED = "/stream"


def _ticker(push: Push) -> Json:
    tick = push.tick
    return {
        "e": "24hrTicker", "E": push.sent_ms, "s": push.symbol.upper(), "p": tick.change, "P": tick.percent,
        "w": tick.open, "x": tick.open, "c": tick.price, "Q": "0.20000000", "b": tick.bid, "B": "31.21000000",
        "a": tick.ask, "A": "40.66000000", "o": tick.open, "h": tick.high, "l": tick.low, "v": tick.volume,
        "q": tick.turnover, "O": push.sent_ms - DAY_MS, "C": push.sent_ms, "F": 28385, "L": push.key, "n": 900076,
    }  # fmt: skip


def _mini(push: Push) -> Json:
    tick = push.tick
    return {
        "e": "24hrMiniTicker", "E": push.sent_ms, "s": push.symbol.upper(), "c": tick.price, "o": tick.open,
        "h": tick.high, "l": tick.low, "v": tick.volume, "q": tick.turnover,
    }  # fmt: skip


def _book(push: Push) -> Json:
    tick = push.tick
    return {
        "u": push.key, "s": push.symbol.upper(), "b": tick.bid, "B": "31.21000000", "a": tick.ask, "A": "40.66000000",
    }  # fmt: skip


def _trade(push: Push) -> Json:
    return {
        "e": "trade", "E": push.sent_ms, "s": push.symbol.upper(), "t": push.key, "p": push.tick.price,
        "q": "0.01400000", "T": push.tick.time_ms, "m": True, "M": True,
    }  # fmt: skip


_CHANNELS = {
    "ticker": Channel(_ticker, WHOLE, every_ms=1000),
    "miniTicker": Channel(_mini, LAST, every_ms=1000),
    "bookTicker": Channel(_book, BOOK),
    "trade": Channel(_trade, LAST),
}


def _wrapped(name: str, channel: Channel) -> Channel:
    def write(push: Push) -> Json:
        return {"stream": f"{push.symbol}@{name}", "data": channel.write(push)}

    return Channel(write, channel.tells, channel.every_ms)


def _topic(connection: Connection, stream: str) -> Topic | None:
    """The topic of a stream name; None if the name is invalid."""
    symbol, _, channel = stream.partition("@")
    if channel not in _CHANNELS or not symbol.isalnum():
        return None
    prefix = f"{WRAPPED}/" if connection.path.startswith(WRAPPED) else ""
    return Topic(prefix + channel, symbol, connection.find(symbol))


def _greet(connection: Connection) -> None:
    """Subscribe to the streams named in the URL; invalid names are ignored."""
    named = connection.query.get("streams", "") if connection.path == WRAPPED else connection.path.removeprefix("/ws")
    topics = [_topic(connection, stream) for stream in named.strip("/").split("/")]
    connection.listen(*[topic for topic in topics if topic])


def _hear(connection: Connection, text: str) -> None:
    body = parsed(text)
    if not isinstance(body, dict):
        _complain(connection, 3, "Invalid JSON: expected value at line 1 column 1", None)
        return
    number, method, params = body.get("id"), body.get("method"), strings(body.get("params"))
    if method == "LIST_SUBSCRIPTIONS":
        streams = [f"{topic.symbol}@{topic.channel.rpartition('/')[2]}" for topic in connection.topics]
        connection.say({"result": streams, "id": number})
    elif method not in ("SUBSCRIBE", "UNSUBSCRIBE"):
        words = "unknown variant %s, expected one of `SUBSCRIBE`, `UNSUBSCRIBE`, `LIST_SUBSCRIPTIONS`"
        _complain(connection, 2, "Invalid request: " + words % f"`{method}`", number)
    else:
        _change(connection, method, params, number)


def _change(connection: Connection, method: str, params: list[str], number: Any) -> None:
    topics = [topic for stream in params if (topic := _topic(connection, stream))]
    if not params or len(topics) < len(params):
        _complain(connection, 2, "Invalid request: invalid stream", number)
    elif method == "UNSUBSCRIBE":
        connection.unlisten(*topics)
        connection.say({"result": None, "id": number})
    elif connection.exceeds("channels", len(connection.topics) + len(topics) > MOST_STREAMS):
        connection.close(1008, "Too many streams")
    else:
        connection.ack({"result": None, "id": number})
        connection.listen(*topics)


def _complain(connection: Connection, code: int, words: str, number: Any) -> None:
    connection.say({"error": {"code": code, "msg": words}, "id": number})


def _notice(connection: Connection) -> Json:
    shutdown = {"e": "serverShutdown", "E": connection.feed.pace.now_ms()}
    return {"stream": "!serverShutdown", "data": shutdown} if connection.path.startswith(WRAPPED) else shutdown


DIALECT = Dialect(
    name="binance",
    paths=("/ws", "/ws/*", "/stream"),
    symbol=lambda pair: lowered(pair)[0],
    greet=_greet,
    hear=_hear,
    channels=_CHANNELS | {f"{WRAPPED}/{name}": _wrapped(name, channel) for name, channel in _CHANNELS.items()},
    patience=(Patience(60, "ponged_at", 1008, "Pong timeout"),),
    attempts=(Limit(300, 300),),
    # Pings and pongs count as well.
    messages=(Limit(5, 1),),
    counts_frames=True,
    message_bytes=4096,
    too_long=(3001, "illegal request"),
    ping_seconds=20,
    notice=_notice,
)
