"""Coinbase Exchange, from its public documentation (docs.cdp.coinbase.com/exchange: product ticker, errors)."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Reply, check_status, complaint, read_body
from fastprice.infrastructure.exchanges.spec import Exchange, Form
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker, sane_time

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _open(reply: Reply) -> Any:
    body = None if reply.status == 404 else read_body(reply)
    message = said(body, "message")
    if reply.status == 404 or reply.status == 400 and "delisted" in message:
        raise complaint(UnknownSymbol, reply, f"HTTP {reply.status}: it is not listed. {message}")
    check_status(reply, message)
    return body


def _time_ms(stamp: str) -> int | None:
    """Milliseconds of an RFC 3339 stamp with up to nanoseconds, cut without rounding; None for any other text."""
    if not _RFC3339.fullmatch(stamp):
        return None
    try:
        return sane_time((datetime.fromisoformat(stamp) - _EPOCH) // timedelta(milliseconds=1))
    except ValueError:
        return None


EXCHANGE = Exchange(
    name="coinbase",
    base_url="https://api.exchange.coinbase.com",
    source_time=SourceTime.TRADE,
    # 10 calls a second, 15 at once. There is no ticker of several products that has bid and ask.
    limit=Limit(burst=5.0, per_second=7.0),
    symbol=lambda pair: pair.symbol,
    open=_open,
    single=Form(
        lambda symbols: f"/products/{symbols[0]}/ticker",
        # It names no product, so the path asked for is the only proof of it.
        lambda body, symbols: {symbols[0]: body},
        Ticker(price="price", bid="bid", ask="ask", volume="volume", time="time", read_time=_time_ms),
    ),
)
