"""Coinbase Exchange, from its public documentation (docs.cdp.coinbase.com/exchange: product ticker, errors)."""

import re
from datetime import UTC, datetime, timedelta

from fastprice.domain.errors import UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, optional_price, optional_volume, read_body, said, sane_time, text
)

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def target(pair: Pair) -> str:
    return f"/products/{pair.symbol}/ticker"


def parse(pair: Pair, reply: Reply) -> Quote:
    """Read the ticker; its body names no product, so the path asked for is the only proof of it."""
    if reply.status == 404:
        raise UnknownSymbol(f"HTTP 404: {pair.symbol} is not listed")
    ticker = read_body(reply)
    check_status(reply, said(ticker, "message"))
    return Quote(
        pair=pair,
        price=text(ticker, "price"),
        bid=optional_price(ticker, "bid"),
        ask=optional_price(ticker, "ask"),
        volume_24h=optional_volume(ticker, "volume"),
        source=EXCHANGE.name,
        source_time_ms=_time_ms(said(ticker, "time")),
        fetched_at_ms=reply.received_at_ms,
    )


def _time_ms(stamp: str) -> int | None:
    """Milliseconds of an RFC 3339 stamp with up to nanoseconds, cut without rounding; None for any other text."""
    if not _RFC3339.fullmatch(stamp):
        return None
    try:
        return sane_time((datetime.fromisoformat(stamp) - _EPOCH) // timedelta(milliseconds=1))
    except ValueError:
        return None


EXCHANGE = Exchange("coinbase", "https://api.exchange.coinbase.com", SourceTime.TRADE, target, parse)
