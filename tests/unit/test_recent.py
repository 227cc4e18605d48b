"""The last minutes of every pair: one price per second, digit for digit, in a table that never grows."""

import tracemalloc
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprice.application.latest_price import LatestPrice, Snapshot
from fastprice.application.recent import MAX_BYTES, MAX_SECONDS, Point, RecentPrices, packed, unpacked
from fastprice.domain.quote import AgeLimits, Pair
from tests.fakes import BTC, ETH, START_MS, FakeClock, a_quote

LIMITS = AgeLimits(5_000, 60_000)


class World:
    """The latest prices of some pairs, and the records made of them."""

    def __init__(self, *pairs: Pair) -> None:
        self.clock = FakeClock()
        self.latest = LatestPrice(pairs, LIMITS, Snapshot, self.clock)
        self.recent = RecentPrices(self.latest, self.clock)

    def price(self, price: str, pair: Pair = ETH, age_ms: int = 0) -> bool:
        return self.latest.offer(a_quote(price, self.clock.wall_ms() - age_ms, pair=pair))

    def prices(self, pair: Pair = ETH) -> list[str]:
        return [point.price for point in self.recent.points(pair)]


@pytest.fixture
def world() -> World:
    return World(ETH, BTC)


def test_each_second_has_its_last_price_and_one_without_a_newer_price_has_none(world: World) -> None:
    for seconds, price in (0.0, "1.10"), (0.4, "1.20"), (0.5, "1.30"), (1.2, "1.40"), (2.0, "1.50"):
        world.clock.now += seconds
        world.price(price)
    assert world.recent.points(ETH) == [
        Point(START_MS, "1.30"), Point(START_MS + 2000, "1.40"), Point(START_MS + 4000, "1.50"),
    ]  # fmt: skip
    assert world.recent.points(BTC) == []


def test_a_price_counts_for_the_second_in_which_it_was_made(world: World) -> None:
    world.clock.now += 10
    world.price("7", BTC)
    world.price("5", age_ms=4_300)
    assert world.recent.points(ETH) == [Point(START_MS + 5_000, "5")]


def test_what_is_older_than_the_table_is_gone_also_when_nothing_comes(world: World) -> None:
    for number in range(MAX_SECONDS + 50):
        world.price(str(number + 1))
        world.clock.now += 1
    assert world.prices() == [str(number + 1) for number in range(51, MAX_SECONDS + 50)]
    world.clock.now += MAX_SECONDS / 2
    world.price("9", BTC)
    assert len(world.prices()) == MAX_SECONDS // 2 - 1
    world.clock.now += MAX_SECONDS
    assert world.prices() == []
    world.price("8")
    assert world.prices() == ["8"], "a long pause leaves nothing of the laps before it"


def test_an_older_price_than_the_table_reaches_is_left_out() -> None:
    world = World(ETH)
    world.latest = LatestPrice((ETH,), AgeLimits(5_000, 86_400_000), Snapshot, world.clock)
    world.recent = RecentPrices(world.latest, world.clock)
    assert world.price("5", age_ms=3_600_000) and world.prices() == []
    assert world.price("6", age_ms=3_000) and world.prices() == ["6"]


def test_a_clock_that_is_set_back_takes_the_future_away(world: World) -> None:
    world.price("1")
    world.clock.step_wall(-100)
    assert world.prices() == []
    world.price("2")
    assert world.prices() == ["2"]
    world.clock.step_wall(100_000)
    world.price("3")
    assert world.prices() == ["3"]


def test_a_price_of_a_clock_that_is_slightly_ahead_is_kept(world: World) -> None:
    world.price("1")
    assert world.price("2", age_ms=-1_900)
    world.clock.now += 1
    world.price("4", BTC)
    assert world.prices() == ["1", "2"]


@given(st.integers(1, 10**17 - 1), st.integers(0, 18))
def test_a_price_comes_out_digit_for_digit(digits: int, places: int) -> None:
    price = f"{Decimal(digits).scaleb(-places):f}"
    assert unpacked(packed(price)) == price


@pytest.mark.parametrize(
    ("price", "kept"),
    [
        ("3050.00", "3050.00"), ("0.0000243", "0.0000243"), ("0.000000000000000001", "0.000000000000000001"),
        ("1", "1"), ("999999999999999", "999999999999999"), ("0.10", "0.10"), ("12345678901234.5678901", "12345678901234.567"),
        ("0.00000000000000123456789", "0.00000000000000123456789"), ("0.0000000000000000000000000000012345", "0.0000000000000000000000000000012"), ("1000000000000000", "1000000000000000"),
    ],
)  # fmt: skip
def test_a_price_of_more_digits_than_fit_is_cut_and_never_changed(price: str, kept: str) -> None:
    assert unpacked(packed(price)) == kept


@pytest.mark.parametrize("pairs", [1, 12, 430, 500, 3_000])
def test_all_that_a_worker_keeps_fits_into_a_mebibyte(pairs: int) -> None:
    clock, known = FakeClock(), [Pair(f"P{number}", "USDT") for number in range(pairs)]
    latest = LatestPrice(known, LIMITS, Snapshot, clock)
    quotes = [a_quote("61234.567890", pair=pair) for pair in known]
    tracemalloc.start()
    try:
        recent = RecentPrices(latest, clock)
        for _ in range(3):
            for place, quote in zip(latest.by_slug.values(), quotes, strict=True):
                place.put(Snapshot(replace(quote, fetched_at_ms=clock.wall_ms()), 0, 0, 0))
                recent.record(place)
                place.snapshot = None
            clock.now += recent.seconds / 2
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used <= MAX_BYTES
    assert recent.seconds == MAX_SECONDS if pairs <= 400 else recent.seconds >= min(240, MAX_BYTES // pairs // 16)
