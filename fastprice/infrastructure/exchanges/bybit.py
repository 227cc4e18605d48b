"""Bybit spot, from its public documentation (v5: market tickers, rate limit rules, error codes)."""

import re
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, complaint, names_a_place, retry_after, seconds_left
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, rows_by
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    # Officially any wrong parameter; the symbol is the only one that can be wrong.
    UnknownSymbol: ("10001", "10029", "170121"),
    RateLimited: ("10006", "10018", "10429", "170222"),
    # The region, and rules of compliance.
    Blocked: ("10009", "10024"),
    # Timeout, internal error, timeout of the backend.
    SourceDown: ("10000", "10016", "170001", "170007"),
    SourceRefused: ("10005", "10010", "10017"),
}
_TOO_FREQUENT_SECONDS = 600.0
_BLOCK_CODE = re.compile(rb'"retCode"\s*:\s*"?(?:10009|10024)\b')
_TICKER = Ticker(
    price="lastPrice", bid="bid1Price", ask="ask1Price", volume="volume24h", high="highPrice24h", low="lowPrice24h",
    open="prevPrice24h",
)  # fmt: skip
_ROWS = rows_by("symbol", ("result", "list"))
_TICKERS = "/v5/market/tickers?category=spot"
_open_envelope = envelope("retCode", "0", "retMsg", _ERRORS)


def _open(reply: Reply) -> Any:
    """A 403 is the country (an HTML page of the edge, or a code), or else ten minutes for asking too often."""
    if reply.status != 403:
        return _open_envelope(reply)
    if names_a_place(reply) or _BLOCK_CODE.search(reply.body):
        raise complaint(Blocked, reply, "HTTP 403: not served in this country")
    raise RateLimited("HTTP 403: access too frequent", max(_TOO_FREQUENT_SECONDS, retry_after(reply, 0)))


EXCHANGE = Exchange(
    name="bybit",
    base_url="https://api.bybit.com",
    source_time=SourceTime.REPLY,
    # 600 calls in 5 s.
    limit=Limit(burst=50.0, per_second=90.0),
    symbol=lambda pair: pair.base + pair.quote,
    open=_open,
    # The only time is that of the reply.
    single=Form(lambda symbols: f"{_TICKERS}&symbol={symbols[0]}", _ROWS, _TICKER, time="time"),
    whole=Form(lambda symbols: _TICKERS, _ROWS, _TICKER, time="time"),
    resets_in=seconds_left("x-bapi-limit-reset-timestamp", per_second=1000, is_time=True),
)
