"""The median of decimals, digit for digit, and which of several quotes form a majority."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprice.application.agreement import majority, median, median_quote, near_the_median
from fastprice.domain.quote import MAX_DIGITS, MEDIAN, PRICES
from tests.fakes import START_MS, a_quote

# Amounts, and their median.
MEDIANS = [
    (["3120.45"], "3120.45"),
    (["3", "1", "2.50"], "2.50"),
    (["3120.44", "3120.46"], "3120.45"),
    (["3120.44", "3120.45"], "3120.44"),
    (["3120.4", "3120.45"], "3120.42"),
    (["1", "2.00", "3.000", "4"], "2.500"),
    (["1.0", "1.00"], "1.00"),
    (["9", "10"], "10"),
    (["0.00001234", "0.00001236"], "0.00001235"),
    (["123456789012345.123456789", "123456789012345.123456787"], "123456789012345.123456788"),
]

AMOUNTS = st.decimals(PRICES.least, PRICES.most, allow_nan=False).map(lambda amount: f"{amount:f}"[:MAX_DIGITS].rstrip(".")).filter(
    lambda text: PRICES.least <= Decimal(text) <= PRICES.most
)


@pytest.mark.parametrize(("amounts", "middle"), MEDIANS)
def test_the_median_has_the_digits_of_the_finer_one(amounts: list[str], middle: str) -> None:
    assert median(amounts) == median(amounts[::-1]) == middle


@given(st.lists(AMOUNTS, min_size=1, max_size=9))
def test_a_median_is_never_off_by_more_than_half_a_last_digit_and_is_always_an_amount(amounts: list[str]) -> None:
    text = median(amounts)
    ordered = sorted(map(Fraction, amounts))
    true = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    assert abs(Fraction(text) - true) <= Fraction(1, 2 * 10 ** len(text.partition(".")[2]))
    assert a_quote(text).price == text


@given(st.lists(st.tuples(AMOUNTS, AMOUNTS).map(lambda two: sorted(two, key=Decimal)), min_size=1, max_size=8))
def test_the_medians_of_bids_and_asks_never_cross(sides: list[list[str]]) -> None:
    bid, ask = median([bid for bid, _ in sides], ROUND_FLOOR), median([ask for _, ask in sides], ROUND_CEILING)
    assert Decimal(bid) <= Decimal(ask)


def test_within_a_share_of_the_median_is_inclusive() -> None:
    voices = [a_quote(price, source=price) for price in ("100", "100.5", "99.5", "100.51", "98")]
    assert [quote.price for quote in near_the_median(voices, 0.005)] == ["100", "100.5", "99.5"]


@pytest.mark.parametrize(("prices", "right"), [
    (["100", "100.1", "104"], ["100", "100.1"]),
    (["100", "104"], []),
    (["100", "100.2"], ["100", "100.2"]),
    (["100", "100.1", "104", "104.1"], []),
    (["100", "100.1", "100.2", "104", "104.1"], ["100", "100.1", "100.2"]),
])
def test_a_majority_is_more_than_half(prices: list[str], right: list[str]) -> None:
    assert [quote.price for quote in majority([a_quote(price, source=price) for price in prices], 0.005)] == right


def test_a_median_quote_says_whose_prices_it_is_made_of_and_invents_nothing() -> None:
    made = median_quote([
        a_quote("100", START_MS + 5, "okx", bid="99", ask="101", volume_24h="7", source_time_ms=START_MS, high_24h="120"),
        a_quote("102.0", START_MS + 3, "kraken", bid="101.5"),
        a_quote("101", START_MS + 9, "gate", bid="100", ask="102"),
    ], START_MS + 20)
    assert (made.price, made.bid, made.ask, made.source) == ("101", "99", "102", MEDIAN)
    assert (made.volume_24h, made.high_24h, made.low_24h, made.open_24h, made.source_time_ms) == (None,) * 5
    assert (made.fetched_at_ms, made.made_at_ms) == (START_MS + 3, START_MS + 20)
    assert made.agreement and made.agreement.sources == ("okx", "kraken", "gate")
    assert made.agreement.spread == "0.020000"


def test_a_newer_median_replaces_an_older_one_though_a_slow_source_makes_it_look_old() -> None:
    first = median_quote([a_quote("100", START_MS + 5), a_quote("100", START_MS + 6)], START_MS + 20)
    second = median_quote([a_quote("100", START_MS), a_quote("100", START_MS + 25)], START_MS + 30)
    assert second.replaces(first, START_MS + 30) and not first.replaces(second, START_MS + 30)
    assert second.age_ms(START_MS + 30) == 30, "it is as old as the oldest price in it"
