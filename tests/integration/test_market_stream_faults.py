"""Every stream fault does on the wire what its name says, only to the connections it is set for, and no longer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aiohttp
import pytest

from fastprice.market import Market
from fastprice.market.acts import ACTS, BURST_FRAMES, HUGE_BYTES
from fastprice.market.breaks import BREAKS
from fastprice.market.deeds import DEEDS
from fastprice.market.dialects import DIALECTS
from fastprice.market.handshakes import HANDSHAKES
from fastprice.market.streams import STREAM_MEANINGS
from tests.market import NOW_MS
from tests.market_streams import Talk, Talks, say_subscribe, subscribe

pytestmark = pytest.mark.anyio

WHOLE = {
    "binance": "ticker", "okx": "tickers", "coinbase": "ticker", "kraken": "ticker", "bybit": "orderbook.1",
    "kucoin": "ticker", "gate": "spot.tickers", "bitstamp": "order_book", "bitget": "ticker",
}  # fmt: skip
BTC, ETH = "BTC/USDT", "ETH/USDT"


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    """A market whose clock stands still, so that prices move only when they are moved."""
    market = Market(("eth-usdt", "btc-usdt"), now_ms=lambda: NOW_MS)
    market.every_ms = 0
    await market.start()
    yield market
    await market.stop()


@pytest.fixture
async def talks(market: Market) -> AsyncIterator[Talks]:
    async with aiohttp.ClientSession() as session:
        yield Talks(market, session)


def is_of(body: Any, symbol: str) -> bool:
    return symbol.replace("/", "") in str(body).upper().replace("-", "").replace("/", "").replace("_", "")


async def none_comes(talk: Talk, seconds: float = 0.3) -> bool:
    with suppress(asyncio.TimeoutError):
        await talk.socket.receive(seconds)
        return False
    return True


# What is pushed


@pytest.mark.parametrize("name", DIALECTS)
async def test_one_pair_stalls_while_another_goes_on(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        await subscribe(talk, WHOLE[name], [ETH])
        await subscribe(talk, WHOLE[name], [BTC])
        talks.market.set_stream_fault(name, "stalled", pairs=["eth-usdt"])
        before = len(talks.market.pushed[name])
        talks.move("3000", "eth-usdt")
        talks.move("70000", "btc-usdt")
        assert is_of(await talk.read(), BTC)
        assert {push.pair for push in list(talks.market.pushed[name])[before:]} <= {"btc-usdt"}
        talks.market.clear_stream_fault(name)
        talks.move("3100", "eth-usdt")
        while not is_of(await talk.read(), ETH):
            assert name == "bitget", "only its tickers come without a change"


async def test_a_stall_of_all_leaves_pongs_and_polls_alone(talks: Talks) -> None:
    async with talks.open("okx") as talk:
        await subscribe(talk, "tickers")
        talks.market.set_stream_fault("okx", "stalled")
        talks.move("3000")
        await talk.send("ping")
        assert await talk.read() == "pong"
        async with talks.session.get(f"{talks.market.url}/okx/api/v5/market/ticker?instId=ETH-USDT") as reply:
            assert (await reply.json())["data"][0]["last"] == "3000.30"


async def okx(talks: Talks, fault: str, moves: int = 2, **more: Any) -> list[Any]:
    """What OKX pushes during this many moves under a fault; ends at the move after the fault is cleared."""
    async with talks.open("okx") as talk:
        await subscribe(talk, "tickers")
        talks.market.set_stream_fault("okx", fault, **more)
        for move in range(moves):
            talks.move(f"30{move}0")
        talks.market.clear_stream_fault()
        talks.move("5000")
        bodies: list[Any] = []
        while not bodies or bodies[-1].get("data", [{}])[0].get("last") != "5000.50":
            bodies.append(await talk.read())
        return bodies[:-1]


async def test_duplicates_and_swapped_order(talks: Talks) -> None:
    assert [body["data"][0]["last"] for body in await okx(talks, "duplicates")] == ["3000.30"] * 2 + ["3010.30"] * 2
    stamps = [body["data"][0]["ts"] for body in await okx(talks, "swapped", 4)]
    assert stamps[0] > stamps[1] < stamps[2] > stamps[3]


async def test_old_keys_come_with_an_old_price(talks: Talks) -> None:
    new, old = (body["data"][0] for body in await okx(talks, "old_keys", 1, factor=2.0))
    assert (new["last"], old["last"]) == ("3000.30", "6000.60")
    assert int(old["ts"]) == int(new["ts"]) - 10_000


async def test_times_and_pieces(talks: Talks) -> None:
    (body,) = await okx(talks, "old", 1, seconds=60)
    assert NOW_MS - 60_000 <= int(body["data"][0]["ts"]) < NOW_MS - 59_000
    (body,) = await okx(talks, "ahead", 1)
    assert NOW_MS + 50_000 <= int(body["data"][0]["ts"]) < NOW_MS + 51_000
    (body,) = await okx(talks, "fragments", 1)
    assert body["data"][0]["last"] == "3000.30"


async def test_keys_count_from_one(talks: Talks) -> None:
    async with talks.open("bybit") as talk:
        await subscribe(talk, "orderbook.1")
        talks.market.set_stream_fault("bybit", "key_reset")
        keys = []
        for price in "3000", "3001", "3002":
            talks.move(price)
            keys.append((await talk.read())["data"]["u"])
        assert keys == [1, 2, 3]
        assert talks.market.pushed["bybit"][-1].bid == "3001.04"


@pytest.mark.parametrize(
    ("fault", "last", "bid", "ask"),
    [
        ("crossed", "3000.30", "3000.36", "3000.24"), ("empty_side", "3000.30", "", "3000.36"),
        ("zero", "0", "0", "0"), ("nan", "NaN", "NaN", "NaN"), ("text_null", "null", "null", "null"),
        ("lie", "4500.45", "4500.36", "4500.54"), ("frozen", "3120.76", "3120.70", "3120.82"),
    ],
)  # fmt: skip
async def test_prices_that_must_not_be_believed(talks: Talks, fault: str, last: str, bid: str, ask: str) -> None:
    (body,) = await okx(talks, fault, 1)
    data = body["data"][0]
    assert (data["last"], data["bidPx"], data["askPx"]) == (last, bid, ask)
    assert int(data["ts"]) > NOW_MS
    assert last not in {push.price for push in talks.market.pushed["okx"]} or fault in ("frozen", "crossed", "empty_side")


async def test_numbers_are_bent_as_numbers_and_empty_sides_as_lists(talks: Talks) -> None:
    async with talks.open("kraken") as talk:
        await subscribe(talk, "ticker")
        talks.market.set_stream_fault("kraken", "nan")
        talks.move("3000")
        assert '"last":NaN' in (await talk.socket.receive(5)).data
        talks.market.set_stream_fault("kraken", "text_null")
        talks.move("3001")
        assert (await talk.read())["data"][0]["bid"] is None
    async with talks.open("bybit") as talk:
        await subscribe(talk, "orderbook.1")
        talks.market.set_stream_fault("bybit", "empty_side")
        talks.move("3002")
        assert (await talk.read())["data"]["b"] == []


async def test_other_symbols_unknown_types_half_json_and_binary(talks: Talks) -> None:
    (wrong,) = await okx(talks, "wrong_symbol", 1)
    assert (wrong["arg"]["instId"], wrong["data"][0]["instId"]) == ("ETH-USD", "ETH-USD")
    surprise, true = await okx(talks, "unknown_type", 1)
    assert (surprise["type"], true["data"][0]["last"]) == ("surprise", "3000.30")
    async with talks.open("okx") as talk:
        await subscribe(talk, "tickers")
        talks.market.set_stream_fault("okx", "truncated")
        talks.move("3001")
        with pytest.raises(json.JSONDecodeError):
            await talk.read()
        talks.market.set_stream_fault("okx", "binary")
        talks.move("3002")
        message = await talk.socket.receive(5)
        assert (message.type, b'"last":"3002.30"' in message.data) == (aiohttp.WSMsgType.BINARY, True)


# Faults of connections


@pytest.mark.parametrize("code", [1000, 1001, 1006, 1008, 1009, 1011, 4004])
async def test_closes(talks: Talks, code: int) -> None:
    async with talks.open("gate") as old:
        talks.market.set_stream_fault("gate", f"close_{code}", seconds=0.05)
        async with talks.open("gate") as new:
            for talk in old, new:
                await talk.socket.receive(5)
                assert talk.socket.close_code == code
    talks.market.clear_stream_fault()
    async with talks.open("gate") as talk:
        await subscribe(talk, "spot.tickers")


async def test_cut_off(talks: Talks) -> None:
    async with talks.open("gate") as talk:
        talks.market.set_stream_fault("gate", "cut_off", seconds=0)
        assert (await talk.socket.receive(5)).type is aiohttp.WSMsgType.CLOSED
        assert talk.socket.close_code == 1006


async def test_reset(talks: Talks) -> None:
    async with talks.open("gate") as talk:
        talks.market.set_stream_fault("gate", "reset", seconds=0)
        await talk.socket.receive(5)
        assert talk.socket.close_code == 1006
        assert isinstance(talk.socket.exception(), ConnectionResetError | aiohttp.ClientConnectionError | None)


NOTICES: dict[str, Any] = {
    "binance": {"e": "serverShutdown", "E": NOW_MS},
    "okx": {"event": "notice", "code": "64008"},
    "bitstamp": {"event": "bts:request_reconnect", "channel": "", "data": ""},
}


@pytest.mark.parametrize("name", DIALECTS)
async def test_planned_cut_is_announced_where_documented_and_spares_new_connections(talks: Talks, name: str) -> None:
    async with talks.open(name) as old:
        talks.market.set_stream_fault(name, "planned_cut", seconds=0.2)
        async with talks.open(name) as new:
            if name in NOTICES:
                assert NOTICES[name].items() <= (await old.read()).items()
            assert (await old.socket.receive(5)).type is aiohttp.WSMsgType.CLOSE
            await subscribe(new, WHOLE[name])
            assert talks.market.stream_state(name)["connections"] == 1


async def test_lifetime_cuts_each_connection_at_its_age(talks: Talks) -> None:
    talks.market.set_stream_fault("okx", "lifetime", seconds=0.1)
    for _ in range(2):
        async with talks.open("okx") as talk:
            assert (await talk.socket.receive(5)).type is aiohttp.WSMsgType.CLOSE
            assert talk.socket.close_code == 1001


async def test_ping_flood_and_no_pong(talks: Talks) -> None:
    async with talks.open("okx", autoping=False) as talk:
        talks.market.set_stream_fault("okx", "ping_flood")
        for _ in range(300):
            assert (await talk.socket.receive(5)).type is aiohttp.WSMsgType.PING
    talks.market.set_stream_fault("okx", "no_pong")
    async with talks.open("okx", autoping=False) as talk:
        await talk.send("ping")
        await talk.socket.ping()
        await subscribe(talk, "tickers")
        talks.move("3000")
        assert (await talk.read())["data"][0]["last"] == "3000.30"
        assert await none_comes(talk)


async def test_nothing_moves_on_a_half_open_connection_until_it_is_healed(talks: Talks) -> None:
    async with talks.open("okx") as talk:
        await subscribe(talk, "tickers")
        talks.market.set_stream_fault("okx", "half_open")
        before = len(talks.market.pushed["okx"])
        talks.move("3000")
        await talk.send("ping")
        assert await none_comes(talk)
        assert len(talks.market.pushed["okx"]) == before
        talks.market.clear_stream_fault()
        talks.move("3001")
        assert (await talk.read())["data"][0]["last"] == "3001.30"
        talks.market.set_stream_fault("okx", "half_open")
    await talks.until(lambda: talks.market.stream_state("okx")["connections"] == 0)


async def test_drip_sends_single_bytes_and_the_rest_when_healed(talks: Talks) -> None:
    async with talks.open("okx") as talk:
        await subscribe(talk, "tickers")
        talks.market.set_stream_fault("okx", "drip", seconds=0.01)
        talks.move("3000")
        (connection,) = talks.market.streams.feeds["okx"].connections
        left = len(connection.slow or b"")
        await talks.until(lambda: left - len(connection.slow or b"") > 5)
        talks.market.clear_stream_fault()
        assert (await talk.read())["data"][0]["last"] == "3000.30"


async def test_burst_and_huge_frame(talks: Talks) -> None:
    async with talks.open("okx") as talk:
        await subscribe(talk, "bbo-tbt")
        talks.market.set_stream_fault("okx", "burst", seconds=0)
        keys = [(await talk.read(20))["data"][0]["seqId"] for _ in range(BURST_FRAMES)]
        assert keys == sorted(set(keys))
        talks.market.set_stream_fault("okx", "huge_frame", seconds=0)
        message = await talk.socket.receive(20)
        assert len(message.data) > HUGE_BYTES
        assert json.loads(message.data)["arg"]["channel"] == "bbo-tbt"
        talks.market.clear_stream_fault()
        talks.move("3000")
        assert (await talk.read())["data"][0]["seqId"] > keys[-1]


# How a subscribe is answered


@pytest.mark.parametrize("name", DIALECTS)
async def test_ack_is_missing(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        talks.market.set_stream_fault(name, "no_ack")
        await talk.send(say_subscribe(name, WHOLE[name]))
        await talks.until(lambda: talks.topics(name) == 1)
        talks.move("3000")
        assert is_of(await talk.read(), ETH)
        assert talks.market.pushed[name]


@pytest.mark.parametrize("name", DIALECTS)
async def test_ack_and_then_silence(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        talks.market.set_stream_fault(name, "ack_then_silence")
        await talk.send(say_subscribe(name, WHOLE[name]))
        await talk.read()
        talks.move("3000")
        assert not talks.market.pushed[name]
        assert not talks.market.streams.feeds[name].lines


@pytest.mark.parametrize("name", ["okx", "coinbase", "kraken", "bybit", "kucoin", "gate", "bitget"])
async def test_one_pair_is_refused(talks: Talks, name: str) -> None:
    async with talks.open(name) as talk:
        talks.market.set_stream_fault(name, "refused", pairs=["eth-usdt"])
        await talk.send(say_subscribe(name, WHOLE[name]))
        body = await talk.read()
        assert "err" in str(body) or body.get("success") is False
        assert talks.topics(name) == 0
        await subscribe(talk, WHOLE[name], [BTC])


# The handshake


@pytest.mark.parametrize(("fault", "status"), [("429", 429), ("451", 451), ("403", 403), ("503", 503), ("301", 200)])
async def test_handshake_is_refused(talks: Talks, fault: str, status: int) -> None:
    # aiohttp follows the redirect, which leads to a page.
    talks.market.set_stream_fault("all", f"handshake_{fault}", seconds=7)
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        async with talks.open("kraken"):
            pass
    assert refused.value.status == status
    assert refused.value.headers is not None
    assert refused.value.headers.get("Retry-After") == ("7" if status == 429 else None)
    assert ("html" in refused.value.headers.get("Content-Type", "")) == (status == 403)


async def test_handshake_hangs_or_is_reset(talks: Talks) -> None:
    talks.market.set_stream_fault("okx", "handshake_reset")
    with pytest.raises(aiohttp.ClientConnectionError):
        async with talks.open("okx"):
            pass
    talks.market.set_stream_fault("okx", "handshake_hang")
    with pytest.raises(asyncio.TimeoutError):
        async with asyncio.timeout(0.3), talks.open("okx"):
            pass
    talks.market.clear_stream_fault("okx")
    async with talks.open("okx") as talk:
        await subscribe(talk, "tickers")


async def test_kucoin_gives_no_token(talks: Talks) -> None:
    talks.market.set_stream_fault("kucoin", "token_500")
    async with talks.session.post(f"{talks.market.url}/kucoin/api/v1/bullet-public") as reply:
        assert reply.status == 500


# The switch


async def test_faults_are_switched_over_http_apart_from_those_of_calls(talks: Talks) -> None:
    url = talks.market.url
    fault = {"fault": "lie", "factor": 1.1, "seconds": 3, "pairs": ["eth-usdt"]}
    async with talks.session.put(f"{url}/streams/okx", json=fault) as reply:
        assert (await reply.json())["sources"]["okx"]["fault"] == fault
    assert talks.market.faults()["okx"] is None
    talks.market.set_fault("okx", "zero")
    async with talks.session.delete(f"{url}/streams/all") as reply:
        assert (await reply.json())["sources"]["okx"]["fault"] is None
    assert talks.market.faults()["okx"]


@pytest.mark.parametrize(
    ("source", "body", "status", "told"),
    [
        ("okx", {"fault": "hang"}, 400, "half_open"), ("htx", {"fault": "stalled"}, 404, "kraken"),
        ("okx", {"fault": ["lie"]}, 400, "unknown"), ("okx", {"fault": "lie", "factor": 0}, 400, "factor"),
        ("okx", {"fault": "drip", "seconds": -1}, 400, "seconds"), ("okx", {"fault": "lie", "pairs": "x"}, 400, "list"),
        ("okx", {"fault": "lie", "pairs": ["x-y"]}, 404, "eth-usdt"), ("okx", {}, 400, "fault"),
    ],
)  # fmt: skip
async def test_what_cannot_be_switched_is_explained(
    talks: Talks, source: str, body: Any, status: int, told: str
) -> None:
    async with talks.session.put(f"{talks.market.url}/streams/{source}", json=body) as reply:
        assert (reply.status, told in (await reply.json())["error"]) == (status, True)


def test_every_fault_is_explained() -> None:
    assert len(STREAM_MEANINGS) == len(BREAKS) + len(ACTS) + len(DEEDS) + len(HANDSHAKES)
    assert all(STREAM_MEANINGS.values())
