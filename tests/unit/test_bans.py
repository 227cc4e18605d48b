"""Who is left alone, for how long, and that everybody hears of it."""

import pytest

from fastprice.application.bans import Bans
from fastprice.application.events import SourceCooling
from fastprice.application.ports import MAX_BAN_SECONDS, Ban
from fastprice.domain.errors import Banned, Blocked, InvalidQuote, RateLimited, SourceDown, SourceError, UnknownSymbol
from tests.fakes import BTC, ETH, START_MS, FakeClock, FakeStore, RecordingEvents, Shelf

pytestmark = pytest.mark.anyio

INTERVAL = 1.0


class World:
    """Two workers who share a store: `one` is told of bans, `two` hears of them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.shelf = Shelf()
        self.stores = [FakeStore(self.clock, self.shelf) for _ in range(2)]
        self.events = [RecordingEvents(), RecordingEvents()]
        self.one, self.two = (
            Bans(store, INTERVAL, self.clock, events) for store, events in zip(self.stores, self.events, strict=True)
        )

    async def learnt(self) -> Bans:
        """The second worker an interval later, with what it has learnt by then."""
        await self.clock.advance(INTERVAL)
        await self.two.learn()
        return self.two


TOLD: dict[str, tuple[SourceError, float]] = {
    "asked too often": (RateLimited("asked too often", 15.0), 15.0),
    "banned": (Banned("banned", 120.0), 120.0),
    "blocked": (Blocked("not from here", 21_600.0), 21_600.0),
}


@pytest.mark.parametrize(("error", "seconds"), TOLD.values(), ids=TOLD)
async def test_every_worker_leaves_a_source_alone_for_as_long_as_one_was_told(
    error: SourceError, seconds: float
) -> None:
    world = World()
    await world.one.note("a", ETH, error)
    two = await world.learnt()
    for bans in world.one, two:
        ban = Ban("a", None, START_MS + round(seconds * 1000), str(error))
        assert bans.of("a", ETH) == bans.of("a", BTC) == ban
        assert bans.of("b", ETH) is None
        assert bans.refusal("a", ETH) == f"left alone for {seconds - INTERVAL:.0f} s more: {error}"
    await world.clock.advance(seconds - INTERVAL - 0.001)
    assert two.of("a", ETH) and world.one.of("a", ETH)
    await world.clock.advance(0.001)
    assert two.refusal("a", ETH) is world.one.refusal("a", ETH) is None


async def test_that_a_pair_is_not_listed_stays_with_the_worker_that_heard_it() -> None:
    world = World()
    await world.one.note("a", ETH, UnknownSymbol("no such symbol"))
    two = await world.learnt()
    await world.one.learn()
    assert world.one.refusal("a", ETH) == "left alone for 599 s more: no such symbol"
    assert world.one.of("a", BTC) is two.of("a", ETH) is None and not world.shelf.bans


async def test_a_stored_ban_of_one_pair_as_older_versions_wrote_it_is_not_obeyed() -> None:
    world = World()
    await world.stores[0].put_ban(Ban("a", ETH, START_MS + 86_400_000, "no such symbol"))
    await world.two.learn()
    assert world.two.of("a", ETH) is None


@pytest.mark.parametrize("error", [SourceDown("refused"), InvalidQuote("nonsense")], ids=["down", "invalid"])
async def test_what_is_no_ban_keeps_nobody_away(error: SourceError) -> None:
    world = World()
    await world.one.note("a", ETH, error)
    assert world.one.of("a", ETH) is None and not world.shelf.bans


async def test_only_the_worker_that_was_told_tells_of_it() -> None:
    world = World()
    await world.one.note("a", ETH, Banned("banned", 60.0))
    await world.one.note("a", ETH, UnknownSymbol("no such symbol"))
    await world.learnt()
    assert world.events[0].all == [SourceCooling("a", START_MS + 60_000)]
    assert world.events[1].all == []


async def test_of_two_bans_the_longer_one_holds_in_whatever_order_they_come() -> None:
    world = World()
    await world.one.note("a", ETH, Banned("long", 60.0))
    await world.two.note("a", ETH, Banned("short", 5.0))
    two = await world.learnt()
    await world.one.learn()
    assert world.one.of("a") == two.of("a") == Ban("a", None, START_MS + 60_000, "long")


async def test_a_worker_that_starts_later_knows_from_its_first_look() -> None:
    world = World()
    await world.one.note("a", ETH, Banned("banned", 60.0))
    await world.two.learn()
    assert world.two.of("a")


async def test_the_store_is_asked_at_most_twice_an_interval() -> None:
    world = World()
    for _ in range(40):
        await world.two.learn()
        await world.clock.advance(INTERVAL / 10)
    assert world.stores[1].operations == ["get_bans"] * 8


async def test_a_store_that_lost_everything_is_told_again() -> None:
    world = World()
    await world.one.note("a", ETH, Banned("banned", 60.0))
    two = await world.learnt()
    world.shelf.bans.clear()
    await world.clock.advance(INTERVAL)
    await two.learn()
    assert list(world.shelf.bans.values()) == [Ban("a", None, START_MS + 60_000, "banned")]


async def test_a_store_that_fails_takes_no_ban_away_and_hears_of_it_when_it_is_back() -> None:
    world = World()
    world.stores[0].failure = "gone"
    await world.one.note("a", ETH, Banned("banned", 60.0))
    await world.one.learn()
    assert world.one.of("a") and not world.shelf.bans
    world.stores[0].failure = None
    await world.one.learn()
    assert (await world.learnt()).of("a")


@pytest.mark.parametrize("step", [3600.0, -3600.0], ids=["ahead", "back"])
async def test_a_step_of_the_wall_clock_moves_the_end_of_no_known_ban(step: float) -> None:
    world = World()
    await world.one.note("a", ETH, Banned("banned", 60.0))
    world.clock.step_wall(step)
    await world.one.learn()
    await world.clock.advance(59.999)
    await world.one.learn()
    assert world.one.of("a")
    await world.clock.advance(0.001)
    assert world.one.of("a") is None


@pytest.mark.parametrize("seconds", [0.0, -5.0, MAX_BAN_SECONDS + 1, 1e9], ids=["over", "past", "long", "for ever"])
async def test_a_stored_ban_of_impossible_length_is_none(seconds: float) -> None:
    world = World()
    await world.stores[0].put_ban(Ban("a", None, START_MS + round(seconds * 1000), "nonsense"))
    await world.two.learn()
    assert world.two.of("a") is None


async def test_bans_that_are_over_are_forgotten() -> None:
    world = World()
    await world.one.note("a", ETH, Banned("banned", 5.0))
    await world.clock.advance(5)
    await world.one.learn()
    world.shelf.bans.clear()
    await world.clock.advance(INTERVAL)
    await world.one.learn()
    assert not world.shelf.bans
