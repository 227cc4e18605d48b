"""A pair and its quote: the invariants every quote satisfies from birth, and the limits of age."""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, StrEnum
from functools import lru_cache

from fastprice.domain.errors import InvalidQuote

MAX_DIGITS = 40
PRICES = Decimal("1e-18"), Decimal("1e15")
# The source of a price that no single exchange gave.
MEDIAN = "median"
VOLUMES = Decimal(0), Decimal("1e24")
SPREADS = Decimal(0), Decimal("1e33")
# 2009-01-03, the first bitcoin block, to 2100: outside it a stamp is in another unit than milliseconds.
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


@dataclass(frozen=True, slots=True)
class Pair:
    """A base and the quote currency it is priced in, both upper case: `Pair("ETH", "USDT")`."""

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
    """Whose prices a median was made of, by how large a share the highest exceeds the lowest, and when it was made.

    `spread` is a plain decimal string. Raises InvalidQuote.
    """

    sources: tuple[str, ...]
    spread: str
    made_at_ms: int

    def __post_init__(self) -> None:
        read_amount("spread", self.spread, SPREADS)
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
        read_amount("price", self.price, PRICES)
        bid = None if self.bid is None else read_amount("bid", self.bid, PRICES)
        ask = None if self.ask is None else read_amount("ask", self.ask, PRICES)
        if self.volume_24h is not None:
            read_amount("volume", self.volume_24h, VOLUMES)
        for name, text in ("high", self.high_24h), ("low", self.low_24h), ("open", self.open_24h):
            if text is not None:
                read_amount(name, text, PRICES)
        if bid is not None and ask is not None and bid > ask:
            raise InvalidQuote(f"bid {self.bid} is above ask {self.ask}")
        for name, stamp in ("source time", self.source_time_ms), ("fetch time", self.fetched_at_ms):
            if stamp is not None and not MIN_TIME_MS <= stamp <= MAX_TIME_MS:
                raise InvalidQuote(f"{name} {stamp} is not a time in milliseconds")

    @property
    def made_at_ms(self) -> int:
        """When this price came to be: quotes are ordered by it, or a slow source would make newer medians look old."""
        return self.agreement.made_at_ms if self.agreement else self.fetched_at_ms

    def age_ms(self, now_ms: int) -> int:
        """Milliseconds since the exchange answered; a clock slightly behind the fetcher's counts as none."""
        return max(0, now_ms - self.fetched_at_ms)

    def is_from_future(self, now_ms: int) -> bool:
        """Whether the stamp lies further ahead than clocks differ: its clock or ours was stepped."""
        return self.made_at_ms > now_ms + MAX_SKEW_MS

    def replaces(self, held: "Quote | None", now_ms: int) -> bool:
        """Whether this quote may take the place of `held`: newer, or `held` is from before the clock was set back."""
        if held is None or held.is_from_future(now_ms):
            return True
        return self.made_at_ms > held.made_at_ms

    def deviation(self, other: "Quote") -> float:
        """The share by which this price is above another one, or, below zero, under it."""
        return float(Decimal(self.price) / Decimal(other.price) - 1)


def read_amount(name: str, text: str, limits: tuple[Decimal, Decimal]) -> Decimal:
    """The value of a plain decimal string within `limits`; InvalidQuote, with `name` in its text, on any other."""
    try:
        return _amount(text, limits)
    except ValueError as error:
        raise InvalidQuote(f"{name} {error}") from None


# What a source says is read when it comes and when it becomes a Quote, and much of it is the same as before.
@lru_cache(maxsize=256)
def _amount(text: str, limits: tuple[Decimal, Decimal]) -> Decimal:
    if len(text) > MAX_DIGITS or not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:MAX_DIGITS]!r} is not a plain decimal number")
    amount, (least, most) = Decimal(text), limits
    if not least <= amount <= most:
        raise ValueError(f"{text} is out of range")
    return amount
