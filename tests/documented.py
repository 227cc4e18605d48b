"""The exchanges' documented answers, the values in them, and the paths to these values."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from fastprice.domain.quote import Pair, Quote
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.reply import Reply
from fastprice.infrastructure.exchanges.spec import Form
from fastprice.infrastructure.exchanges.spec import read as read_form
from tests.fakes import ETH

NOW_MS = 1_753_300_000_190
Path = tuple[str | int, ...]


class Documented(NamedTuple):
    """An answer about ETH/USDT in one form: target, body, values, and the path to each member that a quote is made of.

    `amounts` are the quote's price, bid, ask, volume, high, low and open; `paths` lead to them, () for a missing one.
    If `symbol_at` or `list_at` is (), the body names no symbol or has no list of rows.
    """

    target: str
    body: str
    amounts: tuple[str | None, ...]
    time_ms: int | None
    paths: tuple[Path, ...]
    time_at: Path = ()
    symbol_at: Path = ()
    list_at: Path = ()

    @property
    def price_at(self) -> Path:
        return self.paths[0]

    def quote(self, name: str, pair: Pair = ETH) -> Quote:
        price, bid, ask, volume, high, low, opening = self.amounts
        assert price is not None
        return Quote(pair, price, bid, ask, volume, high, low, opening, name, self.time_ms, NOW_MS)


def under(path: Path, *names: str) -> tuple[Path, ...]:
    """Paths to members below a path; "" stands for a missing member."""
    return tuple((*path, name) if name else () for name in names)


BINANCE = '{"symbol":"ETHUSDT","priceChange":"-94.99999800","priceChangePercent":"-95.960",' \
    '"weightedAvgPrice":"0.29628482","prevClosePrice":"0.10002000","lastPrice":"4.00000200","lastQty":"200.00000000",' \
    '"bidPrice":"4.00000000","bidQty":"100.00000000","askPrice":"4.00000200","askQty":"100.00000000",' \
    '"openPrice":"99.00000000","highPrice":"100.00000000","lowPrice":"0.10000000","volume":"8913.30000000",' \
    '"quoteVolume":"15.30000000","openTime":1499783499040,"closeTime":1499869899040,"firstId":28385,"lastId":28460,' \
    '"count":76}'  # fmt: skip
BINANCE_NAMES = "lastPrice", "bidPrice", "askPrice", "volume", "highPrice", "lowPrice", "openPrice"
BINANCE_SAID = "4.00000200", "4.00000000", "4.00000200", "8913.30000000", "100.00000000", "0.10000000", "99.00000000"
OKX = '{"code":"0","msg":"","data":[{"instType":"SPOT","instId":"ETH-USDT","last":"9999.99","lastSz":"0.1",' \
    '"askPx":"9999.99","askSz":"11","bidPx":"8888.88","bidSz":"5","open24h":"9000","high24h":"10000",' \
    '"low24h":"8888.88","volCcy24h":"2222","vol24h":"2222","sodUtc0":"2222","sodUtc8":"2222",' \
    '"ts":"1597026383085"}]}'  # fmt: skip
KRAKEN = '{"error":[],"result":{"ETHUSDT":{"a":["30300.10000","1","1.000"],"b":["30300.00000","1","1.000"],' \
    '"c":["30303.20000","0.00067643"],"v":["4083.67001100","4412.73601799"],"p":["30706.77771","30689.13205"],' \
    '"t":[34619,38907],"l":["29868.30000","29868.30000"],"h":["31631.00000","31631.00000"],"o":"30502.80000"}}}'
KRAKEN_PATHS = tuple(
    ("result", "ETHUSDT", *step) if step else ()
    for step in (("c", 0), ("b", 0), ("a", 0), ("v", 1), ("h", 1), ("l", 1), ())
)
KRAKEN_SAID = "30303.20000", "30300.00000", "30300.10000", "4412.73601799", "31631.00000", "29868.30000", None
BITGET = '{"code":"00000","msg":"success","requestTime":1695808949356,"data":[{"symbol":"ETHUSDT",' \
    '"high24h":"37775.65","open":"35134.2","low24h":"34413.1","lastPr":"34413.1","quoteVolume":"0",' \
    '"baseVolume":"0","usdtVolume":"0","bidPr":"0","askPr":"0","bidSz":"0.0663","askSz":"0.0119",' \
    '"openUtc":"23856.72","ts":"1625125755277","changeUtc24h":"0.00301","change24h":"0.00069"}]}'
GATE = '[{"currency_pair":"ETH_USDT","last":"2.46140352","lowest_ask":"2.477","highest_bid":"2.4606821",' \
    '"change_percentage":"-8.91","change_utc0":"-8.91","change_utc8":"-8.91","base_volume":"656614.0845820589",' \
    '"quote_volume":"1602221.66468375534639404191","high_24h":"2.7431","low_24h":"1.9863",' \
    '"etf_net_value":"2.46316141","etf_pre_net_value":"2.43201848","etf_pre_timestamp":1611244800,' \
    '"etf_leverage":"2.2803019447281203"}]'  # fmt: skip
BYBIT = '{"retCode":0,"retMsg":"OK","result":{"category":"spot","list":[{"symbol":"ETHUSDT","bid1Price":"20517.96",' \
    '"bid1Size":"2","ask1Price":"20527.77","ask1Size":"1.862172","lastPrice":"20533.13",' \
    '"prevPrice24h":"20393.48","price24hPcnt":"0.0068","highPrice24h":"21128.12","lowPrice24h":"20318.89",' \
    '"turnover24h":"243765620.65899866","volume24h":"11801.27771","usdIndexPrice":"20784.12009279"}]},' \
    '"retExtInfo":{},"time":1673859087947}'  # fmt: skip
BITSTAMP = '{"last":"2211.00","high":"2811.00","low":"2188.97","vwap":"2189.80","volume":"213.26801100",' \
    '"bid":"2188.97","ask":"2211.00","timestamp":"1643640186","open":"2210.00","open_24":"2211.01",' \
    '"percent_change_24":"13.57","side":"0","market_type":"SPOT"}'  # fmt: skip
BITSTAMP_NAMES = "last", "bid", "ask", "volume", "high", "low", "open_24"
BITSTAMP_SAID = "2211.00", "2188.97", "2211.00", "213.26801100", "2811.00", "2188.97", "2211.01"
KUCOIN_ROW = '{"symbol":"ETH-USDT","symbolName":"ETH-USDT","buy":"11328.9","bestBidSize":"0.3","sell":"11329",' \
    '"bestAskSize":"0.4","changeRate":"-0.0055","changePrice":"-63.6","high":"11610","low":"11200",' \
    '"vol":"2282.70993217","volValue":"25984946.157790431","last":"11328.9","averagePrice":"11360.66065903",' \
    '"takerFeeRate":"0.001","makerFeeRate":"0.001","takerCoefficient":"1","makerCoefficient":"1"}'  # fmt: skip
HTX_ROW = '{"symbol":"ethusdt","open":50080.01,"high":50500,"low":48767,"close":49820.92,"amount":12055.365781937457,' \
    '"vol":598561868.5709001,"count":420573,"bid":49819.48,"bidSize":2.58112,"ask":49819.49,"askSize":0.002411}'

SINGLE = {
    "binance": Documented(
        "/api/v3/ticker/24hr?symbol=ETHUSDT&symbolStatus=TRADING", BINANCE, BINANCE_SAID, 1499869899040,
        under((), *BINANCE_NAMES), ("closeTime",), ("symbol",),
    ),
    "okx": Documented(
        "/api/v5/market/ticker?instId=ETH-USDT", OKX,
        ("9999.99", "8888.88", "9999.99", "2222", "10000", "8888.88", "9000"), 1597026383085,
        under(("data", 0), "last", "bidPx", "askPx", "vol24h", "high24h", "low24h", "open24h"), ("data", 0, "ts"),
        ("data", 0, "instId"), ("data",),
    ),
    "coinbase": Documented(
        "/products/ETH-USDT/ticker",
        '{"trade_id":86326522,"price":"6268.48","size":"0.00698254","time":"2020-03-20T00:22:57.833Z",'
        '"bid":"6265.15","ask":"6267.71","volume":"53602.03940154","rfq_volume":"123.122",'
        '"conversions_volume":"0.00"}',
        ("6268.48", "6265.15", "6267.71", "53602.03940154", None, None, None), 1584663777833,
        under((), "price", "bid", "ask", "volume", "", "", ""), ("time",),
    ),
    "kraken": Documented("/0/public/Ticker?pair=ETHUSDT", KRAKEN, KRAKEN_SAID, None, KRAKEN_PATHS),
    "bitget": Documented(
        "/api/v2/spot/market/tickers?symbol=ETHUSDT", BITGET,
        ("34413.1", None, None, "0", "37775.65", "34413.1", "35134.2"), 1625125755277,
        under(("data", 0), "lastPr", "bidPr", "askPr", "baseVolume", "high24h", "low24h", "open"), ("data", 0, "ts"),
        ("data", 0, "symbol"), ("data",),
    ),
    "gate": Documented(
        "/api/v4/spot/tickers?currency_pair=ETH_USDT", GATE,
        ("2.46140352", "2.4606821", "2.477", "656614.0845820589", "2.7431", "1.9863", None), None,
        under((0,), "last", "highest_bid", "lowest_ask", "base_volume", "high_24h", "low_24h", ""), (),
        (0, "currency_pair"), (),
    ),
    "bybit": Documented(
        "/v5/market/tickers?category=spot&symbol=ETHUSDT", BYBIT,
        ("20533.13", "20517.96", "20527.77", "11801.27771", "21128.12", "20318.89", "20393.48"), 1673859087947,
        under(
            ("result", "list", 0),
            "lastPrice", "bid1Price", "ask1Price", "volume24h", "highPrice24h", "lowPrice24h", "prevPrice24h",
        ),
        ("time",), ("result", "list", 0, "symbol"), ("result", "list"),
    ),
    "kucoin": Documented(
        "/api/v1/market/orderbook/level1?symbol=ETH-USDT",
        '{"code":"200000","data":{"sequence":"1550467636704","bestAsk":"0.03715004","size":"0.17",'
        '"price":"0.03715005","bestBidSize":"3.803","bestBid":"0.03710768","bestAskSize":"1.788",'
        '"time":1550653727731}}',
        ("0.03715005", "0.03710768", "0.03715004", None, None, None, None), 1550653727731,
        under(("data",), "price", "bestBid", "bestAsk", "", "", "", ""), ("data", "time"),
    ),
    "bitstamp": Documented(
        "/api/v2/ticker/ethusdt/", BITSTAMP, BITSTAMP_SAID, 1643640186000, under((), *BITSTAMP_NAMES), ("timestamp",)
    ),
    "htx": Documented(
        "/market/detail/merged?symbol=ethusdt",
        '{"ch":"market.ethusdt.detail.merged","status":"ok","ts":1629788763750,"tick":{"id":272156789143,'
        '"version":272156789143,"open":50080.01,"close":49820.92,"low":48767,"high":50500,'
        '"amount":12055.365781937457,"vol":598561868.5709001,"count":420573,"bid":[49819.48,2.58112],'
        '"ask":[49819.49,0.002411]}}',
        ("49820.92", "49819.48", "49819.49", "12055.365781937457", "50500", "48767", "50080.01"), 1629788763750,
        (
            ("tick", "close"), ("tick", "bid", 0), ("tick", "ask", 0), ("tick", "amount"), ("tick", "high"),
            ("tick", "low"), ("tick", "open"),
        ),
        ("ts",), ("ch",),
    ),
}  # fmt: skip

# Answers about several pairs; the first row is the documented one.
SEVERAL = {
    "binance": Documented(
        "/api/v3/ticker/24hr?symbols=%5B%22ETHUSDT%22,%22BTCUSDT%22%5D&symbolStatus=TRADING", f"[{BINANCE}]",
        BINANCE_SAID, 1499869899040, under((0,), *BINANCE_NAMES), (0, "closeTime"), (0, "symbol"), (),
    ),
    "kraken": Documented("/0/public/Ticker?pair=ETHUSDT,XBTUSDT", KRAKEN, KRAKEN_SAID, None, KRAKEN_PATHS),
}  # fmt: skip
WHOLE = {
    "binance": SEVERAL["binance"]._replace(target="/api/v3/ticker/24hr?symbolStatus=TRADING"),
    "kraken": SEVERAL["kraken"]._replace(target="/0/public/Ticker"),
    "okx": SINGLE["okx"]._replace(target="/api/v5/market/tickers?instType=SPOT"),
    "bitget": SINGLE["bitget"]._replace(target="/api/v2/spot/market/tickers"),
    "gate": SINGLE["gate"]._replace(target="/api/v4/spot/tickers"),
    "bybit": SINGLE["bybit"]._replace(target="/v5/market/tickers?category=spot"),
    "bitstamp": Documented(
        "/api/v2/ticker/", f'[{BITSTAMP[:-1]},"pair":"ETH/USDT","market":"ETH/USDT"}}]', BITSTAMP_SAID, 1643640186000,
        under((0,), *BITSTAMP_NAMES), (0, "timestamp"), (0, "pair"), (),
    ),
    "kucoin": Documented(
        "/api/v1/market/allTickers",
        f'{{"code":"200000","data":{{"time":1602832092060,"ticker":[{KUCOIN_ROW}]}}}}',
        ("11328.9", "11328.9", "11329", "2282.70993217", "11610", "11200", None), 1602832092060,
        under(("data", "ticker", 0), "last", "buy", "sell", "vol", "high", "low", ""), ("data", "time"),
        ("data", "ticker", 0, "symbol"), ("data", "ticker"),
    ),
    "htx": Documented(
        "/market/tickers", f'{{"data":[{HTX_ROW}],"status":"ok","ts":1629788763750}}',
        ("49820.92", "49819.48", "49819.49", None, None, None, None), 1629788763750,
        under(("data", 0), "close", "bid", "ask", "", "", "", ""), ("ts",), ("data", 0, "symbol"), ("data",),
    ),
}  # fmt: skip

MANY = {f"{name} {form}": said for form, rows in (("several", SEVERAL), ("whole", WHOLE)) for name, said in rows.items()}
EVERY = {f"{name} single": said for name, said in SINGLE.items()} | MANY


def form_of(key: str) -> tuple[str, Form]:
    """The name and the form that a key of EVERY stands for."""
    name, kind = key.split()
    form = getattr(EXCHANGES[name], kind)
    assert isinstance(form, Form)
    return name, form


def answers(
    key: str, body: str | bytes, status: int = 200, headers: Mapping[str, str] | None = None,
    pairs: tuple[Pair, ...] = (ETH,),
) -> Mapping[Pair, Any]:  # fmt: skip
    """What a reply says about each pair; raises the error if the reply refuses the whole call."""
    name, form = form_of(key)
    raw = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    return read_form(EXCHANGES[name], form, pairs, Reply(status, headers or {}, raw, NOW_MS))


def container(body: Any, path: Path) -> Any:
    """The object or list that holds the member at a path."""
    for step in path[:-1]:
        body = body[step]
    return body


def changed(said: Documented, *changes: tuple[Path, Any]) -> str:
    """The documented body with other values at some paths."""
    body = json.loads(said.body)
    for path, value in changes:
        if not path:
            return json.dumps(value)
        container(body, path)[path[-1]] = value
    return json.dumps(body)


def without(said: Documented, path: Path) -> str:
    """The documented body without the member at a path; in a list, the members after it are removed as well."""
    body = json.loads(said.body)
    last = path[-1]
    del container(body, path)[last if isinstance(last, str) else slice(last, None)]
    return json.dumps(body)


# The name of each exchange for BTC/USDT in a reply that also has ETH/USDT.
BTC_NAMES = {
    "binance": "BTCUSDT", "kraken": "XBTUSDT", "okx": "BTC-USDT", "bitget": "BTCUSDT", "gate": "BTC_USDT",
    "bybit": "BTCUSDT", "bitstamp": "BTC/USDT", "kucoin": "BTC-USDT", "htx": "btcusdt",
}  # fmt: skip


def with_rows(key: str, *texts: str) -> str:
    """The documented body about many pairs with other rows: JSON texts, or for Kraken members of an object."""
    said, name = EVERY[key], key.split()[0]
    mark = "@rows@"
    if name == "kraken":
        body = changed(said, (("result",), mark))
        return body.replace(f'"{mark}"', "{" + ",".join(texts) + "}")
    body = changed(said, (said.list_at, mark))
    return body.replace(f'"{mark}"', "[" + ",".join(texts) + "]")


def row(key: str, symbol: str | None = None, **changes: Any) -> str:
    """A row of a reply about many pairs, as JSON; `price=...` and the like change its members."""
    said, name = EVERY[key], key.split()[0]
    body = json.loads(said.body)
    own = ("result", "ETHUSDT") if name == "kraken" else (*said.list_at, 0)
    for field, value in changes.items():
        path = dict(zip(("price", "bid", "ask"), said.paths, strict=False))[field]
        container(body, path)[path[-1]] = value
    ticker = container(body, (*own, ""))
    if name == "kraken":
        return f'"{symbol or "ETHUSDT"}":{json.dumps(ticker)}'
    if symbol is not None:
        ticker[said.symbol_at[-1]] = symbol
    return json.dumps(ticker)


def btc_row(key: str, **changes: Any) -> str:
    return row(key, BTC_NAMES[key.split()[0]], **changes)
