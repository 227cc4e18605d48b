"""A pair and its quote: the invariants that every quote satisfies from its creation on, and the limits of age."""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from typing import NamedTuple

from fastprice.domain.errors import InvalidQuote

MAX_DIGITS = 40


class Within:
    """The limits of an amount."""

    def __init__(self, least: str, most: str) -> None:
        self.least, self.most = Decimal(least), Decimal(most)
        # Between these, a float proves in spite of its rounding that an amount is within the limits.
        self._low, self._high = float(least) * 1.001, float(most) * 0.999

    def why_not(self, text: str) -> str:
        """Why a text is no plain decimal number within the limits; empty if it is one."""
        if len(text) > MAX_DIGITS or not _DECIMAL.fullmatch(text):
            return f"{text[:MAX_DIGITS]!r} is not a plain decimal number"
        # Making a Decimal takes as long as all the rest, so it is done only for numbers near or beyond the limits.
        if not self._low < float(text) < self._high and not self.least <= Decimal(text) <= self.most:
            return f"{text} is out of range"
        return ""


PRICES = Within("1e-18", "1e15")
# The source of a price that no single exchange gave.
MEDIAN = "median"
VOLUMES = Within("0", "1e24")
SPREADS = Within("0", "1e33")
# 2009-01-03, the first bitcoin block, to 2100: a stamp outside is in another unit than milliseconds.
MIN_TIME_MS, MAX_TIME_MS = 1_230_940_800_000, 4_102_444_800_000
# How far ahead of this machine's clock another one may run before its stamps are not believed.
MAX_SKEW_MS = 2_000

_DECIMAL = re.compile(r"(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII)
_PAIR = re.compile(r"([a-z0-9]{1,15})-([a-z0-9]{1,15})", re.ASCII)


class Freshness(StrEnum):
    """What may be done with a price of some age: serve it, serve it marked, or not serve it."""

    FRESH = "fresh"
    STALE = "stale"
    EXPIRED = "expired"


class SourceTime(Enum):
    """What a source's own time stamp means, and so what may be concluded from it."""

    PRICE = "when the price was made: must not run backwards nor lag"
    TRADE = "when the last trade was: must not run backwards, may lag while nobody trades"
    REPLY = "when the reply was written: proves nothing about the price"
    NONE = "the source gives none"


@dataclass(frozen=True, slots=True)
class AgeLimits:
    """Ages in milliseconds: fresh up to and including `fresh_ms`, stale up to `stale_ms`, expired beyond."""

    fresh_ms: int
    stale_ms: int


class Pair(NamedTuple):
    """A base and the quote currency it is priced in, both upper case: `Pair("ETH", "USDT")`.

    It is the key of most look-ups, some twenty for each message of a stream, and a tuple is hashed fastest.
    """

    base: str
    quote: str

    @classmethod
    def parse(cls, slug: str) -> "Pair":
        """Read `eth-usdt`; ValueError on anything else."""
        match = _PAIR.fullmatch(slug)
        if match is None:
            raise ValueError(f"{slug!r} is not a pair like eth-usdt")
        return cls(match[1].upper(), match[2].upper())

    @property
    def symbol(self) -> str:
        return f"{self.base}-{self.quote}"

    @property
    def slug(self) -> str:
        return self.symbol.lower()


@dataclass(frozen=True, slots=True)
class Agreement:
    """The sources of a median, by how large a share the highest price exceeds the lowest, and when it was made.

    `spread` is a plain decimal string. Raises InvalidQuote.
    """

    sources: tuple[str, ...]
    spread: str
    made_at_ms: int

    def __post_init__(self) -> None:
        check_amount("spread", self.spread, SPREADS)
        if not self.sources or not MIN_TIME_MS <= self.made_at_ms <= MAX_TIME_MS:
            raise InvalidQuote("an agreement needs sources and a time in milliseconds")


@dataclass(frozen=True, slots=True)
class Quote:
    """One price of one pair as one source gave it, or the median of what several gave.

    Amounts are plain decimal strings, digit for digit the exchange's own: no sign, no exponent. `price` is the last
    trade; `volume_24h` is in base, `high_24h`, `low_24h` and `open_24h` are of the last 24 hours. All but the price
    are None where the exchange gives none. Age is counted from `fetched_at_ms`, when the exchange answered us, in
    every tier; a median is as old as the oldest price in it. Raises InvalidQuote.
    """

    pair: Pair
    price: str
    bid: str | None
    ask: str | None
    volume_24h: str | None
    high_24h: str | None
    low_24h: str | None
    open_24h: str | None
    source: str
    source_time_ms: int | None
    fetched_at_ms: int
    agreement: Agreement | None = None

    def __post_init__(self) -> None:
        check_amount("price", self.price, PRICES)
        # Written without a loop, because it is done for every message of a stream.
        if self.bid is not None:
            check_amount("bid", self.bid, PRICES)
        if self.ask is not None:
            check_amount("ask", self.ask, PRICES)
        if self.volume_24h is not None:
            check_amount("volume", self.volume_24h, VOLUMES)
        if self.high_24h is not None:
            check_amount("high", self.high_24h, PRICES)
        if self.low_24h is not None:
            check_amount("low", self.low_24h, PRICES)
        if self.open_24h is not None:
            check_amount("open", self.open_24h, PRICES)
        if self.bid is not None and self.ask is not None and is_above(self.bid, self.ask):
            raise InvalidQuote(f"bid {self.bid} is above ask {self.ask}")
        for stamp in self.source_time_ms, self.fetched_at_ms:
            if stamp is not None and not MIN_TIME_MS <= stamp <= MAX_TIME_MS:
                raise InvalidQuote(f"{stamp} is not a time in milliseconds")

    @property
    def made_at_ms(self) -> int:
        """When this price was made; quotes are ordered by it, or a slow source would make newer medians look old."""
        return self.agreement.made_at_ms if self.agreement else self.fetched_at_ms

    def age_ms(self, now_ms: int) -> int:
        """Milliseconds since the exchange answered; 0 if this clock is slightly behind the fetcher's."""
        return max(0, now_ms - self.fetched_at_ms)

    def is_from_future(self, now_ms: int) -> bool:
        """Whether the stamp is further ahead than clocks may differ: its clock or ours was stepped."""
        return self.made_at_ms > now_ms + MAX_SKEW_MS

    def replaces(self, held: "Quote | None", now_ms: int) -> bool:
        """Whether this quote may take the place of `held`: newer, or `held` is from before the clock was set back."""
        if held is None or held.is_from_future(now_ms):
            return True
        return self.made_at_ms > held.made_at_ms

    def deviation(self, other: "Quote") -> float:
        """The share by which this price is above another one; negative if it is below."""
        return float(Decimal(self.price) / Decimal(other.price) - 1)


def check_amount(name: str, text: str, limits: Within) -> None:
    """Raise InvalidQuote, with `name` in its text, unless `text` is a plain decimal string within `limits`."""
    if reason := limits.why_not(text):
        raise InvalidQuote(f"{name} {reason}")


def is_above(bid: str, ask: str) -> bool:
    """Whether one amount exceeds another one; both are plain decimal strings."""
    # Rounding to a float may make two amounts equal, but never swaps them.
    return float(bid) >= float(ask) and Decimal(bid) > Decimal(ask)
