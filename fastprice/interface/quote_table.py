"""What every source says about one pair, as a table for a terminal."""

from collections.abc import Callable, Sequence
from decimal import Decimal

from fastprice.application.agreement import median
from fastprice.application.ask_each import Asked
from fastprice.domain.quote import Pair, Quote, SourceTime

HEADER = ("source", "price", "bid", "ask", "latency", "clock", "from median", "verdict")
# The quote currencies that are recognised in pairs that are written in one word.
CURRENCIES = ("usdt", "usdc", "usd", "dai", "eur", "gbp", "jpy", "try", "brl", "btc", "eth", "bnb")
UNLISTED = "no source lists it"
NO_ANSWER = "Does this machine have internet access? `fastprice market` simulates the exchanges."


def pair_of(text: str) -> Pair:
    """Read `eth-usdt`, `ETH/USDT` or `ETHUSDT`; ValueError if it is not a pair, or is ambiguous."""
    slug = text.lower().replace("/", "-")
    if "-" not in slug:
        # A base of one letter is more likely the rest of a longer currency.
        ends = [end for end in CURRENCIES if slug.endswith(end) and len(slug) > len(end) + 1]
        slug = f"{slug.removesuffix(ends[0])}-{ends[0]}" if len(ends) == 1 else text
    try:
        return Pair.parse(slug)
    except ValueError:
        raise ValueError(f"{text!r} is not a pair like eth-usdt") from None


def table(
    pair: Pair, rows: Sequence[Asked], max_deviation: float, painted: Callable[[str], str] = str
) -> str:
    """A header, a row per source, and a line that sums them up; `painted` gives verdicts their colour.

    `clock` is the source's time stamp minus this machine's time. It includes the delay of the network and the age of
    the price, so a large value means a wrong clock or an old price. The median is that of PRICE_MODE=median: of an even
    number of prices it is the mean of the middle two, with the decimals of the more precise one.
    """
    prices = [row.quote.price for row in rows if row.quote]
    middle = median(prices) if prices else ""
    cells = [HEADER, *(_cells(row, middle, max_deviation) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = list[str]()
    for source, *numbers, verdict in cells:
        aligned = (number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True))
        lines.append("  ".join((source.ljust(widths[0]), *aligned, painted(verdict) if lines else verdict)))
    return "\n".join([*lines, "", f"{pair.symbol}: {_summary(rows, middle)}"])


def _summary(rows: Sequence[Asked], middle: str) -> str:
    if rows and all(row.is_unlisted for row in rows):
        return UNLISTED
    said = f"{sum(row.quote is not None for row in rows)} of {len(rows)} sources answered"
    return f"{said}, median {middle}" if middle else f"{said}. {NO_ANSWER}"


def _cells(row: Asked, middle: str, max_deviation: float) -> tuple[str, ...]:
    latency, quote = f"{row.seconds * 1000:.0f} ms", row.quote
    if quote is None:
        return row.source, "-", "-", "-", latency, "-", "-", str(row.error)
    off = float(Decimal(quote.price) / Decimal(middle)) - 1
    verdict = "ok" if abs(off) <= max_deviation else f"more than {max_deviation:.1%} from the median"
    clock = _clock(quote, row.source_time)
    return row.source, quote.price, quote.bid or "-", quote.ask or "-", latency, clock, f"{off:+.3%}", verdict


def _clock(quote: Quote, kind: SourceTime) -> str:
    if quote.source_time_ms is None:
        return "-"
    note = {SourceTime.TRADE: " (trade)", SourceTime.REPLY: " (reply)"}.get(kind, "")
    return f"{(quote.source_time_ms - quote.fetched_at_ms) / 1000:+.2f} s{note}"
