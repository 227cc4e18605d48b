"""The simulated exchange behaves as documented, and every fault does on the wire what its name says."""

import asyncio
import gzip
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from fastprice.domain.quote import Pair
from fastprice.market import Market, source_urls
from fastprice.market.app import TRUTHFUL
from fastprice.market.floor import MEANINGS
from fastprice.market.walk import MAX_DRIFT, Walk
from tests.market import NOW_MS, SINGLE, WallClock

pytestmark = pytest.mark.anyio

# The paths to last, bid, ask and the time stamp.
PLACES: dict[str, tuple[tuple[str | int, ...], ...]] = {
    "binance": (("lastPrice",), ("bidPrice",), ("askPrice",), ("closeTime",)),
    "okx": (("data", 0, "last"), ("data", 0, "bidPx"), ("data", 0, "askPx"), ("data", 0, "ts")),
    "coinbase": (("price",), ("bid",), ("ask",), ("time",)),
    "kraken": tuple(("result", "ETHUSDT", key, 0) for key in "cba"),
    "bitget": (("data", 0, "lastPr"), ("data", 0, "bidPr"), ("data", 0, "askPr"), ("data", 0, "ts")),
    "gate": ((0, "last"), (0, "highest_bid"), (0, "lowest_ask")),
    "bybit": (*(("result", "list", 0, key) for key in ("lastPrice", "bid1Price", "ask1Price")), ("time",)),
    "kucoin": tuple(("data", key) for key in ("price", "bestBid", "bestAsk", "time")),
    "bitstamp": (("last",), ("bid",), ("ask",), ("timestamp",)),
    "htx": (("tick", "close"), ("tick", "bid", 0), ("tick", "ask", 0), ("ts",)),
}
STAMPS = {
    "binance": NOW_MS, "okx": str(NOW_MS), "coinbase": "2025-07-23T19:46:40.123Z", "bitget": str(NOW_MS),
    "bybit": NOW_MS, "kucoin": NOW_MS, "bitstamp": str(NOW_MS // 1000), "htx": NOW_MS,
}  # fmt: skip
# The documented bodies: each object's keys in their order; a list shows its first element.
DOCUMENTED = {
    "binance": [
        "symbol priceChange priceChangePercent weightedAvgPrice prevClosePrice lastPrice lastQty bidPrice bidQty "
        "askPrice askQty openPrice highPrice lowPrice volume quoteVolume openTime closeTime firstId lastId count"
    ],
    "okx": [
        "code msg data",
        "instType instId last lastSz askPx askSz bidPx bidSz open24h high24h low24h volCcy24h vol24h sodUtc0 sodUtc8 "
        "ts",
    ],
    "coinbase": ["trade_id price size time bid ask volume rfq_volume conversions_volume"],
    "kraken": ["error result", "ETHUSDT", "a b c v p t l h o"],
    "bitget": [
        "code msg requestTime data",
        "symbol high24h open low24h lastPr quoteVolume baseVolume usdtVolume bidPr askPr bidSz askSz openUtc ts "
        "changeUtc24h change24h",
    ],
    "gate": [
        "currency_pair last lowest_ask highest_bid change_percentage change_utc0 change_utc8 base_volume quote_volume "
        "high_24h low_24h etf_net_value etf_pre_net_value etf_pre_timestamp etf_leverage"
    ],
    "bybit": [
        "retCode retMsg result retExtInfo time",
        "category list",
        "symbol bid1Price bid1Size ask1Price ask1Size lastPrice prevPrice24h price24hPcnt highPrice24h lowPrice24h "
        "turnover24h volume24h usdIndexPrice",
        "",
    ],
    "kucoin": ["code data", "sequence bestAsk size price bestBidSize bestBid bestAskSize time"],
    "bitstamp": [
        "last high low vwap volume bid ask timestamp open open_24 percent_change_24 side market_type"
    ],
    "htx": ["ch status ts tick", "id version open close low high amount vol count bid ask"],
}  # fmt: skip
UNKNOWN: dict[str, tuple[int, dict[str, Any]]] = {
    "binance": (400, {"code": -1121}),
    "okx": (200, {"code": "51001", "data": []}),
    "coinbase": (404, {"message": "NotFound"}),
    "kraken": (200, {"error": ["EQuery:Unknown asset pair"]}),
    "bitget": (400, {"code": "40034", "data": None}),
    "gate": (400, {"label": "INVALID_CURRENCY_PAIR"}),
    "bybit": (200, {"retCode": 10001, "retMsg": "Not supported symbols", "result": {}}),
    "kucoin": (200, {"code": "200000", "data": None}),
    "htx": (200, {"status": "error", "err-code": "invalid-parameter", "err-msg": "invalid symbol"}),
}
DOWN: dict[str, dict[str, Any]] = {
    "binance": {"code": -1008}, "okx": {"code": "50001"}, "coinbase": {"message": "Internal server error"},
    "kraken": {"error": ["EService:Unavailable"]}, "bitget": {"code": "40200"}, "gate": {"label": "TOO_BUSY"},
    "bybit": {"retCode": 10016}, "kucoin": {"code": "500000"}, "bitstamp": {"status": "error"},
    "htx": {"err-code": "system-maintenance"},
}  # fmt: skip
LIMITED: dict[str, dict[str, Any]] = {
    "binance": {"code": -1003}, "okx": {"code": "50011"}, "coinbase": {"message": "Public rate limit exceeded"},
    "kraken": {"error": ["EGeneral:Too many requests"]}, "bitget": {"code": "429"},
    "gate": {"label": "TOO_MANY_REQUESTS"}, "bybit": {"retCode": 10006}, "kucoin": {"code": "429000"},
    "bitstamp": {"code": "400.002"}, "htx": {"err-code": "base-request-exceed-frequency-limit"},
}  # fmt: skip
NAMELESS = {"coinbase", "kucoin", "bitstamp"}


@dataclass
class Got:
    """A reply as a client sees it, before any decompression."""

    status: int
    headers: Any
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Awaitable[Got]]


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
async def market(clock: WallClock) -> AsyncIterator[Market]:
    market = Market(("eth-usdt", "btc-usdt", "eth-usd"), seed=7, now_ms=clock)
    await market.start("127.0.0.1", 0)
    yield market
    await market.stop()


@pytest.fixture
async def ask(market: Market) -> AsyncIterator[Ask]:
    async with aiohttp.ClientSession(market.url, auto_decompress=False) as session:

        async def ask(path: str, method: str = "GET", body: object = None, encoding: str = "identity") -> Got:
            data, headers = body if isinstance(body, str | None) else json.dumps(body), {"Accept-Encoding": encoding}
            async with session.request(method, path, data=data, headers=headers, allow_redirects=False) as reply:
                return Got(reply.status, reply.headers, await reply.read())

        yield ask


def at(body: Any, place: tuple[str | int, ...]) -> Any:
    for step in place:
        body = body[step]
    return body


def numbers(source: str, body: Any) -> tuple[Decimal, ...]:
    """Last, bid, ask."""
    return tuple(Decimal(str(at(body, place))) for place in PLACES[source][:3])


def objects(body: Any) -> list[str]:
    if isinstance(body, dict):
        return [" ".join(body), *(keys for value in body.values() for keys in objects(value))]
    return objects(body[0]) if isinstance(body, list) and body else []


def holds(body: Any, expected: dict[str, Any]) -> bool:
    return isinstance(body, dict) and expected.items() <= body.items()


def is_unknown(source: str, got: Got) -> bool:
    """The documented answer to a pair that is not listed, which at Bitstamp is the list of all tickers."""
    if source == "bitstamp":
        return got.status == 200 and "ETH/USDT" in [row["pair"] for row in got.json]
    status, expected = UNKNOWN[source]
    return got.status == status and holds(got.json, expected)


async def knock(market: Market, source: str = "binance") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A raw connection that has sent a request for a price."""
    host, port = market.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /{source}{SINGLE[source]} HTTP/1.1\r\nHost: market\r\n\r\n".encode())
    return reader, writer


async def head(reader: asyncio.StreamReader) -> int:
    """Read a reply's head; returns its Content-Length."""
    lines = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 2)).lower().split(b"\r\n")
    return next(int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:"))


# The honest answers


@pytest.mark.parametrize("source", SINGLE)
async def test_body_is_the_documented_one(market: Market, ask: Ask, source: str) -> None:
    reply = await ask(f"/{source}{SINGLE[source]}")
    assert (reply.status, reply.headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    assert objects(reply.json) == DOCUMENTED[source]
    # A JSON number only where the documents say so, with the same digits as the others' strings.
    kinds = {type(at(reply.json, place)) for place in PLACES[source][:3]}
    assert kinds == ({float} if source == "htx" else {str})
    assert [at(reply.json, place) for place in PLACES[source][3:]] == [STAMPS[s] for s in STAMPS if s == source]


async def test_every_source_is_near_the_truth_at_its_own_price(market: Market, ask: Ask) -> None:
    prices = []
    for source, path in SINGLE.items():
        price, bid, ask_price = numbers(source, (await ask(f"/{source}{path}")).json)
        assert bid < price < ask_price
        prices.append(price)
    assert len(set(prices)) == len(SINGLE)
    assert all(abs(price / market.truth(Pair("ETH", "USDT")) - 1) < Decimal("0.0006") for price in prices)


async def test_prices_have_the_digits_of_their_exchange(market: Market, ask: Ask) -> None:
    assert (await ask(f"/okx{SINGLE['okx']}")).json["data"][0]["last"] == "3120.76"
    assert (await ask(f"/binance{SINGLE['binance']}")).json["lastPrice"] == "3120.45000000"
    assert (await ask(f"/kraken{SINGLE['kraken']}")).json["result"]["ETHUSDT"]["c"][0] == "3121.07000"
    assert b'"close":3122.01,' in (await ask(f"/htx{SINGLE['htx']}")).body


async def test_kraken_answers_under_its_own_names(market: Market, ask: Ask) -> None:
    assert list((await ask("/kraken/0/public/Ticker?pair=XBTUSDT")).json["result"]) == ["XBTUSDT"]
    assert list((await ask("/kraken/0/public/Ticker?pair=ETHUSD")).json["result"]) == ["XETHZUSD"]


@pytest.mark.parametrize("source", SINGLE)
async def test_unknown_pair_gets_the_documented_answer(market: Market, ask: Ask, source: str) -> None:
    path = SINGLE[source].replace("ETH", "XYZ").replace("eth", "xyz")
    assert is_unknown(source, await ask(f"/{source}{path}"))


async def test_unknown_paths_are_404(market: Market, ask: Ask) -> None:
    for path in "/nowhere", "/nowhere/else", "/binance/api/v3/trades", "/coinbase/products/ETH-USDT/book":
        assert (await ask(path)).status == 404, path


async def test_parameters_are_taken_as_documented(market: Market, ask: Ask) -> None:
    assert (await ask(f"/binance{SINGLE['binance']}&symbolStatus=TRADING")).status == 200
    assert (await ask("/bybit/v5/market/tickers?symbol=ETHUSDT")).json["retCode"] == 10001
    refused = await ask(f"/bitstamp{SINGLE['bitstamp']}?a=1")
    assert (refused.status, refused.json["code"]) == (400, "400.018")


async def test_latency_delays_every_answer() -> None:
    market = Market(latency=0.05)
    await market.start()
    try:
        began = time.monotonic()
        reader, writer = await knock(market)
        await head(reader)
        assert time.monotonic() - began >= 0.05
        writer.close()
    finally:
        await market.stop()


# The walk


def wander(seed: int, steps: int = 1000) -> list[float]:
    walk = Walk(Pair("ETH", "USDT"), seed, 0)
    return [walk.price(step * 100) for step in range(steps)]


async def test_same_seed_and_clock_give_the_same_prices() -> None:
    assert wander(7) == wander(7) != wander(8)


async def test_prices_do_not_depend_on_how_often_they_are_read() -> None:
    assert Walk(Pair("ETH", "USDT"), 7, 0).price(99_900) == wander(7)[-1]


async def test_the_walk_moves_a_little_and_stays_in_bounds() -> None:
    prices = wander(7, 30_000)
    moves = [abs(after / before - 1) for before, after in zip(prices, prices[1:], strict=False)]
    assert 0 < max(moves) < 0.00011
    assert max(abs(price / prices[0] - 1) for price in prices) <= MAX_DRIFT + 1e-9


async def test_a_year_of_sleep_and_a_clock_set_back_are_walked_quickly() -> None:
    walk = Walk(Pair("NEW", "EUR"), 7, 0)
    began = time.monotonic()
    start, late, back = walk.price(0), walk.price(365 * 86_400_000), walk.price(0)
    assert late != back == start > 0
    assert walk.price(1000) != back
    assert time.monotonic() - began < 1


# The faults that are an answer


def changed(factor: str) -> Callable[[str, Got, tuple[Decimal, ...]], bool]:
    return lambda source, got, true: numbers(source, got.json)[0] == (true[0] * Decimal(factor)).quantize(true[0])


def is_wrong_symbol(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    if source in NAMELESS:
        return is_unknown(source, got)
    mine, other = {"kraken": ("ETHUSDT", "XETHZUSD"), "htx": ("ethusdt", "ethusd")}.get(source, ("USDT", "USD"))
    return got.status == 200 and other.encode() in got.body and mine.encode() not in got.body


def is_twice(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    def repeated(items: list[tuple[str, Any]]) -> dict[str, Any]:
        doubles.extend(key for key, _ in items[1:] if [k for k, _ in items].count(key) == 2)
        return dict(items)

    doubles: list[str] = []
    body = json.loads(got.body, object_pairs_hook=repeated)
    return len(set(doubles)) == 1 and numbers(source, body)[0] == Decimal("6666.66")


def is_bomb(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    unpacked = gzip.decompress(got.body)
    small = len(got.body) < 100_000 and got.headers["Content-Encoding"] == "gzip"
    return small and len(unpacked) > 50_000_000 and numbers(source, json.loads(unpacked)) == true


def is_geo(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    words = {"bitget": b'"40000"', "kucoin": b'"400302"'}.get(source, b"block access from your country")
    return got.status == 403 and words in got.body


def is_exponent(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    return re.search(rb"[0-9]e3\b", got.body) is not None and numbers(source, got.json) == true


def is_bad_utf8(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    return b"\xff" in got.body and numbers(source, json.loads(got.body.decode(errors="ignore"))) == true


def is_cut(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    with pytest.raises(json.JSONDecodeError):
        json.loads(got.body)
    return got.status == 200 and int(got.headers["Content-Length"]) == len(got.body) > 40


def is_jump(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    jumped = numbers(source, got.json)
    return all(abs(now - before * Decimal("1.5")) < Decimal("0.01") for now, before in zip(jumped, true, strict=True))


def is_old(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    old = {
        "coinbase": "2025-07-23T18:46:40.123Z", "bitstamp": str(NOW_MS // 1000 - 3600),
        "binance": NOW_MS - 3_600_000, "bybit": NOW_MS - 3_600_000, "kucoin": NOW_MS - 3_600_000,
        "htx": NOW_MS - 3_600_000,
    }  # fmt: skip
    stamps = [at(got.json, place) for place in PLACES[source][3:]]
    return numbers(source, got.json) == true and stamps in ([old.get(source, str(NOW_MS - 3_600_000))], [])


def is_ahead(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    ahead: dict[str, Any] = {
        "binance": NOW_MS + 50_000, "bybit": NOW_MS + 50_000, "kucoin": NOW_MS + 50_000, "htx": NOW_MS + 50_000,
        "coinbase": "2025-07-23T19:47:30.123Z", "bitstamp": str(NOW_MS // 1000 + 50),
    }  # fmt: skip
    stamps = [at(got.json, place) for place in PLACES[source][3:]]
    return numbers(source, got.json) == true and stamps in ([ahead.get(source, str(NOW_MS + 50_000))], [])


def is_halted(source: str, got: Got, true: tuple[Decimal, ...]) -> bool:
    if source == "binance":
        return got.status == 400 and holds(got.json, {"code": -1220})
    return got.status == 200 and numbers(source, got.json)[0] == 0


def is_limited(status: int, seconds: str) -> Callable[[str, Got, tuple[Decimal, ...]], bool]:
    return lambda source, got, true: (
        (got.status, got.headers["Retry-After"]) == (status, seconds)
        and holds(got.json, LIMITED[source])
        and got.headers.get("gw-ratelimit-reset") == (f"{seconds}000" if source == "kucoin" else None)
    )


ANSWERS: dict[str, Callable[[str, Got, tuple[Decimal, ...]], bool]] = {
    "rate_limited": is_limited(429, "5"),
    "banned": is_limited(418, "120"),
    "blocked": lambda source, got, true: got.status == 451 and b"restricted location" in got.body,
    "geo": is_geo,
    "error": lambda source, got, true: got.status == 500 and holds(got.json, DOWN[source]),
    "error_body": lambda source, got, true: got.status == 200 and holds(got.json, DOWN[source]),
    "html": lambda source, got, true: got.status == 200 and got.headers["Content-Type"].startswith("text/html"),
    "unknown_symbol": lambda source, got, true: is_unknown(source, got),
    "redirect": lambda source, got, true: got.status == 302 and f"/{source}/" not in got.headers["Location"],
    "zero": changed("0"),
    "negative": changed("-1"),
    "nan": lambda source, got, true: b"NaN" in got.body and numbers(source, got.json)[0].is_nan(),
    "exponent": is_exponent,
    "huge_price": lambda source, got, true: b"1" + b"0" * 30 in got.body,
    "jump": is_jump,
    "crossed": lambda source, got, true: numbers(source, got.json) == (true[0], true[2], true[1]),
    "odd_extras": lambda source, got, true: (
        numbers(source, got.json) == (true[0], Decimal(-1), Decimal("1" * 50))
        and (b"1.23E+7" in got.body) is (source != "kucoin")
    ),
    "old": is_old,
    "ahead": is_ahead,
    "halted": is_halted,
    "wrong_symbol": is_wrong_symbol,
    "duplicate_keys": is_twice,
    "cut_json": is_cut,
    "bad_utf8": is_bad_utf8,
    "deep": lambda source, got, true: got.body == b"[" * 20_000 + b"]" * 20_000,
    "huge": lambda source, got, true: len(got.body) > 5_000_000 and numbers(source, got.json) == true,
    "bomb": is_bomb,
}
ELSEWHERE = {"frozen", "hang", "drip", "slow", "truncated", "extra", "refuse"}


async def test_every_fault_is_tested_here() -> None:
    assert set(ANSWERS) | ELSEWHERE == set(MEANINGS)
    assert all(MEANINGS.values())


@pytest.mark.parametrize("fault", ANSWERS)
async def test_fault_is_what_its_name_says_at_every_source(market: Market, ask: Ask, fault: str) -> None:
    for source in ("binance", "coinbase") if fault == "bomb" else SINGLE:
        market.clear_fault("all")
        true = numbers(source, (await ask(f"/{source}{SINGLE[source]}")).json)
        given = list(market.served[source])
        market.set_fault(source, fault)
        got = await ask(f"/{source}{SINGLE[source]}")
        assert ANSWERS[fault](source, got, true), (source, got.status, got.body[:300])
        assert len(market.served[source]) == len(given) + (fault in TRUTHFUL)


async def test_redirect_leads_to_a_valid_answer_elsewhere(market: Market, ask: Ask) -> None:
    market.set_fault("binance", "redirect")
    location = (await ask(f"/binance{SINGLE['binance']}")).headers["Location"]
    assert numbers("okx", (await ask(location)).json)
    assert (market.calls["binance"], market.calls["okx"]) == (1, 1)


async def test_frozen_stays_at_the_moment_it_was_set(market: Market, ask: Ask, clock: WallClock) -> None:
    before = await ask(f"/okx{SINGLE['okx']}")
    market.set_fault("okx", "frozen")
    clock.ms += 60_000
    assert (await ask(f"/okx{SINGLE['okx']}")).body == before.body
    market.clear_fault("okx")
    assert (await ask(f"/okx{SINGLE['okx']}")).body != before.body


async def test_a_fault_of_one_pair_leaves_the_others_alone(market: Market, ask: Ask) -> None:
    market.set_fault("okx", "error", pairs=["btc-usdt"])
    statuses = [(await ask(f"/okx/api/v5/market/ticker?instId={symbol}-USDT")).status for symbol in ("ETH", "BTC")]
    assert statuses == [200, 500]


async def test_seconds_and_factor_are_obeyed(market: Market, ask: Ask) -> None:
    true = numbers("okx", (await ask(f"/okx{SINGLE['okx']}")).json)
    market.set_fault("okx", "jump", factor=2.0)
    assert numbers("okx", (await ask(f"/okx{SINGLE['okx']}")).json) == tuple(2 * amount for amount in true)
    market.set_fault("okx", "rate_limited", seconds=7.0)
    assert (await ask(f"/okx{SINGLE['okx']}")).headers["Retry-After"] == "7"


# The faults below the answer


async def test_hang_sends_nothing_until_the_market_stops(market: Market) -> None:
    market.set_fault("all", "hang")
    clients = [await knock(market, source) for source in SINGLE]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(clients[0][0].read(1), 0.1)
    began = time.monotonic()
    await market.stop()
    assert time.monotonic() - began < 2
    for reader, writer in clients:
        assert await asyncio.wait_for(reader.read(), 1) == b""
        writer.close()


async def test_stop_cuts_a_client_that_does_not_read(market: Market) -> None:
    market.set_fault("binance", "huge")
    reader, writer = await knock(market)
    await head(reader)
    await asyncio.wait_for(market.stop(), 2)
    writer.transport.abort()


async def test_drip_sends_single_bytes(market: Market) -> None:
    market.set_fault("binance", "drip")
    reader, writer = await knock(market)
    assert await head(reader) > 100
    began = time.monotonic()
    assert [len(await asyncio.wait_for(reader.read(1000), 1)) for _ in range(4)] == [1] * 4
    assert time.monotonic() - began > 0.2
    writer.close()


async def test_slow_answers_late_and_right(market: Market, ask: Ask) -> None:
    market.set_fault("gate", "slow", seconds=0.2)
    began = time.monotonic()
    reply = await ask(f"/gate{SINGLE['gate']}")
    assert time.monotonic() - began >= 0.2
    assert reply.json[0]["last"] == market.served["gate"][-1][1]


async def test_truncated_promises_more_than_it_sends(market: Market, ask: Ask) -> None:
    market.set_fault("kraken", "truncated")
    reader, writer = await knock(market, "kraken")
    promised = await head(reader)
    assert promised - len(await asyncio.wait_for(reader.read(), 2)) == 100
    writer.close()
    with pytest.raises(aiohttp.ClientPayloadError):
        await ask(f"/kraken{SINGLE['kraken']}")


@pytest.mark.parametrize("source", SINGLE)
async def test_extra_follows_the_truth_on_the_same_connection(market: Market, source: str) -> None:
    market.set_fault(source, "extra")
    reader, writer = await knock(market, source)
    first = json.loads(await asyncio.wait_for(reader.readexactly(await head(reader)), 1))
    assert numbers(source, first)[0] == Decimal(market.served[source][-1][1])
    second = json.loads(await asyncio.wait_for(reader.readexactly(await head(reader)), 1))
    assert numbers(source, second) == (Decimal("6666.66"), Decimal("6666.65"), Decimal("6666.67"))
    writer.close()


async def test_refuse_resets_the_connection(market: Market) -> None:
    market.set_fault("okx", "refuse")
    reader, writer = await knock(market, "okx")
    with pytest.raises(ConnectionResetError):
        await asyncio.wait_for(reader.read(), 1)
    writer.close()


# Counting and control


async def test_calls_are_counted_and_set_to_zero(market: Market, ask: Ask) -> None:
    market.set_fault("okx", "error")
    for source in "binance", "okx", "okx":
        await ask(f"/{source}{SINGLE[source]}")
    assert (market.calls["binance"], market.calls["okx"], market.total_calls) == (1, 2, 3)
    counted = (await ask("/calls")).json
    assert counted["total"] == 3
    assert counted["sources"] == {name: {"binance": 1, "okx": 2}.get(name, 0) for name in SINGLE}
    assert (await ask("/calls", "DELETE")).json["total"] == market.total_calls == 0


async def test_served_prices_are_those_that_were_given(market: Market, ask: Ask, clock: WallClock) -> None:
    given = []
    for _ in range(5):
        clock.ms += 1000
        given.append((clock.ms, (await ask(f"/okx{SINGLE['okx']}")).json["data"][0]["last"]))
    assert list(market.served["okx"]) == given
    assert market.served["okx"].maxlen == 1000


async def test_faults_are_switched_over_http(market: Market, ask: Ask) -> None:
    on = (await ask("/faults/binance", "PUT", {"fault": "error", "seconds": 5, "factor": 1.5})).json
    assert on["binance"] == {"fault": "error", "seconds": 5, "factor": 1.5, "pairs": ["eth-usdt", "btc-usdt", "eth-usd"]}
    assert on["okx"] is None
    assert (await ask(f"/binance{SINGLE['binance']}")).status == 500
    assert set((await ask("/faults/all", "PUT", {"fault": "html"})).json) == set(SINGLE)
    assert (await ask(f"/gate{SINGLE['gate']}")).headers["Content-Type"].startswith("text/html")
    assert (await ask("/faults/gate", "DELETE")).json["gate"] is None
    assert (await ask("/faults")).json["okx"]["fault"] == "html"
    assert not any((await ask("/faults/all", "DELETE")).json.values())


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("PUT", "/faults/nasdaq", {"fault": "hang"}, 404, "kraken"),
        ("DELETE", "/faults/nasdaq", None, 404, "kraken"),
        ("PUT", "/faults/binance", {"fault": "sulk"}, 400, "rate_limited"),
        ("PUT", "/faults/binance", {"fault": ["hang"]}, 400, "rate_limited"),
        ("PUT", "/faults/binance", {"fault": "hang", "pairs": ["xrp-usdt"]}, 404, "btc-usdt"),
        ("PUT", "/faults/binance", {"fault": "hang", "pairs": [["eth-usdt"]]}, 404, "btc-usdt"),
        ("PUT", "/faults/binance", {"fault": "hang", "pairs": "eth-usdt"}, 400, "list"),
        ("PUT", "/faults/binance", {}, 400, "seconds"),
        ("PUT", "/faults/binance", {"fault": "hang", "sekonds": 1}, 400, "seconds"),
        ("PUT", "/faults/binance", {"fault": "slow", "seconds": "long"}, 400, "number"),
        ("PUT", "/faults/binance", {"fault": "slow", "seconds": -1}, 400, "number"),
        ("PUT", "/faults/binance", '{"fault": "slow", "seconds": NaN}', 400, "number"),
        ("PUT", "/faults/binance", {"fault": "jump", "factor": True}, 400, "number"),
        ("PUT", "/faults/binance", "hang", 400, "JSON"),
        ("PUT", "/faults/binance", "[" * 100_000, 400, "JSON"),
        ("PUT", "/truth/eth-eur", {"price": "1"}, 404, "eth-usdt"),
        ("PUT", "/truth/eth-usdt", {"price": "dear"}, 400, "price"),
        ("PUT", "/truth/eth-usdt", {"price": "-1"}, 400, "price"),
        ("PUT", "/truth/eth-usdt", {"price": "Infinity"}, 400, "price"),
    ],
)
async def test_control_says_what_it_would_have_accepted(
    market: Market, ask: Ask, method: str, path: str, body: object, status: int, words: str
) -> None:
    reply = await ask(path, method, body)
    assert (reply.status, words in reply.json["error"]) == (status, True), reply.body
    assert not any(market.faults().values())


async def test_truth_is_moved_and_walks_on_from_there(market: Market, ask: Ask, clock: WallClock) -> None:
    assert (await ask("/truth/eth-usdt", "PUT", {"price": "2000.00"})).json["eth-usdt"] == "2000.00"
    assert (await ask(f"/binance{SINGLE['binance']}")).json["lastPrice"] == "2000.00000000"
    clock.ms += 60_000
    moved = Decimal((await ask("/truth")).json["eth-usdt"])
    assert moved != 2000
    assert abs(moved / 2000 - 1) <= Decimal("0.02")


async def test_index_explains_everything(market: Market, ask: Ask) -> None:
    market.set_fault("okx", "hang")
    index = (await ask("/")).json
    assert index["pairs"] == ["eth-usdt", "btc-usdt", "eth-usd"]
    assert index["faults"] == MEANINGS
    assert any("curl -X PUT" in how for how in index["how"].values())
    assert index["sources"]["okx"]["url"] == f"{market.url}/okx"
    assert index["sources"]["okx"]["fault"]["fault"] == "hang"
    market.clear_fault()
    for source in SINGLE:
        url = index["sources"][source]["try"][0].removeprefix("curl '").removesuffix("'")
        assert url == f"{market.url}/{source}{SINGLE[source]}"
        everything = index["sources"][source]["all"].removeprefix(f"curl '{market.url}").removesuffix("'")
        assert (await ask(everything)).status == 200


# The program


def test_source_urls_name_the_settings() -> None:
    urls = source_urls("http://market:9000")
    assert urls["BINANCE_URL"] == "http://market:9000/binance"
    assert set(urls) == {f"{source.upper()}_URL" for source in SINGLE}


Program = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    """Starts markets as programs; none of them outlives the test."""
    started: list[asyncio.subprocess.Process] = []

    async def start(port: int = 0, pair: str = "eth-usdt") -> asyncio.subprocess.Process:
        arguments = f"'127.0.0.1', {port}, ('{pair}',), 7, 0.0"
        code = f"import asyncio; from fastprice.market import serve; asyncio.run(serve({arguments}))"
        pipe, environment = asyncio.subprocess.PIPE, {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=pipe, stderr=pipe, env=environment
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_program_says_how_to_use_it_and_stops_on_a_signal(program: Program, number: signal.Signals) -> None:
    process = await program()
    assert process.stdout
    first = (await asyncio.wait_for(process.stdout.readline(), 10)).decode()
    process.send_signal(number)
    rest, errors = await asyncio.wait_for(process.communicate(), 10)
    url = next(word for word in first.split() if word.startswith("http://127.0.0.1:"))
    assert f"MARKET_URL={url} fastprice serve" in rest.decode()
    assert f"curl -X PUT {url}/faults/binance" in rest.decode()
    assert (process.returncode, errors) == (0, b"")


async def test_program_says_in_one_line_that_its_port_is_taken(market: Market, program: Program) -> None:
    port = int(market.url.rpartition(":")[2])
    process = await program(port)
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    words = f"fastprice market: cannot listen on 127.0.0.1:{port} (Address already in use); choose another one"
    assert process.returncode == 1
    assert errors.decode().startswith(words)
    assert errors.count(b"\n") == 1


async def test_program_refuses_what_is_not_a_pair(program: Program) -> None:
    process = await program(pair="ether")
    _, errors = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, errors.count(b"\n")) == (2, 1)
