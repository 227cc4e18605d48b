"""OKX spot, from its public documentation (docs-v5: market data, error codes)."""

from fastprice.domain.errors import RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, expect, optional_price, optional_time, optional_volume, read_body, refuse, said,
    sole, text
)

_ERRORS: dict[str, type[SourceError]] = {
    "51001": UnknownSymbol,
    "50011": RateLimited,
    "50001": SourceDown,
    "50013": SourceDown,
    "50026": SourceDown,
}


def target(pair: Pair) -> str:
    return f"/api/v5/market/ticker?instId={pair.symbol}"


def parse(pair: Pair, reply: Reply) -> Quote:
    body = read_body(reply)
    # Errors come with HTTP 200 as well.
    if (code := said(body, "code")) != "0":
        refuse(reply, code, said(body, "msg"), _ERRORS)
    check_status(reply)
    ticker = sole(body, "data")
    expect("instId", pair.symbol, text(ticker, "instId"))
    return Quote(
        pair=pair,
        price=text(ticker, "last"),
        bid=optional_price(ticker, "bidPx"),
        ask=optional_price(ticker, "askPx"),
        volume_24h=optional_volume(ticker, "vol24h"),
        source=EXCHANGE.name,
        source_time_ms=optional_time(ticker, "ts"),
        fetched_at_ms=reply.received_at_ms,
    )


EXCHANGE = Exchange("okx", "https://www.okx.com", SourceTime.PRICE, target, parse)
