"""What a pair and a quote are, what they refuse, and how old a quote is."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprice.domain.errors import InvalidQuote
from fastprice.domain.quote import MAX_SKEW_MS, MAX_TIME_MS, MIN_TIME_MS, Pair, Quote
from tests.fakes import BTC, START_MS, a_quote

HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("slug", "base", "quote"),
    [("eth-usdt", "ETH", "USDT"), ("a-b", "A", "B"), ("1inch-usdc", "1INCH", "USDC"), ("x" * 15 + "-y", "X" * 15, "Y")],
)
def test_a_pair_is_read_from_its_slug_and_written_back_as_it(slug: str, base: str, quote: str) -> None:
    pair = Pair.parse(slug)
    assert (pair.base, pair.quote, pair.slug, pair.symbol) == (base, quote, slug, f"{base}-{quote}")


@pytest.mark.parametrize(
    "slug",
    ["", "-", "eth", "eth-", "-usdt", "ETH-USDT", "Eth-usdt", "eth_usdt", "eth/usdt", "ethusdt", "eth-usdt-", "a-b-c",
     " eth-usdt", "eth-usdt\n", "eth-us dt", "x" * 16 + "-y", "eth-uſdt", "eth-usd٣", "eth\x00-usdt", "../-etc"],
    ids=repr,
)
def test_anything_else_is_no_pair(slug: str) -> None:
    with pytest.raises(ValueError, match="is not a pair like eth-usdt"):
        Pair.parse(slug)


def with_amount(name: str, text: str) -> dict[str, Any]:
    return {name: text}


NO_AMOUNT = [
    "", " ", "+1", "-1", "1e3", "1E3", ".5", "5.", "01", "00", "00.1", "1,5", "1_000", "0x1f", "NaN", "nan", "inf",
    "Infinity", "1 ", " 1", "1\n", "1.2.3", "١", "1.٢", "１", "--1", "1/2", "null", "1" * 41, "0." + "1" * 39, "½",
]


@pytest.mark.parametrize("name", ["price", "bid", "ask", "volume_24h"])
@pytest.mark.parametrize("text", NO_AMOUNT, ids=ascii)
def test_what_is_no_plain_decimal_is_no_amount(name: str, text: str) -> None:
    with pytest.raises(InvalidQuote, match="is not a plain decimal number"):
        a_quote(**with_amount(name, text))


LIMITS = [
    ("price", "0.000000000000000001", True), ("price", "0.0000000000000000009", False), ("price", "0", False),
    ("price", "0.0", False), ("price", "1000000000000000", True), ("price", "1000000000000000.1", False),
    ("bid", "0", False), ("ask", "0", False), ("ask", "1000000000000001", False),
    ("volume_24h", "0", True), ("volume_24h", "0.000", True), ("volume_24h", "1" + "0" * 24, True),
    ("volume_24h", "1" + "0" * 24 + ".1", False),
]


@pytest.mark.parametrize(("name", "text", "accepted"), LIMITS)
def test_an_amount_is_within_sane_magnitude(name: str, text: str, accepted: bool) -> None:
    if accepted:
        assert getattr(a_quote(**with_amount(name, text)), name) == text
    else:
        with pytest.raises(InvalidQuote, match="is out of range"):
            a_quote(**with_amount(name, text))


@pytest.mark.parametrize(
    ("bid", "ask", "accepted"),
    [("1", "2", True), ("2", "2", True), ("2", "2.00", True), ("2.01", "2", False), ("10", "9", False),
     ("9", "10", True), (None, "1", True), ("1", None, True), (None, None, True),
     ("0.10000000000000000002", "0.10000000000000000001", False),
     ("0.10000000000000000001", "0.10000000000000000002", True)],
)
def test_a_bid_is_never_above_the_ask(bid: str | None, ask: str | None, accepted: bool) -> None:
    if accepted:
        assert (a_quote(bid=bid, ask=ask).bid, a_quote(bid=bid, ask=ask).ask) == (bid, ask)
    else:
        with pytest.raises(InvalidQuote, match="is above ask"):
            a_quote(bid=bid, ask=ask)


STAMPS = [(MIN_TIME_MS, True), (MIN_TIME_MS - 1, False), (MAX_TIME_MS, True), (MAX_TIME_MS + 1, False),
          (0, False), (-1, False), (START_MS // 1000, False), (START_MS * 1000, False)]


@pytest.mark.parametrize(("stamp", "accepted"), STAMPS)
@pytest.mark.parametrize("name", ["source_time_ms", "at_ms"])
def test_a_stamp_is_a_time_in_milliseconds(name: str, stamp: int, accepted: bool) -> None:
    values: dict[str, Any] = {name: stamp}
    if accepted:
        a_quote(**values)
    else:
        with pytest.raises(InvalidQuote, match="is not a time in milliseconds"):
            a_quote(**values)


def test_a_quote_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        a_quote().price = "1"  # type: ignore[misc]


amounts = st.from_regex(r"(?:0|[1-9][0-9]{0,14})(?:\.[0-9]{1,18})?", fullmatch=True)


@given(amounts)
def test_an_accepted_amount_is_kept_digit_for_digit(text: str) -> None:
    try:
        quote = a_quote(text, volume_24h=text)
    except InvalidQuote:
        assert Decimal(text) < Decimal("1e-18")
    else:
        assert quote.price is text and quote.volume_24h is text


@given(st.text(max_size=50))
def test_a_text_is_a_sane_amount_or_refused(text: str) -> None:
    try:
        price = Decimal(a_quote(text).price)
    except InvalidQuote:
        return
    assert price.is_finite() and price > 0 and text.isascii() and set(text) <= set("0123456789.")


@pytest.mark.parametrize(("later_ms", "age"), [(0, 0), (1, 1), (HOUR_MS, HOUR_MS), (-1, 0), (-HOUR_MS, 0)])
def test_age_is_counted_from_the_fetch_and_never_negative(later_ms: int, age: int) -> None:
    assert a_quote(source_time_ms=START_MS - 9_999).age_ms(START_MS + later_ms) == age


@pytest.mark.parametrize(("ahead_ms", "future"), [(-1, False), (0, False), (MAX_SKEW_MS, False), (MAX_SKEW_MS + 1, True)])
def test_a_stamp_further_ahead_than_clocks_differ_is_from_the_future(ahead_ms: int, future: bool) -> None:
    assert a_quote(at_ms=START_MS + ahead_ms).is_from_future(START_MS) is future


# The offsets of the new and the held quote from now, and whether the new one replaces the held one.
REPLACES = [
    (0, -1, True), (0, 0, False), (-1, 0, False), (MAX_SKEW_MS, 0, True), (-5_000, -4_999, False),
    (0, MAX_SKEW_MS, False), (0, MAX_SKEW_MS + 1, True), (0, HOUR_MS, True), (-10_000, HOUR_MS, True),
    (HOUR_MS + 1, HOUR_MS, True),
]


@pytest.mark.parametrize(("new_ms", "held_ms", "replaced"), REPLACES)
def test_a_quote_replaces_an_older_one_or_one_from_before_the_clock_was_set_back(
    new_ms: int, held_ms: int, replaced: bool
) -> None:
    new, held = a_quote(at_ms=START_MS + new_ms), a_quote(at_ms=START_MS + held_ms)
    assert new.replaces(held, START_MS) is replaced


def test_any_quote_replaces_none() -> None:
    assert a_quote(at_ms=START_MS - HOUR_MS).replaces(None, START_MS) is True


@pytest.mark.parametrize(
    ("price", "other", "share"),
    [("100", "100", 0.0), ("105", "100", 0.05), ("95", "100", -0.05), ("100.0", "100", 0.0), ("200", "100", 1.0),
     ("0.00000001", "0.00000002", -0.5), ("3120.45", "3000.00", 0.04015)],
)
def test_deviation_is_the_exact_share_of_the_other_price(price: str, other: str, share: float) -> None:
    assert a_quote(price).deviation(a_quote(other, pair=BTC)) == share


def test_the_fields_of_a_quote_are_the_ones_that_travel() -> None:
    assert list(Quote.__dataclass_fields__) == [
        "pair", "price", "bid", "ask", "volume_24h", "high_24h", "low_24h", "open_24h", "source", "source_time_ms",
        "fetched_at_ms", "agreement",
    ]
