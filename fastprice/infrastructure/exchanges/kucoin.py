"""KuCoin spot, from its public documentation (orderbook level 1, all tickers, rate limits, error codes)."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, cool_down, seconds_left
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, rows_by
from fastprice.infrastructure.exchanges.strict_json import field
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    # Officially any wrong parameter; the symbol is the only one sent.
    UnknownSymbol: ("400000", "400100", "400600", "900001"),
    RateLimited: ("429000",),
    Blocked: ("400302", "400500"),
    SourceDown: ("500000", "503000"),
    SourceRefused: ("400303", "404000", "415000"),
}
_EDGE_LIMIT_SECONDS = 30.0
_LEVEL_1 = Ticker(price="price", bid="bestBid", ask="bestAsk", time="time")
_TICKER = Ticker(price="last", bid="buy", ask="sell", volume="vol", high="high", low="low")
_open_envelope = envelope("code", "200000", "msg", _ERRORS)


def _open(reply: Reply) -> Any:
    # Cloudflare's own limit, error 1015, bypasses KuCoin's codes.
    if reply.status in (403, 429) and b"1015" in reply.body:
        seconds = _EDGE_LIMIT_SECONDS if reply.resets_in is None else cool_down(reply.resets_in)
        raise RateLimited(f"HTTP {reply.status}: rate limited at the edge (1015)", seconds)
    return _open_envelope(reply)


def _single_row(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    """Level 1; it names no symbol, so the query asked for is the only proof of it."""
    ticker = field(body, "data")
    # An unknown symbol is answered with the code of success.
    if ticker is None:
        raise UnknownSymbol(f"no data for {symbols[0]}")
    return {symbols[0]: ticker}


EXCHANGE = Exchange(
    name="kucoin",
    base_url="https://api.kucoin.com",
    source_time=SourceTime.PRICE,
    # A pool of 2,000 units in 30 s; all tickers cost 15 of them, level 1 at most as much.
    limit=Limit(burst=200.0, per_second=50.0),
    symbol=lambda pair: pair.symbol,
    open=_open,
    single=Form(
        lambda symbols: f"/api/v1/market/orderbook/level1?symbol={symbols[0]}", _single_row, _LEVEL_1,
        units=lambda count: 15.0,
    ),
    # All tickers as they were at one time.
    whole=Form(
        lambda symbols: "/api/v1/market/allTickers", rows_by("symbol", ("data", "ticker")), _TICKER,
        time=("data", "time"), units=lambda count: 15.0,
    ),
    resets_in=seconds_left("gw-ratelimit-reset", per_second=1000),
)  # fmt: skip
