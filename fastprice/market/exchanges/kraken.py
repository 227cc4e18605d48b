"""Kraken spot: `/0/public/Ticker` for one pair, a comma list, or all; its own names for assets and pairs; errors."""

from fastprice.domain.quote import Pair
from fastprice.market.exchange import Complaint, Complaints, Exchange, basis_points
from fastprice.market.forms import Choice, Form, Json, Query, decimals, merged
from fastprice.market.limits import Limit, Penalty
from fastprice.market.tick import Status, Tick, plain

_CODES = {"BTC": "XBT", "DOGE": "XDG"}
# Assets of the first years have a prefix in their name; a pair of two such assets has both prefixes, as in XXBTZUSD.
_X_ASSETS = {"ETC", "ETH", "LTC", "MLN", "REP", "XBT", "XDG", "XLM", "XMR", "XRP", "ZEC"}
_Z_ASSETS = {"CAD", "EUR", "GBP", "JPY", "USD"}


def _code(currency: str) -> str:
    return _CODES.get(currency, currency)


def _asset(currency: str) -> str:
    code = _code(currency)
    return f"X{code}" if code in _X_ASSETS else f"Z{code}" if code in _Z_ASSETS else code


def _key(pair: Pair) -> str:
    base, quote = _asset(pair.base), _asset(pair.quote)
    prefixed = base != _code(pair.base) and quote != _code(pair.quote)
    # Dogecoin was paired with dollars and euros only after prefixes had been given up: XDGUSD, but XXDGXXBT.
    return base + quote if prefixed and not (base == "XXDG" and quote[0] == "Z") else _alternative(pair)


def _alternative(pair: Pair) -> str:
    return _code(pair.base) + _code(pair.quote)


def _spellings(pair: Pair) -> tuple[str, ...]:
    """The pair's key in replies, and the other names that requests may use."""
    return _key(pair), _wsname(pair), _alternative(pair)


def _wsname(pair: Pair) -> str:
    return f"{_code(pair.base)}/{_code(pair.quote)}"


def _ticker(tick: Tick, symbol: str) -> Json:
    # Of two values the first is today's, the second that of the last 24 hours; `o` is today's opening price.
    today = plain(float(tick.volume) / 2, 8)
    ticker = {
        "a": [tick.ask, "1", "1.000"], "b": [tick.bid, "1", "1.000"], "c": [tick.price, "0.00067643"],
        "v": [today, tick.volume], "p": [tick.day_open, tick.open], "t": [34619, 38907], "l": [tick.low, tick.low],
        "h": [tick.high, tick.high], "o": tick.day_open,
    }  # fmt: skip
    return {symbol: ticker}


def _listed(tick: Tick, symbol: str) -> Json:
    pair = tick.pair
    listed = {
        "altname": _alternative(pair), "wsname": _wsname(pair), "aclass_base": "currency", "base": _asset(pair.base),
        "aclass_quote": "currency", "quote": _asset(pair.quote), "lot": "unit", "cost_decimals": 5,
        "pair_decimals": decimals(tick), "lot_decimals": 8, "lot_multiplier": 1, "leverage_buy": [],
        "leverage_sell": [], "fees": [[0, 0.4]], "fees_maker": [[0, 0.25]], "fee_volume_currency": "ZUSD",
        "ordermin": "0.0001", "costmin": "0.5", "tick_size": "0.01",
        "status": "online" if tick.status is Status.TRADING else "cancel_only",
    }  # fmt: skip
    return {symbol: listed}


def _assets(tick: Tick, symbol: str) -> Json:
    return {
        _asset(name): {
            "aclass": "currency", "altname": _code(name), "decimals": 10, "display_decimals": 5, "status": "enabled",
        }
        for name in (tick.pair.base, tick.pair.quote)
    }  # fmt: skip


def _body(rows: list[Json], time_ms: int) -> Json:
    return {"error": [], "result": merged(rows)}


_TICKERS, _PAIRS, _ASSETS = Form(_ticker, _body, "c"), Form(_listed, _body), Form(_assets, _body)


def _choose(query: Query, form: Form) -> Choice:
    asked = query.get("pair")
    return Choice(form, tuple(asked.split(",")) if asked else None)


EXCHANGE = Exchange(
    name="kraken",
    spellings=_spellings,
    offset=basis_points(2),
    padded=5,
    nothing="0.00000",
    paths={
        "/0/public/Ticker": lambda query, symbol: _choose(query, _TICKERS),
        "/0/public/AssetPairs": lambda query, symbol: _choose(query, _PAIRS),
        "/0/public/Assets": lambda query, symbol: Choice(_ASSETS, None),
    },
    single="/0/public/Ticker?pair={symbol}",
    batch="/0/public/Ticker",
    complaints=Complaints(
        lambda code, words, now_ms: {"error": [code]},
        unknown=Complaint(200, "EQuery:Unknown asset pair", ""),
        limited=Complaint(200, "EGeneral:Too many requests", ""),
        down=Complaint(200, "EService:Unavailable", ""),
    ),
    # About one call a second; two calls close together pass. A client that keeps calling waits longer.
    limits=(Limit(1, 1, burst=2),),
    penalty=Penalty(seconds=5, renewed=True),
)
