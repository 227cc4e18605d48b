"""What each subscriber gets: whatever happens in whatever order, only newer prices, and finally the newest one."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprice.application.latest_price import LatestPrice
from fastprice.domain.quote import AgeLimits
from fastprice.interface import streams as streams_module
from fastprice.interface.channel import Channel, Choice
from fastprice.interface.price_snapshot import price_snapshots
from fastprice.interface.slices import Slices
from fastprice.interface.sse import Message
from fastprice.interface.streams import Streams
from tests.fakes import BTC, ETH, FakeClock, a_quote

pytestmark = pytest.mark.anyio

CHOICES = {
    "one": Choice(("eth-usdt",), True, 0.0),
    "other": Choice(("btc-usdt",), True, 0.0),
    "both": Choice(("eth-usdt", "btc-usdt"), False, 0.0),
}


class Somebody:
    """A subscriber that takes what it is sent while it is not behind, and catches up when it no longer is."""

    channel: Channel

    def __init__(self, streams: Streams) -> None:
        self.version, self.is_behind = 0, False
        self.heard = b""
        self._streams = streams

    @classmethod
    def push(cls, several: Sequence["Somebody"], common: Message, before: int, after: int) -> int:
        for each in several:
            if each.version == before and not each.is_behind:
                each.version = after
                each.heard += common.body
            elif not each.is_behind:
                each.catch_up()
        return 0

    def catch_up(self) -> None:
        self.is_behind = False
        new = self.channel.news(self.version, self._streams.clock.monotonic())
        self.version = self._streams.version
        self.heard += new.body

    def leave(self) -> None:
        self._streams.part(self)

    def prices(self, symbol: str) -> list[tuple[int, str]]:
        told = [line[6:] for line in self.heard.decode().split("\n") if line.startswith('data: {"symbol"')]
        prices = [each for each in map(json.loads, told) if "price" in each and each["symbol"] == symbol]
        return [(each["fetched_at_ms"], each["price"]) for each in prices]


class World:
    def __init__(self) -> None:
        self.clock = FakeClock()
        make = price_snapshots(self.clock, 1.0)
        self.latest = LatestPrice((ETH, BTC), AgeLimits(5000, 60_000), make, self.clock)
        self.streams = Streams(self.latest, self.clock, 0.0, 1_000)
        self.everybody: list[Somebody] = []
        self.given = 0

    def price(self, pair: str) -> None:
        self.given += 1
        self.clock.now += 0.001
        quote = a_quote(f"{self.given}.5", self.clock.wall_ms(), pair=ETH if pair == "eth" else BTC)
        assert self.latest.offer(quote)

    def join(self, choice: str) -> None:
        somebody = Somebody(self.streams)
        somebody.heard = self.streams.join(somebody, CHOICES[choice], None).body
        self.everybody.append(somebody)

    def with_one(self, do: Callable[[Somebody], None], which: int) -> None:
        if self.everybody:
            do(self.everybody[which % len(self.everybody)])


STEPS = st.one_of(
    st.tuples(st.just("price"), st.sampled_from(["eth", "btc"])),
    st.tuples(st.just("join"), st.sampled_from(sorted(CHOICES))),
    st.tuples(st.just("turn"), st.integers(1, 3)),
    st.tuples(st.sampled_from(["behind", "catch up", "part"]), st.integers(0, 9)),
)


@settings(deadline=None)
@given(st.lists(STEPS, max_size=60))
def test_nobody_gets_a_price_twice_or_an_older_one_and_everybody_the_newest(steps: list[tuple[str, int | str]]) -> None:
    asyncio.run(lived_through(steps))


async def lived_through(steps: list[tuple[str, int | str]]) -> None:
    world = World()
    for word, what in steps:
        match word, what:
            case "price", str(pair):
                world.price(pair)
            case "join", str(choice):
                world.join(choice)
            case "turn", int(turns):
                for _ in range(turns):
                    await asyncio.sleep(0)
            case "behind", int(which):
                world.with_one(lambda somebody: setattr(somebody, "is_behind", True), which)
            case "catch up", int(which):
                world.with_one(lambda somebody: somebody.catch_up() if somebody.is_behind else None, which)
            case "part", int(which):
                world.with_one(lambda somebody: world.streams.part(somebody), which)
    here = [somebody for somebody in world.everybody if somebody in world.streams._subscribers]
    for pair in "eth", "btc":
        world.price(pair)
    for somebody in here:
        somebody.is_behind = False
    for _ in range(20):
        await asyncio.sleep(0.0005)
    for somebody in world.everybody:
        for symbol in "ETH-USDT", "BTC-USDT":
            stamps = [stamp for stamp, _ in somebody.prices(symbol)]
            assert stamps == sorted(set(stamps))
    for somebody in here:
        for slug in somebody.channel.choice.slugs:
            newest = world.latest.by_slug[slug].snapshot
            assert newest and somebody.prices(slug.upper())[-1][1] == newest.quote.price


async def test_jobs_take_turns_and_one_that_fails_harms_no_other() -> None:
    done: list[str] = []
    slices = Slices()

    def job(name: str, parts: int) -> Iterator[None]:
        for part in range(parts):
            done.append(f"{name}{part}")
            if name == "b" and part == 1:
                raise RuntimeError("a defect")
            yield

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    for name in "a", "b", "c":
        slices.begin(job(name, 3))
    await asyncio.sleep(0.01)
    assert done == ["a0", "b0", "c0", "a1", "b1", "c1", "a2", "c2"]


async def test_a_push_to_many_leaves_turns_to_others_and_pushes_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "WRITES_PER_TURN", 10)
    world = World()
    for pair in "eth", "btc":
        world.price(pair)
    for number in range(100):
        world.join("one" if number % 2 else "other")
    world.price("eth")
    world.price("btc")
    halfway = 0
    for _ in range(40):
        await asyncio.sleep(0)
        told = [len(somebody.prices(symbol)) for somebody in world.everybody for symbol in ("ETH-USDT", "BTC-USDT")]
        halfway += told.count(2) not in (0, 100)
        eth, btc = (sum(1 for each in world.everybody if len(each.prices(s)) == 2) for s in ("ETH-USDT", "BTC-USDT"))
        assert abs(eth - btc) <= 20, "neither waits for the other"
    assert told.count(2) == 100 and halfway >= 8
