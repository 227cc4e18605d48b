"""Bybit spot, from its public documentation (v5: market tickers, rate limit rules, error codes)."""

import re

from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, complaint, expect, names_a_place, optional_price, optional_time, optional_volume,
    read_body, refuse, retry_after, said, sole, text
)

_ERRORS: dict[str, type[SourceError]] = {
    # Officially any wrong parameter; the symbol is the only one that can be wrong.
    "10001": UnknownSymbol,
    "10006": RateLimited,
    "10009": Blocked,
    "10016": SourceDown,
}
_TOO_FREQUENT_SECONDS = 600.0
_BLOCK_CODE = re.compile(rb'"retCode"\s*:\s*"?10009\b')


def target(pair: Pair) -> str:
    return f"/v5/market/tickers?category=spot&symbol={_symbol(pair)}"


def parse(pair: Pair, reply: Reply) -> Quote:
    if reply.status == 403:
        raise _forbidden(reply)
    body = read_body(reply)
    if (code := said(body, "retCode")) != "0":
        refuse(reply, code, said(body, "retMsg"), _ERRORS)
    check_status(reply)
    ticker = sole(body, "result", "list")
    expect("symbol", _symbol(pair), text(ticker, "symbol"))
    return Quote(
        pair=pair,
        price=text(ticker, "lastPrice"),
        bid=optional_price(ticker, "bid1Price"),
        ask=optional_price(ticker, "ask1Price"),
        volume_24h=optional_volume(ticker, "volume24h"),
        source=EXCHANGE.name,
        source_time_ms=optional_time(body, "time"),
        fetched_at_ms=reply.received_at_ms,
    )


def _forbidden(reply: Reply) -> SourceError:
    """A 403 is the country (an HTML page of the edge, or code 10009), or else ten minutes for asking too often."""
    if names_a_place(reply) or _BLOCK_CODE.search(reply.body):
        return complaint(Blocked, reply, "HTTP 403: not served in this country")
    return RateLimited("HTTP 403: access too frequent", max(_TOO_FREQUENT_SECONDS, retry_after(reply, 0)))


def _symbol(pair: Pair) -> str:
    return pair.base + pair.quote


EXCHANGE = Exchange("bybit", "https://api.bybit.com", SourceTime.REPLY, target, parse)
