"""Gate spot, API v4: `/spot/tickers` for one pair or all; limits per endpoint, sent in headers; error labels."""

from fastprice.domain.quote import Pair
from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points
from fastprice.market.forms import Choice, Form, Json, Query, array, currencies, decimals, values
from fastprice.market.limits import Limit, Spent
from fastprice.market.tick import Status, Tick


def _spellings(pair: Pair) -> tuple[str, ...]:
    return (f"{pair.base}_{pair.quote}",)


def _ticker(tick: Tick, symbol: str) -> Json:
    return {
        "currency_pair": symbol, "last": tick.price, "lowest_ask": tick.ask, "highest_bid": tick.bid,
        "change_percentage": tick.percent, "change_utc0": tick.percent, "change_utc8": tick.percent,
        "base_volume": tick.volume, "quote_volume": tick.turnover, "high_24h": tick.high, "low_24h": tick.low,
        "etf_net_value": "2.46316141", "etf_pre_net_value": "2.43201848", "etf_pre_timestamp": 1611244800,
        "etf_leverage": "2.2803019447281203",
    }  # fmt: skip


def _listed(tick: Tick, symbol: str) -> Json:
    return {
        "id": symbol, "base": tick.pair.base, "base_name": tick.pair.base, "quote": tick.pair.quote,
        "quote_name": tick.pair.quote, "fee": "0.2", "min_base_amount": "0.001", "min_quote_amount": "3",
        "amount_precision": 6, "precision": decimals(tick), "sell_start": 0, "buy_start": 0,
        "trade_status": "tradable" if tick.status is Status.TRADING else "untradable",
    }  # fmt: skip


def _currency(name: str) -> Json:
    return {
        "currency": name, "name": name, "delisted": False, "withdraw_disabled": False, "withdraw_delayed": False,
        "deposit_disabled": False, "trade_disabled": False, "chain": name, "chains": [],
    }  # fmt: skip


_TICKERS, _PAIRS = Form(_ticker, array, "last"), Form(_listed, array)
_CURRENCIES = Form(lambda tick, symbol: currencies(tick, _currency), values)


def _choose(query: Query, symbol: str) -> Choice:
    asked = query.get("currency_pair")
    return Choice(_TICKERS, (asked,) if asked else None)


def _limit_headers(spent: Spent) -> dict[str, str]:
    """What remains, and when the limit is reset, which is the current time if it is not used up."""
    return {
        "X-Gate-RateLimit-Requests-Remain": str(max(0, spent.most - spent.used)),
        "X-Gate-RateLimit-Limit": str(spent.most),
        "X-Gate-RateLimit-Reset-Timestamp": str(spent.now_ms // 1000 + spent.wait_seconds),
    }


EXCHANGE = Exchange(
    name="gate",
    spellings=_spellings,
    offset=basis_points(3),
    paths={
        "/api/v4/spot/tickers": _choose,
        "/api/v4/spot/currency_pairs": lambda query, symbol: Choice(_PAIRS, None),
        "/api/v4/spot/currencies": lambda query, symbol: Choice(_CURRENCIES, None),
        "/api/v4/margin/currency_pairs": lambda query, symbol: Choice(_PAIRS, ()),
    },
    single="/api/v4/spot/tickers?currency_pair={symbol}",
    batch="/api/v4/spot/tickers",
    complaints=Complaints(
        lambda code, words, now_ms: {"label": code, "message": words},
        unknown=Complaint(400, "INVALID_CURRENCY_PAIR", "Invalid currency pair"),
        delisted=Complaint(400, "INVALID_CURRENCY", "The currency is delisted"),
        limited=Complaint(429, "TOO_MANY_REQUESTS", "Request rate limit exceeded"),
        down=Complaint(200, "TOO_BUSY", "System is busy, please try again later"),
    ),
    limits=(Limit(200, 10, each_path=True),),
    limit_headers=_limit_headers,
)
