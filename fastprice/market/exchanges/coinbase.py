"""Coinbase Exchange: `/products/{id}/ticker` for one product; `/products/stats` for all, without bid, ask and time."""

from datetime import UTC, datetime
from typing import Any

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, dashed
from fastprice.market.forms import Choice, Form, Json, array, currencies, merged, only, unit, values
from fastprice.market.limits import Limit
from fastprice.market.tick import Status, Tick


def _ticker(tick: Tick, symbol: str) -> Json:
    time = datetime.fromtimestamp(tick.time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return {
        "trade_id": 86326522, "price": tick.price, "size": "0.00698254", "time": time.replace("+00:00", "Z"),
        "bid": tick.bid, "ask": tick.ask, "volume": tick.volume, "rfq_volume": "123.122", "conversions_volume": "0.00",
    }  # fmt: skip


def _day(tick: Tick) -> dict[str, Any]:
    return {"open": tick.open, "high": tick.high, "low": tick.low, "last": tick.price, "volume": tick.volume}


def _stats(tick: Tick, symbol: str) -> Json:
    return _day(tick) | {"volume_30day": tick.turnover}


def _all_stats(tick: Tick, symbol: str) -> Json:
    return {symbol: {"stats_30day": {"volume": tick.turnover}, "stats_24hour": _day(tick)}}


def _product(tick: Tick, symbol: str) -> Json:
    trading = tick.status is Status.TRADING
    return {
        "id": symbol, "base_currency": tick.pair.base, "quote_currency": tick.pair.quote,
        "quote_increment": unit(tick), "base_increment": "0.00000001", "display_name": symbol.replace("-", "/"),
        "min_market_funds": "1", "margin_enabled": False, "postonly": False, "limitonly": False,
        "cancelonly": False, "status": "delisted" if tick.status is Status.DELISTED else "online",
        "status_message": "", "trading_disabled": not trading, "fx_stablecoin": False, "auction_mode": False,
    }  # fmt: skip


def _currency(name: str) -> Json:
    return {
        "id": name, "name": name, "min_size": "0.00000001", "status": "online", "message": "",
        "max_precision": "0.00000001", "convertible_to": [], "details": {"type": "crypto"},
    }  # fmt: skip


_TICKER = Form(_ticker, only, "price", names_symbol=False)
_STATS = Form(_stats, only, "last", names_symbol=False)
_ALL_STATS = Form(_all_stats, merged, "last")
_PRODUCTS = Form(_product, array, shows_delisted=True)
_CURRENCIES = Form(lambda tick, symbol: currencies(tick, _currency), values)

EXCHANGE = Exchange(
    name="coinbase",
    spellings=dashed,
    offset=basis_points(-1),
    nothing=None,
    paths={
        "/products/{symbol}/ticker": lambda query, symbol: Choice(_TICKER, (symbol,)),
        "/products/{symbol}/stats": lambda query, symbol: Choice(_STATS, (symbol,)),
        "/products/stats": lambda query, symbol: Choice(_ALL_STATS, None),
        "/products": lambda query, symbol: Choice(_PRODUCTS, None),
        "/currencies": lambda query, symbol: Choice(_CURRENCIES, None),
    },
    single="/products/{symbol}/ticker",
    batch="/products/stats",
    complaints=Complaints(
        lambda code, words, now_ms: {"message": words},
        unknown=Complaint(404, "", "NotFound"),
        delisted=Complaint(400, "", "Not allowed for delisted products"),
        limited=Complaint(429, "", "Public rate limit exceeded"),
        down=Complaint(200, "", "Internal server error"),
    ),
    limits=(Limit(10, 1, burst=15),),
)
