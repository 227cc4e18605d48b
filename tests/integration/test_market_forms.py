"""The simulated exchanges' replies about many pairs at once, their listings, and their answers about unlisted pairs."""

import gzip
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from fastprice.domain.quote import Pair
from fastprice.market import Market
from fastprice.market.floor import MEANINGS
from tests.market import NOW_MS, SINGLE, WallClock

pytestmark = pytest.mark.anyio

ETH, BTC, DOGE = "eth-usdt", "btc-usd", "doge-usd"
PAIRS = (ETH, BTC, "eth-btc", DOGE, "sol-usdt")
SPELLINGS = {
    "binance": "ETHUSDT BTCUSD ETHBTC DOGEUSD SOLUSDT", "okx": "ETH-USDT BTC-USD ETH-BTC DOGE-USD SOL-USDT",
    "coinbase": "ETH-USDT BTC-USD ETH-BTC DOGE-USD SOL-USDT", "kraken": "ETHUSDT XXBTZUSD XETHXXBT XDGUSD SOLUSDT",
    "bitget": "ETHUSDT BTCUSD ETHBTC DOGEUSD SOLUSDT", "gate": "ETH_USDT BTC_USD ETH_BTC DOGE_USD SOL_USDT",
    "bybit": "ETHUSDT BTCUSD ETHBTC DOGEUSD SOLUSDT", "kucoin": "ETH-USDT BTC-USD ETH-BTC DOGE-USD SOL-USDT",
    "bitstamp": "ETH/USDT BTC/USD ETH/BTC DOGE/USD SOL/USDT", "htx": "ethusdt btcusd ethbtc dogeusd solusdt",
}  # fmt: skip
WHOLE = {
    "binance": "/api/v3/ticker/24hr",
    "okx": "/api/v5/market/tickers?instType=SPOT",
    "coinbase": "/products/stats",
    "kraken": "/0/public/Ticker",
    "bitget": "/api/v2/spot/market/tickers",
    "gate": "/api/v4/spot/tickers",
    "bybit": "/v5/market/tickers?category=spot",
    "kucoin": "/api/v1/market/allTickers",
    "bitstamp": "/api/v2/ticker/",
    "htx": "/market/tickers",
}
Rows = dict[str, dict[str, Any]]


def by(key: str) -> Callable[[list[dict[str, Any]]], Rows]:
    return lambda rows: {row[key]: row for row in rows}


# From a whole body to its rows by symbol.
ROWS: dict[str, Callable[[Any], Rows]] = {
    "binance": by("symbol"),
    "okx": lambda body: by("instId")(body["data"]),
    "coinbase": lambda body: {name: row["stats_24hour"] for name, row in body.items()},
    "kraken": lambda body: dict(body["result"]),
    "bitget": lambda body: by("symbol")(body["data"]),
    "gate": by("currency_pair"),
    "bybit": lambda body: by("symbol")(body["result"]["list"]),
    "kucoin": lambda body: by("symbol")(body["data"]["ticker"]),
    "bitstamp": by("pair"),
    "htx": lambda body: by("symbol")(body["data"]),
}
# Last, bid and ask in a row.
KEYS = {
    "binance": ("lastPrice", "bidPrice", "askPrice"), "okx": ("last", "bidPx", "askPx"), "coinbase": ("last",),
    "kraken": ("c", "b", "a"), "bitget": ("lastPr", "bidPr", "askPr"), "gate": ("last", "highest_bid", "lowest_ask"),
    "bybit": ("lastPrice", "bid1Price", "ask1Price"), "kucoin": ("last", "buy", "sell"),
    "bitstamp": ("last", "bid", "ask"), "htx": ("close", "bid", "ask"),
}  # fmt: skip
# The documented members of a row, in their order, if they differ from those of the single form.
DOCUMENTED = {
    "coinbase": "open high low last volume",
    "kucoin": "symbol symbolName buy bestBidSize sell bestAskSize changeRate changePrice high low vol volValue last "
    "averagePrice takerFeeRate makerFeeRate takerCoefficient makerCoefficient",
    "bitstamp": "last high low vwap volume bid ask timestamp open open_24 percent_change_24 side market_type pair market",
    "htx": "symbol open high low close amount vol count bid bidSize ask askSize",
}


class Client:
    """Calls the market as any client would."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, path: str, method: str = "GET", body: object = None, **headers: str) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers=headers) as reply:
            return reply.status, await reply.json(content_type=None)

    async def rows(self, source: str, path: str = "") -> Rows:
        status, body = await self.ask(f"/{source}{path or WHOLE[source]}")
        assert status == 200, body
        return ROWS[source](body)


@pytest.fixture
def clock() -> WallClock:
    return WallClock()


@pytest.fixture
async def market(clock: WallClock) -> AsyncIterator[Market]:
    market = Market(PAIRS, seed=7, now_ms=clock, others=20)
    await market.start()
    yield market
    await market.stop()


@pytest.fixture
async def client(market: Market) -> AsyncIterator[Client]:
    async with aiohttp.ClientSession(market.url, headers={"Accept-Encoding": "identity"}) as session:
        yield Client(session)


def symbol(source: str, pair: str) -> str:
    return SPELLINGS[source].split()[PAIRS.index(pair)]


def amounts(source: str, row: dict[str, Any]) -> list[Any]:
    """Last, bid and ask exactly as they are in the row."""
    return [row[key][0] if isinstance(row[key], list) else row[key] for key in KEYS[source]]


# The whole market


@pytest.mark.parametrize("source", WHOLE)
async def test_whole_market_has_every_pair_under_the_sources_own_name_for_it(
    market: Market, client: Client, source: str
) -> None:
    rows = await client.rows(source)
    assert market.pair_calls[source] == {"*": 1}
    served = [Decimal(price) for _, price in market.served[source]]
    for spelling, price in zip(SPELLINGS[source].split(), served, strict=True):
        last, *book = (Decimal(str(amount)) for amount in amounts(source, rows[spelling]))
        assert last == price
        assert not book or book[0] < last < book[1]


@pytest.mark.parametrize("source", WHOLE)
async def test_row_of_the_whole_market_is_the_documented_one_at_the_single_forms_price(
    market: Market, client: Client, source: str
) -> None:
    row = (await client.rows(source))[symbol(source, ETH)]
    _, single = await client.ask(f"/{source}{SINGLE[source]}")
    alone = {
        "coinbase": single, "binance": single, "bitstamp": single, "kucoin": single.get("data"),
        "htx": single.get("tick"),
    }.get(source) if isinstance(single, dict) else None  # fmt: skip
    if source in DOCUMENTED:
        assert " ".join(row) == DOCUMENTED[source]
    else:
        assert row == (alone or ROWS[source](single)[symbol(source, ETH)])
    prices = [price for _, price in market.served[source]]
    assert prices[-1] == prices[PAIRS.index(ETH)], "one clock, one price in both forms"


async def test_pairs_stand_among_others_that_are_dead_odd_or_no_spot_market_at_all(client: Client) -> None:
    for source in WHOLE:
        rows = await client.rows(source)
        strangers = [row for name, row in rows.items() if name not in SPELLINGS[source].split()]
        # Of 20, the two delisted ones are missing.
        assert len(strangers) == 18 + {"kucoin": 2, "bitstamp": 1}.get(source, 0), source
        lasts = [amounts(source, row)[0] for row in strangers]
        assert sum(last in ("", None) or float(last) == 0 for last in lasts) >= 4, source
        first = list(rows)[0]
        assert first not in SPELLINGS[source].split(), "nobody promises an order"
    assert {row["market_type"] for row in (await client.rows("bitstamp")).values()} == {"SPOT", "PERPETUAL"}
    kucoin = (await client.rows("kucoin")).values()
    assert [row["symbolName"] for row in kucoin if row["symbolName"] != row["symbol"]] == ["NEWCOIN-USDT"]


async def test_other_pairs_are_the_same_for_the_same_seed_and_of_any_number() -> None:
    def names(seed: int, others: int) -> list[str]:
        source = Market(seed=seed, others=others).sources["gate"]
        choice = source.read(WHOLE["gate"], {})
        assert choice
        return list(ROWS["gate"](json.loads(source.reply(choice).truth().body)))  # type: ignore[union-attr]

    assert names(7, 40) == names(7, 40) != names(8, 40)
    assert names(7, 0) == ["ETH_USDT"]


async def test_realistic_sizes_can_be_had() -> None:
    source = Market([f"c{number}-usdt" for number in range(1000)], others=1000).sources["gate"]
    choice = source.read(WHOLE["gate"], {})
    assert choice
    body = source.reply(choice).truth().body  # type: ignore[union-attr]
    assert len(body) > 500_000
    assert len(json.loads(body)) == 1000 + 900


async def test_long_answers_are_packed_for_those_who_say_they_can_unpack(market: Market) -> None:
    plain, packed = {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip, deflate"}
    async with aiohttp.ClientSession(market.url, auto_decompress=False) as session:
        for source, path in WHOLE.items():
            async with session.get(f"/{source}{path}", headers=plain) as reply:
                long = await reply.read()
            async with session.get(f"/{source}{path}", headers=packed) as reply:
                short, encoding = await reply.read(), reply.headers["Content-Encoding"]
            assert (encoding, gzip.decompress(short)) == ("gzip", long), source
            assert len(short) < len(long) / 2
        async with session.get(f"/okx{SINGLE['okx']}", headers=packed) as reply:
            assert "Content-Encoding" not in reply.headers, "one ticker fits into a packet anyway"


async def test_kucoin_takes_its_snapshot_every_two_seconds(client: Client, clock: WallClock) -> None:
    async def snapshot(at_ms: int) -> tuple[int, str]:
        clock.ms = at_ms
        _, body = await client.ask("/kucoin/api/v1/market/allTickers")
        return body["data"]["time"], ROWS["kucoin"](body)["ETH-USDT"]["last"]

    even = NOW_MS // 2000 * 2000 + 60_000
    first = await snapshot(even)
    assert first[0] == even
    assert await snapshot(even + 1999) == first
    assert (await snapshot(even + 2000))[0] == even + 2000


async def test_htx_renews_its_prices_every_second_but_stamps_the_reply(client: Client, clock: WallClock) -> None:
    async def read(at_ms: int) -> tuple[int, float]:
        clock.ms = at_ms
        _, body = await client.ask(f"/htx{SINGLE['htx']}")
        return body["ts"], body["tick"]["close"]

    full = NOW_MS // 1000 * 1000 + 60_000
    first, second = await read(full), await read(full + 999)
    assert (first[0], second[0]) == (full, full + 999)
    assert first[1] == second[1] != (await read(full + 10_000))[1]


async def test_htx_shows_a_calendar_day_in_the_whole_market_and_24_hours_in_the_single_form(
    client: Client, clock: WallClock
) -> None:
    clock.ms += 3_600_000
    whole = (await client.rows("htx"))["ethusdt"]
    _, single = await client.ask(f"/htx{SINGLE['htx']}")
    assert whole["close"] == single["tick"]["close"]
    assert all(whole[key] != single["tick"][key] for key in ("open", "high", "low"))


# Lists


async def test_binance_answers_a_list_with_an_array_also_of_one(market: Market, client: Client) -> None:
    path = '/api/v3/ticker/24hr?symbols=["ETHUSDT","BTCUSD"]'
    assert list(await client.rows("binance", path)) == ["ETHUSDT", "BTCUSD"]
    assert list(await client.rows("binance", '/api/v3/ticker/24hr?symbols=["ETHUSDT"]')) == ["ETHUSDT"]
    assert market.pair_calls["binance"] == {ETH: 2, BTC: 1}


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("/api/v3/ticker/price", "symbol price"),
        ("/api/v3/ticker/bookTicker", "symbol bidPrice bidQty askPrice askQty"),
    ],
)
async def test_binance_has_lighter_forms_too(client: Client, path: str, keys: str) -> None:
    for query, count in (("?symbol=ETHUSDT", 1), ('?symbols=["ETHUSDT","BTCUSD"]', 2), ("", len(PAIRS) + 18)):
        _, body = await client.ask(f"/binance{path}{query}")
        rows = [body] if isinstance(body, dict) else body
        assert (len(rows), " ".join(rows[0])) == (count, keys)
        assert isinstance(body, dict) is (query == "?symbol=ETHUSDT")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ('symbols=["ETHUSDT","NOSUCH"]', -1121),
        ("symbol=NOSUCH", -1121),
        ('symbol=ETHUSDT&symbols=["ETHUSDT"]', -1128),
        ('symbols=["ETHUSDT", "BTCUSD"]', -1100),
        ("symbols=ETHUSDT", -1100),
        ("symbols=[]", -1100),
        ("symbols=[1]", -1100),
    ],
)
async def test_binance_refuses_a_whole_list_for_one_wrong_symbol(client: Client, query: str, code: int) -> None:
    for path in "24hr", "price", "bookTicker":
        status, body = await client.ask(f"/binance/api/v3/ticker/{path}?{query}")
        assert (status, body["code"]) == (400, code)


async def test_kraken_answers_a_list_under_its_own_names_or_not_at_all(market: Market, client: Client) -> None:
    asked = "ETHUSDT,XBTUSD,XETHXXBT,XDGUSD,SOL/USDT"
    assert " ".join(await client.rows("kraken", f"/0/public/Ticker?pair={asked}")) == SPELLINGS["kraken"]
    assert market.pair_calls["kraken"] == dict.fromkeys(PAIRS, 1)
    assert (await client.ask(f"/kraken/0/public/Ticker?pair={asked},NOSUCH")) == (
        200,
        {"error": ["EQuery:Unknown asset pair"]},
    )
    assert market.pair_calls["kraken"]["NOSUCH"] == 1


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/okx/api/v5/market/ticker", 400, "50014"),
        ("/okx/api/v5/market/tickers", 400, "50014"),
        ("/okx/api/v5/market/tickers?instType=SPOTS", 400, "51000"),
        ("/bybit/v5/market/tickers", 200, 10001),
        ("/bitstamp/api/v2/ticker/?pair=ethusdt", 400, "400.018"),
        ("/coinbase/products/stats/ticker", 404, None),
    ],
)
async def test_wrong_requests_get_the_documented_refusal(client: Client, path: str, status: int, code: object) -> None:
    got, body = await client.ask(path)
    assert (got, body.get("code", body.get("retCode"))) == (status, code)


# What is listed

LISTINGS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "binance": ("/api/v3/exchangeInfo", lambda body: {row["symbol"]: row["status"] for row in body["symbols"]}),
    "okx": (
        "/api/v5/public/instruments?instType=SPOT",
        lambda body: {row["instId"]: row["state"] for row in body["data"]},
    ),
    "coinbase": ("/products", lambda body: {row["id"]: row["trading_disabled"] for row in body}),
    "kraken": ("/0/public/AssetPairs", lambda body: {name: row["status"] for name, row in body["result"].items()}),
    "bitget": ("/api/v2/spot/public/symbols", lambda body: {row["symbol"]: row["status"] for row in body["data"]}),
    "gate": ("/api/v4/spot/currency_pairs", lambda body: {row["id"]: row["trade_status"] for row in body}),
    "bybit": (
        "/v5/market/instruments-info?category=spot",
        lambda body: {row["symbol"]: row["status"] for row in body["result"]["list"]},
    ),
    "kucoin": ("/api/v2/symbols", lambda body: {row["symbol"]: row["enableTrading"] for row in body["data"]}),
    "bitstamp": ("/api/v2/markets/", lambda body: {row["name"]: row["trading"] for row in body}),
    "htx": ("/v1/common/symbols", lambda body: {row["symbol"]: row["state"] for row in body["data"]}),
}
STATES = {
    "binance": ("TRADING", "BREAK"), "okx": ("live", "suspend"), "coinbase": (False, True),
    "kraken": ("online", "cancel_only"), "bitget": ("online", "halt"), "gate": ("tradable", "untradable"),
    "bybit": ("Trading", "Closed"), "kucoin": (True, False), "bitstamp": ("Enabled", "Disabled"),
    "htx": ("online", "suspend"),
}  # fmt: skip


@pytest.mark.parametrize("source", LISTINGS)
async def test_listing_tells_what_trades_and_what_is_halted(market: Market, client: Client, source: str) -> None:
    market.set_status(source, BTC, "halted")
    market.set_status(source, DOGE, "unlisted")
    path, read = LISTINGS[source]
    listed = read((await client.ask(f"/{source}{path}"))[1])
    trading, halted = STATES[source]
    assert (listed[symbol(source, ETH)], listed[symbol(source, BTC)]) == (trading, halted)
    assert symbol(source, DOGE) not in listed
    assert market.pair_calls[source] == {}, "no price was asked for"


@pytest.mark.parametrize("source", WHOLE)
@pytest.mark.parametrize("status", ["unlisted", "delisted"])
async def test_pair_that_a_source_does_not_list_is_refused_alone_and_missing_in_the_whole(
    market: Market, client: Client, source: str, status: str
) -> None:
    before = await client.ask(f"/{source}{SINGLE[source].replace('ETH', 'NO').replace('eth', 'no')}")
    market.set_status(source, ETH, status)
    assert symbol(source, ETH) not in await client.rows(source)
    assert symbol(source, BTC) in await client.rows(source)
    refused = await client.ask(f"/{source}{SINGLE[source]}")
    if status == "delisted" and source == "coinbase":
        assert refused == (400, {"message": "Not allowed for delisted products"})
    elif status == "delisted" and source == "gate":
        assert (refused[0], refused[1]["label"]) == (400, "INVALID_CURRENCY")
    elif source == "bitstamp":
        assert (refused[0], len(refused[1])) == (200, len(before[1]) - 1), "all that are listed"
    else:
        assert refused == before
    market.clear_statuses(source)
    assert symbol(source, ETH) in await client.rows(source)


@pytest.mark.parametrize("source", WHOLE)
async def test_halted_pair_keeps_its_last_price_and_nobody_bids(
    market: Market, client: Client, source: str, clock: WallClock
) -> None:
    before = amounts(source, (await client.rows(source))[symbol(source, ETH)])
    market.set_status(source, ETH, "halted")
    clock.ms += 60_000
    market.set_truth(ETH, Decimal("2000"))
    last, *book = amounts(source, (await client.rows(source))[symbol(source, ETH)])
    assert last == before[0]
    assert all(side in ("", None) or float(side) == 0 for side in book)


async def test_binance_leaves_halted_pairs_out_without_a_word_where_trading_ones_are_wanted(
    market: Market, client: Client
) -> None:
    market.set_status("binance", BTC, "halted")
    both, trading = '/api/v3/ticker/24hr?symbols=["ETHUSDT","BTCUSD"]', "symbolStatus=TRADING"
    assert list(await client.rows("binance", both)) == ["ETHUSDT", "BTCUSD"]
    assert list(await client.rows("binance", f"{both}&{trading}")) == ["ETHUSDT"]
    assert await client.rows("binance", f'/api/v3/ticker/24hr?symbols=["BTCUSD"]&{trading}') == {}
    everything, all_trading = await client.rows("binance"), await client.rows("binance", f"{WHOLE['binance']}?{trading}")
    # Of the 18 others, two are halted and four were never traded.
    assert len(everything) - len(all_trading) == 1 + 6 and "BTCUSD" not in all_trading
    status, body = await client.ask(f"/binance/api/v3/ticker/24hr?symbol=BTCUSD&{trading}")
    assert (status, body["code"]) == (400, -1220)


async def test_statuses_are_switched_over_http(market: Market, client: Client) -> None:
    _, shown = await client.ask(f"/statuses/okx/{ETH}", "PUT", {"status": "delisted"})
    assert shown["okx"] == {ETH: "delisted"} and shown["kraken"] == {}
    _, shown = await client.ask(f"/statuses/all/{BTC}", "PUT", {"status": "halted"})
    assert shown["okx"] == {ETH: "delisted", BTC: "halted"} and shown["kraken"] == {BTC: "halted"}
    _, shown = await client.ask(f"/statuses/okx/{BTC}", "PUT", {"status": "trading"})
    assert shown["okx"] == {ETH: "delisted"} == market.statuses()["okx"]
    _, shown = await client.ask("/statuses/all", "DELETE")
    assert not any(shown.values()) and (await client.ask("/statuses")) == (200, shown)


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        (f"/statuses/nasdaq/{ETH}", {"status": "halted"}, 404, "kraken"),
        ("/statuses/okx/eth-eur", {"status": "halted"}, 404, "sol-usdt"),
        (f"/statuses/okx/{ETH}", {"status": "asleep"}, 400, "delisted"),
        (f"/statuses/okx/{ETH}", {"status": ["halted"]}, 400, "delisted"),
        (f"/statuses/okx/{ETH}", {}, 400, "status"),
        ("/limits", {"enforced": "yes"}, 400, "true or false"),
    ],
)
async def test_control_says_what_it_would_have_accepted(
    client: Client, path: str, body: object, status: int, words: str
) -> None:
    got, said = await client.ask(path, "PUT", body)
    assert (got, words in said["error"]) == (status, True), said


# Faults

BENT: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "zero": lambda now, true: now == 0,
    "negative": lambda now, true: now == -true,
    "huge_price": lambda now, true: now == Decimal(10) ** 30,
    "jump": lambda now, true: abs(now / true - Decimal("1.5")) < Decimal("0.001"),
    "exponent": lambda now, true: now == true,
    "nan": lambda now, true: now.is_nan(),
    "duplicate_keys": lambda now, true: now == Decimal("6666.66"),
}


@pytest.mark.parametrize("fault", BENT)
@pytest.mark.parametrize("source", WHOLE)
async def test_lie_is_told_of_every_pair_of_the_whole_market(
    market: Market, client: Client, source: str, fault: str
) -> None:
    async def lasts() -> list[Decimal]:
        rows = await client.rows(source)
        return [Decimal(str(amounts(source, rows[name])[0])) for name in SPELLINGS[source].split()]

    true = await lasts()
    market.set_fault(source, fault)
    assert all(BENT[fault](now, before) for now, before in zip(await lasts(), true, strict=True))
    assert len(market.served[source]) == len(PAIRS), "no lie is taken for what was served"


@pytest.mark.parametrize("source", WHOLE)
async def test_fault_of_some_pairs_spoils_their_rows_and_no_other(
    market: Market, client: Client, source: str
) -> None:
    true = await client.rows(source)
    given = [price for _, price in market.served[source]]
    market.set_fault(source, "zero", pairs=[ETH, BTC])
    rows = await client.rows(source)
    assert {name for name in rows if rows[name] != true[name]} == {symbol(source, ETH), symbol(source, BTC)}
    assert [price for _, price in market.served[source]] == given + given[2:], "what else was told is true"
    assert market.faults()[source] == {"fault": "zero", "seconds": 0.0, "factor": 1.5, "pairs": [ETH, BTC]}
    market.set_fault(source, "error", pairs=[DOGE])
    assert (await client.ask(f"/{source}{SINGLE[source]}"))[0] == 200, "nobody asked for that pair"
    assert (await client.ask(f"/{source}{WHOLE[source]}"))[0] == 500
    market.set_fault(source, "zero", pairs=[])
    assert await client.rows(source) == true


@pytest.mark.parametrize("fault", ["old", "ahead"])
async def test_stamp_of_a_whole_reply_is_that_of_its_honest_pairs_too(
    market: Market, client: Client, fault: str
) -> None:
    async def stamps() -> dict[str, int]:
        _, bybit = await client.ask(f"/bybit{WHOLE['bybit']}")
        okx = await client.rows("okx")
        return {"whole": bybit["time"], "eth": int(okx["ETH-USDT"]["ts"]), "btc": int(okx["BTC-USD"]["ts"])}

    moved = {"old": -30_000, "ahead": 30_000}[fault]
    market.set_fault("all", fault, seconds=30, pairs=[ETH])
    assert await stamps() == {"whole": NOW_MS, "eth": NOW_MS + moved, "btc": NOW_MS}
    market.set_fault("all", fault, seconds=30)
    assert await stamps() == dict.fromkeys(("whole", "eth", "btc"), NOW_MS + moved)


async def test_halted_is_left_out_at_binance_listed_as_that_everywhere_and_priced_at_zero_elsewhere(
    market: Market, client: Client
) -> None:
    market.set_fault("all", "halted", pairs=[ETH])
    for source in WHOLE:
        rows = await client.rows(source)
        assert symbol(source, BTC) in rows
        assert source == "binance" or Decimal(str(amounts(source, rows[symbol(source, ETH)])[0])) == 0
        path, read = LISTINGS[source]
        listed = read((await client.ask(f"/{source}{path}"))[1])
        assert (listed[symbol(source, BTC)], listed[symbol(source, ETH)]) == STATES[source]
    assert "ETHUSDT" not in await client.rows("binance")
    assert "ETHUSDT" not in await client.rows("binance", '/api/v3/ticker/24hr?symbols=["ETHUSDT","BTCUSD"]')


async def test_frozen_holds_the_whole_market(market: Market, client: Client, clock: WallClock) -> None:
    clock.ms = NOW_MS // 2000 * 2000 + 60_000  # just when the exchanges that take snapshots at intervals take one
    for source in WHOLE:
        market.clear_fault()
        path = f"/{source}{WHOLE[source]}"
        before = await client.ask(path)
        market.set_fault(source, "frozen")
        clock.ms += 60_000
        assert await client.ask(path) == before, source
        market.clear_fault()
        assert await client.ask(path) != before


async def test_wrong_symbol_gives_each_row_another_pairs_name(market: Market, client: Client) -> None:
    for source in ("binance", "okx", "kraken", "gate", "kucoin", "bitstamp", "htx"):
        market.set_fault(source, "wrong_symbol", pairs=[BTC])
        assert symbol(source, BTC) not in await client.rows(source)


async def test_no_fault_breaks_the_market_itself(market: Market, client: Client) -> None:
    tried: Counter[str] = Counter()
    for fault in sorted(set(MEANINGS) - {"hang", "drip", "bomb", "huge", "slow"}):
        market.set_fault("all", fault, seconds=0.0)
        for source, path in WHOLE.items():
            for target in (path, LISTINGS[source][0]):
                try:
                    status, _ = await client.ask(f"/{source}{target}")
                except (ValueError, RecursionError, aiohttp.ClientError):
                    status = 0
                assert status != 500 or fault == "error", (fault, source, target)
                tried[fault] += 1
    assert set(tried.values()) == {20}


# Counting


async def test_what_is_asked_is_counted_by_pair_and_told_over_http(market: Market, client: Client) -> None:
    await client.rows("okx")
    await client.ask(f"/okx{SINGLE['okx']}")
    await client.ask(f"/okx{SINGLE['okx']}")
    await client.ask("/okx/api/v5/market/ticker?instId=NO-SUCH")
    _, counted = await client.ask("/calls")
    assert counted["pairs"]["okx"] == {"*": 1, ETH: 2, "NO-SUCH": 1}
    assert (counted["sources"]["okx"], counted["total"]) == (4, 4)
    _, counted = await client.ask("/calls", "DELETE")
    assert counted["pairs"]["okx"] == {} == market.pair_calls["okx"]


async def test_served_prices_of_the_whole_market_are_remembered_for_some_rounds() -> None:
    pairs = [f"c{number}-usdt" for number in range(500)]
    assert Market(pairs).served["okx"].maxlen == 5000


async def test_truth_stays_the_same_for_all_forms_after_it_was_moved(market: Market, client: Client) -> None:
    market.set_truth(ETH, Decimal("2000.00"))
    assert (await client.rows("binance"))["ETHUSDT"]["lastPrice"] == "2000.00000000"
    assert market.truth(Pair("ETH", "USDT")) == 2000
