"""What an exchange's module declares (its facts and its forms of request), and how every answer is read."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fastprice.application.ports import Answers, Limit
from fastprice.domain.errors import InvalidQuote, InvalidReply, PairRefused, SourceError, SourceRefused, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges.reply import Errors, Reply, check_status, one_line, read_body, refuse
from fastprice.infrastructure.exchanges.stream import Stream
from fastprice.infrastructure.exchanges.strict_json import Path, field, said
from fastprice.infrastructure.exchanges.ticker import Ticker, milliseconds

# Servers and proxies accept lines of 8 KiB; a list whose path and query are too long for that is not requested.
MAX_TARGET_BYTES = 7_000
# Replaces the row of a symbol that has two rows in a body.
_DUPLICATE = object()
Rows = Callable[[Any, Sequence[str]], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Form:
    """One form of request to an exchange.

    `target(symbols)` is path and query. `rows(body, symbols)` gives the tickers by symbol, or raises SourceError.
    `time` is where the body has one time for all tickers. `units(count)` is how much of the exchange's limit a request
    for `count` pairs costs.
    """

    target: Callable[[Sequence[str]], str]
    rows: Rows
    ticker: Ticker
    time: Path = ()
    units: Callable[[int], float] = lambda count: 1.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange: its facts, how it spells a pair, how it is called, and how its answers are read.

    `open(reply)` gives the parsed body, or raises the exchange's complaint as an error. `single` asks for one pair,
    `several` for a list, which some exchanges refuse as a whole if they do not list one of the pairs, and `whole` for
    the whole market, which is worth its size from `whole_from` pairs on. `resets_in(reply)` reads the seconds until a
    rate limit ends from the exchange's own header. Without `by_default` the exchange is called only if SOURCES names
    it. `stream` is its live feed.
    """

    name: str
    base_url: str
    source_time: SourceTime
    limit: Limit
    symbol: Callable[[Pair], str]
    open: Callable[[Reply], Any]
    single: Form
    several: Form | None = None
    whole: Form | None = None
    whole_from: int = 3
    resets_in: Callable[[Reply], float | None] = lambda reply: None
    by_default: bool = True
    stream: Stream | None = None

    def form(self, pairs: Sequence[Pair], listed: bool) -> Form:
        """The cheapest request for these pairs; `listed` says that none of them is known to make a list fail."""
        if len(pairs) > 1 and self.several is not None and listed:
            if len(self.several.target([self.symbol(pair) for pair in pairs])) <= MAX_TARGET_BYTES:
                return self.several
        return self.whole if self.whole is not None and len(pairs) >= self.whole_from else self.single


def joined(pair: Pair) -> str:
    """A pair as ETHUSDT."""
    return pair.base + pair.quote


def dashed(pair: Pair) -> str:
    """A pair as ETH-USDT."""
    return pair.symbol


def envelope(code: str, success: str, message: str, known: Errors, verdict: str = "") -> Callable[[Reply], Any]:
    """How to open a body that has a result code, whatever the HTTP status is.

    `success` is empty where only complaints have a code; `verdict` is the member that tells success if the code does
    not.
    """

    def open_body(reply: Reply) -> Any:
        body = read_body(reply)
        if said(body, verdict or code) != success:
            refuse(reply, said(body, code), said(body, message), known)
        check_status(reply)
        return body

    return open_body


def rows_by(symbol: str, path: Path = ()) -> Rows:
    """The rows of the list at a path of the body, by the member that names their symbol."""
    return lambda body, symbols: by_symbol(field(body, path), lambda row: row.get(symbol))


def by_symbol(rows: Any, symbol: Callable[[dict[str, Any]], Any]) -> Mapping[str, Any]:
    """The rows of a list by their symbol; a row without a symbol is left out."""
    if not isinstance(rows, list):
        raise InvalidQuote("the body has no list of tickers")
    return unique((symbol(row), row) for row in rows if isinstance(row, dict))


def unique(rows: Iterable[tuple[Any, Any]]) -> Mapping[str, Any]:
    """Rows by their symbol; two rows of a symbol become a marker, because it is unknown which of them counts."""
    found: dict[str, Any] = {}
    for symbol, row in rows:
        if isinstance(symbol, str) and symbol:
            found[symbol] = _DUPLICATE if symbol in found else row
    return found


def read(exchange: Exchange, form: Form, pairs: Sequence[Pair], reply: Reply) -> Answers:
    """A quote or an error for each pair; raises SourceError where the whole call failed.

    Each row is read separately, so that a bad row affects only its own pair.
    """
    reply = replace(reply, many=form is not exchange.single, resets_in=exchange.resets_in(reply))
    symbols = [exchange.symbol(pair) for pair in pairs]
    try:
        body = exchange.open(reply)
        rows = form.rows(body, symbols)
    except SourceError as error:
        raise _of_the_call(exchange, form, error) from None
    if form is exchange.single and rows.keys() != set(symbols):
        answer = f"says {', '.join(rows)[:40]!r}" if rows else "has no ticker"
        raise InvalidQuote(one_line(f"asked for {symbols[0]}, the body {answer}"))
    if form is exchange.whole and not rows:
        raise InvalidReply("the body has no tickers")
    time_ms = milliseconds(said(body, form.time)) if form.time else None

    def answer_of(pair: Pair, symbol: str) -> Quote | SourceError:
        row = rows.get(symbol)
        if row is None:
            # A list that names the pair was accepted, so the exchange knows the pair but does not trade it now.
            kind = UnknownSymbol if form is exchange.whole else PairRefused
            return kind(f"it has no ticker of {pair.symbol}")
        if row is _DUPLICATE:
            return InvalidQuote("the body has two tickers of it")
        try:
            return form.ticker.quote(pair, row, exchange.name, time_ms, reply.received_at_ms)
        except SourceError as error:
            return error

    return {pair: answer_of(pair, symbol) for pair, symbol in zip(pairs, symbols, strict=True)}


def _of_the_call(exchange: Exchange, form: Form, error: SourceError) -> SourceError:
    """The error of a call: if it asked for several pairs, an error about one pair becomes an error about the call."""
    if form is exchange.single or not error.concerns_pair:
        return error
    if type(error) is InvalidQuote:
        return InvalidReply(str(error))
    return SourceRefused(str(error)) if form is exchange.whole else error
