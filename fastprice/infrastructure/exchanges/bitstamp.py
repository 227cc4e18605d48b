"""Bitstamp spot, from its public documentation (www.bitstamp.net/api: ticker, error codes)."""

from collections.abc import Mapping, Sequence
from typing import Any

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, SourceDown, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, check_status, complaint, read_body, refuse
from fastprice.infrastructure.exchanges.spec import Exchange, Form, by_symbol
from fastprice.infrastructure.exchanges.strict_json import said
from fastprice.infrastructure.exchanges.ticker import Ticker, seconds

# By the number before the dot of a code, but for one.
_ERRORS: Errors = {
    UnknownSymbol: ("404",), RateLimited: ("429", "400.002"), SourceDown: ("500", "502", "503", "504")
}  # fmt: skip
# The trailing slash belongs to it, and a query parameter would be refused.
_TICKERS = "/api/v2/ticker/"
_TICKER = Ticker(
    price="last", bid="bid", ask="ask", volume="volume", high="high", low="low", open="open_24", time="timestamp",
    read_time=seconds,
)  # fmt: skip


def _open(reply: Reply) -> Any:
    if reply.status == 404:
        raise UnknownSymbol("HTTP 404: it is not listed")
    body = read_body(reply)
    # Codes are documented, the name of their field is not: both in use are read.
    if code := said(body, "response_code") or said(body, "code"):
        message, family = said(body, "response_explanation") or said(body, "reason"), code.partition(".")[0]
        known = {kind: (code,) for kind, codes in _ERRORS.items() if code in codes or family in codes}
        refuse(reply, code, message, known)
    if "maintenance" in (words := said(body, "error")):
        raise complaint(SourceDown, reply, words)
    check_status(reply)
    return body


def _single_row(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    """The ticker; its body names no market, so the path asked for is the only proof of it."""
    # A market that is not listed is answered with all that are.
    if isinstance(body, list):
        raise UnknownSymbol(f"{symbols[0]} is not listed")
    return {symbols[0]: body}


def _spot_rows(body: Any, symbols: Sequence[str]) -> Mapping[str, Any]:
    return by_symbol(body, _symbol)


def _symbol(row: Mapping[str, Any]) -> str:
    """Of a spot market, which a row names BTC/USD; perpetual contracts stand among them."""
    name = row.get("pair")
    is_spot = isinstance(name, str) and row.get("market_type", "SPOT") == "SPOT"
    return str(name).replace("/", "").lower() if is_spot else ""


EXCHANGE = Exchange(
    name="bitstamp",
    base_url="https://www.bitstamp.net",
    source_time=SourceTime.PRICE,
    # 400 calls a second, and 10,000 in 10 minutes.
    limit=Limit(burst=50.0, per_second=15.0),
    symbol=lambda pair: (pair.base + pair.quote).lower(),
    open=_open,
    single=Form(lambda symbols: f"{_TICKERS}{symbols[0]}/", _single_row, _TICKER),
    whole=Form(lambda symbols: _TICKERS, _spot_rows, _TICKER),
)
