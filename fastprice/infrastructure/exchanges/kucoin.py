"""KuCoin spot, from its public documentation (orderbook level 1, rate limits, error codes)."""

from fastprice.domain.errors import Blocked, RateLimited, SourceDown, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import (
    Exchange, Reply, check_status, cool_down, field, optional_price, optional_time, read_body, refuse, said, text, whole
)

_ERRORS: dict[str, type[SourceError]] = {
    # Officially any wrong parameter; the symbol is the only one sent.
    "400100": UnknownSymbol,
    "900001": UnknownSymbol,
    "429000": RateLimited,
    "400302": Blocked,
    "500000": SourceDown,
}
_EDGE_LIMIT_SECONDS = 30.0


def target(pair: Pair) -> str:
    return f"/api/v1/market/orderbook/level1?symbol={pair.symbol}"


def parse(pair: Pair, reply: Reply) -> Quote:
    """Read level 1; it names no symbol, so the query asked for is the only proof of it."""
    _check_limits(reply)
    body = read_body(reply)
    if (code := said(body, "code")) != "200000":
        refuse(reply, code, said(body, "msg"), _ERRORS)
    check_status(reply)
    ticker = field(body, "data")
    # An unknown symbol is answered with the code of success.
    if ticker is None:
        raise UnknownSymbol(f"no data for {pair.symbol}")
    return Quote(
        pair=pair,
        price=text(ticker, "price"),
        bid=optional_price(ticker, "bestBid"),
        ask=optional_price(ticker, "bestAsk"),
        volume_24h=None,
        source=EXCHANGE.name,
        source_time_ms=optional_time(ticker, "time"),
        fetched_at_ms=reply.received_at_ms,
    )


def _check_limits(reply: Reply) -> None:
    """Raise where the reply says how long a limit lasts; one that does not say is left to the general rules."""
    reset_ms = whole(reply.headers.get("gw-ratelimit-reset", ""))
    if reset_ms is not None and (reply.status == 429 or b'"429000"' in reply.body):
        raise RateLimited("rate limit of the pool is used up", cool_down(reset_ms / 1000))
    # Cloudflare's own limit, error 1015, bypasses KuCoin's codes.
    if reply.status in (403, 429) and b"1015" in reply.body:
        raise RateLimited(f"HTTP {reply.status}: rate limited at the edge (1015)", _EDGE_LIMIT_SECONDS)


EXCHANGE = Exchange("kucoin", "https://api.kucoin.com", SourceTime.PRICE, target, parse)
