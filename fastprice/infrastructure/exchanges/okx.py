"""OKX spot, from its public documentation (docs-v5: market data, error codes)."""

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, SourceRefused, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors
from fastprice.infrastructure.exchanges.spec import Exchange, Form, envelope, rows_by
from fastprice.infrastructure.exchanges.ticker import Ticker

# They come with HTTP 200 as well.
_ERRORS: Errors = {
    # No such instrument, token or index, or one of another type.
    UnknownSymbol: ("51001", "51002", "51012", "51014", "51015", "51026"),
    RateLimited: ("50011", "50040", "50061"),
    # Upgrade, timeout, offline, busy, system error.
    SourceDown: ("50001", "50004", "50005", "50013", "50026"),
    # A form of question that it does not take.
    SourceRefused: ("50002", "50006", "50062", "50115"),
}
_TICKER = Ticker(
    price="last", bid="bidPx", ask="askPx", volume="vol24h", high="high24h", low="low24h", open="open24h", time="ts"
)
_ROWS = rows_by("instId", "data")

EXCHANGE = Exchange(
    name="okx",
    base_url="https://www.okx.com",
    source_time=SourceTime.PRICE,
    # 20 calls in 2 s.
    limit=Limit(burst=3.0, per_second=6.0),
    symbol=lambda pair: pair.symbol,
    open=envelope("code", "0", "msg", _ERRORS),
    single=Form(lambda symbols: f"/api/v5/market/ticker?instId={symbols[0]}", _ROWS, _TICKER),
    whole=Form(lambda symbols: "/api/v5/market/tickers?instType=SPOT", _ROWS, _TICKER),
)
