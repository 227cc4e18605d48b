"""The prepared answers of a pair, to the byte, and up to which moment they are right."""

from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprice.application.latest_price import LatestPrice
from fastprice.domain.quote import AgeLimits
from fastprice.interface.prepared import FRESH, FRESH_UNCHANGED, NEVER, STALE, STALE_UNCHANGED, PreparedPrice
from fastprice.interface.price_json import PriceAnswers, render
from tests.fakes import BTC, ETH, START_MS, RecordingEvents, SlowClock, a_quote

FULL = a_quote(
    "3120.45", START_MS, bid="3120.44", ask="3120.46", volume_24h="41325.02", source_time_ms=START_MS - 12
)
ETAG, STALE_ETAG = render(FULL).fresh.etag, render(FULL).stale.etag
BODY = (
    b'{"symbol":"ETH-USDT","base":"ETH","quote":"USDT","price":"3120.45","bid":"3120.44","ask":"3120.46",'
    b'"volume_24h":"41325.02","source":"binance","source_time_ms":1753299999988,"fetched_at_ms":1753300000000,'
    b'"stale":false}'
)
# As uvicorn lays out what the ordinary route says.
FRESH_200 = (
    b"HTTP/1.1 200 OK\r\n"
    b"date: Wed, 23 Jul 2025 19:46:41 GMT\r\n"
    b"content-type: application/json\r\n"
    b"content-length: 217\r\n"
    b"cache-control: public, max-age=4\r\n"
    b'etag: "076ebf28850ac141ae"\r\n'
    b"last-modified: Wed, 23 Jul 2025 19:46:40 GMT\r\n"
    b"access-control-allow-origin: *\r\n"
    b"access-control-expose-headers: ETag, Last-Modified, Date, Retry-After\r\n"
    b"\r\n" + BODY
)
FRESH_304 = (
    b"HTTP/1.1 304 Not Modified\r\n"
    b"date: Wed, 23 Jul 2025 19:46:41 GMT\r\n"
    b"cache-control: public, max-age=4\r\n"
    b'etag: "076ebf28850ac141ae"\r\n'
    b"last-modified: Wed, 23 Jul 2025 19:46:40 GMT\r\n"
    b"access-control-allow-origin: *\r\n"
    b"access-control-expose-headers: ETag, Last-Modified, Date, Retry-After\r\n"
    b"\r\n"
)


class World:
    """A pair's prepared answers over a clock that stands still."""

    def __init__(self, longest_max_age: int = 5) -> None:
        self.clock = SlowClock()
        self._longest_max_age = longest_max_age
        self.latest = LatestPrice[PriceAnswers](
            (ETH, BTC), AgeLimits(5000, 60_000), render, self.clock, RecordingEvents()
        )
        self.prepared = self.anew()

    def give(self, age_ms: int = 0, price: str = "3120.45") -> None:
        assert self.latest.offer(a_quote(price, self.clock.wall_ms() - age_ms))

    def anew(self) -> PreparedPrice:
        return PreparedPrice("eth-usdt", self.latest, self.clock, self._longest_max_age)

    def renew(self, prepared: PreparedPrice | None = None) -> PreparedPrice:
        prepared = prepared or self.prepared
        assert prepared.renew(self.clock.now)
        return prepared


@pytest.fixture
def world() -> World:
    return World()


# The bytes


def test_fresh_price_is_a_whole_message_to_the_byte(world: World) -> None:
    assert world.latest.offer(FULL)
    world.clock.now += 1
    prepared = world.renew()
    assert prepared.message == FRESH_200
    assert prepared.unchanged == FRESH_304
    assert (prepared.etag, prepared.kind) == (b'"076ebf28850ac141ae"', FRESH)


def test_stale_price_is_marked_and_cacheable_for_a_second(world: World) -> None:
    assert world.latest.offer(FULL)
    world.clock.now += 6
    prepared = world.renew()
    stale = {
        b"19:46:41": b"19:46:46", b"max-age=4": b"max-age=1", b"length: 217": b"length: 216", ETAG: STALE_ETAG,
        b'"stale":false': b'"stale":true',
    }  # fmt: skip
    message, unchanged = FRESH_200, FRESH_304
    for old, new in stale.items():
        message, unchanged = message.replace(old, new), unchanged.replace(old, new)
    assert (prepared.message, prepared.unchanged, prepared.kind) == (message, unchanged, STALE)


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
    prepared = world.renew()
    early = prepared.message, prepared.unchanged, prepared.etag, prepared.kind
    world.clock.now += late_ms / 1000
    if world.clock.now > prepared.valid_until - 1e-5:
        return
    anew = world.renew(world.anew())
    assert early == (anew.message, anew.unchanged, anew.etag, anew.kind)


def test_answers_of_a_minute_change_each_second_and_are_never_wrong_between(world: World) -> None:
    world.give(250)
    made = 0
    for _ in range(59_750 // 50):
        if world.clock.now > world.prepared.valid_until:
            world.renew()
            made += 1
        anew = world.renew(world.anew())
        assert world.prepared.message == anew.message
        world.clock.now = round(world.clock.now + 0.05, 3)
    assert made < 60 + 10, "once a second, and at each step of max-age"


def test_nothing_is_prepared_without_a_price_or_past_its_use(world: World) -> None:
    assert not world.prepared.renew(world.clock.now) and world.prepared.valid_until == NEVER
    world.give()
    assert world.prepared.renew(world.clock.now + 60)
    assert not world.prepared.renew(world.clock.now + 60.001) and world.prepared.valid_until == NEVER
    world.clock.now += 61
    world.give()
    assert world.prepared.renew(world.clock.now)


def test_what_is_forgotten_is_made_anew_from_the_newer_price(world: World) -> None:
    world.give()
    assert b'"3120.45"' in world.renew().message
    world.clock.now += 0.1
    world.give(price="9.5")
    world.prepared.forget()
    assert world.prepared.valid_until == NEVER < world.clock.now
    assert b'"price":"9.5"' in world.renew().message


def test_date_follows_a_step_of_the_wall_clock_when_made_anew(world: World) -> None:
    world.give()
    world.renew()
    world.clock.step_wall(3600)
    world.clock.now += 1
    message = world.renew().message
    assert b"date: Wed, 23 Jul 2025 20:46:41 GMT\r\n" in message and b"max-age=4\r\n" in message


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(begun_ms=st.integers(0, 999), tick_ms=st.integers(0, 1500))
def test_date_is_right_for_as_long_as_the_answer_is_though_a_second_ends_while_it_is_made(begun_ms: int, tick_ms: int) -> None:
    world = World()
    world.give()
    world.clock.now += begun_ms / 1000
    world.clock.tick = tick_ms / 1000
    prepared = world.renew()
    world.clock.tick = 0
    told = parsedate_to_datetime(prepared.message.split(b"date: ")[1].split(b"\r\n")[0].decode()).timestamp()
    assert told == (world.clock.wall_ms() - tick_ms) // 1000, "the second in which it was made"
    world.clock.now = prepared.valid_until
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
    assert b"max-age=" + max_age + b"\r\n" in world.renew().message
    # Date ends it each second; what is looked at here is the rest.
    while world.clock.now < start + until - 1e-6:
        world.clock.now = min(start + until, world.clock.now + 0.25)
        assert b"max-age=" + max_age + b"\r\n" in world.renew().message
    world.clock.now += 1e-3
    renewed = world.prepared.renew(world.clock.now)
    assert not renewed or b"max-age=" + max_age + b"\r\n" not in world.prepared.message


# Conditions


def test_no_condition_is_the_price_itself(world: World) -> None:
    assert world.prepared.given(b"") is world.prepared


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (ETAG, True), (b"W/" + ETAG, True), (b'"a", ' + ETAG, True), (b"*", True),
        (b'"a"', False), (b",", False), (STALE_ETAG, False),
    ],
)  # fmt: skip
def test_condition_that_holds_gets_304_and_any_other_200(world: World, condition: bytes, holds: bool) -> None:
    assert world.latest.offer(FULL)
    given = world.prepared.given(condition)
    assert given.valid_until == NEVER
    assert given.renew(world.clock.now)
    assert given.valid_until == world.prepared.valid_until == world.clock.now
    assert given.message == (world.prepared.unchanged if holds else world.prepared.message)
    assert given.kind == (FRESH_UNCHANGED if holds else FRESH)
    assert given.message == given.message, "judged once, the same afterwards"


def test_condition_is_judged_anew_whenever_the_answer_is_another(world: World) -> None:
    assert world.latest.offer(FULL)
    fresh, stale, star = (world.prepared.given(condition) for condition in (ETAG, STALE_ETAG, b"*"))

    def kinds() -> list[int]:
        world.renew()
        return [given.kind for given in (fresh, stale, star)]

    assert kinds() == [FRESH_UNCHANGED, FRESH, FRESH_UNCHANGED]
    world.clock.now += 6
    assert kinds() == [STALE, STALE_UNCHANGED, STALE_UNCHANGED]
    assert stale.message == world.prepared.unchanged and fresh.message == world.prepared.message
    world.give(price="1")
    assert kinds() == [FRESH, FRESH, FRESH_UNCHANGED]


def test_condition_has_nothing_where_there_is_no_price(world: World) -> None:
    assert not world.prepared.given(b"*").renew(world.clock.now)
