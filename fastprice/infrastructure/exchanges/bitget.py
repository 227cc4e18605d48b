"""Bitget spot, from its public documentation (API v2: spot tickers, error codes)."""

from fastprice.application.ports import Limit
from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, rows_by
from fastprice.infrastructure.exchanges.ticker import Ticker

_ERRORS: Errors = {
    UnknownSymbol: ("40034", "40309"),
    RateLimited: ("429", "1001", "30007", "30014", "30026"),
    Blocked: ("40000",),
    # Timeout, system, upgrade, busy, unknown.
    SourceDown: ("500", "40010", "40015", "40200", "40604", "40725", "45001"),
    SourceRefused: ("404", "405", "40018", "40404"),
}
_TICKER = Ticker(
    price="lastPr", bid="bidPr", ask="askPr", volume="baseVolume", high="high24h", low="low24h", open="open", time="ts"
)
_ROWS = rows_by("symbol", "data")
_TICKERS = "/api/v2/spot/market/tickers"

EXCHANGE = Exchange(
    name="bitget",
    base_url="https://api.bitget.com",
    source_time=SourceTime.PRICE,
    # 20 calls a second, and 6,000 a minute.
    limit=Limit(burst=3.0, per_second=12.0),
    symbol=lambda pair: pair.base + pair.quote,
    open=envelope("code", "00000", "msg", _ERRORS),
    single=Form(lambda symbols: f"{_TICKERS}?symbol={symbols[0]}", _ROWS, _TICKER),
    whole=Form(lambda symbols: _TICKERS, _ROWS, _TICKER),
)
