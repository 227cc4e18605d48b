"""Kraken spot, from its public documentation (docs.kraken.com: ticker information, API errors, asset codes)."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import Banned, InvalidQuote, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Errors, Reply, check_status, cool_down, decimal, one_line, read_body, refuse
)
from fastprice.infrastructure.exchanges.spec import Exchange, Form, unique
from fastprice.infrastructure.exchanges.strict_json import field
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    UnknownSymbol: ("EQuery:Unknown asset pair", "EQuery:Invalid asset pair", "EQuery:Unknown asset"),
    RateLimited: ("EGeneral:Too many requests", "EAPI:Rate limit exceeded", "EService:Throttled"),
    Banned: ("EGeneral:Temporary lockout",),
    SourceDown: (
        "EGeneral:Internal error", "EDatabase:Internal error", "EService:Unavailable", "EService:Busy",
        "EService:Timeout", "EService:Deadline elapsed",
    ),
    SourceRefused: ("EGeneral:Unknown method", "EGeneral:Permission denied"),
}  # fmt: skip
_CODES = {"BTC": "XBT", "DOGE": "XDG"}
# Only the assets of the first years carry a prefix, and only in the key of the answer: XXBTZUSD for XBTUSD.
_X_ASSETS = {"ETC", "ETH", "LTC", "MLN", "REP", "XBT", "XDG", "XLM", "XMR", "XRP", "ZEC"}
_Z_ASSETS = {"AUD", "CAD", "EUR", "GBP", "JPY", "USD"}
_TICKER = Ticker(price=("c", 0), bid=("b", 0), ask=("a", 0), volume=("v", 1), high=("h", 1), low=("l", 1))


def _open(reply: Reply) -> Any:
    body = read_body(reply)
    # Errors come with HTTP 200.
    if error := _error(body):
        code, _, detail = error.rpartition(":") if error.count(":") > 1 else (error, "", "")
        until = decimal(detail.strip())
        if code == "EService:Throttled" and until is not None:
            raise RateLimited(one_line(error), cool_down(until - reply.received_at_ms / 1000))
        refuse(reply, code, detail, _ERRORS)
    check_status(reply)
    return body


def _error(body: Any) -> str:
    """The first complaint, or nothing; one that begins with W is a warning beside a good answer."""
    errors = body.get("error", []) if isinstance(body, dict) else []
    lines = [line if isinstance(line, str) else "" for line in errors] if isinstance(errors, list) else [""]
    return next((line or "an unreadable error" for line in lines if not line.startswith("W")), "")


def _rows(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    result = field(body, "result")
    if not isinstance(result, dict):
        raise InvalidQuote("result is not an object of tickers")
    asked = {_old_key(symbol): symbol for symbol in symbols}
    return unique((asked.get(key, key), ticker) for key, ticker in result.items())


def _old_key(symbol: str) -> str:
    """The key that an old pair has in the answer; the symbol itself for a newer one."""
    base, quote_code = symbol[:-3], symbol[-3:]
    if quote_code not in _X_ASSETS | _Z_ASSETS:
        return symbol
    return _prefix(base) + base + _prefix(quote_code) + quote_code


def _prefix(code: str) -> str:
    return "X" if code in _X_ASSETS else "Z" if code in _Z_ASSETS else ""


def _target(symbols: Sequence[str]) -> str:
    return f"/0/public/Ticker?pair={','.join(symbols)}"


EXCHANGE = Exchange(
    name="kraken",
    base_url="https://api.kraken.com",
    source_time=SourceTime.NONE,
    # About one call a second.
    limit=Limit(burst=1.0, per_second=1.0),
    symbol=lambda pair: "".join(_CODES.get(code, code) for code in (pair.base, pair.quote)),
    open=_open,
    single=Form(_target, _rows, _TICKER),
    several=Form(_target, _rows, _TICKER),
    whole=Form(lambda symbols: "/0/public/Ticker", _rows, _TICKER),
    # The limit has no room for one call after the other.
    whole_from=2,
)
