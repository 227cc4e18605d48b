"""The simulated exchanges count when a client exceeds the limits of their streams, and enforce them if told to."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from fastprice.market import Market
from fastprice.market.dialects import DIALECTS
from tests.market import NOW_MS
from tests.market_streams import Talk, Talks, say_subscribe, subscribe

pytestmark = pytest.mark.anyio

PAIRS = [f"c{number}-usdt" for number in range(500)]
SYMBOLS = [slug.replace("-", "/").upper() for slug in PAIRS]


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    market = Market(("eth-usdt", *PAIRS), limits=True, now_ms=lambda: NOW_MS)
    await market.start()
    yield market
    await market.stop()


@pytest.fixture
async def talks(market: Market) -> AsyncIterator[Talks]:
    async with aiohttp.ClientSession() as session:
        talks = Talks(market, session)
        # Time stands still for everything the exchanges measure, unless a test moves it.
        market.streams.pace.clock = lambda: talks.now
        yield talks


async def read_until_closed(talk: Talk) -> tuple[list[Any], int | None]:
    """The messages up to the close, and the close code."""
    bodies = []
    while (message := await talk.socket.receive(10)).type is aiohttp.WSMsgType.TEXT:
        bodies.append(message.data if message.data == "pong" else json.loads(message.data))
    return bodies, talk.socket.close_code


# More messages than this at one moment are too many.
MESSAGES = {"binance": 5, "coinbase": 100, "kraken": 20, "kucoin": 100, "bitget": 10}
FLOODED: dict[str, Any] = {
    "binance": 1008, "bitget": 1008,
    "coinbase": {"type": "error", "message": "Rate limit exceeded", "reason": "Too many messages"},
    "kraken": {"Error": "Exceeded msg rate"},
    "kucoin": {"id": "0", "type": "error", "code": 509, "data": "exceed max message count limitation of 100 per 10 seconds"},
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_too_many_messages_are_answered_as_documented(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        for _ in range(MESSAGES[name]):
            await talk.send("{")
            await talk.read()
        assert talks.market.stream_limits_exceeded[name] == {}
        await talk.send("{")
        if isinstance(FLOODED[name], int):
            assert (await read_until_closed(talk))[1] == FLOODED[name]
        else:
            assert await talk.read() == FLOODED[name]
        assert talks.market.stream_limits_exceeded[name] == {"messages": 1}


@pytest.mark.parametrize("name", MESSAGES)
async def test_they_are_only_counted_where_limits_are_off(talks: Talks, name: str) -> None:
    talks.market.limits = False
    async with talks.open(name) as talk:
        for _ in range(MESSAGES[name] + 3):
            await talk.send("{")
        for _ in range(MESSAGES[name] + 3):
            assert await talk.read() != FLOODED[name]
        await subscribe(talk, {"kucoin": "ticker"}.get(name, "ticker"))
        assert talks.market.stream_limits_exceeded[name] == {"messages": 4}


async def test_pings_and_pongs_count_at_binance(talks: Talks) -> None:
    async with talks.open("binance") as talk:
        for _ in range(6):
            await talk.socket.pong()
        assert (await read_until_closed(talk))[1] == 1008


LONG = {"binance": (4096, 3001), "okx": (65_536, 1009), "bitstamp": (512, 1009)}


@pytest.mark.parametrize("name", LONG)
async def test_a_message_that_is_too_long_closes(talks: Talks, name: str) -> None:
    most, code = LONG[name]
    async with talks.open(name) as talk:
        await talk.send("x" * most)
        await talk.read()
        await talk.send("x" * (most + 1))
        assert (await read_until_closed(talk))[1] == code
        assert talks.market.stream_limits_exceeded[name] == {"message bytes": 1}


@pytest.mark.parametrize(
    ("name", "channel", "count", "told"),
    [
        ("bybit", "tickers", 11, {"success": False, "ret_msg": "args size >10"}),
        ("kucoin", "ticker", 101, {"type": "error", "code": 509}),
        ("bitget", "ticker", 80, {"event": "error", "code": 30006}),
    ],
)
async def test_too_many_arguments_are_refused(talks: Talks, name: str, channel: str, count: int, told: Any) -> None:
    async with talks.open(name) as talk:
        await talk.send(say_subscribe(name, channel, SYMBOLS[:count]))
        assert told.items() <= (await talk.read()).items()
        assert talks.topics(name) == 0
        assert talks.market.stream_limits_exceeded[name] == {"args": 1}


async def test_too_many_channels_are_refused(talks: Talks) -> None:
    async with talks.open("kucoin") as talk:
        for first in 0, 100, 200, 300:
            await talk.send(say_subscribe("kucoin", "ticker", SYMBOLS[first : first + 100]))
            assert (await talk.read())["type"] == "ack"
        await talk.send(say_subscribe("kucoin", "ticker", SYMBOLS[400:401]))
        assert (await talk.read())["data"] == "exceed max subscription count limitation of 400 per session"
    async with talks.open("bybit") as talk:
        answers = []
        for channel in "tickers", "orderbook.1", "publicTrade":
            for first in range(0, 500, 10):
                await talk.send(say_subscribe("bybit", channel, SYMBOLS[first : first + 10]))
                while "success" not in (answer := await talk.read()):
                    pass
                answers.append(answer)
        assert answers[-1]["ret_msg"] == "error:args too long"
        assert answers[0]["success"]


async def test_a_channel_too_many_ends_the_connection_or_is_refused(talks: Talks) -> None:
    streams = [f"c{number}usdt@{channel}" for channel in ("ticker", "trade", "bookTicker") for number in range(342)]
    async with talks.open("binance") as talk:
        for first in range(0, 1024, 128):
            talks.now += 1
            await talk.send({"method": "SUBSCRIBE", "params": streams[first : first + 128][: 1024 - first], "id": first})
            assert (await talk.read())["id"] == first
        assert talks.topics("binance") == 1024
        await talk.send({"method": "SUBSCRIBE", "params": streams[1024:1025], "id": 9})
        assert (await read_until_closed(talk))[1] == 1008
    async with talks.open("bitstamp") as talk:
        for number in range(1024):
            await talk.send({"event": "bts:subscribe", "data": {"channel": f"live_trades_x{number}"}})
            await talk.read()
        await talk.send({"event": "bts:subscribe", "data": {"channel": "live_trades_ethusdt"}})
        assert (await read_until_closed(talk))[1] == 1006
    assert talks.market.stream_limits_exceeded["bitstamp"] == {"channels": 1}


async def test_a_slow_reader_is_cut_and_all_counts_are_told_beside_those_of_calls(talks: Talks) -> None:
    async with talks.open("gate") as talk:
        await subscribe(talk, "spot.tickers")
        for _ in range(5):
            talks.market.set_stream_fault("gate", "huge_frame", seconds=0)
            await asyncio.sleep(0.01)
        await talks.until(lambda: talks.market.stream_limits_exceeded["gate"] == {"slow reader": 1})
    async with talks.session.get(f"{talks.market.url}/calls") as reply:
        assert (await reply.json())["stream_limits_exceeded"]["gate"] == {"slow reader": 1}
    async with talks.session.delete(f"{talks.market.url}/calls") as reply:
        assert (await reply.json())["stream_limits_exceeded"]["gate"] == {}


async def test_subscribing_too_often_is_refused(talks: Talks) -> None:
    for name, most, channel in (("okx", 480, "tickers"), ("bitget", 240, "ticker")):
        async with talks.open(name) as talk:
            for _ in range(most):
                talks.now += 1 if name == "bitget" else 0
                await talk.send(say_subscribe(name, channel, undo=True))
                await talk.read()
            await talk.send(say_subscribe(name, channel))
            assert (await talk.read())["code"] == {"okx": "60014", "bitget": 30007}[name]


ATTEMPTS = {"binance": 300, "okx": 3, "coinbase": 20, "kraken": 150, "bybit": 500, "kucoin": 30, "bitget": 300}


@pytest.mark.parametrize("name", ATTEMPTS)
async def test_too_many_connections_are_refused(talks: Talks, name: str) -> None:
    feed = talks.market.streams.feeds[name]
    assert not any(feed.attempts_too_often() for _ in range(ATTEMPTS[name]))
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with talks.open(name):
            pass
    assert refused.value.status == (403 if name == "bybit" else 429)
    assert talks.market.stream_limits_exceeded[name] == {"attempts": 1}


# How long a client may stay silent, subscribed or not, and the close code after that.
PATIENCE = {
    ("binance", True): (60, 1008), ("okx", False): (30, 4004), ("coinbase", False): (5, 1008),
    ("kraken", False): (60, 1000), ("bybit", False): (61, 1006), ("bybit", True): (600, 1006),
    ("kucoin", True): (60, 1000), ("gate", False): (60, 1006), ("bitget", True): (120, 1006),
}  # fmt: skip


@pytest.mark.parametrize(("name", "listens"), PATIENCE)
async def test_a_client_that_does_not_do_its_part_is_cut(talks: Talks, name: str, listens: bool) -> None:
    seconds, code = PATIENCE[name, listens]
    async with talks.open(name, autoping=False) as talk:
        if listens:
            await subscribe(talk, {"gate": "spot.tickers", "bybit": "publicTrade"}.get(name, "ticker"))
        talks.now += seconds - 1
        await talks.until(lambda: talks.market.streams.tended_at == talks.now)
        assert talks.market.stream_limits_exceeded[name] == {}
        talks.now += 2
        while (message := await talk.socket.receive(10)).type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.PING):
            pass
        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)
        assert talk.socket.close_code == code
        assert talks.market.stream_limits_exceeded[name] == {"patience": 1}


@pytest.mark.parametrize(("name", "listens"), PATIENCE)
async def test_it_is_only_counted_where_limits_are_off(talks: Talks, name: str, listens: bool) -> None:
    talks.market.limits = False
    async with talks.open(name, autoping=False) as talk:
        if listens:
            await subscribe(talk, {"gate": "spot.tickers", "bybit": "publicTrade"}.get(name, "ticker"))
        talks.now += PATIENCE[name, listens][0] + 1
        await talks.until(lambda: talks.market.stream_limits_exceeded[name] == {"patience": 1})
        assert talks.market.stream_state(name)["connections"] == 1


@pytest.mark.parametrize(("name", "seconds"), [("binance", 20), ("bitstamp", 54)])
async def test_the_server_pings_where_documented(talks: Talks, name: str, seconds: int) -> None:
    async with talks.open(name, autoping=False) as talk:
        talks.now += seconds
        assert (await talk.socket.receive(10)).type is aiohttp.WSMsgType.PING


async def test_own_pings_keep_a_connection(talks: Talks) -> None:
    for name, ping in (("okx", "ping"), ("bitget", "ping"), ("kucoin", '{"id":"1","type":"ping"}')):
        async with talks.open(name) as talk:
            for _ in range(6):
                talks.now += 25
                await talk.send(ping)
                assert await talk.read()
            await asyncio.sleep(0)
            assert talks.market.stream_limits_exceeded[name] == {}


def test_every_dialect_has_a_limit_here() -> None:
    tested = {*MESSAGES, *LONG, *ATTEMPTS, *(name for name, _ in PATIENCE), "gate", "bitstamp"}
    assert tested == set(DIALECTS)
