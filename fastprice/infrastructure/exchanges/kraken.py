"""Kraken spot, from its public documentation (docs.kraken.com: ticker information, API errors, asset codes)."""

from typing import Any, NoReturn

from fastprice.domain.errors import Banned, InvalidQuote, RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, cool_down, decimal_seconds, expect, field, one_line, optional_price, optional_volume,
    read_body, refuse, text
)

_ERRORS: dict[str, type[SourceError]] = {
    "EQuery:Unknown asset pair": UnknownSymbol,
    "EGeneral:Too many requests": RateLimited,
    "EAPI:Rate limit exceeded": RateLimited,
    "EService:Throttled": RateLimited,
    "EGeneral:Temporary lockout": Banned,
    "EGeneral:Internal error": SourceDown,
    "EService:Unavailable": SourceDown,
    "EService:Busy": SourceDown,
}
_CODES = {"BTC": "XBT", "DOGE": "XDG"}
# Only the assets of the first years carry a prefix, and only in the key of the answer: XXBTZUSD for XBTUSD.
_X_ASSETS = {"ETC", "ETH", "LTC", "MLN", "REP", "XBT", "XDG", "XLM", "XMR", "XRP", "ZEC"}
_Z_ASSETS = {"AUD", "CAD", "EUR", "GBP", "JPY", "USD"}


def target(pair: Pair) -> str:
    return f"/0/public/Ticker?pair={''.join(_codes(pair))}"


def parse(pair: Pair, reply: Reply) -> Quote:
    body = read_body(reply)
    # Errors come with HTTP 200.
    if error := _error(body):
        _refuse(reply, error)
    check_status(reply)
    ticker = _ticker(pair, body)
    return Quote(
        pair=pair,
        price=text(ticker, "c", 0),
        bid=optional_price(ticker, "b", 0),
        ask=optional_price(ticker, "a", 0),
        volume_24h=optional_volume(ticker, "v", 1),
        source=EXCHANGE.name,
        source_time_ms=None,
        fetched_at_ms=reply.received_at_ms,
    )


def _error(body: Any) -> str:
    """The first complaint, or nothing; one that begins with W is a warning beside a good answer."""
    errors = body.get("error", []) if isinstance(body, dict) else []
    lines = [line if isinstance(line, str) else "" for line in errors] if isinstance(errors, list) else [""]
    return next((line or "an unreadable error" for line in lines if not line.startswith("W")), "")


def _refuse(reply: Reply, error: str) -> NoReturn:
    code, _, detail = error.rpartition(":") if error.count(":") > 1 else (error, "", "")
    until = decimal_seconds(detail.strip())
    if code == "EService:Throttled" and until is not None:
        raise RateLimited(one_line(error), cool_down(until - reply.received_at_ms / 1000))
    refuse(reply, code, detail, _ERRORS)


def _ticker(pair: Pair, body: Any) -> Any:
    """The sole ticker of the result, if its key is the pair asked for: XETHZUSD is dollars, not USDT."""
    result = field(body, "result")
    if not isinstance(result, dict) or len(result) != 1:
        raise InvalidQuote("result is not an object of one ticker")
    [(key, ticker)] = result.items()
    if key != "".join(_prefix(code) + code for code in _codes(pair)):
        expect("pair", "".join(_codes(pair)), key)
    return ticker


def _codes(pair: Pair) -> tuple[str, str]:
    return _CODES.get(pair.base, pair.base), _CODES.get(pair.quote, pair.quote)


def _prefix(code: str) -> str:
    return "X" if code in _X_ASSETS else "Z" if code in _Z_ASSETS else ""


EXCHANGE = Exchange("kraken", "https://api.kraken.com", SourceTime.NONE, target, parse)
