"""Live prices of several sources as a table that is drawn again and again, or as plain lines."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from fastprice.application.agreement import median
from fastprice.domain.quote import MEDIAN, Pair, Quote

HEADER = ("source", "price", "bid", "ask", "age", "from median", "by")
# An older price does not count in the median.
COUNTS_MS = 5_000
UNDERLINED, PLAIN = "\x1b[4m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Row:
    """What one source says of a pair: its quote, or why there is none; how it arrives, and the price before it."""

    source: str
    quote: Quote | None
    words: str
    how: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class Middle:
    """The median of the prices that are new enough, "" if none is, and how many sources it is made of."""

    price: str
    count: int


def middle_of(rows: Sequence[Row], now_ms: int) -> Middle:
    """The median of the prices of all rows that count."""
    prices = [row.quote.price for row in rows if row.quote and row.quote.age_ms(now_ms) <= COUNTS_MS]
    return Middle(median(prices) if prices else "", len(prices))


def table(pair: Pair, rows: Sequence[Row], now_ms: int, columns: int, before: str = "") -> list[str]:
    """The lines of one pair's table, none wider than `columns`; the digits that changed are underlined.

    `before` is the median that was shown before. Columns that do not fit are left out, the last ones first.
    """
    middle = middle_of(rows, now_ms)
    cells = [HEADER, *(_cells(row, middle.price, now_ms) for row in rows)]
    cells.append((f"{MEDIAN} of {middle.count}", middle.price or "-", "", "", "", "", ""))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = len(widths)
    while shown > 2 and sum(widths[:shown]) + 2 * (shown - 1) > columns:
        shown -= 1
    changed = ["", *(row.before for row in rows), before]
    lines = [pair.symbol]
    for texts, old in zip(cells, changed, strict=True):
        source, *others = texts[:shown]
        aligned = [
            text if at == len(HEADER) - 2 else text.rjust(width)
            for at, (text, width) in enumerate(zip(others, widths[1:shown], strict=True))
        ]
        line = "  ".join((source.ljust(widths[0]), *aligned))[:columns].rstrip()
        lines.append(_marked(line, texts[1], old))
    return lines


def plain_line(quote: Quote) -> str:
    """What a source says as one line: time, pair, source, price, bid and ask."""
    return _line(quote.fetched_at_ms, quote.pair, quote.source, quote.price, quote.bid or "-", quote.ask or "-")


def plain_middle(pair: Pair, middle: Middle, now_ms: int) -> str:
    """The median as one line."""
    return _line(now_ms, pair, f"{MEDIAN}-of-{middle.count}", middle.price)


def _line(at_ms: int, pair: Pair, *words: str) -> str:
    at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return " ".join((at, pair.symbol, *words))


def _cells(row: Row, middle: str, now_ms: int) -> tuple[str, ...]:
    quote = row.quote
    if quote is None:
        return row.source, "-", "-", "-", "-", "-", row.words or row.how
    off = f"{float(Decimal(quote.price) / Decimal(middle)) - 1:+.3%}" if middle else "-"
    age = f"{quote.age_ms(now_ms) / 1000:.1f} s"
    return row.source, quote.price, quote.bid or "-", quote.ask or "-", age, off, row.how


def _marked(line: str, price: str, before: str) -> str:
    """The line, with those digits of its price underlined that have changed."""
    if not before or price == before or price not in line:
        return line
    at = line.index(price)
    same = next((at for at, (old, new) in enumerate(zip(before, price, strict=False)) if old != new), 0)
    same = same if len(before) == len(price) else 0
    return f"{line[: at + same]}{UNDERLINED}{price[same:]}{PLAIN}{line[at + len(price) :]}"
