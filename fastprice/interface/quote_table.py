"""What every source says about one pair, as a table for a terminal."""

from collections.abc import Sequence
from decimal import Decimal

from fastprice.application.agreement import median
from fastprice.application.ask_each import Asked
from fastprice.domain.quote import Pair, Quote, SourceTime

HEADER = ("source", "price", "bid", "ask", "latency", "clock", "from median", "verdict")
NO_ANSWER = "Does this machine have internet access? `fastprice market` simulates the exchanges."


def table(pair: Pair, rows: Sequence[Asked], max_deviation: float) -> str:
    """A header, a row per source, and a line that sums them up.

    `clock` is the source's time stamp minus this machine's time. It includes the delay of the network and the age of
    the price, so a large value means a wrong clock or an old price. The median is that of PRICE_MODE=median: of an even
    number of prices it is the mean of the middle two, with the digits of the finer one.
    """
    prices = [row.quote.price for row in rows if row.quote]
    middle = median(prices) if prices else ""
    cells = [HEADER, *(_cells(row, middle, max_deviation) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = []
    for source, *numbers, verdict in cells:
        aligned = (number.rjust(width) for number, width in zip(numbers, widths[1:-1], strict=True))
        lines.append("  ".join((source.ljust(widths[0]), *aligned, verdict)))
    summary = f"{pair.symbol}: {len(prices)} of {len(rows)} sources answered"
    return "\n".join([*lines, "", f"{summary}, median {middle}" if prices else f"{summary}. {NO_ANSWER}"])


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
