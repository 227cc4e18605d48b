"""Coinbase Exchange: every answer lists all subscriptions; heartbeats per product; five seconds to subscribe."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from fastprice.market.connection import Connection
from fastprice.market.dialect import BOOK, LAST, WHOLE, Channel, Dialect, Patience, Push, Topic, parsed, strings
from fastprice.market.exchange import dashed
from fastprice.market.forms import Json
from fastprice.market.limits import Limit


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _ticker(push: Push) -> Json:
    tick = push.tick
    return {
        "type": "ticker", "sequence": push.key, "product_id": push.symbol, "price": tick.price,
        "open_24h": tick.open, "volume_24h": tick.volume, "low_24h": tick.low, "high_24h": tick.high,
        "volume_30d": tick.turnover, "best_bid": tick.bid, "best_bid_size": "0.46688654", "best_ask": tick.ask,
        "best_ask_size": "1.56637040", "side": "buy", "time": _time(tick.time_ms), "trade_id": push.key,
        "last_size": "11.4396987",
    }  # fmt: skip


def _match(push: Push) -> Json:
    return {
        "type": "last_match" if push.is_first else "match", "trade_id": push.key,
        "maker_order_id": "ac928c66-ca53-498f-9c13-a110027a60e8",
        "taker_order_id": "132fb6ae-456b-4654-b4e0-d681ac05cea1", "side": "sell", "size": "5.23512",
        "price": push.tick.price, "product_id": push.symbol, "sequence": push.key, "time": _time(push.tick.time_ms),
    }  # fmt: skip


def _heartbeat(push: Push) -> Json:
    return {
        "type": "heartbeat", "sequence": push.key, "last_trade_id": push.key, "product_id": push.symbol,
        "time": _time(push.sent_ms),
    }  # fmt: skip


def _book(push: Push) -> Json:
    tick = push.tick
    if push.is_first:
        bids, asks = [[tick.bid, "0.46688654"]], [[tick.ask, "1.56637040"]]
        return {"type": "snapshot", "product_id": push.symbol, "bids": bids, "asks": asks}
    changes = [["buy", tick.bid, "0.46688654"], ["sell", tick.ask, "1.56637040"]]
    return {"type": "l2update", "product_id": push.symbol, "changes": changes, "time": _time(tick.time_ms)}


def _wanted(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Channel and product of every subscription in a request; a channel may name its own products."""
    channels = body.get("channels")
    for channel in channels if isinstance(channels, list) else ():
        name, products = channel, body.get("product_ids")
        if isinstance(channel, dict):
            name, products = channel.get("name"), channel.get("product_ids", products)
        yield from ((str(name), product) for product in strings(products))


def _hear(connection: Connection, text: str) -> None:
    body = parsed(text)
    if not isinstance(body, dict):
        _complain(connection, "Malformed JSON", "")
    elif body.get("type") not in ("subscribe", "unsubscribe"):
        _complain(connection, "Failed to subscribe", f"{body.get('type')} is not a valid type")
    elif not (wanted := list(_wanted(body))):
        _complain(connection, "Failed to subscribe", "No channels provided")
    else:
        _change(connection, str(body["type"]), wanted)


def _change(connection: Connection, kind: str, wanted: list[tuple[str, str]]) -> None:
    """Apply the request to all valid topics, and send an error about the first invalid one."""
    topics = [Topic(name, product, connection.find(product)) for name, product in wanted]
    good = [topic for topic in topics if topic.pair and topic.channel in DIALECT.channels]
    bad = next((topic for topic in topics if topic not in good), None)
    if bad:
        what = f"{bad.symbol} is not a valid product" if not bad.pair else f"{bad.channel} is not a valid channel"
        _complain(connection, "Failed to subscribe", what)
    if kind == "unsubscribe":
        connection.unlisten(*good)
    if good and kind == "subscribe":
        connection.ack(_subscriptions(dict.fromkeys([*connection.topics, *good])))
        connection.listen(*good)
    elif kind == "unsubscribe":
        connection.say(_subscriptions(connection.topics))


def _subscriptions(topics: dict[Topic, None]) -> Json:
    products: dict[str, list[str]] = {}
    for topic in topics:
        products.setdefault(topic.channel, []).append(topic.symbol)
    channels = [{"name": name, "product_ids": ids, "account_ids": None} for name, ids in products.items()]
    return {"type": "subscriptions", "channels": channels}


def _complain(connection: Connection, message: str, reason: str) -> None:
    connection.say({"type": "error", "message": message, "reason": reason})


def _flood(connection: Connection) -> None:
    _complain(connection, "Rate limit exceeded", "Too many messages")


DIALECT = Dialect(
    name="coinbase",
    paths=("/",),
    symbol=lambda pair: dashed(pair)[0],
    hear=_hear,
    channels={
        # Sent on a trade only; the best bid and ask are those at the time of the trade.
        "ticker": Channel(_ticker, WHOLE, snapshot=True),
        "ticker_batch": Channel(_ticker, WHOLE, every_ms=5000, snapshot=True),
        "matches": Channel(_match, LAST, snapshot=True),
        "level2_batch": Channel(_book, BOOK, every_ms=50, snapshot=True),
        "heartbeat": Channel(_heartbeat, (), every_ms=1000, repeat_ms=1000),
    },
    patience=(Patience(5, "opened_at", 1008, "No subscription within 5 seconds", idle=True),),
    attempts=(Limit(8, 1, burst=20),),
    messages=(Limit(100, 1),),
    flood=_flood,
)
