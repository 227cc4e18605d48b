"""What one source says about a pair at one moment, as the digits it would send."""

from dataclasses import dataclass
from decimal import Decimal

from fastprice.domain.quote import Pair
from fastprice.market.walk import dollars

SPREAD = Decimal("0.00002")
TURNOVER_DOLLARS = Decimal(128_000_000)
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Tick:
    """One pair's 24 hours at one source: amounts as decimal strings, time in wall milliseconds."""

    pair: Pair
    price: str
    bid: str
    ask: str
    open: str
    high: str
    low: str
    change: str
    percent: str
    volume: str
    turnover: str
    time_ms: int


def places(amount: Decimal) -> int:
    """Decimals that show an amount to six digits, never fewer than two: 3120.45, 152.400, 0.0000243000."""
    return max(2, 5 - amount.adjusted())


def plain(amount: Decimal, decimals: int) -> str:
    """An amount without exponent."""
    return f"{amount:.{decimals}f}"


def make_tick(pair: Pair, mid: Decimal, opening: Decimal, padded: int, time_ms: int) -> Tick:
    """The tick around a price; an exchange that always shows `padded` decimals gets zeros at the end."""
    shown = max(padded, places(mid))
    unit = Decimal(1).scaleb(-places(mid))
    price = mid.quantize(unit)
    half = max(unit, (mid * SPREAD).quantize(unit))
    volume = TURNOVER_DOLLARS / dollars(pair.base)
    return Tick(
        pair=pair,
        price=plain(price, shown),
        bid=plain(price - half, shown),
        ask=plain(price + half, shown),
        open=plain(opening, shown),
        high=plain(max(mid, opening) * Decimal("1.01"), shown),
        low=plain(min(mid, opening) * Decimal("0.99"), shown),
        change=plain(price - opening, shown),
        percent=plain((price / opening - 1) * 100, 3),
        volume=plain(volume, 8),
        turnover=plain(volume * price, 8),
        time_ms=time_ms,
    )
