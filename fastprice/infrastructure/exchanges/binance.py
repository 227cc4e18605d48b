"""Binance spot, from its public documentation (binance-spot-api-docs: rest-api, errors, market data only)."""

from fastprice.domain.errors import Banned, PairRefused, RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, expect, optional_price, optional_time, optional_volume, read_body, refuse, said, text
)

_ERRORS: dict[str, type[SourceError]] = {
    "-1121": UnknownSymbol,
    # The symbol exists but is halted: no mistake of the configuration, and no price until it trades again.
    "-1220": PairRefused,
    "-1003": RateLimited,
    "-1007": SourceDown,
    "-1008": SourceDown,
    "-1016": SourceDown,
}


def target(pair: Pair) -> str:
    # A halted symbol would keep answering with its last price.
    return f"/api/v3/ticker/24hr?symbol={_symbol(pair)}&symbolStatus=TRADING"


def parse(pair: Pair, reply: Reply) -> Quote:
    ticker = read_body(reply)
    if code := said(ticker, "code"):
        # A ban carries the same code as the warning before it.
        refuse(reply, code, said(ticker, "msg"), _ERRORS | {"-1003": Banned} if reply.status == 418 else _ERRORS)
    check_status(reply)
    expect("symbol", _symbol(pair), text(ticker, "symbol"))
    return Quote(
        pair=pair,
        price=text(ticker, "lastPrice"),
        bid=optional_price(ticker, "bidPrice"),
        ask=optional_price(ticker, "askPrice"),
        volume_24h=optional_volume(ticker, "volume"),
        source=EXCHANGE.name,
        source_time_ms=optional_time(ticker, "closeTime"),
        fetched_at_ms=reply.received_at_ms,
    )


def _symbol(pair: Pair) -> str:
    return pair.base + pair.quote


EXCHANGE = Exchange("binance", "https://data-api.binance.vision", SourceTime.PRICE, target, parse)
