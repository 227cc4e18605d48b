"""HTX spot, from its public documentation (market data: merged ticker, all tickers, error codes)."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, rows_by
from fastprice.infrastructure.exchanges.strict_json import field, said
from fastprice.infrastructure.exchanges.ticker import Ticker, without_exponent

_ERRORS: Errors = {
    # Officially any wrong parameter; the symbol is the only one sent.
    UnknownSymbol: ("invalid-parameter", "base-symbol-error"),
    RateLimited: ("base-request-exceed-frequency-limit", "too-many-requests", "api-request-too-frequent"),
    SourceDown: ("system-maintenance", "gateway-internal-error", "internal-server-error", "timeout"),
    SourceRefused: ("invalid-command",),
}
_MERGED = Ticker(
    price="close", bid=("bid", 0), ask=("ask", 0), volume="amount", high="high", low="low", open="open",
    digits=without_exponent,
)  # fmt: skip
# Here volume, high, low and open are those of a day in Singapore, not of the last 24 hours.
_TICKER = Ticker(price="close", bid="bid", ask="ask", digits=without_exponent)


def _merged_row(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    """The ticker by the symbol in the name of its channel: market.ethusdt.detail.merged."""
    return {said(body, "ch").removeprefix("market.").removesuffix(".detail.merged"): field(body, "tick")}


EXCHANGE = Exchange(
    name="htx",
    base_url="https://api.huobi.pro",
    source_time=SourceTime.REPLY,
    # 4,500 calls in 5 minutes.
    limit=Limit(burst=10.0, per_second=10.0),
    symbol=lambda pair: (pair.base + pair.quote).lower(),
    open=envelope("err-code", "ok", "err-msg", _ERRORS, verdict="status"),
    # The only time is that of the reply.
    single=Form(lambda symbols: f"/market/detail/merged?symbol={symbols[0]}", _merged_row, _MERGED, time="ts"),
    whole=Form(lambda symbols: "/market/tickers", rows_by("symbol", "data"), _TICKER, time="ts"),
    by_default=False,
)
