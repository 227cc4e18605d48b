"""The simulated exchanges speak their WebSocket dialects as documented."""

import asyncio
import json
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from fastprice.domain.quote import Pair
from fastprice.market import Market
from fastprice.market.dialects import DIALECTS
from tests.market import NOW_MS
from tests.market_streams import PATHS, Talks, say_subscribe, subscribe

pytestmark = pytest.mark.anyio

ETH = Pair("ETH", "USDT")


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    """A market whose clock stands still, so that prices move only when they are moved."""
    market = Market(("eth-usdt", "btc-usdt", "doge-usd"), now_ms=lambda: NOW_MS)
    market.every_ms = 0
    await market.start()
    yield market
    await market.stop()


@pytest.fixture
async def talks(market: Market) -> AsyncIterator[Talks]:
    async with aiohttp.ClientSession() as session:
        yield Talks(market, session)


def tick(market: Market, name: str, pair: Pair = ETH) -> tuple[str, str | None, str | None]:
    tick = market.sources[name].tick(pair, NOW_MS)
    return tick.price, tick.bid, tick.ask


def at(body: Any, *path: str | int) -> Any:
    for step in path:
        body = body[step]
    return body


# Subscribe: the confirmation, and the answer to an unknown symbol.

ACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "binance": ("ticker", {"result": None, "id": 1}),
    "okx": ("tickers", {"event": "subscribe", "id": "1", "arg": {"channel": "tickers", "instId": "ETH-USDT"}}),
    "coinbase": ("ticker", {"type": "subscriptions", "channels": [{"name": "ticker", "product_ids": ["ETH-USDT"], "account_ids": None}]}),
    "kraken": ("ticker", {"method": "subscribe", "success": True, "req_id": 1, "result": {"channel": "ticker", "symbol": "ETH/USDT", "event_trigger": "bbo", "snapshot": True}}),
    "bybit": ("tickers", {"success": True, "ret_msg": "subscribe", "req_id": "1", "op": "subscribe"}),
    "kucoin": ("ticker", {"id": "1", "type": "ack"}),
    "gate": ("spot.tickers", {"id": 1, "channel": "spot.tickers", "event": "subscribe", "error": None, "result": {"status": "success"}, "payload": ["ETH_USDT"]}),
    "bitstamp": ("live_trades", {"event": "bts:subscription_succeeded", "channel": "live_trades_ethusdt", "data": {}}),
    "bitget": ("ticker", {"event": "subscribe", "arg": {"instType": "SPOT", "channel": "ticker", "instId": "ETHUSDT"}}),
}
REFUSALS: dict[str, dict[str, Any]] = {
    "okx": {"event": "error", "code": "60018"},
    "coinbase": {"type": "error", "message": "Failed to subscribe", "reason": "NO-USDT is not a valid product"},
    "kraken": {"method": "subscribe", "success": False, "error": "Currency pair not supported NO/USDT", "symbol": "NO/USDT"},
    "bybit": {"success": False, "ret_msg": "Invalid symbol :[NOUSDT]", "op": "subscribe"},
    "kucoin": {"type": "error", "code": 404, "data": "topic /market/ticker:NO-USDT is not found"},
    "gate": {"error": {"code": 2, "message": "unknown currency pair: NO_USDT"}, "result": {"status": "fail"}},
    "bitget": {"event": "error", "code": 30001, "op": "subscribe", "arg": {"instType": "SPOT", "channel": "ticker", "instId": "NOUSDT"}},
}
# The form of every channel's pushes: the paths to last, bid and ask, and to the key that orders them.
PUSHES: dict[tuple[str, str], tuple[tuple[tuple[str | int, ...] | None, ...], tuple[str | int, ...]]] = {
    ("binance", "ticker"): ((("c",), ("b",), ("a",)), ("L",)),
    ("binance", "miniTicker"): ((("c",), None, None), ("E",)),
    ("binance", "bookTicker"): ((None, ("b",), ("a",)), ("u",)),
    ("binance", "trade"): ((("p",), None, None), ("t",)),
    ("okx", "tickers"): ((("data", 0, "last"), ("data", 0, "bidPx"), ("data", 0, "askPx")), ("data", 0, "ts")),
    ("okx", "bbo-tbt"): ((None, ("data", 0, "bids", 0, 0), ("data", 0, "asks", 0, 0)), ("data", 0, "seqId")),
    ("okx", "trades"): ((("data", 0, "px"), None, None), ("data", 0, "tradeId")),
    ("coinbase", "ticker"): ((("price",), ("best_bid",), ("best_ask",)), ("sequence",)),
    ("coinbase", "ticker_batch"): ((("price",), ("best_bid",), ("best_ask",)), ("sequence",)),
    ("coinbase", "matches"): ((("price",), None, None), ("trade_id",)),
    ("kraken", "ticker"): ((("data", 0, "last"), ("data", 0, "bid"), ("data", 0, "ask")), ("data", 0, "timestamp")),
    ("kraken", "trade"): ((("data", 0, "price"), None, None), ("data", 0, "trade_id")),
    ("bybit", "tickers"): ((("data", "lastPrice"), None, None), ("cs",)),
    ("bybit", "orderbook.1"): ((None, ("data", "b", 0, 0), ("data", "a", 0, 0)), ("data", "u")),
    ("bybit", "publicTrade"): ((("data", 0, "p"), None, None), ("data", 0, "seq")),
    ("kucoin", "ticker"): ((("data", "price"), ("data", "bestBid"), ("data", "bestAsk")), ("data", "sequence")),
    ("kucoin", "all"): ((("data", "price"), ("data", "bestBid"), ("data", "bestAsk")), ("data", "sequence")),
    ("kucoin", "match"): ((("data", "price"), None, None), ("data", "sequence")),
    ("gate", "spot.tickers"): ((("result", "last"), ("result", "highest_bid"), ("result", "lowest_ask")), ("time_ms",)),
    ("gate", "spot.book_ticker"): ((None, ("result", "b"), ("result", "a")), ("result", "u")),
    ("gate", "spot.trades"): ((("result", "price"), None, None), ("result", "id_market")),
    ("bitstamp", "live_trades"): ((("data", "price_str"), None, None), ("data", "microtimestamp")),
    ("bitstamp", "order_book"): ((None, ("data", "bids", 0, 0), ("data", "asks", 0, 0)), ("data", "microtimestamp")),
    ("bitget", "ticker"): ((("data", 0, "lastPr"), ("data", 0, "bidPr"), ("data", 0, "askPr")), ("data", 0, "ts")),
    ("bitget", "books1"): ((None, ("data", 0, "bids", 0, 0), ("data", 0, "asks", 0, 0)), ("data", 0, "seq")),
    ("bitget", "trade"): ((("data", 0, "price"), None, None), ("data", 0, "tradeId")),
}  # fmt: skip
PINGS: dict[str, tuple[Any, Any]] = {
    "okx": ("ping", "pong"),
    "kraken": ({"method": "ping", "req_id": 7}, {"method": "pong", "req_id": 7}),
    "bybit": ({"op": "ping", "req_id": "7"}, {"success": True, "ret_msg": "pong", "op": "ping", "req_id": "7"}),
    "kucoin": ({"id": "7", "type": "ping"}, {"id": "7", "type": "pong"}),
    "gate": ({"time": NOW_MS // 1000, "channel": "spot.ping"}, {"channel": "spot.pong", "event": ""}),
    "bitstamp": ({"event": "bts:heartbeat"}, {"event": "bts:heartbeat", "channel": "", "data": {"status": "success"}}),
    "bitget": ("ping", "pong"),
}
NONSENSE: dict[str, dict[str, Any]] = {
    "binance": {"error": {"code": 3, "msg": "Invalid JSON: expected value at line 1 column 1"}, "id": None},
    "okx": {"event": "error", "code": "60012"},
    "coinbase": {"type": "error", "message": "Malformed JSON"},
    "kraken": {"error": "Malformed message", "success": False},
    "bybit": {"success": False},
    "kucoin": {"type": "error", "code": 400},
    "gate": {"error": {"code": 1, "message": "Invalid request body"}},
    "bitstamp": {"event": "bts:error", "data": {"code": None, "message": "Incorrect JSON format."}},
    "bitget": {"event": "error", "code": 30003},
}


@pytest.mark.parametrize("name", DIALECTS)
async def test_subscribe_is_confirmed(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        channel, ack = ACKS[name]
        await talk.send(say_subscribe(name, channel))
        assert ack.items() <= (await talk.read()).items()


@pytest.mark.parametrize("name", REFUSALS)
async def test_unknown_symbol_is_refused(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        await talk.send(say_subscribe(name, ACKS[name][0], ["NO/USDT"]))
        assert REFUSALS[name].items() <= (await talk.read()).items()
        assert talks.market.stream_state(name)["subscriptions"] == {}


@pytest.mark.parametrize("name", ["binance", "bitstamp"])
async def test_unknown_symbol_is_acked_and_stays_silent(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        await talk.send(say_subscribe(name, ACKS[name][0], ["NO/USDT"]))
        await talk.read()
        await subscribe(talk, ACKS[name][0])
        talks.move("3000")
        assert "nousdt" not in str(await talk.read()).lower()


@pytest.mark.parametrize(("name", "channel"), PUSHES)
async def test_a_move_is_pushed_in_the_documented_form(talks: Talks, name: str, channel: str) -> None:
    prices, key = PUSHES[name, channel]
    async with talks.open(name) as talk:
        await subscribe(talk, channel)
        keys = []
        for price in "3000.50", "3001.25", "2999.75":
            talks.move(price)
            body = await talk.read()
            expected = tick(talks.market, name)
            for place, amount in zip(prices, expected, strict=True):
                assert place is None or at(body, *place) == (Decimal(str(amount)) if name == "kraken" else amount)
            keys.append(at(body, *key))
        assert keys == sorted(set(keys), key=str)
        pushed = talks.market.pushed[name][-1]
        told = tuple(amount if place else None for place, amount in zip(prices, expected, strict=True))
        assert ((pushed.price, pushed.bid, pushed.ask), pushed.pair) == (told, "eth-usdt")


@pytest.mark.parametrize("name", PINGS)
async def test_own_pings_are_answered(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        ping, pong = PINGS[name]
        await talk.send(ping)
        answer = await talk.read()
        assert answer == pong if isinstance(pong, str) else pong.items() <= answer.items()


@pytest.mark.parametrize("name", DIALECTS)
async def test_ping_frames_are_answered_with_their_payload(talks: Talks, name: str) -> None:
    async with talks.open(name, autoping=False) as talk:
        await talk.socket.ping(b"me")
        message = await talk.socket.receive(5)
        assert (message.type, message.data) == (aiohttp.WSMsgType.PONG, b"me")


@pytest.mark.parametrize("name", DIALECTS)
async def test_nonsense_is_answered_and_the_connection_lives(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        await talk.send("{")
        assert NONSENSE[name].items() <= (await talk.read()).items()
        await subscribe(talk, ACKS[name][0])


@pytest.mark.parametrize("name", DIALECTS)
async def test_odd_json_hurts_nobody(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        names = ("id", "op", "method", "type", "event", "channel", "args", "params", "payload", "topic", "data", "channels")
        odds: list[Any] = [[], {}, 5, None, [[]], [{}], [None], [5], "x", {"channel": [], "symbol": [5, None]}]
        for odd in odds:
            await talk.send(json.dumps(odd))
            for verb in odd, "subscribe", "SUBSCRIBE", "bts:subscribe", "ping":
                asked = dict.fromkeys(names, odd) | {"op": verb, "method": verb, "type": verb, "event": verb}
                await talk.send(json.dumps(asked | {"time": NOW_MS // 1000}))
        await talk.send(say_subscribe(name, ACKS[name][0]))
        await talks.until(lambda: talks.topics(name) >= 1)


@pytest.mark.parametrize("name", DIALECTS)
async def test_unsubscribe_ends_the_pushes(talks: Talks, name: str) -> None:
    channel = ACKS[name][0]
    async with talks.open(name) as talk:
        await subscribe(talk, channel)
        assert talks.topics(name) == 1
        await talk.send(say_subscribe(name, channel, undo=True))
        await talk.read()
        assert talks.topics(name) == 0
        assert talks.market.stream_state(name)["connections"] == 1
    await talks.until(lambda: talks.market.stream_state(name)["connections"] == 0)


async def test_nothing_is_pushed_more_often_than_documented(talks: Talks) -> None:
    talks.market.every_ms = None
    async with talks.open("binance") as slow, talks.open("bybit") as fast:
        await subscribe(slow, "ticker")
        await subscribe(slow, "trade")
        await subscribe(fast, "orderbook.1")
        talks.market.streams.pace.clock = lambda: talks.now
        talks.now += 100
        for price in "3000", "3001":
            talks.move(price)
        # The channel with one push per second sends only the first price, the channel of trades sends both.
        assert [(await slow.read())["e"] for _ in range(3)] == ["24hrTicker", "trade", "trade"]
        talks.now += 1
        assert (await slow.read())["c"] == tick(talks.market, "binance")[0]


async def test_binance_wraps_what_is_asked_of_the_combined_path(talks: Talks) -> None:
    async with talks.open("binance", "/stream?streams=ethusdt@bookTicker/btcusdt@trade") as talk:
        await talk.send({"method": "LIST_SUBSCRIPTIONS", "id": 3})
        assert await talk.read() == {"result": ["ethusdt@bookTicker", "btcusdt@trade"], "id": 3}
        talks.move("3000")
        body = await talk.read()
        assert (body["stream"], body["data"]["s"]) == ("ethusdt@bookTicker", "ETHUSDT")
    async with talks.open("binance", "/ws/ethusdt@trade") as talk:
        talks.move("3001")
        assert (await talk.read())["e"] == "trade"


async def test_kraken_greets_beats_and_tells_numbers(talks: Talks) -> None:
    async with talks.open("kraken", greeted=False) as talk:
        status = await talk.read()
        assert (status["channel"], status["data"][0]["system"]) == ("status", "online")
        await talk.send(say_subscribe("kraken", "ticker", ["ETH/USDT", "NO/USDT", "DOGE/USD"]))
        bodies = [await talk.read() for _ in range(5)]
        assert [body.get("success", body.get("type")) for body in bodies] == [True, "snapshot", False, True, "snapshot"]
        assert bodies[4]["data"][0]["symbol"] == "DOGE/USD"
        assert isinstance(bodies[1]["data"][0]["last"], Decimal)
        await talk.send(say_subscribe("kraken", "ticker"))
        assert (await talk.read())["error"] == "Already subscribed"
        assert await talk.read(10) == {"channel": "heartbeat"}


async def test_bybit_fails_a_request_as_a_whole_and_repeats_a_book_under_its_key(talks: Talks) -> None:
    async with talks.open("bybit") as talk:
        await talk.send({"op": "subscribe", "args": ["tickers.ETHUSDT", "tickers.ethusdt"]})
        assert (await talk.read())["ret_msg"] == "Invalid symbol :[ethusdt]"
        await talk.send({"op": "subscribe", "args": ["candles.ETHUSDT"]})
        assert (await talk.read())["ret_msg"] == "error:handler not found,topic:candles.ETHUSDT"
        assert talks.topics("bybit") == 0
        await talk.send(say_subscribe("bybit", "orderbook.1"))
        assert (await talk.read())["success"]
        first = await talk.read()
        await talk.send(say_subscribe("bybit", "orderbook.1"))
        assert (await talk.read())["ret_msg"] == "error:already subscribed,topic:orderbook.1.ETHUSDT"
        talks.market.streams.pace.clock = lambda: talks.now
        talks.now += 4
        again = await talk.read()
        assert (again["data"]["u"], again["data"]["b"]) == (first["data"]["u"], first["data"]["b"])


async def test_bitget_flows_without_change_and_okx_sends_a_snapshot(talks: Talks) -> None:
    async with talks.open("bitget") as talk:
        await talk.send(say_subscribe("bitget", "ticker"))
        assert (await talk.read())["event"] == "subscribe"
        bodies = [await talk.read() for _ in range(3)]
        assert {body["data"][0]["lastPr"] for body in bodies} == {tick(talks.market, "bitget")[0]}
        assert len({body["data"][0]["ts"] for body in bodies}) == 3
    async with talks.open("okx") as talk:
        await talk.send(say_subscribe("okx", "tickers"))
        await talk.read()
        assert (await talk.read())["data"][0]["last"] == tick(talks.market, "okx")[0]


async def test_coinbase_serves_what_is_valid_and_beats_for_each_product(talks: Talks) -> None:
    async with talks.open("coinbase") as talk:
        channels = ["ticker", {"name": "heartbeat", "product_ids": ["BTC-USDT"]}]
        await talk.send({"type": "subscribe", "product_ids": ["NO-USD", "ETH-USDT"], "channels": channels})
        assert (await talk.read())["reason"] == "NO-USD is not a valid product"
        listed = (await talk.read())["channels"]
        assert [(one["name"], one["product_ids"]) for one in listed] == [("ticker", ["ETH-USDT"]), ("heartbeat", ["BTC-USDT"])]
        assert (await talk.read())["type"] == "ticker"
        talks.market.streams.pace.clock = lambda: talks.now
        talks.now += 2
        beat = await talk.read()
        assert (beat["type"], beat["product_id"]) == ("heartbeat", "BTC-USDT")
        assert beat["last_trade_id"] > 0


async def test_coinbase_books_and_gate_checks_its_requests(talks: Talks) -> None:
    async with talks.open("coinbase") as talk:
        await talk.send(say_subscribe("coinbase", "level2_batch"))
        assert (await talk.read())["type"] == "subscriptions"
        first = await talk.read()
        assert (first["type"], first["bids"][0][0]) == ("snapshot", tick(talks.market, "coinbase")[1])
        talks.move("3000")
        changes = (await talk.read())["changes"]
        assert [change[:2] for change in changes] == list(map(list, zip(("buy", "sell"), tick(talks.market, "coinbase")[1:])))
    async with talks.open("gate") as talk:
        good = say_subscribe("gate", "spot.tickers")
        wrong: list[dict[str, Any]] = [{"time": 5}, {"channel": "spot.candles"}, {"event": "shout"}, {"payload": []}]
        for bad in wrong:
            await talk.send(good | bad)
            assert (await talk.read())["error"]["code"] == 2
        assert talks.topics("gate") == 0


async def test_kraken_subscribes_without_a_snapshot_and_refuses_other_channels(talks: Talks) -> None:
    async with talks.open("kraken") as talk:
        good = say_subscribe("kraken", "ticker")
        wrong: list[dict[str, Any]] = [{"channel": "books"}, {"event_trigger": "moon"}, {"symbol": ["ETH/XYZ"]}]
        for bad in wrong:
            await talk.send(good | {"params": good["params"] | bad})
            assert (await talk.read())["success"] is False
        await talk.send(good | {"params": good["params"] | {"snapshot": False}})
        assert (await talk.read())["result"]["snapshot"] is False
        talks.move("3000")
        assert (await talk.read())["type"] == "update"


async def test_kucoin_wants_its_token_and_knows_the_whole_market(talks: Talks) -> None:
    async with talks.open("kucoin", "/endpoint?token=stolen&connectId=1", greeted=False) as talk:
        assert await talk.read() == {"id": "1", "type": "error", "code": 401, "data": "token is invalid"}
        assert (await talk.socket.receive(5)).type is aiohttp.WSMsgType.CLOSE
    async with talks.open("kucoin") as talk:
        await talk.send({"id": "9", "type": "subscribe", "topic": "/market/ticker:all", "response": True})
        assert (await talk.read())["type"] == "ack"
        talks.move("3000")
        body = await talk.read()
        assert (body["topic"], body["subject"]) == ("/market/ticker:all", "ETH-USDT")


async def test_pairs_that_do_not_trade_are_not_pushed(talks: Talks) -> None:
    async with talks.open("okx") as talk:
        await subscribe(talk, "tickers")
        talks.market.set_status("okx", "eth-usdt", "halted")
        talks.move("3000")
        talks.market.clear_statuses()
        talks.move("3100")
        assert (await talk.read())["data"][0]["last"] == tick(talks.market, "okx")[0]
        talks.market.set_status("okx", "btc-usdt", "delisted")
        await talk.send(say_subscribe("okx", "tickers", ["BTC/USDT"]))
        assert (await talk.read())["code"] == "60018"


async def test_who_listens_and_what_was_pushed_is_told_over_http(talks: Talks) -> None:
    url, session = talks.market.url, talks.session
    async with talks.open("okx") as talk:
        await subscribe(talk, "bbo-tbt")
        talks.move("3000")
        await talk.read()
        async with session.get(f"{url}/streams") as reply:
            state = (await reply.json())["sources"]["okx"]
        assert (state["connections"], state["subscriptions"]) == (1, {"bbo-tbt": {"eth-usdt": 1}})
        async with session.get(f"{url}/pushed/okx", params={"pair": "eth-usdt", "since_ns": "1"}) as reply:
            last = (await reply.json())[-1]
        assert (last["price"], last["bid"], last["channel"]) == (None, tick(talks.market, "okx")[1], "bbo-tbt")
        async with session.delete(f"{url}/pushed") as reply:
            assert (await reply.json())["sources"]["okx"]["frames"] == 0
    async with session.get(f"{url}/pushed/htx") as reply:
        assert reply.status == 400
    for every_ms, status in ((50, 200), (None, 200), (-1, 400), ("x", 400)):
        async with session.put(f"{url}/streams", json={"every_ms": every_ms}) as reply:
            assert reply.status == status


async def test_index_tells_where_streams_are(talks: Talks) -> None:
    async with talks.session.get(f"{talks.market.url}/") as reply:
        index = await reply.json()
    for name, dialect in DIALECTS.items():
        assert len(index["sources"][name]["streams"]) == len(dialect.paths)
    assert all(index["stream_faults"].values())
    assert index["sources"]["htx"]["streams"] == []
    for name, method in (("okx", "GET"), ("okx", "POST"), ("htx", "POST"), ("nasdaq", "POST")):
        path = PATHS.get(name, "/")
        async with talks.session.request(method, f"{talks.market.url}/{name}{path}") as reply:
            assert reply.status in (404, 405), "a stream is no page"


async def test_stopping_the_market_ends_every_connection(market: Market) -> None:
    async with aiohttp.ClientSession() as session:
        sockets = [await session.ws_connect(f"{market.url}/okx/ws/v5/public") for _ in range(3)]
        await asyncio.wait_for(market.stop(), 5)
        assert {(await socket.receive(5)).type for socket in sockets} <= {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}
