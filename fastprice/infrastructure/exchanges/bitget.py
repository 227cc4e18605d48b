"""Bitget spot, from its public documentation (API v2: spot tickers, error codes)."""

from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, expect, optional_price, optional_time, optional_volume, read_body, refuse, said,
    sole, text
)

_ERRORS: dict[str, type[SourceError]] = {
    "40034": UnknownSymbol,
    "429": RateLimited,
    "40000": Blocked,
    "40015": SourceDown,
    "40200": SourceDown,
    "40725": SourceDown,
}


def target(pair: Pair) -> str:
    return f"/api/v2/spot/market/tickers?symbol={_symbol(pair)}"


def parse(pair: Pair, reply: Reply) -> Quote:
    body = read_body(reply)
    if (code := said(body, "code")) != "00000":
        refuse(reply, code, said(body, "msg"), _ERRORS)
    check_status(reply)
    ticker = sole(body, "data")
    expect("symbol", _symbol(pair), text(ticker, "symbol"))
    return Quote(
        pair=pair,
        price=text(ticker, "lastPr"),
        bid=optional_price(ticker, "bidPr"),
        ask=optional_price(ticker, "askPr"),
        volume_24h=optional_volume(ticker, "baseVolume"),
        source=EXCHANGE.name,
        source_time_ms=optional_time(ticker, "ts"),
        fetched_at_ms=reply.received_at_ms,
    )


def _symbol(pair: Pair) -> str:
    return pair.base + pair.quote


EXCHANGE = Exchange("bitget", "https://api.bitget.com", SourceTime.PRICE, target, parse)
