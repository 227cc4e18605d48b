"""Bitstamp: `/api/v2/ticker/{market}/` for one market, `/api/v2/ticker/` for all, including perpetuals; codes."""

from collections.abc import Callable

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, lowered
from fastprice.market.forms import Choice, Form, Json, Query, array, decimals, only
from fastprice.market.limits import Limit
from fastprice.market.tick import Status, Tick


def _ticker(tick: Tick, symbol: str) -> Json:
    return {
        "last": tick.price, "high": tick.high, "low": tick.low, "vwap": tick.open, "volume": tick.volume,
        "bid": tick.bid, "ask": tick.ask, "timestamp": str(tick.time_ms // 1000), "open": tick.day_open,
        "open_24": tick.open, "percent_change_24": tick.percent, "side": "0", "market_type": "SPOT",
    }  # fmt: skip


def _named(tick: Tick, symbol: str) -> Json:
    """A row in the list of all markets, where a market has a name, spelled differently than in the path."""
    name = f"{tick.pair.base}/{tick.pair.quote}"
    return {**_ticker(tick, symbol), "pair": name, "market": name}  # type: ignore[dict-item]


def _listed(tick: Tick, symbol: str) -> Json:
    pair = tick.pair
    return {
        "name": f"{pair.base}/{pair.quote}", "market_symbol": symbol, "base_currency": pair.base, "base_decimals": 8,
        "counter_currency": pair.quote, "counter_decimals": decimals(tick), "minimum_order_value": "10.00",
        "trading": "Enabled" if tick.status is Status.TRADING else "Disabled", "instant_order_counter_decimals": 2,
        "instant_and_market_orders": "Enabled", "description": f"{pair.base} / {pair.quote}", "market_type": "SPOT",
    }  # fmt: skip


_PERPETUAL = {
    "last": "65010", "high": "66000", "low": "64000", "vwap": "65000", "volume": "12.5", "bid": "65009",
    "ask": "65011", "timestamp": "1643640186", "open": "65000", "open_24": "65000", "percent_change_24": "0.02",
    "side": "0", "market_type": "PERPETUAL", "pair": "BTC/USD-PERP", "market": "BTC/USD-PERP",
}  # fmt: skip
_ONE, _ALL = Form(_ticker, only, "last", names_symbol=False), Form(_named, array, "last", extra=(_PERPETUAL,))
_MARKETS = Form(_listed, array)
_WHOLE_MARKET = Choice(_ALL, None)


def _without_query(choose: Callable[[str], Choice]) -> Callable[[Query, str], Choice | Complaint]:
    """Refuse any query parameter."""
    refused = Complaint(400, "400.018", "Query parameters are not accepted")
    return lambda query, symbol: refused if query else choose(symbol)


EXCHANGE = Exchange(
    name="bitstamp",
    spellings=lowered,
    offset=basis_points(-4),
    nothing=None,
    paths={
        "/api/v2/ticker/{symbol}/": _without_query(lambda symbol: Choice(_ONE, (symbol,))),
        "/api/v2/ticker/": _without_query(lambda symbol: _WHOLE_MARKET),
        "/api/v2/markets/": _without_query(lambda symbol: Choice(_MARKETS, None)),
    },
    single="/api/v2/ticker/{symbol}/",
    batch="/api/v2/ticker/",
    complaints=Complaints(
        lambda code, words, now_ms: {"status": "error", "reason": words, "code": code},
        # Observed: a request for an unlisted market is answered with all listed markets.
        unknown=_WHOLE_MARKET,
        limited=Complaint(429, "400.002", "Request rate limit exceeded"),
        down=Complaint(200, "500.001", "Internal server error"),
    ),
    limits=(Limit(400, 1), Limit(10_000, 600)),
)
