"""Where the tickers of an exchange have the parts of a Quote, and how these are read."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from fastprice.application.live_ports import Day
from fastprice.domain.errors import InvalidQuote
from fastprice.domain.quote import MAX_TIME_MS, MIN_TIME_MS, PRICES, VOLUMES, Pair, Quote, Within, is_above
from fastprice.infrastructure.exchanges.strict_json import Path, said, text

# An exponent of more digits would be spelled out as gigabytes of zeros.
_WITH_EXPONENT = re.compile(r"[0-9]{1,40}(?:\.[0-9]{1,40})?[eE][+-]?[0-9]{1,2}", re.ASCII)
_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def milliseconds(stamp: str) -> int | None:
    """A time stamp sent as whole milliseconds; None where it is in another unit, or means that there is no time."""
    return sane_time(int(stamp)) if stamp.isascii() and stamp.isdigit() and len(stamp) <= 16 else None


def seconds(stamp: str) -> int | None:
    """A time stamp sent as whole seconds."""
    return milliseconds(f"{stamp}000")


def microseconds(stamp: str) -> int | None:
    """A time stamp sent as whole microseconds, cut to milliseconds without rounding."""
    return milliseconds(stamp[:-3])


def rfc3339(stamp: str) -> int | None:
    """Milliseconds of an RFC 3339 stamp with up to nanoseconds, cut without rounding; None for any other text."""
    exact = nanoseconds(stamp)
    return None if exact is None else sane_time(exact // 1_000_000)


def nanoseconds(stamp: str) -> int | None:
    """Nanoseconds since 1970 of an RFC 3339 stamp; None for any other text."""
    if not (match := _RFC3339.fullmatch(stamp)):
        return None
    try:
        whole = (datetime.fromisoformat(match[1] + match[3]) - _EPOCH) // timedelta(seconds=1)
    except ValueError:
        return None
    return whole * 1_000_000_000 + int((match[2] or "").ljust(9, "0"))


def sane_time(stamp_ms: int) -> int | None:
    """The stamp, or None where it is in another unit or means that there is no time."""
    return stamp_ms if MIN_TIME_MS <= stamp_ms <= MAX_TIME_MS else None


def without_exponent(number: str) -> str:
    """The plain digits of a JSON number, which may come as 1.2e-7."""
    return f"{Decimal(number):f}" if _WITH_EXPONENT.fullmatch(number) else number


@dataclass(frozen=True, slots=True)
class Ticker:
    """Where a row has the parts of a Quote; the exchange does not give those whose path is left out.

    `digits` converts an amount as it is sent to plain digits, `read_time` a time stamp to milliseconds.
    """

    price: Path = ()
    bid: Path = ()
    ask: Path = ()
    volume: Path = ()
    high: Path = ()
    low: Path = ()
    open: Path = ()
    time: Path = ()
    digits: Callable[[str], str] = str
    read_time: Callable[[str], int | None] = milliseconds

    def quote(self, pair: Pair, row: Any, source: str, time_ms: int | None, fetched_at_ms: int) -> Quote:
        """The quote in a row, with the reply's `time_ms` for rows without a time; raises InvalidQuote."""
        return Quote(
            pair=pair,
            price=self.digits(text(row, self.price)),
            bid=self._amount(row, self.bid),
            ask=self._amount(row, self.ask),
            volume_24h=self._amount(row, self.volume, VOLUMES),
            high_24h=self._amount(row, self.high),
            low_24h=self._amount(row, self.low),
            open_24h=self._amount(row, self.open),
            source=source,
            source_time_ms=self.read_time(said(row, self.time)) if self.time else time_ms,
            fetched_at_ms=fetched_at_ms,
        )

    def book(self, row: Any) -> tuple[str | None, str | None]:
        """Best bid and best ask, None where that side is empty; raises InvalidQuote where they cross."""
        bid, ask = self._amount(row, self.bid), self._amount(row, self.ask)
        if bid is not None and ask is not None and is_above(bid, ask):
            raise InvalidQuote(f"bid {bid} is above ask {ask}")
        return bid, ask

    def day(self, row: Any) -> Day:
        """The figures of the last 24 hours: volume, highest, lowest and first price."""
        prices = self._amount(row, self.high), self._amount(row, self.low), self._amount(row, self.open)
        return Day(self._amount(row, self.volume, VOLUMES), *prices)

    def _amount(self, row: Any, path: Path, limits: Within = PRICES) -> str | None:
        """The amount at a path, or None if there is no valid one; some exchanges write zero for none.

        The rest of a ticker is useful without it, so this is not an error.
        """
        amount = self.digits(said(row, path)) if path else ""
        return None if limits.why_not(amount) else amount
