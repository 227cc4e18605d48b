"""KuCoin: a token first, then `/market/ticker:A,B` or `:all`, and pings that the server expects."""

import itertools
from typing import Any

from fastprice.market.connection import Connection
from fastprice.market.dialect import LAST, WHOLE, Channel, Dialect, Patience, Push, Topic, parsed
from fastprice.market.exchange import dashed
from fastprice.market.feed import Feed
from fastprice.market.forms import Json, number
from fastprice.market.limits import Limit

MOST_TOPICS_OF_A_MESSAGE, MOST_TOPICS = 100, 400
PING_MS, PONG_MS = 18_000, 10_000
_TOKENS = itertools.count(1)


def _message(topic: str, subject: str, data: Json) -> Json:
    return {"type": "message", "topic": topic, "subject": subject, "data": data}


def _best(push: Push) -> Json:
    tick = push.tick
    return {
        "bestAsk": tick.ask, "bestAskSize": "0.18", "bestBid": tick.bid, "bestBidSize": "0.036", "price": tick.price,
        "sequence": str(push.key), "size": "0.011", "time": tick.time_ms,
    }  # fmt: skip


def _ticker(push: Push) -> Json:
    return _message(f"/market/ticker:{push.symbol}", "trade.ticker", _best(push))


def _all(push: Push) -> Json:
    return _message("/market/ticker:all", push.symbol, _best(push))


def _snapshot(push: Push) -> Json:
    tick = push.tick
    data = {
        "trading": True, "symbol": push.symbol, "symbolCode": push.symbol, "buy": number(tick.bid),
        "sell": number(tick.ask), "sort": 100, "volValue": number(tick.turnover), "vol": number(tick.volume),
        "baseCurrency": tick.pair.base, "quoteCurrency": tick.pair.quote, "market": tick.pair.quote,
        "datetime": tick.time_ms, "high": number(tick.high), "low": number(tick.low), "open": number(tick.open),
        "changePrice": number(tick.change), "changeRate": 0.0, "lastTradedPrice": number(tick.price), "board": 0,
        "mark": 0,
    }  # fmt: skip
    body = {"sequence": str(push.key), "data": data}
    return _message(f"/market/snapshot:{push.symbol}", "trade.snapshot", body)


def _match(push: Push) -> Json:
    data = {
        "sequence": str(push.key), "type": "match", "symbol": push.symbol, "side": "buy", "price": push.tick.price,
        "size": "0.01", "tradeId": str(push.key), "takerOrderId": "5bbcf4", "makerOrderId": "5bbab2",
        "time": f"{push.tick.time_ms}000000",
    }  # fmt: skip
    return _message(f"/market/match:{push.symbol}", "trade.l3match", data)


def _token(feed: Feed, url: str) -> Json:
    token = f"2neAiuYvAU61ZDXANAGAsiL4-iAExhsBXZxftpOeh{next(_TOKENS)}"
    feed.tokens.add(token)
    server = {
        "endpoint": f"{url}/endpoint", "encrypt": True, "protocol": "websocket", "pingInterval": PING_MS,
        "pingTimeout": PONG_MS,
    }  # fmt: skip
    return {"code": "200000", "data": {"token": token, "instanceServers": [server]}}


def _greet(connection: Connection) -> None:
    number = connection.query.get("connectId", "hQvf8jkno")
    if connection.query.get("token") in connection.feed.tokens:
        connection.say({"id": number, "type": "welcome"})
    else:
        _complain(connection, number, 401, "token is invalid")
        connection.close(1008, "token is invalid")


def _hear(connection: Connection, text: str) -> None:
    body = parsed(text)
    if not isinstance(body, dict):
        _complain(connection, "0", 400, "invalid message")
        return
    number, kind = body.get("id"), body.get("type")
    if kind == "ping":
        connection.pong({"id": number, "type": "pong", "timestamp": connection.feed.pace.now_ms() * 1000})
    elif kind in ("subscribe", "unsubscribe"):
        _change(connection, body, kind, str(body.get("topic", "")))
    else:
        _complain(connection, number, 415, f"type {kind} is not supported")


def _change(connection: Connection, body: dict[str, Any], kind: str, name: str) -> None:
    channel, _, rest = name.removeprefix("/market/").partition(":")
    symbols = rest.split(",")
    if channel == "ticker" and rest == "all":
        channel, symbols = "all", list(map(DIALECT.symbol, connection.feed.source.walked))
    topics = [Topic(channel, symbol, connection.find(symbol)) for symbol in symbols]
    count = 1 if channel == "all" else len(topics)
    held = sum(topic.channel != "all" for topic in connection.topics)
    if channel not in DIALECT.channels or not all(topic.pair for topic in topics):
        _complain(connection, body.get("id"), 404, f"topic {name} is not found")
    elif connection.exceeds("args", count > MOST_TOPICS_OF_A_MESSAGE):
        words = f"exceed max subscription count limitation of {MOST_TOPICS_OF_A_MESSAGE} per time"
        _complain(connection, body.get("id"), 509, words)
    elif kind == "subscribe" and connection.exceeds("channels", held + count > MOST_TOPICS):
        words = f"exceed max subscription count limitation of {MOST_TOPICS} per session"
        _complain(connection, body.get("id"), 509, words)
    else:
        if kind == "unsubscribe":
            connection.unlisten(*topics)
        if body.get("response") is True:
            connection.ack({"id": body.get("id"), "type": "ack"})
        if kind == "subscribe":
            connection.listen(*topics)


def _complain(connection: Connection, number: Any, code: int, words: str) -> None:
    connection.say({"id": number, "type": "error", "code": code, "data": words})


def _flood(connection: Connection) -> None:
    _complain(connection, "0", 509, "exceed max message count limitation of 100 per 10 seconds")


DIALECT = Dialect(
    name="kucoin",
    paths=("/endpoint", "/endpoint/"),
    symbol=lambda pair: dashed(pair)[0],
    greet=_greet,
    hear=_hear,
    channels={
        "ticker": Channel(_ticker, WHOLE, every_ms=100),
        "all": Channel(_all, WHOLE, every_ms=100),
        "snapshot": Channel(_snapshot, WHOLE, every_ms=2000),
        "match": Channel(_match, LAST),
    },
    patience=(Patience(60, "heard_at", 1000, "Bye"),),
    attempts=(Limit(30, 60),),
    messages=(Limit(100, 10),),
    flood=_flood,
    bullet="/api/v1/bullet-public",
    token=_token,
)
