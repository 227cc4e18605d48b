"""What nine exchanges may send, and the quote or the error that each of our modules makes of it."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from email.utils import formatdate
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprice.domain.errors import (
    Banned, Blocked, CoolDown, InvalidQuote, InvalidReply, PairRefused, RateLimited, SourceDown, SourceError,
    SourceRefused, UnknownSymbol
)
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.reply import MAX_LINE, Reply, retry_after

ETH = Pair("ETH", "USDT")
NOW_MS = 1_753_300_000_190
HOURS = 6 * 3600.0
Path = tuple[str | int, ...]


class Documented(NamedTuple):
    """An exchange's documented answer, the quote in it, and the paths to its members (None: it has no such member)."""

    target: str
    body: str
    price: str
    bid: str | None
    ask: str | None
    volume: str | None
    time_ms: int | None
    price_at: Path
    bid_at: Path
    ask_at: Path
    volume_at: Path | None
    time_at: Path | None
    symbol_at: Path | None
    list_at: Path | None


DOCUMENTED = {
    "binance": Documented(
        "/api/v3/ticker/24hr?symbol=ETHUSDT&symbolStatus=TRADING",
        '{"symbol":"ETHUSDT","priceChange":"-94.99999800","priceChangePercent":"-95.960",'
        '"weightedAvgPrice":"0.29628482","prevClosePrice":"0.10002000","lastPrice":"4.00000200",'
        '"lastQty":"200.00000000","bidPrice":"4.00000000","bidQty":"100.00000000","askPrice":"4.00000200",'
        '"askQty":"100.00000000","openPrice":"99.00000000","highPrice":"100.00000000","lowPrice":"0.10000000",'
        '"volume":"8913.30000000","quoteVolume":"15.30000000","openTime":1499783499040,"closeTime":1499869899040,'
        '"firstId":28385,"lastId":28460,"count":76}',
        "4.00000200", "4.00000000", "4.00000200", "8913.30000000", 1499869899040,
        ("lastPrice",), ("bidPrice",), ("askPrice",), ("volume",), ("closeTime",), ("symbol",), None,
    ),
    "okx": Documented(
        "/api/v5/market/ticker?instId=ETH-USDT",
        '{"code":"0","msg":"","data":[{"instType":"SWAP","instId":"ETH-USDT","last":"9999.99","lastSz":"0.1",'
        '"askPx":"9999.99","askSz":"11","bidPx":"8888.88","bidSz":"5","open24h":"9000","high24h":"10000",'
        '"low24h":"8888.88","volCcy24h":"2222","vol24h":"2222","sodUtc0":"2222","sodUtc8":"2222",'
        '"ts":"1597026383085"}]}',
        "9999.99", "8888.88", "9999.99", "2222", 1597026383085,
        ("data", 0, "last"), ("data", 0, "bidPx"), ("data", 0, "askPx"), ("data", 0, "vol24h"), ("data", 0, "ts"),
        ("data", 0, "instId"), ("data",),
    ),
    "coinbase": Documented(
        "/products/ETH-USDT/ticker",
        '{"trade_id":86326522,"price":"6268.48","size":"0.00698254","time":"2020-03-20T00:22:57.833Z",'
        '"bid":"6265.15","ask":"6267.71","volume":"53602.03940154","rfq_volume":"123.122",'
        '"conversions_volume":"0.00"}',
        "6268.48", "6265.15", "6267.71", "53602.03940154", 1584663777833,
        ("price",), ("bid",), ("ask",), ("volume",), ("time",), None, None,
    ),
    "kraken": Documented(
        "/0/public/Ticker?pair=ETHUSDT",
        '{"error":[],"result":{"ETHUSDT":{"a":["30300.10000","1","1.000"],"b":["30300.00000","1","1.000"],'
        '"c":["30303.20000","0.00067643"],"v":["4083.67001100","4412.73601799"],"p":["30706.77771","30689.13205"],'
        '"t":[34619,38907],"l":["29868.30000","29868.30000"],"h":["31631.00000","31631.00000"],"o":"30502.80000"}}}',
        "30303.20000", "30300.00000", "30300.10000", "4412.73601799", None,
        ("result", "ETHUSDT", "c", 0), ("result", "ETHUSDT", "b", 0), ("result", "ETHUSDT", "a", 0),
        ("result", "ETHUSDT", "v", 1), None, None, None,
    ),
    "bitget": Documented(
        "/api/v2/spot/market/tickers?symbol=ETHUSDT",
        '{"code":"00000","msg":"success","requestTime":1695808949356,"data":[{"symbol":"ETHUSDT",'
        '"high24h":"37775.65","open":"35134.2","low24h":"34413.1","lastPr":"34413.1","quoteVolume":"0",'
        '"baseVolume":"0","usdtVolume":"0","bidPr":"0","askPr":"0","bidSz":"0.0663","askSz":"0.0119",'
        '"openUtc":"23856.72","ts":"1625125755277","changeUtc24h":"0.00301","change24h":"0.00069"}]}',
        "34413.1", None, None, "0", 1625125755277,
        ("data", 0, "lastPr"), ("data", 0, "bidPr"), ("data", 0, "askPr"), ("data", 0, "baseVolume"),
        ("data", 0, "ts"), ("data", 0, "symbol"), ("data",),
    ),
    "gate": Documented(
        "/api/v4/spot/tickers?currency_pair=ETH_USDT",
        '[{"currency_pair":"ETH_USDT","last":"2.46140352","lowest_ask":"2.477","highest_bid":"2.4606821",'
        '"change_percentage":"-8.91","change_utc0":"-8.91","change_utc8":"-8.91","base_volume":"656614.0845820589",'
        '"quote_volume":"1602221.66468375534639404191","high_24h":"2.7431","low_24h":"1.9863",'
        '"etf_net_value":"2.46316141","etf_pre_net_value":"2.43201848","etf_pre_timestamp":1611244800,'
        '"etf_leverage":"2.2803019447281203"}]',
        "2.46140352", "2.4606821", "2.477", "656614.0845820589", None,
        (0, "last"), (0, "highest_bid"), (0, "lowest_ask"), (0, "base_volume"), None, (0, "currency_pair"), (),
    ),
    "bybit": Documented(
        "/v5/market/tickers?category=spot&symbol=ETHUSDT",
        '{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"symbol":"ETHUSDT","bid1Price":"20517.96",'
        '"bid1Size":"2","ask1Price":"20527.77","ask1Size":"1.862172","lastPrice":"20533.13",'
        '"prevPrice24h":"20393.48","price24hPcnt":"0.0068","highPrice24h":"21128.12","lowPrice24h":"20318.89",'
        '"turnover24h":"243765620.65899866","volume24h":"11801.27771","usdIndexPrice":"20784.12009279"}]},'
        '"retExtInfo":{},"time":1673859087947}',
        "20533.13", "20517.96", "20527.77", "11801.27771", 1673859087947,
        ("result", "list", 0, "lastPrice"), ("result", "list", 0, "bid1Price"), ("result", "list", 0, "ask1Price"),
        ("result", "list", 0, "volume24h"), ("time",), ("result", "list", 0, "symbol"), ("result", "list"),
    ),
    "kucoin": Documented(
        "/api/v1/market/orderbook/level1?symbol=ETH-USDT",
        '{"code":"200000","data":{"sequence":"1550467636704","bestAsk":"0.03715004","size":"0.17",'
        '"price":"0.03715005","bestBidSize":"3.803","bestBid":"0.03710768","bestAskSize":"1.788",'
        '"time":1550653727731}}',
        "0.03715005", "0.03710768", "0.03715004", None, 1550653727731,
        ("data", "price"), ("data", "bestBid"), ("data", "bestAsk"), None, ("data", "time"), None, None,
    ),
    "bitstamp": Documented(
        "/api/v2/ticker/ethusdt/",
        '{"last":"2211.00","high":"2811.00","low":"2188.97","vwap":"2189.80","volume":"213.26801100",'
        '"bid":"2188.97","ask":"2211.00","timestamp":"1643640186","open":"2211.00","open_24":"2211.00",'
        '"percent_change_24":"13.57","side":"0","market_type":"SPOT"}',
        "2211.00", "2188.97", "2211.00", "213.26801100", 1643640186000,
        ("last",), ("bid",), ("ask",), ("volume",), ("timestamp",), None, None,
    ),
}  # fmt: skip

BASE_URLS = {
    "binance": "https://data-api.binance.vision",
    "okx": "https://www.okx.com",
    "coinbase": "https://api.exchange.coinbase.com",
    "kraken": "https://api.kraken.com",
    "bitget": "https://api.bitget.com",
    "gate": "https://api.gateio.ws",
    "bybit": "https://api.bybit.com",
    "kucoin": "https://api.kucoin.com",
    "bitstamp": "https://www.bitstamp.net",
}
SOURCE_TIMES = dict.fromkeys(BASE_URLS, SourceTime.PRICE) | {
    "coinbase": SourceTime.TRADE,
    "bybit": SourceTime.REPLY,
    "kraken": SourceTime.NONE,
    "gate": SourceTime.NONE,
}

every_exchange = pytest.mark.parametrize("name", DOCUMENTED)


def read(
    name: str, body: str | bytes, status: int = 200, headers: Mapping[str, str] | None = None, pair: Pair = ETH
) -> Quote:
    raw = body.encode() if isinstance(body, str) else body
    return EXCHANGES[name].parse(pair, Reply(status, headers or {}, raw, NOW_MS))


def refusal(
    name: str, body: str | bytes, status: int = 200, headers: Mapping[str, str] | None = None, pair: Pair = ETH
) -> SourceError:
    """The error a reply is turned into; fails on a quote, lets any foreign exception through, checks the message."""
    with pytest.raises(SourceError) as caught:
        read(name, body, status, headers, pair)
    message = str(caught.value)
    assert message and message.isprintable() and len(message) <= MAX_LINE
    return caught.value


def container(body: Any, path: Path) -> Any:
    """The object or list that holds the member at `path`."""
    for step in path[:-1]:
        body = body[step]
    return body


def changed(name: str, *changes: tuple[Path, Any]) -> str:
    """The documented body with other values at some paths."""
    body = json.loads(DOCUMENTED[name].body)
    for path, value in changes:
        if not path:
            return json.dumps(value)
        container(body, path)[path[-1]] = value
    return json.dumps(body)


def without(name: str, path: Path) -> str:
    """The documented body without the member at `path`, and without those behind it in a list."""
    body = json.loads(DOCUMENTED[name].body)
    last = path[-1]
    del container(body, path)[last if isinstance(last, str) else slice(last, None)]
    return json.dumps(body)


# ---- what is asked -------------------------------------------------------------------------------------------------


def test_exchanges_are_listed_by_name_in_failover_order() -> None:
    order = "binance,okx,coinbase,kraken,bitget,gate,bybit,kucoin,bitstamp".split(",")
    assert list(EXCHANGES) == order == [exchange.name for exchange in EXCHANGES.values()]
    assert {name: exchange.base_url for name, exchange in EXCHANGES.items()} == BASE_URLS
    assert {name: exchange.source_time for name, exchange in EXCHANGES.items()} == SOURCE_TIMES


@every_exchange
def test_target_is_the_documented_lightest_ticker(name: str) -> None:
    assert EXCHANGES[name].target(ETH) == DOCUMENTED[name].target


@pytest.mark.parametrize(
    ("slug", "symbol"),
    [("btc-usdt", "XBTUSDT"), ("eth-btc", "ETHXBT"), ("doge-usd", "XDGUSD"), ("sol-usdt", "SOLUSDT")],
)
def test_kraken_is_asked_in_its_own_asset_codes(slug: str, symbol: str) -> None:
    assert EXCHANGES["kraken"].target(Pair.parse(slug)) == f"/0/public/Ticker?pair={symbol}"


# ---- success -------------------------------------------------------------------------------------------------------


@every_exchange
def test_documented_body_yields_every_digit(name: str) -> None:
    said = DOCUMENTED[name]
    assert read(name, said.body) == Quote(
        ETH, said.price, said.bid, said.ask, said.volume, name, said.time_ms, NOW_MS
    )


@every_exchange
@pytest.mark.parametrize("sent", ["3120.45000000", "0.000000010", "3120", "99999999999.123456789012345678"])
def test_price_sent_as_a_number_keeps_its_digits(name: str, sent: str) -> None:
    said = DOCUMENTED[name]
    body = changed(name, (said.bid_at, None), (said.ask_at, None), (said.price_at, "@"))
    assert read(name, body.replace('"@"', sent)).price == sent


@every_exchange
@pytest.mark.parametrize("nothing", ["0", "0.00000000", "0E-8", "", None, 0, 0.0], ids=repr)
def test_absent_bid_and_ask_are_none_and_never_zero(name: str, nothing: object) -> None:
    bidless = changed(name, (DOCUMENTED[name].bid_at, nothing))
    askless = changed(name, (DOCUMENTED[name].ask_at, nothing))
    assert read(name, bidless).bid is None
    assert read(name, askless).ask is None
    assert read(name, bidless).ask == DOCUMENTED[name].ask


@every_exchange
def test_missing_bid_and_ask_are_none(name: str) -> None:
    assert read(name, without(name, DOCUMENTED[name].bid_at)).bid is None
    assert read(name, without(name, DOCUMENTED[name].ask_at)).ask is None


@pytest.mark.parametrize("name", [name for name, said in DOCUMENTED.items() if said.volume_at])
def test_volume_zero_is_kept_and_an_absent_one_is_none(name: str) -> None:
    path = DOCUMENTED[name].volume_at
    assert path is not None
    assert read(name, changed(name, (path, "0"))).volume_24h == "0"
    assert read(name, changed(name, (path, "0.00"))).volume_24h == "0.00"
    assert read(name, changed(name, (path, None))).volume_24h is None
    assert read(name, changed(name, (path, ""))).volume_24h is None
    assert read(name, without(name, path)).volume_24h is None


TIMED = [name for name, said in DOCUMENTED.items() if said.time_at]


@pytest.mark.parametrize("name", TIMED)
def test_missing_source_time_is_none(name: str) -> None:
    path = DOCUMENTED[name].time_at
    assert path is not None
    assert read(name, changed(name, (path, None))).source_time_ms is None
    assert read(name, without(name, path)).source_time_ms is None


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize(
    "garbage",
    ["soon", "-1", "1e12", 1.5e12, True, {}, [], "１５９７０２６３８３０８５", "9" * 5000, 0, 7, 10**19, "1597026383.085"],
    ids=lambda value: repr(value)[:20],
)
def test_unreadable_source_time_is_none_and_the_price_stands(name: str, garbage: object) -> None:
    path = DOCUMENTED[name].time_at
    assert path is not None
    quote = read(name, changed(name, (path, garbage)))
    assert (quote.source_time_ms, quote.price) == (None, DOCUMENTED[name].price)


@pytest.mark.parametrize("name", ["binance", "okx", "bitget", "bybit", "kucoin", "bitstamp"])
def test_time_is_read_as_a_number_and_as_a_string(name: str) -> None:
    path, expected = DOCUMENTED[name].time_at, DOCUMENTED[name].time_ms
    assert path is not None and expected is not None
    sent = expected // 1000 if name == "bitstamp" else expected
    assert read(name, changed(name, (path, sent))).source_time_ms == expected
    assert read(name, changed(name, (path, str(sent)))).source_time_ms == expected


@pytest.mark.parametrize("name", ["binance", "okx", "bitget", "bybit", "kucoin"])
def test_time_in_seconds_is_not_taken_for_milliseconds(name: str) -> None:
    path = DOCUMENTED[name].time_at
    assert path is not None
    assert read(name, changed(name, (path, 1643640186))).source_time_ms is None


def test_bitstamp_time_in_milliseconds_is_not_taken_for_seconds() -> None:
    assert read("bitstamp", changed("bitstamp", (("timestamp",), "1643640186000"))).source_time_ms is None


@pytest.mark.parametrize(
    ("stamp", "milliseconds"),
    [
        ("2020-03-20T00:22:57Z", 1584663777000),
        ("2020-03-20T00:22:57.8Z", 1584663777800),
        ("2020-03-20T00:22:57.833333Z", 1584663777833),
        ("2020-03-20T00:22:57.833999Z", 1584663777833),
        ("2020-03-20T00:22:57.833999999Z", 1584663777833),
        ("2020-03-20T00:22:57.000999999Z", 1584663777000),
        ("2020-03-20T00:22:57.999999999Z", 1584663777999),
        ("2020-03-20T01:22:57.833+01:00", 1584663777833),
        ("2099-12-31T23:59:59.001Z", 4102444799001),
    ],
)
def test_coinbase_time_is_cut_to_milliseconds_without_rounding(stamp: str, milliseconds: int) -> None:
    assert read("coinbase", changed("coinbase", (("time",), stamp))).source_time_ms == milliseconds


@pytest.mark.parametrize(
    "stamp",
    [
        "2020-03-20",
        "2020-03-20T00:22:57",
        "2020-13-20T00:22:57Z",
        "2020-03-20T24:22:57Z",
        "2020-03-20T00:22:57+25:00",
        "2020-03-20 00:22:57Z",
        "2020-03-20T00:22:57.1234567890Z",
        "0000-00-00T00:00:00Z",
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "2020-W12-5T00:22:57Z",
        "1584663777",
        "2020-03-20T00:22:57.833Z\n",
        "２０２０-03-20T00:22:57Z",
    ],
)
def test_coinbase_time_that_is_not_rfc_3339_is_none(stamp: str) -> None:
    assert read("coinbase", changed("coinbase", (("time",), stamp))).source_time_ms is None


# ---- the right symbol ----------------------------------------------------------------------------------------------

WRONG_SYMBOLS = ["BTCUSDT", "BTC-USDT", "BTC_USDT", "ETHUSDC", "ethusdt", "ETHUSDT ", "ETHUSD", "", "x" * 5000]


@pytest.mark.parametrize("name", [name for name, said in DOCUMENTED.items() if said.symbol_at])
@pytest.mark.parametrize("wrong", [*WRONG_SYMBOLS, None, True, 7, {}, [], "E\r\nX: \x00", "\ud800"], ids=ascii)
def test_another_symbol_than_the_one_asked_for_is_refused(name: str, wrong: object) -> None:
    path = DOCUMENTED[name].symbol_at
    assert path is not None
    assert type(refusal(name, changed(name, (path, wrong)))) is InvalidQuote
    assert type(refusal(name, without(name, path))) is InvalidQuote


@pytest.mark.parametrize(
    ("slug", "key"),
    [
        ("eth-usdt", "ETHUSDT"),
        ("btc-usd", "XXBTZUSD"),
        ("btc-usd", "XBTUSD"),
        ("eth-usd", "XETHZUSD"),
        ("eth-btc", "XETHXXBT"),
        ("doge-btc", "XXDGXXBT"),
        ("doge-usd", "XDGUSD"),
        ("btc-usdt", "XBTUSDT"),
        ("usdt-usd", "USDTZUSD"),
        ("sol-eur", "SOLEUR"),
    ],
)
def test_kraken_key_may_be_the_plain_or_the_old_spelling_of_the_pair(slug: str, key: str) -> None:
    body = DOCUMENTED["kraken"].body.replace("ETHUSDT", key)
    assert read("kraken", body, pair=Pair.parse(slug)).price == "30303.20000"


@pytest.mark.parametrize(
    ("slug", "key"),
    [
        ("eth-usdt", "XETHZUSD"),
        ("eth-usdt", "ETHUSD"),
        ("eth-usdt", "ETHUSDC"),
        ("eth-usdt", "XETHUSDTX"),
        ("eth-usdt", "ETHPYUSDT"),
        ("eth-usdt", "USDTETH"),
        ("eth-usdt", "ETH/USDT"),
        ("eth-usdt", "ethusdt"),
        ("eth-usdt", ""),
        ("eth-usd", "XETHZEUR"),
        ("eth-usd", "ETHUSDT"),
        ("eth-usd", "ZETHXUSD"),
        ("btc-usd", "BTCUSD"),
        ("btc-usd", "XETHZUSD"),
    ],
)
def test_kraken_key_of_another_pair_is_refused(slug: str, key: str) -> None:
    body = DOCUMENTED["kraken"].body.replace("ETHUSDT", key)
    assert type(refusal("kraken", body, pair=Pair.parse(slug))) is InvalidQuote


def test_kraken_result_of_none_or_several_pairs_is_refused() -> None:
    ticker = json.loads(DOCUMENTED["kraken"].body)["result"]["ETHUSDT"]
    for result in {}, {"ETHUSDT": ticker, "XETHZUSD": ticker}, [ticker], None, "ETHUSDT":
        assert type(refusal("kraken", changed("kraken", (("result",), result)))) is InvalidQuote


@pytest.mark.parametrize("name", [name for name, said in DOCUMENTED.items() if said.list_at is not None])
def test_list_of_none_or_several_tickers_is_refused(name: str) -> None:
    path = DOCUMENTED[name].list_at
    assert path is not None
    tickers = json.loads(DOCUMENTED[name].body)
    for step in path:
        tickers = tickers[step]
    wrongs: list[Any] = [[], tickers * 2, tickers[0], {"0": tickers[0]}, None, "x", [None], ["x"], [[]]]
    for wrong in wrongs:
        assert type(refusal(name, changed(name, (path, wrong)))) is InvalidQuote


@pytest.mark.parametrize("name", ["kucoin", "coinbase", "bitstamp"])
def test_exchange_that_names_no_symbol_is_believed(name: str) -> None:
    assert read(name, DOCUMENTED[name].body, pair=Pair("SOL", "EUR")).pair == Pair("SOL", "EUR")


# ---- errors --------------------------------------------------------------------------------------------------------

CLOUDFRONT = (
    "<HTML><HEAD><TITLE>ERROR: The request could not be satisfied</TITLE></HEAD><BODY><H1>403 ERROR</H1>\n"
    "The Amazon CloudFront distribution is configured to block access from your country.</BODY></HTML>"
)
WAF = "<html><head><title>403 Forbidden</title></head><body>Request blocked.</body></html>"


class ErrorForm(NamedTuple):
    """An exchange's documented error: what it sends, and what it is to us."""

    name: str
    status: int
    body: str
    kind: type[SourceError]
    seconds: float | None = None
    headers: Mapping[str, str] = {}


def code(name: str, status: int, number: str, kind: type[SourceError], seconds: float | None = None,
         headers: Mapping[str, str] | None = None) -> ErrorForm:  # fmt: skip
    """An error in the exchange's own envelope."""
    body = {
        "binance": '{"code":%s,"msg":"Some words."}',
        "okx": '{"code":"%s","msg":"Some words","data":[]}',
        "bybit": '{"retCode":%s,"retMsg":"Some words","result":{},"retExtInfo":{},"time":1673859087947}',
        "kraken": '{"error":["%s"]}',
        "kucoin": '{"code":"%s","msg":"Some words"}',
        "gate": '{"label":"%s","message":"Some words"}',
        "bitstamp": '{"status":"error","reason":"Some words","code":"%s"}',
        "bitget": '{"code":"%s","msg":"Some words","requestTime":1695808949356,"data":null}',
    }[name]
    return ErrorForm(name, status, body % number, kind, seconds, headers or {})


RETRY_37 = {"retry-after": "37"}
ERROR_FORMS = {
    # Binance: one code for the limit and for the ban; the status tells which.
    "binance unknown": code("binance", 400, "-1121", UnknownSymbol),
    "binance unknown under 200": code("binance", 200, "-1121", UnknownSymbol),
    "binance halted": code("binance", 400, "-1220", PairRefused),
    "binance limit": code("binance", 429, "-1003", RateLimited, 37, RETRY_37),
    "binance limit without time": code("binance", 429, "-1003", RateLimited, 15),
    "binance limit under 200": code("binance", 200, "-1003", RateLimited, 15),
    "binance limit in text": ErrorForm("binance", 429, "slow down", RateLimited, 37, RETRY_37),
    "binance ban": code("binance", 418, "-1003", Banned, 259200, {"retry-after": "259200"}),
    "binance ban without time": code("binance", 418, "-1003", Banned, 120),
    "binance ban in text": ErrorForm("binance", 418, "", Banned, 37, RETRY_37),
    "binance ban for weeks": ErrorForm("binance", 418, "", Banned, 259200, {"retry-after": "99999999999"}),
    "binance ban of 5000 digits": ErrorForm("binance", 418, "", Banned, 259200, {"retry-after": "9" * 5000}),
    "binance limit of no time": ErrorForm("binance", 429, "", RateLimited, 1, {"retry-after": "0"}),
    "binance limit until half a date": ErrorForm("binance", 429, "", RateLimited, 15, {"retry-after": "Wed, 21 Oct"}),
    "binance limit until a time": ErrorForm(
        "binance", 429, "", RateLimited, 99.81, {"retry-after": formatdate(NOW_MS // 1000 + 100, usegmt=True)}
    ),
    "binance limit of minus one": ErrorForm("binance", 429, "", RateLimited, 15, {"retry-after": "-1"}),
    "binance firewall": ErrorForm("binance", 403, WAF, Banned, 120),
    "binance country": ErrorForm("binance", 403, CLOUDFRONT, Blocked, HOURS),
    "binance 451": ErrorForm(
        "binance", 451,
        """{"code":0,"msg":"Service unavailable from a restricted location according to 'b. Eligibility' in terms"}""",
        Blocked, HOURS,
    ),
    "binance busy": code("binance", 503, "-1008", SourceDown),
    "binance busy under 200": code("binance", 200, "-1008", SourceDown),
    "binance going down": code("binance", 503, "-1016", SourceDown),
    "binance going down under 200": code("binance", 200, "-1016", SourceDown),
    "binance timeout": code("binance", 408, "-1007", SourceDown),
    "binance other": code("binance", 400, "-1100", PairRefused),
    "binance other under 200": code("binance", 200, "-1100", PairRefused),
    # OKX: the code counts, HTTP 200 or not.
    "okx unknown": code("okx", 200, "51001", UnknownSymbol),
    "okx unknown under 400": code("okx", 400, "51001", UnknownSymbol),
    "okx limit": code("okx", 429, "50011", RateLimited, 15),
    "okx limit under 200": code("okx", 200, "50011", RateLimited, 37, RETRY_37),
    "okx busy": code("okx", 429, "50013", SourceDown),
    "okx maintenance": code("okx", 503, "50001", SourceDown),
    "okx system error": code("okx", 500, "50026", SourceDown),
    "okx system error under 200": code("okx", 200, "50026", SourceDown),
    "okx maintenance under 200": code("okx", 200, "50001", SourceDown),
    "okx other": code("okx", 200, "50014", PairRefused),
    # Coinbase: the status counts.
    "coinbase unknown": ErrorForm("coinbase", 404, '{"message":"NotFound"}', UnknownSymbol),
    "coinbase limit": ErrorForm("coinbase", 429, '{"message":"Public rate limit exceeded"}', RateLimited, 15),
    "coinbase error": ErrorForm("coinbase", 500, '{"message":"Internal server error"}', SourceDown),
    "coinbase words under 200": ErrorForm("coinbase", 200, '{"message":"Internal server error"}', InvalidQuote),
    "coinbase bad request": ErrorForm("coinbase", 400, '{"message":"User agent required"}', PairRefused),
    # Kraken: always HTTP 200, except at its edge.
    "kraken unknown": code("kraken", 200, "EQuery:Unknown asset pair", UnknownSymbol),
    "kraken limit": code("kraken", 200, "EGeneral:Too many requests", RateLimited, 15),
    "kraken api limit": code("kraken", 200, "EAPI:Rate limit exceeded", RateLimited, 15),
    "kraken throttled until": code("kraken", 200, f"EService:Throttled: {NOW_MS // 1000 + 42}", RateLimited, 41.81),
    "kraken throttled till before": code("kraken", 200, "EService:Throttled: 1700000000", RateLimited, 1),
    "kraken throttled until a fraction": code(
        "kraken", 200, f"EService:Throttled: {NOW_MS // 1000 + 42}.5", RateLimited, 42.31
    ),
    "kraken throttled for ever": code("kraken", 200, "EService:Throttled: " + "9" * 400, RateLimited, 259200),
    "kraken throttled somehow": code("kraken", 200, "EService:Throttled: soon", RateLimited, 15),
    "kraken throttled wordlessly": code("kraken", 200, "EService:Throttled", RateLimited, 15),
    "kraken edge limit": ErrorForm("kraken", 429, "error code: 1015", RateLimited, 15),
    "kraken edge down": ErrorForm("kraken", 503, WAF, SourceDown),
    "kraken unavailable": code("kraken", 200, "EService:Unavailable", SourceDown),
    "kraken busy": code("kraken", 200, "EService:Busy", SourceDown),
    "kraken internal": code("kraken", 200, "EGeneral:Internal error:0815", SourceDown),
    "kraken lockout": code("kraken", 200, "EGeneral:Temporary lockout", Banned, 120),
    "kraken other": code("kraken", 200, "EGeneral:Invalid arguments", PairRefused),
    "kraken warning and error": code("kraken", 200, 'WDatabase:Slow","EService:Unavailable', SourceDown),
    "kraken error in words": ErrorForm("kraken", 200, '{"error":"EService:Unavailable"}', PairRefused),
    # Bybit: two kinds of 403.
    "bybit unknown": code("bybit", 200, "10001", UnknownSymbol),
    "bybit limit": code("bybit", 200, "10006", RateLimited, 15),
    "bybit system limit": ErrorForm("bybit", 429, "", RateLimited, 15),
    "bybit too frequent": ErrorForm("bybit", 403, "access too frequent", RateLimited, 600),
    "bybit too frequent in JSON": ErrorForm("bybit", 403, '{"retMsg":"Access too frequent"}', RateLimited, 600),
    "bybit too frequent, 37 s": ErrorForm("bybit", 403, "access too frequent", RateLimited, 600, RETRY_37),
    "bybit too frequent, 1 h": ErrorForm("bybit", 403, "", RateLimited, 3600, {"retry-after": "3600"}),
    "bybit country": ErrorForm("bybit", 403, CLOUDFRONT, Blocked, HOURS),
    "bybit region": code("bybit", 200, "10009", Blocked, HOURS),
    "bybit region under 403": code("bybit", 403, "10009", Blocked, HOURS),
    "bybit region and a retry": code("bybit", 200, "10009", Blocked, HOURS, RETRY_37),
    "bybit down": code("bybit", 200, "10016", SourceDown),
    "bybit other": code("bybit", 200, "10002", PairRefused),
    # KuCoin: an unknown symbol under the code of success; limits in a header of its own.
    "kucoin unknown": ErrorForm("kucoin", 200, '{"code":"200000","data":null}', UnknownSymbol),
    "kucoin parameter": code("kucoin", 400, "400100", UnknownSymbol),
    "kucoin symbol": code("kucoin", 200, "900001", UnknownSymbol),
    "kucoin limit": code("kucoin", 429, "429000", RateLimited, 12.345, {"gw-ratelimit-reset": "12345"}),
    "kucoin limit under 200": code("kucoin", 200, "429000", RateLimited, 12.345, {"gw-ratelimit-reset": "12345"}),
    "kucoin limit, now over": code("kucoin", 429, "429000", RateLimited, 1, {"gw-ratelimit-reset": "3"}),
    "kucoin limit, huge": code("kucoin", 429, "429000", RateLimited, 259200, {"gw-ratelimit-reset": "9" * 5000}),
    "kucoin overload": code("kucoin", 429, "429000", RateLimited, 15),
    "kucoin overload under 200": code("kucoin", 200, "429000", RateLimited, 15),
    "kucoin limit in text": ErrorForm("kucoin", 429, "", RateLimited, 12.345, {"gw-ratelimit-reset": "12345"}),
    "kucoin overload, 37 s": code("kucoin", 429, "429000", RateLimited, 37, RETRY_37),
    "kucoin edge limit": ErrorForm("kucoin", 429, "error code: 1015", RateLimited, 30),
    "kucoin edge limit under 403": ErrorForm("kucoin", 403, "error code: 1015", RateLimited, 30),
    "kucoin region": code("kucoin", 403, "400302", Blocked, HOURS),
    "kucoin region under 200": code("kucoin", 200, "400302", Blocked, HOURS),
    "kucoin maintenance": ErrorForm("kucoin", 503, WAF, SourceDown),
    "kucoin internal": code("kucoin", 200, "500000", SourceDown),
    "kucoin other": code("kucoin", 200, "400005", PairRefused),
    "kucoin forbidden": ErrorForm("kucoin", 403, WAF, Banned, 120),
    # Gate: labels instead of codes.
    "gate unknown": code("gate", 400, "INVALID_CURRENCY_PAIR", UnknownSymbol),
    "gate delisted": code("gate", 400, "INVALID_CURRENCY", UnknownSymbol),
    "gate limit": code("gate", 429, "TOO_MANY_REQUESTS", RateLimited, 37, RETRY_37),
    "gate limit under 200": code("gate", 200, "TOO_MANY_REQUESTS", RateLimited, 15),
    "gate down": code("gate", 500, "SERVER_ERROR", SourceDown),
    "gate down under 200": code("gate", 200, "SERVER_ERROR", SourceDown),
    "gate busy under 200": code("gate", 200, "TOO_BUSY", SourceDown),
    "gate other": code("gate", 400, "INVALID_PARAM_VALUE", PairRefused),
    "gate other under 200": code("gate", 200, "INVALID_PARAM_VALUE", PairRefused),
    # Bitstamp: dotted codes, in one of two fields, as text or as a number.
    "bitstamp unknown": code("bitstamp", 404, "404.003", UnknownSymbol),
    "bitstamp unknown under 200": ErrorForm("bitstamp", 200, '[{"last":"2211.00","pair":"BTC/USD"}]', UnknownSymbol),
    "bitstamp unknown under 400": code("bitstamp", 400, "404.007", UnknownSymbol),
    "bitstamp unknown page": ErrorForm("bitstamp", 404, "<html>Page not found</html>", UnknownSymbol),
    "bitstamp unknown as a number": ErrorForm("bitstamp", 200, '{"code":404.003}', UnknownSymbol),
    "bitstamp unknown elsewhere": ErrorForm("bitstamp", 200, '{"response_code":"404.003"}', UnknownSymbol),
    "bitstamp limit": code("bitstamp", 400, "400.002", RateLimited, 15),
    "bitstamp limit under 429": code("bitstamp", 429, "400.002", RateLimited, 37, RETRY_37),
    "bitstamp down": code("bitstamp", 200, "500.001", SourceDown),
    "bitstamp down under 500": code("bitstamp", 500, "500.000", SourceDown),
    "bitstamp query": code("bitstamp", 400, "400.018", PairRefused),
    # Bitget: anything but 00000 is an error.
    "bitget unknown": code("bitget", 400, "40034", UnknownSymbol),
    "bitget limit": code("bitget", 429, "429", RateLimited, 15),
    "bitget limit under 200": code("bitget", 200, "429", RateLimited, 15),
    "bitget region": code("bitget", 403, "40000", Blocked, HOURS),
    "bitget region under 400": code("bitget", 400, "40000", Blocked, HOURS),
    "bitget upgrade": code("bitget", 200, "40200", SourceDown),
    "bitget system": code("bitget", 400, "40015", SourceDown),
    "bitget service": code("bitget", 400, "40725", SourceDown),
    "bitget other": code("bitget", 200, "42016", PairRefused),
    "bitget almost success": code("bitget", 200, "0", PairRefused),
}  # fmt: skip


@pytest.mark.parametrize("form", ERROR_FORMS.values(), ids=ERROR_FORMS.keys())
def test_error_form_becomes_our_error(form: ErrorForm) -> None:
    error = refusal(form.name, form.body, form.status, form.headers)
    assert type(error) is form.kind
    assert isinstance(error, CoolDown) is (form.seconds is not None)
    if isinstance(error, CoolDown):
        assert error.seconds == pytest.approx(form.seconds, abs=0.001)


# Seconds that a Retry-After means 30 s before 23:45:40 of a Wednesday in November, GMT.
RETRY_AFTER = {
    "30": 30, "30.5": 30.5, "0": 1, "0.2": 1, "-30": 15, "30 s": 15, "soon": 15, "": 15, "1e9": 15, "\u0663\u0660": 15,
    "Wed, 25 Nov 2026 23:45:40 GMT": 30, "Wednesday, 25-Nov-26 23:45:40 GMT": 30, "Wed Nov 25 23:45:40 2026": 30,
    "Wed, 25 Nov 2026 23:45:40 -0000": 30, "Wed, 25 Nov 2026 23:45:40 +0000": 30, "Wed, 25 Nov 2026 23:45:40": 30,
    "Wed, 25 Nov 2026 23:45:40 UT": 30, "wed, 25 nov 2026 23:45:40 gmt": 30, "Thu, 26 Nov 2026 00:45:40 +0100": 30,
    "Wed Nov 25 23:45:09 2026": 1, "Sunday, 06-Nov-94 08:49:37 GMT": 1, "Sun Nov  6 08:49:37 1994": 1,
    "Wed, 25 Nov 2026 25:45:40 GMT": 15, "Wed, 25 Nov 2026 23:45:40 +9999": 15, "Fri Dec 25 23:45:40 9999": 259_200,
}  # fmt: skip
READ_RETRY_AFTER = """
import json, sys
from fastprice.infrastructure.exchanges.reply import Reply, retry_after
print(json.dumps([retry_after(Reply(429, {"retry-after": said}, b"", 1795650310000), 15) for said in json.load(sys.stdin)]))
"""


# In the form that needs no table of zones: New York's zone is five hours behind GMT, Tokyo's nine ahead.
@pytest.mark.parametrize("zone", ["UTC0", "EST5EDT,M3.2.0,M11.1.0", "JST-9"])
def test_retry_after_means_the_same_in_whatever_zone_this_machine_is(zone: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_RETRY_AFTER], env={**os.environ, "TZ": zone}, input=json.dumps(list(RETRY_AFTER)),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert dict(zip(RETRY_AFTER, json.loads(done.stdout), strict=True)) == RETRY_AFTER


@given(st.text(alphabet="0123456789:+- ,.GMTWedNov\x00\ud800\u0663", max_size=40) | st.text(max_size=40))
def test_any_retry_after_is_a_sane_number_of_seconds(said: str) -> None:
    assert 1 <= retry_after(Reply(429, {"retry-after": said}, b"", NOW_MS), 15) <= 259_200


@pytest.mark.parametrize(("status", "kind"), [(400, PairRefused), (404, PairRefused), (401, SourceRefused), (503, SourceDown)])
def test_code_that_is_not_known_concerns_the_pair_unless_the_status_says_otherwise(
    status: int, kind: type[SourceError]
) -> None:
    assert type(refusal("okx", '{"code":"51027","msg":"Suspended","data":[]}', status)) is kind


STATUSES: dict[int, type[SourceError]] = {
    301: SourceRefused, 302: SourceRefused, 304: SourceRefused, 307: SourceRefused, 400: SourceRefused,
    401: SourceRefused, 405: SourceRefused, 418: Banned, 429: RateLimited, 451: Blocked,
    500: SourceDown, 502: SourceDown, 503: SourceDown, 504: SourceDown, 520: SourceDown,
}  # fmt: skip
SHAPES = ["", "{}", "[]", "null", '"x"', "1", "<html>\r\n</html>", "[" * 20000, "\x00", '{"code":{},"retCode":[]}']


@every_exchange
@pytest.mark.parametrize("status", STATUSES)
def test_status_decides_where_the_body_explains_nothing(name: str, status: int) -> None:
    for body in SHAPES:
        assert type(refusal(name, body, status)) is STATUSES[status], body[:20]


@every_exchange
@pytest.mark.parametrize("status", STATUSES)
def test_good_body_under_a_bad_status_is_no_quote(name: str, status: int) -> None:
    assert type(refusal(name, DOCUMENTED[name].body, status)) is STATUSES[status]


@every_exchange
def test_forbidden_is_for_hours_only_where_it_names_the_country(name: str) -> None:
    assert type(refusal(name, CLOUDFRONT, 403)) is Blocked
    assert type(refusal(name, '{"message":"Not available in your region."}', 403)) is Blocked
    assert type(refusal(name, WAF, 403)) is (RateLimited if name == "bybit" else Banned)


@every_exchange
@pytest.mark.parametrize("status", [200, 400, 500])
def test_long_and_wild_words_reach_us_as_one_short_line(name: str, status: int) -> None:
    wild = json.dumps("\r\n\x1b[31m\x00\u2028\ud800\U000e0001 words " * 1000)
    words = ("code", "msg", "retCode", "retMsg", "error", "label", "message", "reason", "symbol")
    refusal(name, "{" + ",".join(f'"{word}":{wild}' for word in words) + "}", status)
    refusal(name, f'{{"error":[{wild}],"code":{wild}}}', status)


def test_words_of_the_exchange_reach_the_operator() -> None:
    assert str(refusal("okx", '{"code":"50014","msg":"Parameter is empty"}')) == "50014 Parameter is empty"
    assert str(refusal("coinbase", '{"message":"Down"}', 500)) == "HTTP 500 Down"
    assert str(refusal("kraken", '{"error":["EQuery:Unknown asset pair"]}')) == "EQuery:Unknown asset pair"


def test_kraken_warning_beside_a_good_answer_is_no_error() -> None:
    assert read("kraken", changed("kraken", (("error",), ["WGeneral:Danger ahead"]))).price == "30303.20000"


# ---- nonsense ------------------------------------------------------------------------------------------------------

NONSENSE: dict[str, str | bytes] = {
    "html": "<!DOCTYPE html><html><body>We will be right back</body></html>",
    "empty": "",
    "blank": " \r\n",
    "null": "null",
    "list": "[]",
    "object": "{}",
    "string": '"x"',
    "number": "3120.45",
    "huge number": "9" * 10000,
    "true": "true",
    "NaN": "NaN",
    "bad UTF-8": b'{"price":"\xff\xfe"}',
    "UTF-16": '{"price":"1"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "deep list": "[" * 20000,
    "deep closed list": "[" * 20000 + "]" * 20000,
    "deep object": '{"a":' * 20000,
    "lone surrogate": '{"\\ud800":"\\udfff"}',
}


@every_exchange
@pytest.mark.parametrize("body", NONSENSE.values(), ids=NONSENSE.keys())
def test_nonsense_is_an_invalid_quote(name: str, body: str | bytes) -> None:
    assert isinstance(refusal(name, body), InvalidQuote)


@every_exchange
def test_body_cut_anywhere_is_an_invalid_reply(name: str) -> None:
    body = DOCUMENTED[name].body
    for length in range(len(body)):
        assert type(refusal(name, body[:length])) is InvalidReply


@every_exchange
@pytest.mark.parametrize("extra", ["{}", "x", ",", "\x00", "]}"])
def test_body_with_something_after_it_is_an_invalid_reply(name: str, extra: str) -> None:
    assert type(refusal(name, DOCUMENTED[name].body + extra)) is InvalidReply


@every_exchange
def test_duplicate_key_is_an_invalid_reply(name: str) -> None:
    price = f'"{DOCUMENTED[name].price}"'
    key = next(step for step in reversed(DOCUMENTED[name].price_at) if isinstance(step, str))
    doubled = DOCUMENTED[name].body.replace(f'"{key}":', f'"{key}":{price},"{key}":')
    assert doubled != DOCUMENTED[name].body
    assert type(refusal(name, doubled)) is InvalidReply


@every_exchange
@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constant_that_is_no_json_is_refused_even_in_a_member_nobody_reads(name: str, constant: str) -> None:
    body = DOCUMENTED[name].body.replace("{", f'{{"unread":{constant},', 1)
    assert type(refusal(name, body)) is InvalidQuote


BAD_PRICES = [
    "0", "0.00", "-1", "-0.01", "+1", "NaN", "nan", "Infinity", "-inf", "1e3", "1E-5", "1" * 41, "9" * 20, "9" * 5000,
    "0." + "0" * 30 + "1", "", " 1", "1 ", "1\n", "1,5", "1.", ".5", "01", "0x10", "1_000", "٣", "１", "\x00", "\ud800",
    None, True, False, {}, [], ["1"], {"a": "1"}, 0, -1, 1e300, 1e-7, float("nan"), float("inf"), 10**30,
]  # fmt: skip


@every_exchange
@pytest.mark.parametrize("price", BAD_PRICES, ids=lambda price: ascii(price)[:20])
def test_bad_price_is_an_invalid_quote(name: str, price: object) -> None:
    assert type(refusal(name, changed(name, (DOCUMENTED[name].price_at, price)))) is InvalidQuote


@every_exchange
def test_missing_price_is_an_invalid_quote(name: str) -> None:
    assert type(refusal(name, without(name, DOCUMENTED[name].price_at))) is InvalidQuote


NO_AMOUNTS = [
    "0E-8", "1.23E+7", "1e3", "-1", "-0.00000001", "+1", "1" * 50, "0." + "0" * 50, "9" * 5000, "9" * 30, "NaN",
    "Infinity", "null", "x", ".", ".5", "5.", "007", "1,000.5", "1 000", " 1", "\u0661", True, {}, [], ["1"], -0.5,
    1.23e27, 1e-9, 10**30,
]  # fmt: skip


@every_exchange
@pytest.mark.parametrize("amount", NO_AMOUNTS, ids=lambda amount: ascii(amount)[:20])
def test_bid_ask_or_volume_that_is_no_amount_is_none_and_the_rest_stands(name: str, amount: object) -> None:
    said = DOCUMENTED[name]
    whole = read(name, said.body)
    for without_it, path in (
        (replace(whole, bid=None), said.bid_at),
        (replace(whole, ask=None), said.ask_at),
        (replace(whole, volume_24h=None), said.volume_at),
    ):
        if path is not None:
            assert read(name, changed(name, (path, amount))) == without_it


@every_exchange
def test_bid_above_ask_is_an_invalid_quote(name: str) -> None:
    body = changed(name, (DOCUMENTED[name].ask_at, "1.5"), (DOCUMENTED[name].bid_at, "1.50000001"))
    assert type(refusal(name, body)) is InvalidQuote


@pytest.mark.parametrize("part", ["a", "b", "c"])
def test_text_where_kraken_documents_a_list_is_not_read_letter_by_letter(part: str) -> None:
    body = changed("kraken", (("result", "ETHUSDT", part), "30303.2"))
    if part == "c":
        assert type(refusal("kraken", body)) is InvalidQuote
    else:
        assert {"a": read("kraken", body).ask, "b": read("kraken", body).bid}[part] is None


# ---- anything at all -----------------------------------------------------------------------------------------------

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(st.sampled_from(["retry-after", "gw-ratelimit-reset"]), st.text(max_size=8))
HTTP_STATUSES = st.sampled_from([200, 200, 200, 204, 301, 400, 403, 404, 418, 429, 451, 500, 503])


def assert_quote_or_our_error(name: str, body: bytes, status: int, headers: Mapping[str, str]) -> None:
    try:
        quote = read(name, body, status, headers)
    except SourceError as error:
        assert str(error).isprintable()
    else:
        assert status // 100 == 2
        assert (quote.pair, quote.source, quote.fetched_at_ms) == (ETH, name, NOW_MS)


def places(value: Any, path: Path = ()) -> list[Path]:
    """The paths of all values within a parsed body."""
    steps: list[str | int] = list(value) if isinstance(value, dict) else []
    steps = list(range(len(value))) if isinstance(value, list) else steps
    return [path, *(deeper for step in steps for deeper in places(value[step], (*path, step)))]


@every_exchange
@settings(max_examples=150, deadline=None, database=None)
@given(data=st.data())
def test_bytes_changed_at_random_give_a_quote_or_our_error(name: str, data: st.DataObject) -> None:
    body = bytearray(DOCUMENTED[name].body.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = start + data.draw(st.integers(0, 8))
        body[start:end] = data.draw(st.binary(max_size=4))
    assert_quote_or_our_error(name, bytes(body), data.draw(HTTP_STATUSES), data.draw(HEADERS))


@every_exchange
@settings(max_examples=150, deadline=None, database=None)
@given(data=st.data())
def test_values_replaced_at_random_give_a_quote_or_our_error(name: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(places(json.loads(DOCUMENTED[name].body))))
    body = changed(name, (path, data.draw(JSON_VALUES)))
    assert_quote_or_our_error(name, body.encode(), data.draw(HTTP_STATUSES), data.draw(HEADERS))


COMPLAINT_KEYS = st.sampled_from(["code", "msg", "retCode", "error", "label", "data", "result", "message", "reason"])


@every_exchange
@settings(max_examples=150, deadline=None, database=None)
@given(body=st.dictionaries(COMPLAINT_KEYS, JSON_VALUES) | JSON_VALUES, status=HTTP_STATUSES, headers=HEADERS)
def test_any_json_gives_a_quote_or_our_error(name: str, body: Any, status: int, headers: Mapping[str, str]) -> None:
    assert_quote_or_our_error(name, json.dumps(body).encode(), status, headers)


@pytest.mark.parametrize("depth", [50, 200, 300, 450, 600, 900, 1500, 5000])
@every_exchange
def test_no_depth_of_nesting_escapes_as_a_foreign_error(name: str, depth: int) -> None:
    opened, closed = "[" * depth, "]" * depth
    for key in "code", "retCode", "error", "label", "data", "result", "last", "price", "symbol":
        refusal(name, f'{{"{key}":{opened}{closed}}}')
    refusal(name, opened + DOCUMENTED[name].body + closed)
