"""Bitstamp spot, from its public documentation (www.bitstamp.net/api: ticker, error codes)."""

from fastprice.domain.errors import RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, optional_price, optional_time, optional_volume, read_body, refuse, said, text
)

_ERRORS: dict[str, type[SourceError]] = {"400.002": RateLimited}
_FAMILIES: dict[str, type[SourceError]] = {"404": UnknownSymbol, "500": SourceDown}


def target(pair: Pair) -> str:
    # The trailing slash belongs to it, and a query parameter would be refused.
    return f"/api/v2/ticker/{(pair.base + pair.quote).lower()}/"


def parse(pair: Pair, reply: Reply) -> Quote:
    """Read the ticker; its body names no market, so the path asked for is the only proof of it."""
    if reply.status == 404:
        raise UnknownSymbol(f"HTTP 404: {pair.symbol} is not listed")
    ticker = read_body(reply)
    # Codes are documented, the name of their field is not: both in use are read.
    if code := said(ticker, "response_code") or said(ticker, "code"):
        message = said(ticker, "response_explanation") or said(ticker, "reason")
        family = _FAMILIES.get(code.partition(".")[0])
        refuse(reply, code, message, {code: family} if family else _ERRORS)
    check_status(reply)
    if isinstance(ticker, list) and ticker:
        raise UnknownSymbol(f"{pair.symbol} is not listed: the answer is the list of all markets")
    return Quote(
        pair=pair,
        price=text(ticker, "last"),
        bid=optional_price(ticker, "bid"),
        ask=optional_price(ticker, "ask"),
        volume_24h=optional_volume(ticker, "volume"),
        source=EXCHANGE.name,
        source_time_ms=optional_time(ticker, "timestamp", unit_ms=1000),
        fetched_at_ms=reply.received_at_ms,
    )


EXCHANGE = Exchange("bitstamp", "https://www.bitstamp.net", SourceTime.PRICE, target, parse)
