"""Bitget spot: `/api/v2/spot/market/tickers` for one symbol or all; error codes."""

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, joined
from fastprice.market.forms import Choice, Form, Json, Query, currencies, decimals, values
from fastprice.market.limits import Limit
from fastprice.market.tick import Status, Tick, plain


def _ticker(tick: Tick, symbol: str) -> Json:
    share = plain(float(tick.percent) / 100, 5)
    return {
        "symbol": symbol, "high24h": tick.high, "open": tick.open, "low24h": tick.low, "lastPr": tick.price,
        "quoteVolume": tick.turnover, "baseVolume": tick.volume, "usdtVolume": tick.turnover, "bidPr": tick.bid,
        "askPr": tick.ask, "bidSz": "0.0663", "askSz": "0.0119", "openUtc": tick.day_open, "ts": str(tick.time_ms),
        "changeUtc24h": share, "change24h": share,
    }  # fmt: skip


def _listed(tick: Tick, symbol: str) -> Json:
    return {
        "symbol": symbol, "baseCoin": tick.pair.base, "quoteCoin": tick.pair.quote, "minTradeAmount": "0",
        "maxTradeAmount": "900000000000000000000", "takerFeeRate": "0.002", "makerFeeRate": "0.002",
        "pricePrecision": str(decimals(tick)), "quantityPrecision": "6", "quotePrecision": "8",
        "status": "online" if tick.status is Status.TRADING else "halt", "minTradeUSDT": "1",
        "buyLimitPriceRatio": "0.05", "sellLimitPriceRatio": "0.05",
    }  # fmt: skip


def _coin(name: str) -> Json:
    return {"coinId": "1", "coin": name, "transfer": "true", "chains": []}


def _body(rows: list[Json], time_ms: int) -> Json:
    return {"code": "00000", "msg": "success", "requestTime": time_ms, "data": rows}


def _coins(rows: list[Json], time_ms: int) -> Json:
    return _body(values(rows), time_ms)


_TICKERS, _SYMBOLS = Form(_ticker, _body, "lastPr"), Form(_listed, _body)
_COINS = Form(lambda tick, symbol: currencies(tick, _coin), _coins)


def _choose(query: Query, form: Form) -> Choice:
    asked = query.get("symbol")
    return Choice(form, (asked,) if asked else None)


EXCHANGE = Exchange(
    name="bitget",
    spellings=joined,
    offset=basis_points(-2),
    nothing="0",
    paths={
        "/api/v2/spot/market/tickers": lambda query, symbol: _choose(query, _TICKERS),
        "/api/v2/spot/public/symbols": lambda query, symbol: _choose(query, _SYMBOLS),
        "/api/v2/spot/public/coins": lambda query, symbol: Choice(_COINS, None),
        "/api/v2/margin/currencies": lambda query, symbol: Choice(_SYMBOLS, ()),
    },
    single="/api/v2/spot/market/tickers?symbol={symbol}",
    batch="/api/v2/spot/market/tickers",
    complaints=Complaints(
        lambda code, words, now_ms: {"code": code, "msg": words, "requestTime": now_ms, "data": None},
        unknown=Complaint(400, "40034", "Parameter symbol does not exist"),
        limited=Complaint(429, "429", "Too Many Requests"),
        down=Complaint(200, "40200", "Server upgrade, please try again later"),
        region=Complaint(403, "40000", "Services are not available in your region"),
    ),
    # The other limit, 6,000 a minute over all endpoints, cannot be reached with so few endpoints.
    limits=(Limit(20, 1, each_path=True),),
)
