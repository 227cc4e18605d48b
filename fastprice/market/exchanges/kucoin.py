"""KuCoin spot: level 1 and `market/stats` for one symbol, `market/allTickers` for all; the weight pool; error codes."""

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, dashed
from fastprice.market.forms import Choice, Form, Json, currencies, only, unit, values
from fastprice.market.limits import Limit, Spent
from fastprice.market.tick import Status, Tick, plain

SNAPSHOT_MS = 2000


def _level1(tick: Tick, symbol: str) -> Json:
    return {
        "sequence": str(tick.time_ms), "bestAsk": tick.ask, "size": "0.17", "price": tick.price,
        "bestBidSize": "3.803", "bestBid": tick.bid, "bestAskSize": "1.788", "time": tick.time_ms,
    }  # fmt: skip


def _day(tick: Tick) -> dict[str, object]:
    return {
        "changeRate": plain(float(tick.percent) / 100, 4), "changePrice": tick.change, "high": tick.high,
        "low": tick.low, "vol": tick.volume, "volValue": tick.turnover, "last": tick.price,
        "averagePrice": tick.open, "takerFeeRate": "0.001", "makerFeeRate": "0.001", "takerCoefficient": "1",
        "makerCoefficient": "1",
    }  # fmt: skip


def _stats(tick: Tick, symbol: str) -> Json:
    return {"time": tick.time_ms, "symbol": symbol, "buy": tick.bid, "sell": tick.ask} | _day(tick)


def _ticker(tick: Tick, symbol: str) -> Json:
    """Bid and ask are called buy and sell here, and the price last."""
    best = {"buy": tick.bid, "bestBidSize": "3.803", "sell": tick.ask, "bestAskSize": "1.788"}
    return {"symbol": symbol, "symbolName": symbol} | best | _day(tick)


def _listed(tick: Tick, symbol: str) -> Json:
    return {
        "symbol": symbol, "name": symbol, "baseCurrency": tick.pair.base, "quoteCurrency": tick.pair.quote,
        "feeCurrency": tick.pair.quote, "market": tick.pair.quote, "baseMinSize": "0.0001", "quoteMinSize": "0.1",
        "baseMaxSize": "10000000000", "quoteMaxSize": "99999999", "baseIncrement": "0.0000001",
        "quoteIncrement": unit(tick), "priceIncrement": unit(tick), "priceLimitRate": "0.1", "minFunds": "0.1",
        "isMarginEnabled": False, "enableTrading": tick.status is Status.TRADING, "feeCategory": 1,
        "makerFeeCoefficient": "1.00", "takerFeeCoefficient": "1.00", "st": False,
    }  # fmt: skip


def _currency(name: str) -> Json:
    return {
        "currency": name, "name": name, "fullName": name, "precision": 8, "confirms": None, "contractAddress": None,
        "isMarginEnabled": False, "isDebitEnabled": False, "chains": [],
    }  # fmt: skip


def _data(data: object) -> Json:
    return {"code": "200000", "data": data}


def _one(rows: list[Json], time_ms: int) -> Json:
    return _data(only(rows, time_ms))


def _all(rows: list[Json], time_ms: int) -> Json:
    return _data({"time": time_ms - time_ms % SNAPSHOT_MS, "ticker": rows})


def _odd(symbol: str, name: str, price: str | None) -> Json:
    return {
        "symbol": symbol, "symbolName": name, "buy": price, "bestBidSize": price, "sell": price, "bestAskSize": price,
        "changeRate": price, "changePrice": price, "high": price, "low": price, "vol": "0", "volValue": "0",
        "last": price, "averagePrice": price, "takerFeeRate": "0.001", "makerFeeRate": "0.001",
        "takerCoefficient": "1", "makerCoefficient": "1",
    }  # fmt: skip


# A coin that was renamed keeps its symbol and shows another name; one that nobody has ever traded has no prices.
_ODD = _odd("OLDCOIN-USDT", "NEWCOIN-USDT", "1.02"), _odd("NEVER-USDT", "NEVER-USDT", None)

_LEVEL1, _STATS = Form(_level1, _one, "price", names_symbol=False), Form(_stats, _one, "last")
_TICKERS = Form(_ticker, _all, "last", every_ms=SNAPSHOT_MS, extra=_ODD)
_SYMBOLS = Form(_listed, lambda rows, time_ms: _data(rows))
_CURRENCIES = Form(
    lambda tick, symbol: currencies(tick, _currency), lambda rows, time_ms: _data(values(rows))
)  # fmt: skip


def _shape(code: str, words: str, now_ms: int) -> Json:
    # An unknown symbol is answered with the success code and no data.
    return {"code": code, "data": None} if code == "200000" else {"code": code, "msg": words}


def _limit_headers(spent: Spent) -> dict[str, str]:
    """The pool, what remains of it, and the milliseconds until it is full again."""
    reset_ms = spent.wait_ms or int(spent.seconds * 1000)
    remaining = {"gw-ratelimit-limit": str(spent.most), "gw-ratelimit-remaining": str(max(0, spent.most - spent.used))}
    return remaining | {"gw-ratelimit-reset": str(reset_ms)}


EXCHANGE = Exchange(
    name="kucoin",
    spellings=dashed,
    offset=basis_points(4),
    nothing=None,
    paths={
        "/api/v1/market/orderbook/level1": lambda query, _: Choice(_LEVEL1, (query.get("symbol", ""),), cost=2),
        "/api/v1/market/stats": lambda query, _: Choice(_STATS, (query.get("symbol", ""),), cost=15),
        "/api/v1/market/allTickers": lambda query, _: Choice(_TICKERS, None, cost=15),
        "/api/v2/symbols": lambda query, _: Choice(_SYMBOLS, None, cost=4),
        "/api/v3/currencies": lambda query, _: Choice(_CURRENCIES, None, cost=3),
    },
    single="/api/v1/market/orderbook/level1?symbol={symbol}",
    batch="/api/v1/market/allTickers",
    complaints=Complaints(
        _shape,
        unknown=Complaint(200, "200000", ""),
        limited=Complaint(429, "429000", "Too Many Requests"),
        down=Complaint(200, "500000", "Internal Server Error"),
        region=Complaint(403, "400302", "Our services are currently unavailable in the U.S."),
    ),
    limits=(Limit(2000, 30),),
    limit_headers=_limit_headers,
)
