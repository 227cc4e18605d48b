"""What one worker serves: how old it is, when it is replaced, and whom it wakes."""

import asyncio
from typing import Any

import pytest

from fastprice.application.latest_price import LatestPrice, Snapshot
from fastprice.domain.quote import MAX_SKEW_MS, AgeLimits, Freshness
from tests.fakes import BTC, ETH, START_MS, FakeClock, SlowClock, a_quote, settle

pytestmark = pytest.mark.anyio

HOUR = 3_600
FRESH, STALE = 5.0, 60.0


@pytest.fixture
def latest(clock: FakeClock) -> LatestPrice[Snapshot]:
    limits = AgeLimits(fresh_ms=round(FRESH * 1000), stale_ms=round(STALE * 1000))
    return LatestPrice((ETH, BTC), limits, Snapshot, clock)


def price(latest: LatestPrice[Any]) -> str | None:
    """The price that may be served."""
    quote = latest.held(ETH)
    return quote.price if quote else None


def test_before_the_first_price_there_is_nothing(latest: LatestPrice[Snapshot]) -> None:
    assert (latest.held(ETH), latest.freshness(ETH), latest.age_ms(ETH), latest.everything_held()) == (None, None, None, [])
    assert [place.snapshot for place in latest.by_slug.values()] == [None, None]


def test_a_quote_that_is_taken_is_at_once_the_one_in_its_place_and_makes_one_snapshot(clock: FakeClock) -> None:
    made: list[Snapshot] = []

    def make(*fields: Any) -> Snapshot:
        made.append(Snapshot(*fields))
        return made[-1]

    latest = LatestPrice((ETH, BTC), AgeLimits(5_000, 60_000), make, clock)
    place = latest.by_slug["eth-usdt"]
    first, second = a_quote("100", START_MS - 1), a_quote("200")
    for quote in first, second:
        assert latest.offer(quote) is True
        assert place.snapshot is made[-1] and place.snapshot.quote is quote
        assert latest.offer(quote) is False
    assert latest.offer(first) is False
    assert [snapshot.quote for snapshot in made] == [first, second]


@pytest.mark.parametrize("age_ms", [0, 1_000, 5_000], ids=lambda age: f"{age} ms old when it came")
async def test_age_is_counted_from_the_fetch_whatever_tier_it_came_through(
    latest: LatestPrice[Snapshot], clock: FakeClock, age_ms: int
) -> None:
    assert latest.offer(a_quote(at_ms=START_MS - age_ms)) is True
    for age, freshness in [
        (FRESH, Freshness.FRESH), (FRESH + 0.001, Freshness.STALE), (STALE, Freshness.STALE),
        (STALE + 0.001, Freshness.EXPIRED), (STALE + HOUR, Freshness.EXPIRED),
    ]:
        await clock.advance(1_000 + age - age_ms / 1000 - clock.monotonic())
        assert latest.freshness(ETH) is freshness
        assert (latest.held(ETH) is None) is (freshness is Freshness.EXPIRED)
        (held,) = latest.everything_held()
        assert (held.usable, round(held.age_seconds, 3)) == (freshness is not Freshness.EXPIRED, age)


async def test_where_both_limits_are_one_a_price_is_never_stale(clock: FakeClock) -> None:
    latest = LatestPrice((ETH,), AgeLimits(5_000, 5_000), Snapshot, clock)
    latest.offer(a_quote())
    freshness = []
    for seconds in 5, 0.001:
        await clock.advance(seconds)
        freshness.append(latest.freshness(ETH))
    assert freshness == [Freshness.FRESH, Freshness.EXPIRED]


def test_a_price_is_never_taken_for_younger_than_it_is_though_the_process_is_stopped_meanwhile() -> None:
    clock = SlowClock()
    latest = LatestPrice((ETH,), AgeLimits(5_000, 60_000), Snapshot, clock)
    clock.tick = 3.0
    assert latest.offer(a_quote(at_ms=START_MS - 1_000))
    assert latest.age_ms(ETH) == 4_000


@pytest.mark.parametrize(("age_ms", "taken"), [(60_000, True), (60_001, False), (10**9, False)])
def test_a_quote_that_is_too_old_to_serve_is_not_taken(latest: LatestPrice[Snapshot], age_ms: int, taken: bool) -> None:
    assert latest.offer(a_quote(at_ms=START_MS - age_ms)) is taken


@pytest.mark.parametrize(("after_ms", "taken"), [(-1, False), (0, False), (1, True)], ids=["older", "same", "newer"])
def test_an_older_quote_never_overwrites_a_newer_one(latest: LatestPrice[Snapshot], after_ms: int, taken: bool) -> None:
    latest.offer(a_quote("100"))
    assert latest.offer(a_quote("200", START_MS + after_ms, "okx")) is taken
    assert price(latest) == ("200" if taken else "100")


@pytest.mark.parametrize(("ahead_ms", "taken"), [(MAX_SKEW_MS, True), (MAX_SKEW_MS + 1, False), (HOUR * 1000, False)])
def test_a_quote_from_the_future_is_refused(latest: LatestPrice[Snapshot], ahead_ms: int, taken: bool) -> None:
    assert latest.offer(a_quote(at_ms=START_MS + ahead_ms)) is taken


async def test_a_quote_from_a_clock_slightly_ahead_is_no_fresher_than_one_fetched_now(
    latest: LatestPrice[Snapshot], clock: FakeClock
) -> None:
    latest.offer(a_quote(at_ms=START_MS + MAX_SKEW_MS))
    await clock.advance(FRESH + 0.001)
    assert latest.freshness(ETH) is Freshness.STALE


@pytest.mark.parametrize("step", [+HOUR, -HOUR])
async def test_a_step_of_the_wall_clock_moves_no_deadline(
    latest: LatestPrice[Snapshot], clock: FakeClock, step: int
) -> None:
    latest.offer(a_quote())
    clock.step_wall(step)
    assert latest.freshness(ETH) is Freshness.FRESH
    await clock.advance(FRESH)
    assert latest.freshness(ETH) is Freshness.FRESH
    await clock.advance(0.001)
    assert latest.freshness(ETH) is Freshness.STALE
    await clock.advance(STALE - FRESH)
    assert latest.freshness(ETH) is Freshness.EXPIRED


@pytest.mark.parametrize("step", [+HOUR, -HOUR])
async def test_the_next_quote_after_a_step_of_the_wall_clock_is_taken_and_ages_as_ever(
    latest: LatestPrice[Snapshot], clock: FakeClock, step: int
) -> None:
    latest.offer(a_quote("100"))
    clock.step_wall(step)
    await clock.advance(1)
    assert latest.offer(a_quote("200", clock.wall_ms())) is True
    assert price(latest) == "200"
    await clock.advance(FRESH)
    assert latest.freshness(ETH) is Freshness.FRESH
    await clock.advance(0.001)
    assert latest.freshness(ETH) is Freshness.STALE


def test_a_quote_of_another_pair_is_not_ours_to_serve(clock: FakeClock) -> None:
    latest = LatestPrice((ETH,), AgeLimits(5_000, 60_000), Snapshot, clock)
    assert latest.offer(a_quote(pair=BTC)) is False
    assert (list(latest.by_slug), latest.everything_held()) == (["eth-usdt"], [])


def test_pairs_do_not_stand_in_each_others_way(latest: LatestPrice[Snapshot]) -> None:
    eth, btc = a_quote("100"), a_quote("60000", START_MS - 10, pair=BTC)
    assert [latest.offer(quote) for quote in (eth, btc)] == [True, True]
    assert [held.quote for held in latest.everything_held()] == [eth, btc]


@pytest.mark.parametrize("step", [-30 * 86_400, -HOUR, -3, -1, 0, 1, 3, HOUR])
async def test_a_step_of_the_wall_clock_makes_no_price_older_or_younger_for_those_who_watch(
    latest: LatestPrice[Snapshot], clock: FakeClock, step: int
) -> None:
    latest.offer(a_quote(at_ms=START_MS - 1_000))
    clock.step_wall(step)
    for age in 1.0, 11.0, 71.0:
        await clock.advance(1_000 + age - 1 - clock.monotonic())
        (held,) = latest.everything_held()
        assert round(held.age_seconds, 3) == age
        assert abs(clock.wall_ms() - held.fetched_at_ms - age * 1000) <= MAX_SKEW_MS


def test_the_time_of_the_fetch_is_told_to_the_millisecond_while_no_clock_is_stepped(
    latest: LatestPrice[Snapshot], clock: FakeClock
) -> None:
    latest.offer(a_quote(at_ms=START_MS - 1_234))
    for slewed in -0.7, 0.3:
        clock.step_wall(slewed)
        assert [held.fetched_at_ms for held in latest.everything_held()] == [START_MS - 1_234]


async def test_the_first_price_wakes_everyone_who_waits_for_that_pair_and_nobody_else(
    latest: LatestPrice[Snapshot],
) -> None:
    waiting = [asyncio.create_task(latest.by_slug["eth-usdt"].first()) for _ in range(100)]
    other = asyncio.create_task(latest.by_slug["btc-usdt"].first())
    await settle()
    assert not any(task.done() for task in waiting)
    latest.offer(a_quote())
    await settle()
    assert all(task.done() for task in waiting) and not other.done()
    await latest.by_slug["eth-usdt"].first()  # Later callers do not wait.
    other.cancel()


async def test_a_refused_quote_wakes_nobody(latest: LatestPrice[Snapshot]) -> None:
    waiting = asyncio.create_task(latest.by_slug["eth-usdt"].first())
    latest.offer(a_quote(at_ms=START_MS - 61_000))
    await settle()
    assert not waiting.done()
    waiting.cancel()
