"""What one source says about a pair at one moment, as the digits it would send."""

import math
from dataclasses import dataclass
from enum import StrEnum

from fastprice.domain.quote import Pair
from fastprice.market.walk import dollars

SPREAD = 0.00002
TURNOVER_DOLLARS = 128_000_000
DAY_MS = 86_400_000


class Status(StrEnum):
    """How a source treats a pair: `halted` keeps its last price, `delisted` was traded, `unlisted` never was."""

    TRADING = "trading"
    HALTED = "halted"
    DELISTED = "delisted"
    UNLISTED = "unlisted"


@dataclass(frozen=True, slots=True)
class Tick:
    """One pair's 24 hours at one source: amounts as decimal strings, time in wall milliseconds.

    Where nobody trades, `bid` and `ask` are the source's empty value. `day_open` is the first price of a calendar day,
    which some sources send beside or in place of the price 24 hours ago.
    """

    pair: Pair
    price: str
    bid: str | None
    ask: str | None
    open: str
    day_open: str
    high: str
    low: str
    change: str
    percent: str
    volume: str
    turnover: str
    time_ms: int
    status: Status = Status.TRADING


def places(amount: float) -> int:
    """Decimals that show an amount to six digits, never fewer than two: 3120.45, 152.400, 0.0000243000."""
    return max(2, 5 - math.floor(math.log10(amount)))


def plain(amount: float, decimals: int) -> str:
    """An amount without exponent."""
    return f"{amount:.{decimals}f}"


def make_tick(pair: Pair, mid: float, opened: float, padded: int, time_ms: int) -> Tick:
    """The tick around a price; an exchange that always shows `padded` decimals gets zeros at the end."""
    digits = places(mid)
    zeros = "0" * (padded - digits)

    def shown(amount: float) -> str:
        return f"{amount:.{digits}f}{zeros}"

    price = round(mid, digits)
    half = max(10.0**-digits, round(price * SPREAD, digits))
    volume = TURNOVER_DOLLARS / dollars(pair.base)
    return Tick(
        pair=pair,
        price=shown(price),
        bid=shown(price - half),
        ask=shown(price + half),
        open=shown(opened),
        day_open=shown((opened + price) / 2),
        high=shown(max(price, opened) * 1.01),
        low=shown(min(price, opened) * 0.99),
        change=shown(price - opened),
        percent=plain((price / opened - 1) * 100, 3),
        volume=plain(volume, 8),
        turnover=plain(volume * price, 8),
        time_ms=time_ms,
    )
