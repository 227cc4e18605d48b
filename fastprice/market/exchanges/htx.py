"""HTX spot: `/market/detail/merged` for one symbol, `/market/tickers` for all; JSON numbers; error codes."""

from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points, lowered
from fastprice.market.forms import Choice, Form, Json, currencies, decimals, number, values
from fastprice.market.limits import Limit
from fastprice.market.tick import Status, Tick

# Prices are renewed once per second.
RENEWED_MS = 1000


def _merged(tick: Tick, symbol: str) -> Json:
    """The last 24 hours."""
    return {
        "id": tick.time_ms, "version": tick.time_ms, "open": number(tick.open), "close": number(tick.price),
        "low": number(tick.low), "high": number(tick.high), "amount": number(tick.volume),
        "vol": number(tick.turnover), "count": 420573, "bid": [number(tick.bid), 2.58112],
        "ask": [number(tick.ask), 0.002411],
    }  # fmt: skip


def _ticker(tick: Tick, symbol: str) -> Json:
    """Open, high and low are those of a calendar day in Singapore."""
    low, high = sorted((tick.day_open, tick.price), key=float)
    return {
        "symbol": symbol, "open": number(tick.day_open), "high": number(high), "low": number(low),
        "close": number(tick.price), "amount": number(tick.volume), "vol": number(tick.turnover), "count": 420573,
        "bid": number(tick.bid), "bidSize": 2.58112, "ask": number(tick.ask), "askSize": 0.002411,
    }  # fmt: skip


def _listed(tick: Tick, symbol: str) -> Json:
    return {
        "base-currency": tick.pair.base.lower(), "quote-currency": tick.pair.quote.lower(),
        "price-precision": decimals(tick), "amount-precision": 6, "symbol-partition": "main", "symbol": symbol,
        "state": "online" if tick.status is Status.TRADING else "suspend", "value-precision": 8,
        "min-order-amt": 0.0001, "max-order-amt": 1000, "min-order-value": 5,
    }  # fmt: skip


def _currency(name: str) -> Json:
    return {"currency": name.lower(), "assetType": 1, "chains": [], "instStatus": "normal"}


def _one(rows: list[Json], time_ms: int) -> Json:
    """The time is that of the reply, and says nothing about the price; only the channel names the symbol."""
    symbol, tick = rows[0]
    return {"ch": f"market.{symbol}.detail.merged", "status": "ok", "ts": time_ms, "tick": tick}


def _all(rows: list[Json], time_ms: int) -> Json:
    return {"data": rows, "status": "ok", "ts": time_ms}


_MERGED = Form(lambda tick, symbol: [symbol, _merged(tick, symbol)], _one, "close", every_ms=RENEWED_MS)
_TICKERS = Form(_ticker, _all, "close", every_ms=RENEWED_MS)
_SYMBOLS = Form(_listed, _all)
_CURRENCIES = Form(
    lambda tick, symbol: currencies(tick, _currency), lambda rows, time_ms: {"code": 200, "data": values(rows)}
)  # fmt: skip

EXCHANGE = Exchange(
    name="htx",
    spellings=lowered,
    offset=basis_points(5),
    nothing="0",
    paths={
        "/market/detail/merged": lambda query, _: Choice(_MERGED, (query.get("symbol", ""),)),
        "/market/tickers": lambda query, _: Choice(_TICKERS, None),
        "/v1/common/symbols": lambda query, _: Choice(_SYMBOLS, None),
        "/v2/reference/currencies": lambda query, _: Choice(_CURRENCIES, None),
    },
    single="/market/detail/merged?symbol={symbol}",
    batch="/market/tickers",
    complaints=Complaints(
        lambda code, words, now_ms: {"ts": now_ms, "status": "error", "err-code": code, "err-msg": words, "data": None},
        unknown=Complaint(200, "invalid-parameter", "invalid symbol"),
        limited=Complaint(429, "base-request-exceed-frequency-limit", "request exceeds the frequency limit"),
        down=Complaint(200, "system-maintenance", "System maintenance, please try again later"),
    ),
    limits=(Limit(4500, 300),),
)
