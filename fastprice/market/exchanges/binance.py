"""Binance spot: `/api/v3/ticker/*` for one symbol, a list, or all; weights; error codes."""

import json

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, joined
from fastprice.market.forms import Choice, Form, Json, Query, array, only, unit
from fastprice.market.limits import Limit, Penalty, Spent
from fastprice.market.tick import DAY_MS, Status, Tick

WEIGHT_PER_MINUTE = 6000


def _full(tick: Tick, symbol: str) -> Json:
    return {
        "symbol": symbol, "priceChange": tick.change, "priceChangePercent": tick.percent,
        "weightedAvgPrice": tick.open, "prevClosePrice": tick.open, "lastPrice": tick.price,
        "lastQty": "0.20000000", "bidPrice": tick.bid, "bidQty": "31.21000000", "askPrice": tick.ask,
        "askQty": "40.66000000", "openPrice": tick.open, "highPrice": tick.high, "lowPrice": tick.low,
        "volume": tick.volume, "quoteVolume": tick.turnover, "openTime": tick.time_ms - DAY_MS,
        "closeTime": tick.time_ms, "firstId": 28385, "lastId": 928460, "count": 900076,
    }  # fmt: skip


def _price(tick: Tick, symbol: str) -> Json:
    return {"symbol": symbol, "price": tick.price}


def _book(tick: Tick, symbol: str) -> Json:
    return {
        "symbol": symbol, "bidPrice": tick.bid, "bidQty": "431.00000000", "askPrice": tick.ask, "askQty": "9.00000000",
    }  # fmt: skip


def _listed(tick: Tick, symbol: str) -> Json:
    trading = tick.status is Status.TRADING
    return {
        "symbol": symbol, "status": "TRADING" if trading else "BREAK", "baseAsset": tick.pair.base,
        "baseAssetPrecision": 8, "quoteAsset": tick.pair.quote, "quotePrecision": 8, "quoteAssetPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"], "isSpotTradingAllowed": trading,
        "isMarginTradingAllowed": False, "permissions": [], "permissionSets": [["SPOT"]],
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": unit(tick), "maxPrice": "1000000.00", "tickSize": unit(tick)},
            {"filterType": "LOT_SIZE", "minQty": "0.0001", "maxQty": "9000.0", "stepSize": "0.0001"},
        ],
    }  # fmt: skip


def _info(rows: list[Json], time_ms: int) -> Json:
    minute = {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE}
    return {
        "timezone": "UTC", "serverTime": time_ms, "rateLimits": [minute], "exchangeFilters": [], "symbols": rows,
    }  # fmt: skip


# One symbol is answered with an object, a list or all symbols with an array.
_FULL = Form(_full, only, "lastPrice"), Form(_full, array, "lastPrice")
_PRICE = Form(_price, only, "price"), Form(_price, array, "price")
_BOOK = Form(_book, only, "bidPrice"), Form(_book, array, "bidPrice")
_INFO = Form(_listed, _info)


def _choose(query: Query, one: Form, many: Form, costs: tuple[int, int, int]) -> Choice | Complaint:
    """`symbol`, or `symbols` as a JSON array, or neither for all; `costs`: up to 20, up to 100, and more or all."""
    trading, asked = query.get("symbolStatus") == "TRADING", query.get("symbols")
    if "symbol" in query and asked is not None:
        return Complaint(400, "-1128", "Combination of optional parameters invalid.")
    if "symbol" in query:
        return Choice(one, (query["symbol"],), costs[0], trading, alone=True)
    if asked is None:
        return Choice(many, None, costs[2], trading)
    symbols = _symbols(asked)
    if symbols is None:
        return Complaint(400, "-1100", "Illegal characters found in parameter 'symbols'.")
    return Choice(many, symbols, costs[0] if len(symbols) <= 20 else costs[1 if len(symbols) <= 100 else 2], trading)


def _symbols(asked: str) -> tuple[str, ...] | None:
    """The symbols of a JSON array without spaces."""
    try:
        symbols = json.loads(asked)
    except ValueError:
        return None
    good = isinstance(symbols, list) and symbols and all(isinstance(symbol, str) for symbol in symbols)
    return tuple(symbols) if good and " " not in asked else None


def _ticker_24hr(query: Query, symbol: str) -> Choice | Complaint:
    return _choose(query, *_FULL, costs=(2, 40, 80))


def _ticker_price(query: Query, symbol: str) -> Choice | Complaint:
    return _choose(query, *_PRICE, costs=(2 if "symbol" in query else 4, 4, 4))


def _book_ticker(query: Query, symbol: str) -> Choice | Complaint:
    return _choose(query, *_BOOK, costs=(2 if "symbol" in query else 4, 4, 4))


def _exchange_info(query: Query, symbol: str) -> Choice | Complaint:
    return _choose(query, _INFO, _INFO, costs=(20, 20, 20))


def _limit_headers(spent: Spent) -> dict[str, str]:
    used = {"X-MBX-USED-WEIGHT": str(spent.used), "X-MBX-USED-WEIGHT-1M": str(spent.used)}
    return used | ({"Retry-After": str(spent.wait_seconds)} if spent.wait_ms else {})


EXCHANGE = Exchange(
    name="binance",
    spellings=joined,
    offset=basis_points(0),
    padded=8,
    nothing="0.00000000",
    paths={
        "/api/v3/ticker/24hr": _ticker_24hr,
        "/api/v3/ticker/price": _ticker_price,
        "/api/v3/ticker/bookTicker": _book_ticker,
        "/api/v3/exchangeInfo": _exchange_info,
    },
    single="/api/v3/ticker/24hr?symbol={symbol}",
    batch="/api/v3/ticker/24hr?symbolStatus=TRADING",
    complaints=Complaints(
        lambda code, words, now_ms: {"code": int(code), "msg": words},
        unknown=Complaint(400, "-1121", "Invalid symbol."),
        halted=Complaint(400, "-1220", "The symbol's trading status does not match the requested symbolStatus."),
        limited=Complaint(
            429, "-1003",
            "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. Please use WebSocket "
            "Streams for live updates to avoid polling the API.",
        ),
        banned=Complaint(
            418, "-1003",
            "Way too much request weight used; IP banned until {until_ms}. Please use WebSocket Streams for live "
            "updates to avoid bans.",
        ),
        down=Complaint(200, "-1008", "Server is currently overloaded with other requests. Please try again."),
    ),
    limits=(Limit(WEIGHT_PER_MINUTE, 60),),
    # Bans last from two minutes to three days, and longer for a client that is banned again.
    penalty=Penalty(patience=5, ban_seconds=120, ban_growth=2),
    limit_headers=_limit_headers,
)  # fmt: skip
