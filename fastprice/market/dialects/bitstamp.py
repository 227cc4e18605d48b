"""Bitstamp: one channel per message; an unlisted market is acked, but nothing is pushed."""

import re
from typing import Any

from fastprice.market.connection import Connection
from fastprice.market.dialect import BOOK, LAST, Channel, Dialect, Push, Topic, parsed
from fastprice.market.exchange import lowered
from fastprice.market.forms import Json, number

MOST_CHANNELS = 1024
_NAME = re.compile(r"(live_trades|order_book|diff_order_book)_([a-z0-9]+)")


def _trade(push: Push) -> Json:
    tick = push.tick
    data = {
        "id": push.key, "timestamp": str(tick.time_ms // 1000), "amount": 0.241, "amount_str": "0.241000",
        "price": number(tick.price), "price_str": tick.price, "type": 0, "microtimestamp": push.time_us,
        "buy_order_id": 1981271832174592, "sell_order_id": 1981271832354816,
    }  # fmt: skip
    return {"data": data, "channel": f"live_trades_{push.symbol}", "event": "trade"}


def _book(name: str, push: Push) -> Json:
    tick = push.tick
    data = {
        "timestamp": str(tick.time_ms // 1000), "microtimestamp": push.time_us,
        "bids": [[tick.bid, "0.33000000"]] if tick.bid else [], "asks": [[tick.ask, "0.25000000"]] if tick.ask else [],
    }  # fmt: skip
    return {"data": data, "channel": f"{name}_{push.symbol}", "event": "data"}


def _hear(connection: Connection, text: str) -> None:
    body = parsed(text)
    event, data = (body.get("event"), body.get("data")) if isinstance(body, dict) else (None, None)
    name = str(data.get("channel", "")) if isinstance(data, dict) else ""
    if not isinstance(body, dict):
        _complain(connection, "Incorrect JSON format.")
    elif event == "bts:heartbeat":
        connection.pong({"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}})
    elif event not in ("bts:subscribe", "bts:unsubscribe"):
        _complain(connection, "Bad subscription string.")
    elif found := _NAME.fullmatch(name):
        _change(connection, event, Topic(found[1], found[2], connection.find(found[2])), name)
    else:
        _complain(connection, "Invalid channel provided.")


def _change(connection: Connection, event: str, topic: Topic, name: str) -> None:
    if event == "bts:unsubscribe":
        connection.unlisten(topic)
        connection.say({"event": "bts:unsubscription_succeeded", "channel": name, "data": {}})
    elif connection.exceeds("channels", len(connection.topics) >= MOST_CHANNELS and topic not in connection.topics):
        connection.close(1006)
    else:
        connection.ack({"event": "bts:subscription_succeeded", "channel": name, "data": {}})
        connection.listen(topic)


def _complain(connection: Connection, words: str) -> None:
    connection.say({"event": "bts:error", "channel": "", "data": {"code": None, "message": words}})


def _notice(connection: Connection) -> Any:
    return {"event": "bts:request_reconnect", "channel": "", "data": ""}


DIALECT = Dialect(
    name="bitstamp",
    paths=("/",),
    symbol=lambda pair: lowered(pair)[0],
    hear=_hear,
    channels={
        "live_trades": Channel(_trade, LAST),
        "order_book": Channel(lambda push: _book("order_book", push), BOOK, every_ms=100),
        "diff_order_book": Channel(lambda push: _book("diff_order_book", push), BOOK, every_ms=100),
    },
    message_bytes=512,
    too_long=(1009, "read limited at 513 bytes"),
    ping_seconds=54,
    notice=_notice,
)
