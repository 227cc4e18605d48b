"""Gate spot, from its public documentation (API v4: list tickers, rate limits, error labels)."""

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, seconds_left
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, rows_by
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    # INVALID_CURRENCY is a delisted one.
    UnknownSymbol: ("INVALID_CURRENCY_PAIR", "INVALID_CURRENCY"),
    RateLimited: ("TOO_MANY_REQUESTS", "TOO_FAST"),
    SourceDown: ("SERVER_ERROR", "TOO_BUSY", "INTERNAL"),
    SourceRefused: (
        "FORBIDDEN", "IP_FORBIDDEN", "NOT_FOUND", "METHOD_NOT_ALLOWED", "NOT_ACCEPTABLE", "INVALID_PROTOCOL"
    ),
}
_TICKER = Ticker(
    price="last", bid="highest_bid", ask="lowest_ask", volume="base_volume", high="high_24h", low="low_24h"
)
_ROWS = rows_by("currency_pair")
_TICKERS = "/api/v4/spot/tickers"

EXCHANGE = Exchange(
    name="gate",
    base_url="https://api.gateio.ws",
    source_time=SourceTime.NONE,
    # 200 calls in 10 s.
    limit=Limit(burst=25.0, per_second=14.0),
    symbol=lambda pair: f"{pair.base}_{pair.quote}",
    open=envelope("label", "", "message", _ERRORS),
    single=Form(lambda symbols: f"{_TICKERS}?currency_pair={symbols[0]}", _ROWS, _TICKER),
    whole=Form(lambda symbols: _TICKERS, _ROWS, _TICKER),
    resets_in=seconds_left("x-gate-ratelimit-reset-timestamp", is_time=True),
)
