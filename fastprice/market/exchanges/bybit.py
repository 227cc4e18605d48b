"""Bybit spot, API v5: `/v5/market/tickers` for one symbol or all of a category; the limit per address; codes."""

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, joined
from fastprice.market.forms import Choice, Form, Json, Query, unit
from fastprice.market.limits import Limit, Penalty, Spent
from fastprice.market.tick import Status, Tick, plain


def _ticker(tick: Tick, symbol: str) -> Json:
    return {
        "symbol": symbol, "bid1Price": tick.bid, "bid1Size": "2", "ask1Price": tick.ask, "ask1Size": "1.862172",
        "lastPrice": tick.price, "prevPrice24h": tick.open, "price24hPcnt": plain(float(tick.percent) / 100, 4),
        "highPrice24h": tick.high, "lowPrice24h": tick.low, "turnover24h": tick.turnover, "volume24h": tick.volume,
        "usdIndexPrice": tick.open,
    }  # fmt: skip


def _instrument(tick: Tick, symbol: str) -> Json:
    return {
        "symbol": symbol, "baseCoin": tick.pair.base, "quoteCoin": tick.pair.quote, "innovation": "0",
        "status": "Trading" if tick.status is Status.TRADING else "Closed", "marginTrading": "none",
        "lotSizeFilter": {
            "basePrecision": "0.000001", "quotePrecision": "0.00000001", "minOrderQty": "0.000048",
            "maxOrderQty": "71.73956243", "minOrderAmt": "1", "maxOrderAmt": "2000000",
        },
        "priceFilter": {"tickSize": unit(tick)},
    }  # fmt: skip


def _body(rows: list[Json], time_ms: int) -> Json:
    """The time is that of the reply, and says nothing about the price."""
    result = {"category": "spot", "list": rows}
    return {"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": time_ms}


_TICKERS, _INSTRUMENTS = Form(_ticker, _body, "lastPrice"), Form(_instrument, _body)


def _choose(query: Query, form: Form) -> Choice | Complaint:
    if query.get("category") != "spot":
        return Complaint(200, "10001", "params error: Category is invalid")
    asked = query.get("symbol")
    return Choice(form, (asked,) if asked else None)


def _shape(code: str, words: str, now_ms: int) -> Json | str:
    """An envelope; errors without a code come from the edge in front of the API and are plain text."""
    if not code:
        return words
    return {"retCode": int(code), "retMsg": words, "result": {}, "retExtInfo": {}, "time": now_ms}


def _limit_headers(spent: Spent) -> dict[str, str]:
    remaining = {"X-Bapi-Limit": str(spent.most), "X-Bapi-Limit-Status": str(max(0, spent.most - spent.used))}
    return remaining | {"X-Bapi-Limit-Reset-Timestamp": str(spent.now_ms + spent.wait_ms)}


EXCHANGE = Exchange(
    name="bybit",
    spellings=joined,
    offset=basis_points(-3),
    paths={
        "/v5/market/tickers": lambda query, symbol: _choose(query, _TICKERS),
        "/v5/market/instruments-info": lambda query, symbol: _choose(query, _INSTRUMENTS),
    },
    single="/v5/market/tickers?category=spot&symbol={symbol}",
    batch="/v5/market/tickers?category=spot",
    complaints=Complaints(
        _shape,
        unknown=Complaint(200, "10001", "Not supported symbols"),
        limited=Complaint(429, "10006", "Too many visits. Exceeded the API rate limit."),
        banned=Complaint(403, "", "403, access too frequent"),
        down=Complaint(200, "10016", "Server error."),
    ),
    # An IP address that calls too often is blocked at once, for at least ten minutes.
    limits=(Limit(600, 5),),
    penalty=Penalty(ban_seconds=600),
    limit_headers=_limit_headers,
)
