"""The answers of a pair as a snapshot holds them: byte for byte, and for how long they are right."""

import tracemalloc
from dataclasses import fields, replace
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprice.application.latest_price import LatestPrice
from fastprice.domain.quote import AgeLimits, Pair, Quote
from fastprice.interface.prepared import FULL as WHOLE
from fastprice.interface.prepared import NEVER, UNCHANGED, Prepared
from fastprice.interface.price_json import price_answer
from fastprice.interface.price_snapshot import PriceSnapshot, price_snapshots
from tests.fakes import ETH, START_MS, SlowClock, a_quote

FULL = a_quote(
    "3120.45", START_MS, bid="3120.44", ask="3120.46", volume_24h="41325.02", high_24h="3188.10",
    low_24h="3050.00", open_24h="3101.7", source_time_ms=START_MS - 12,
)  # fmt: skip
ETAG, STALE_ETAG = [price_answer(FULL, stale).etag for stale in (False, True)]
BODY = (
    b'{"symbol":"ETH-USDT","base":"ETH","quote":"USDT","price":"3120.45","bid":"3120.44","ask":"3120.46",'
    b'"volume_24h":"41325.02","high_24h":"3188.10","low_24h":"3050.00","open_24h":"3101.7","source":"binance","source_time_ms":1753299999988,"fetched_at_ms":1753300000000,'
    b'"stale":false}'
)
# In the layout in which uvicorn sends the ordinary route's answer.
FRESH_200 = (
    b"HTTP/1.1 200 OK\r\n"
    b"date: Wed, 23 Jul 2025 19:46:41 GMT\r\n"
    b"content-type: application/json\r\n"
    b"content-length: 278\r\n"
    b"cache-control: public, max-age=4\r\n"
    b'etag: "af8b7660d3ab846aee"\r\n'
    b"last-modified: Wed, 23 Jul 2025 19:46:40 GMT\r\n"
    b"access-control-allow-origin: *\r\n"
    b"access-control-expose-headers: ETag, Last-Modified, Date, Retry-After\r\n"
    b"\r\n" + BODY
)
FRESH_304 = (
    b"HTTP/1.1 304 Not Modified\r\n"
    b"date: Wed, 23 Jul 2025 19:46:41 GMT\r\n"
    b"cache-control: public, max-age=4\r\n"
    b'etag: "af8b7660d3ab846aee"\r\n'
    b"last-modified: Wed, 23 Jul 2025 19:46:40 GMT\r\n"
    b"access-control-allow-origin: *\r\n"
    b"access-control-expose-headers: ETag, Last-Modified, Date, Retry-After\r\n"
    b"\r\n"
)


def said(prepared: Prepared) -> tuple[bytes, bytes]:
    """Its 200 and its 304 on a connection that is kept alive."""
    return prepared.render(WHOLE), prepared.render(UNCHANGED)


class World:
    """A pair's snapshots with a clock that stands still."""

    def __init__(self, longest_max_age: int = 5) -> None:
        self.clock = SlowClock()
        self.latest = LatestPrice((ETH,), AgeLimits(5000, 60_000), price_snapshots(self.clock, longest_max_age), self.clock)

    def give(self, age_ms: int = 0, price: str = "3120.45") -> None:
        assert self.latest.offer(a_quote(price, self.clock.wall_ms() - age_ms))

    @property
    def snapshot(self) -> PriceSnapshot:
        snapshot = self.latest.by_slug["eth-usdt"].snapshot
        assert snapshot
        return snapshot

    def anew(self) -> PriceSnapshot:
        """Another snapshot of the same quote, with messages rendered now."""
        held = self.snapshot
        return self.renew(PriceSnapshot(held._rendering, held.quote, held.fetched_at, held.fresh_until, held.usable_until))

    def renew(self, snapshot: PriceSnapshot | None = None) -> PriceSnapshot:
        snapshot = snapshot or self.snapshot
        assert snapshot.renew(self.clock.now)
        return snapshot


@pytest.fixture
def world() -> World:
    return World()


# The bytes


def test_fresh_price_is_a_whole_message_to_the_byte(world: World) -> None:
    assert world.latest.offer(FULL)
    world.clock.now += 1
    snapshot = world.renew()
    assert said(snapshot)[0] == FRESH_200
    assert said(snapshot)[1] == FRESH_304
    assert (snapshot.etag, snapshot.is_stale) == (b'"af8b7660d3ab846aee"', False)


def test_stale_price_is_marked_and_cacheable_for_a_second(world: World) -> None:
    assert world.latest.offer(FULL)
    world.clock.now += 6
    snapshot = world.renew()
    stale = {
        b"19:46:41": b"19:46:46", b"max-age=4": b"max-age=1", b"length: 278": b"length: 277", ETAG: STALE_ETAG,
        b'"stale":false': b'"stale":true',
    }  # fmt: skip
    message, unchanged = FRESH_200, FRESH_304
    for old, new in stale.items():
        message, unchanged = message.replace(old, new), unchanged.replace(old, new)
    assert (*said(snapshot), snapshot.is_stale) == (message, unchanged, True)


# How long they are right


@pytest.mark.parametrize(
    ("passed", "age_ms", "until", "why"),
    [
        (0.25, 50, 0.999, "the second in Date"),
        (0.0, 0, 0.0, "max-age falls at once"),
        (0.0, 400, 0.6, "max-age falls"),
        (0.5, 300, 0.999, "Date changes before max-age"),
        (0.5, 700, 0.8, "max-age changes before Date"),
        (0.2, 4600, 0.6, "freshness ends"),
        (0.0, 5000, 0.0, "freshness ends now"),
        (0.2, 6000, 0.999, "stale, the second in Date"),
        (0.1, 59_700, 0.4, "use ends"),
        (0.999, 50, 0.999, "the last millisecond of a second"),
    ],
)  # fmt: skip
def test_answer_is_right_up_to_its_next_change(world: World, passed: float, age_ms: int, until: float, why: str) -> None:
    world.clock.now += passed
    world.give(age_ms)
    assert world.renew().valid_until == pytest.approx(1000 + until, abs=1e-6), why


@settings(max_examples=500, deadline=None, derandomize=True, database=None)
@given(
    passed_ms=st.integers(0, 3000), age_ms=st.integers(0, 60_000), late_ms=st.integers(0, 999),
    monotonic=st.sampled_from([0.0, 1000.0, 86_400.125, 12_345_678.9]),
)  # fmt: skip
def test_what_is_still_valid_is_what_would_be_made_anew(
    passed_ms: int, age_ms: int, late_ms: int, monotonic: float
) -> None:
    world = World()
    world.clock.wall_offset_ms += round((world.clock.now - monotonic) * 1000)
    world.clock.now = monotonic + passed_ms / 1000
    world.give(age_ms)
    snapshot = world.renew()
    early = *said(snapshot), snapshot.etag, snapshot.is_stale
    world.clock.now += late_ms / 1000
    if world.clock.now > snapshot.valid_until - 1e-5:
        return
    anew = world.anew()
    assert early == (*said(anew), anew.etag, anew.is_stale)


def test_answers_of_a_minute_change_each_second_and_are_never_wrong_between(world: World) -> None:
    world.give(250)
    made = 0
    for _ in range(59_750 // 50):
        if world.clock.now > world.snapshot.valid_until:
            world.renew()
            made += 1
        assert said(world.snapshot)[0] == said(world.anew())[0]
        world.clock.now = round(world.clock.now + 0.05, 3)
    assert made < 60 + 10, "once a second, and at each step of max-age"


def test_nothing_is_prepared_past_the_end_of_use(world: World) -> None:
    world.give()
    assert world.snapshot.renew(world.clock.now + 60)
    assert not world.snapshot.renew(world.clock.now + 60.001) and world.snapshot.current(world.clock.now + 60.001) is None
    world.clock.now += 61
    world.give()
    assert world.snapshot.renew(world.clock.now)


def test_newer_price_has_a_snapshot_of_its_own_that_is_not_valid_before_it_is_rendered(world: World) -> None:
    world.give(age_ms=100)
    before = world.renew()
    world.clock.now += 0.1
    world.give(price="9.5")
    assert b'"3120.45"' in said(before)[0] and world.clock.now < before.valid_until
    assert world.snapshot is not before and world.snapshot.valid_until == NEVER < world.clock.now
    assert b'"price":"9.5"' in said(world.renew())[0]


# When it is rendered


class Watched(Quote):
    """A quote that counts how often its bid is read; only rendering reads it."""

    count = 0

    def __getattribute__(self, name: str) -> Any:
        if name == "bid":
            Watched.count += 1
        return super().__getattribute__(name)


def test_an_answer_is_rendered_when_it_is_first_read_and_once_while_it_says_the_same(world: World) -> None:
    whole = Watched(*(getattr(FULL, field.name) for field in fields(FULL)))
    Watched.count = 0
    assert world.latest.offer(whole)
    assert Watched.count == 0, "most quotes are replaced before anybody asks for them"
    for now, count in (0.0, 1), (0.5, 1), (1.0, 1), (4.0, 1), (6.0, 2), (30.0, 2):
        assert world.snapshot.renew(world.clock.now + now)
        assert world.snapshot.current(world.clock.now + now)
        assert Watched.count == count, now


def test_a_pair_takes_at_most_4_kb_with_everything_that_is_sent_for_it(world: World) -> None:
    pairs = [Pair(f"P{number}", "USDT") for number in range(200)]
    tracemalloc.start()
    try:
        latest = LatestPrice(pairs, AgeLimits(5000, 60_000), price_snapshots(world.clock, 1.0), world.clock)
        for pair in pairs:
            assert latest.offer(replace(FULL, pair=pair, price=f"{pair.base[1:]}.5"))
        for place in latest.by_slug.values():
            assert place.snapshot and place.snapshot.renew(world.clock.now)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(pairs) < 4096


def test_date_follows_a_step_of_the_wall_clock_when_made_anew(world: World) -> None:
    world.give()
    world.renew()
    world.clock.step_wall(3600)
    world.clock.now += 1
    message = said(world.renew())[0]
    assert b"date: Wed, 23 Jul 2025 20:46:41 GMT\r\n" in message and b"max-age=4\r\n" in message


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(begun_ms=st.integers(0, 999), tick_ms=st.integers(0, 1500))
def test_date_is_right_for_as_long_as_the_answer_is_though_a_second_ends_while_it_is_made(begun_ms: int, tick_ms: int) -> None:
    world = World()
    world.give()
    world.clock.now += begun_ms / 1000
    world.clock.tick = tick_ms / 1000
    snapshot = world.renew()
    world.clock.tick = 0
    told = parsedate_to_datetime(said(snapshot)[0].split(b"date: ")[1].split(b"\r\n")[0].decode()).timestamp()
    assert told == (world.clock.wall_ms() - tick_ms) // 1000, "the second in which it was made"
    world.clock.now = snapshot.valid_until
    assert world.clock.wall_ms() // 1000 <= told, "nor is it sent once that second is over"


@pytest.mark.parametrize(
    ("longest", "age_ms", "max_age", "until"),
    [
        (1, 100, b"1", 3.9), (2, 100, b"2", 2.9), (2, 3500, b"1", 0.5), (1, 4200, b"0", 0.8),
        (1, 6000, b"1", 53.0), (5, 58_900, b"1", 0.1), (5, 59_100, b"0", 0.9),
    ],
)  # fmt: skip
def test_max_age_holds_until_less_is_left(longest: int, age_ms: int, max_age: bytes, until: float) -> None:
    world = World(longest)
    world.give(age_ms)
    start = world.clock.now
    assert b"max-age=" + max_age + b"\r\n" in said(world.renew())[0]
    # Date changes each second, so the message ends then; this test looks at max-age only.
    while world.clock.now < start + until - 1e-6:
        world.clock.now = min(start + until, world.clock.now + 0.25)
        assert b"max-age=" + max_age + b"\r\n" in said(world.renew())[0]
    world.clock.now += 1e-3
    renewed = world.snapshot.renew(world.clock.now)
    assert not renewed or b"max-age=" + max_age + b"\r\n" not in said(world.snapshot)[0]
