"""What every source says about one pair, as a table for a terminal."""

from collections.abc import Sequence
from decimal import Decimal
from statistics import median

from fastprice.application.ask_each import Asked
from fastprice.domain.quote import Pair, SourceTime

HEADER = ("source", "price", "bid", "ask", "latency", "clock", "from median", "verdict")
RIGHT_ALIGNED = range(1, 7)


def table(pair: Pair, rows: Sequence[Asked], max_deviation: float) -> str:
    """A header, a row per source, and a line that sums them up.

    `clock` is the source's time stamp minus this machine's time. It includes the delay of the network and the age of
    the price, so a large value means a wrong clock or an old price.
    """
    middle = median([Decimal(row.quote.price) for row in rows if row.quote] or [Decimal(0)])
    cells = [HEADER, *(_cells(row, middle, max_deviation) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(line, widths) for line in cells]
    answered = sum(1 for row in rows if row.quote)
    summary = f"{pair.symbol}: {answered} of {len(rows)} sources answered"
    return "\n".join([*lines, "", f"{summary}, median {middle}" if answered else f"{summary}. {NO_ANSWER}"])


NO_ANSWER = "Does this machine have internet access? `fastprice market` simulates the exchanges."


def _cells(row: Asked, middle: Decimal, max_deviation: float) -> tuple[str, ...]:
    latency = f"{row.seconds * 1000:.0f} ms"
    if row.quote is None:
        return row.source, "-", "-", "-", latency, "-", "-", str(row.error)
    quote = row.quote
    off = float(Decimal(quote.price) / middle) - 1
    verdict = "ok" if abs(off) <= max_deviation else f"more than {max_deviation:.1%} from the median"
    return row.source, quote.price, quote.bid or "-", quote.ask or "-", latency, _clock(row), f"{off:+.3%}", verdict


def _clock(row: Asked) -> str:
    if row.quote is None or row.quote.source_time_ms is None:
        return "-"
    seconds = (row.quote.source_time_ms - row.quote.fetched_at_ms) / 1000
    note = {SourceTime.TRADE: " (trade)", SourceTime.REPLY: " (reply)"}.get(row.source_time, "")
    return f"{seconds:+.2f} s{note}"


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    aligned = (
        cell.rjust(width) if column in RIGHT_ALIGNED else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join(aligned).rstrip()
