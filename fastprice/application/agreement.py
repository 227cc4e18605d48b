"""What several sources say about one pair at the same time: the majority and the median of their quotes."""

from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal

from fastprice.domain.quote import MAX_DIGITS, MEDIAN, Agreement, Quote

# Sums and quotients of amounts with MAX_DIGITS digits keep all of their digits.
_EXACT = Context(prec=2 * MAX_DIGITS + 20)
_SPREAD_DIGITS = Decimal("1e-6")


def median(amounts: Sequence[str], rounding: str = ROUND_HALF_EVEN) -> str:
    """The middle amount, digit for digit; of an even number, the mean of the middle two in the finer one's precision.

    `rounding` is one of the decimal module's modes.
    """
    ordered = sorted(amounts, key=Decimal)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    if low == high:
        return low
    mean = _EXACT.divide(_EXACT.add(Decimal(low), Decimal(high)), Decimal(2))
    finest = max(len(low.partition(".")[2]), len(high.partition(".")[2]))
    # A mean may have one digit more before its decimal point than the lower one of the two.
    places = min(finest, max(0, MAX_DIGITS - 2 - mean.adjusted()))
    return f"{mean.quantize(Decimal(1).scaleb(-places), rounding, _EXACT):f}"


def near_the_median(quotes: Sequence[Quote], share: float) -> list[Quote]:
    """The quotes whose prices are within a share of the median of all."""
    middle = Decimal(median([quote.price for quote in quotes]))
    reach = middle * Decimal(str(share))
    return [quote for quote in quotes if abs(Decimal(quote.price) - middle) <= reach]


def majority(quotes: Sequence[Quote], share: float) -> list[Quote]:
    """The quotes near the median, if they are more than half; otherwise none, because nobody knows which are right."""
    near = near_the_median(quotes, share)
    return near if 2 * len(near) > len(quotes) else []


def median_quote(quotes: Sequence[Quote], made_at_ms: int) -> Quote:
    """The median of quotes of one pair, which come in the order in which their sources are to be named.

    Bid and ask are the medians of the sources that give both. They are rounded away from each other, so that they
    cannot cross.
    """
    prices = [quote.price for quote in quotes]
    sides = [(quote.bid, quote.ask) for quote in quotes if quote.bid is not None and quote.ask is not None]
    lowest, highest = min(map(Decimal, prices)), max(map(Decimal, prices))
    spread = (highest / lowest - 1).quantize(_SPREAD_DIGITS, context=_EXACT)
    return Quote(
        pair=quotes[0].pair,
        price=median(prices),
        bid=median([bid for bid, _ in sides], ROUND_FLOOR) if sides else None,
        ask=median([ask for _, ask in sides], ROUND_CEILING) if sides else None,
        volume_24h=None,
        high_24h=None,
        low_24h=None,
        open_24h=None,
        source=MEDIAN,
        source_time_ms=None,
        fetched_at_ms=min(quote.fetched_at_ms for quote in quotes),
        agreement=Agreement(tuple(quote.source for quote in quotes), f"{spread:f}", made_at_ms),
    )
