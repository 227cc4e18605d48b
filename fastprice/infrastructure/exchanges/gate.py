"""Gate spot, from its public documentation (API v4: list tickers, error labels)."""

from fastprice.domain.errors import RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, expect, optional_price, optional_volume, read_body, refuse, said, sole, text
)

_ERRORS: dict[str, type[SourceError]] = {
    "INVALID_CURRENCY_PAIR": UnknownSymbol,
    # A delisted currency.
    "INVALID_CURRENCY": UnknownSymbol,
    "TOO_MANY_REQUESTS": RateLimited,
    "SERVER_ERROR": SourceDown,
    "TOO_BUSY": SourceDown,
}


def target(pair: Pair) -> str:
    return f"/api/v4/spot/tickers?currency_pair={_symbol(pair)}"


def parse(pair: Pair, reply: Reply) -> Quote:
    body = read_body(reply)
    if label := said(body, "label"):
        refuse(reply, label, said(body, "message"), _ERRORS)
    check_status(reply)
    ticker = sole(body)
    expect("currency_pair", _symbol(pair), text(ticker, "currency_pair"))
    return Quote(
        pair=pair,
        price=text(ticker, "last"),
        bid=optional_price(ticker, "highest_bid"),
        ask=optional_price(ticker, "lowest_ask"),
        volume_24h=optional_volume(ticker, "base_volume"),
        source=EXCHANGE.name,
        source_time_ms=None,
        fetched_at_ms=reply.received_at_ms,
    )


def _symbol(pair: Pair) -> str:
    return f"{pair.base}_{pair.quote}"


EXCHANGE = Exchange("gate", "https://api.gateio.ws", SourceTime.NONE, target, parse)
