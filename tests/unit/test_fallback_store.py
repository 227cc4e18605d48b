"""The shared store while it is available, the machine's own store while it is not, and how often the first is tried."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from fastprice.application.events import Event, StoreBack, StoreLost
from fastprice.application.fallback_store import (
    ANNOUNCE, ANNOUNCE_SECONDS, CUT_OFF, CUT_OFF_SECONDS, FOLLOWED, LISTEN_SECONDS, TURN_SECONDS, FallbackStore
)
from fastprice.application.ports import LEADER, Events, PriceStore, Stored
from fastprice.domain.errors import StoreUnavailable
from tests.fakes import FakeClock, RecordingEvents, a_quote, settle
from tests.memory_store import MemoryStore, Shelf

pytestmark = pytest.mark.anyio

DOWN = "no answer in time"
ROUND = Stored(1_753_300_000_000, (a_quote(),))
Operation = Callable[[PriceStore], Awaitable[object]]
OPERATIONS: dict[str, Operation] = {
    "read": lambda store: store.read(),
    "write": lambda store: store.write("me", ROUND),
    "claim": lambda store: store.claim("me", 60),
    "holder": lambda store: store.holder("a right"),
    "release": lambda store: store.release("me"),
}


class Store(MemoryStore):
    """A MemoryStore that records the names of its operations, and fails with the reason in `failure`."""

    def __init__(self, clock: FakeClock, shelf: Shelf | None = None) -> None:
        super().__init__(clock, shelf)
        self.failure: str | None = None
        self.operations: list[str] = []
        self.closed = False

    async def read(self) -> tuple[str | None, Stored]:
        self.operate("read")
        return await super().read()

    async def write(self, holder: str, stored: Stored) -> bool:
        self.operate("write")
        return await super().write(holder, stored)

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        self.operate("claim")
        return await super().claim(holder, seconds, name)

    async def holder(self, name: str) -> str | None:
        self.operate("holder")
        return await super().holder(name)

    async def release(self, holder: str, name: str = LEADER) -> None:
        self.operate("release")
        await super().release(holder, name)

    async def news(self, seconds: float) -> bool:
        self.operate("news")
        return await super().news(seconds)

    async def close(self) -> None:
        self.closed = True

    def operate(self, op: str) -> None:
        self.operations.append(op)
        if self.failure:
            raise StoreUnavailable(self.failure)


class World:
    """Workers of one machine: they share a local store, each sees the shared store by itself, each emits its events."""

    def __init__(self, workers: int = 1) -> None:
        self.clock = FakeClock()
        fleet, machine = Store(self.clock), Store(self.clock)
        self.shared = [Store(self.clock, fleet.shelf) for _ in range(workers)]
        self.local = [Store(self.clock, machine.shelf) for _ in range(workers)]
        self.events = [RecordingEvents() for _ in range(workers)]
        self.lines: list[type] = []
        self.stores = [
            FallbackStore(shared, local, f"worker {number}", "service", self.clock, self._log(events))
            for number, (shared, local, events) in enumerate(zip(self.shared, self.local, self.events, strict=True))
        ]

    def _log(self, events: Events) -> Events:
        def tell(event: Event) -> None:
            events(event)
            if isinstance(event, StoreLost | StoreBack) and event.announce:
                self.lines.append(type(event))

        return tell

    def fail(self, reason: str | None) -> None:
        for shared in self.shared:
            shared.failure = reason

    async def claim(self) -> list[bool]:
        return [await store.claim(f"worker {number}", 2) for number, store in enumerate(self.stores)]

    async def turn(self) -> None:
        """One second passes, and then every worker does its turn."""
        await self.clock.advance(TURN_SECONDS)
        for store in self.stores:
            await store.turn()

    def told(self, announced: bool = False) -> Counter[type]:
        events = [event for events in self.events for event in events.of(StoreLost, StoreBack)]
        return Counter(type(event) for event in events if event.announce or not announced)


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_while_the_shared_store_works_the_local_one_is_not_touched(operation: Operation) -> None:
    world = World()
    await operation(world.stores[0])
    assert (len(world.shared[0].operations), world.local[0].operations, world.events[0].all) == (1, [], [])
    assert world.stores[0].lost is None


@pytest.mark.parametrize("op", OPERATIONS)
async def test_the_first_failure_switches_over_and_the_operation_is_done_locally(op: str) -> None:
    world = World()
    world.fail(DOWN)
    await OPERATIONS[op](world.stores[0])
    assert world.shared[0].operations == [op] and world.local[0].operations[-1] == op
    assert (world.stores[0].lost, world.events[0].all) == (DOWN, [StoreLost(DOWN, announce=True)])


async def test_what_was_stored_while_it_was_lost_is_read_again() -> None:
    world = World()
    world.fail(DOWN)
    assert await world.stores[0].write("me", ROUND) is True
    assert (await world.stores[0].read())[1] == ROUND


async def test_while_it_is_lost_it_is_tried_once_a_second_and_by_one_operation_only() -> None:
    world = World()
    world.fail(DOWN)
    keeping = asyncio.create_task(world.stores[0].keep())
    for _ in range(100):
        for operation in OPERATIONS.values():
            await operation(world.stores[0])
        await world.stores[0].news(0)
        await world.clock.advance(TURN_SECONDS / 10)
    tries = Counter(world.shared[0].operations)
    assert tries == {"read": 1, "claim": 10}
    assert len(world.events[0].all) == 1
    keeping.cancel()


async def test_no_claim_waits_for_a_lost_store() -> None:
    clock, events = FakeClock(), RecordingEvents()
    shared = Stuck(clock)
    store = FallbackStore(shared, Store(clock), "me", "service", clock, events)
    shared.failure = DOWN
    await store.claim("me", 2)
    shared.gate = asyncio.Event()
    keeping = asyncio.create_task(store.keep())
    await clock.advance(TURN_SECONDS)
    assert shared.waiting == 1
    assert await store.claim("me", 2) is True
    shared.failure = None
    shared.gate.set()
    await settle()
    await clock.advance(TURN_SECONDS)
    assert store.lost is None
    keeping.cancel()


class Stuck(Store):
    """A store whose claims wait for the gate, once there is one."""

    gate: asyncio.Event | None = None
    waiting = 0

    async def claim(self, holder: str, seconds: float, name: str = LEADER) -> bool:
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        return await super().claim(holder, seconds, name)


async def test_it_is_back_by_itself_within_two_turns_and_told_once() -> None:
    world = World(workers=8)
    world.fail(DOWN)
    await world.claim()
    await world.turn()
    world.fail(None)
    await world.turn()
    await world.turn()
    assert 2 * TURN_SECONDS < 5
    assert [store.lost for store in world.stores] == [None] * 8
    assert world.told() == {StoreLost: 8, StoreBack: 8}
    assert world.told(announced=True) == {StoreLost: 1, StoreBack: 1}
    for local in world.local:
        local.operations.clear()
    for operation in OPERATIONS.values():
        await operation(world.stores[0])
    assert world.local[0].operations == []


@pytest.mark.parametrize("turns", [0, 1, 30])
async def test_a_machine_tells_once_of_a_loss_however_rarely_its_workers_use_the_store(turns: int) -> None:
    world = World(workers=4)
    world.fail(DOWN)
    for number, store in enumerate(world.stores):
        await store.claim(f"worker {number}", 2)
        for _ in range(turns):
            await world.turn()
    world.fail(None)
    for _ in range(3):
        await world.turn()
    assert world.told(announced=True) == {StoreLost: 1, StoreBack: 1}


async def test_workers_follow_one_that_is_cut_off_and_are_one_caller_with_it() -> None:
    world = World(workers=4)
    assert await world.claim() == [True, False, False, False]
    world.shared[2].failure = DOWN
    assert await world.claim() == [True, False, True, False], "it knows of no caller on the local store yet"
    for _ in range(10):
        await world.turn()
        assert [store.lost for store in world.stores] == [FOLLOWED, FOLLOWED, DOWN, FOLLOWED]
        assert (await world.claim()).count(True) == 1
    assert world.told(announced=True) == {StoreLost: 1}
    world.shared[2].failure = None
    await world.turn()
    await world.turn()
    assert [store.lost for store in world.stores] == [None] * 4
    assert world.told(announced=True) == {StoreLost: 1, StoreBack: 1}


async def test_a_cut_off_worker_that_dies_holds_nobody_back() -> None:
    world = World(workers=2)
    world.shared[0].failure = DOWN
    await world.claim()
    await world.turn()
    assert world.stores[1].lost == FOLLOWED
    del world.stores[0]
    for _ in range(5):
        await world.turn()
    assert CUT_OFF_SECONDS < 5 * TURN_SECONDS and world.stores[0].lost is None


async def test_a_cut_off_worker_that_misses_a_turn_sends_the_others_nowhere() -> None:
    world = World(workers=3)
    world.shared[0].failure = DOWN
    await world.claim()
    for _ in range(5):
        await world.turn()
        await world.clock.advance(TURN_SECONDS)
        for store in world.stores[1:]:
            await store.turn()
            assert store.lost == FOLLOWED
    assert world.lines == [StoreLost]


async def test_a_second_loss_is_told_again() -> None:
    world = World(workers=3)
    for _ in range(5):
        world.fail(DOWN)
        await world.claim()
        world.fail(None)
        await world.turn()
        await world.turn()
        await world.clock.advance(ANNOUNCE_SECONDS)
    assert world.told(announced=True) == {StoreLost: 5, StoreBack: 5}


class ReadOnly(Store):
    """A store that can be read but not written to: full, or a replica."""

    def operate(self, op: str) -> None:
        if op not in ("read", "holder", "news"):
            raise StoreUnavailable("read-only")


async def test_a_store_that_can_only_be_read_is_lost_once_and_not_back_at_every_read() -> None:
    clock, events = FakeClock(), RecordingEvents()
    local = Store(clock)
    store = FallbackStore(ReadOnly(clock), local, "me", "service", clock, events)
    for _ in range(50):
        await store.read()
        await store.write("me", ROUND)
        await store.turn()
        assert (await store.read()) == (None, ROUND) == (await local.read())
        await clock.advance(TURN_SECONDS / 3)
    assert events.all == [StoreLost("read-only", announce=True)]


class Slow(Store):
    """A store whose reads wait for the gate."""

    gate: asyncio.Event

    async def read(self) -> tuple[str | None, Stored]:
        await self.gate.wait()
        return None, ROUND


class SlowToFail(Slow):
    """A store whose reads wait for the gate, and then fail."""

    async def read(self) -> tuple[str | None, Stored]:
        await super().read()
        raise StoreUnavailable(DOWN)


async def test_an_answer_to_a_question_from_before_the_loss_does_not_end_it() -> None:
    clock, events = FakeClock(), RecordingEvents()
    shared = Slow(clock)
    shared.gate = asyncio.Event()
    store = FallbackStore(shared, Store(clock), "me", "service", clock, events)
    late = asyncio.create_task(store.read())
    await settle()
    shared.failure = DOWN
    await store.claim("me", 2)
    shared.gate.set()
    assert await late == (None, ROUND)
    assert (store.lost, events.all) == (DOWN, [StoreLost(DOWN, announce=True)])


async def test_with_no_store_at_all_the_loss_is_announced_and_the_failure_passed_on() -> None:
    world = World()
    world.fail(DOWN)
    world.local[0].failure = "no such place"
    with pytest.raises(StoreUnavailable, match="no such place"):
        await world.stores[0].read()
    assert world.events[0].all == [StoreLost(DOWN, announce=True)]


async def test_news_are_awaited_where_they_are_stored_and_never_find_out_a_loss() -> None:
    world = World()
    store = world.stores[0]
    await Store(world.clock, world.shared[0].shelf).write("me", ROUND)
    assert await store.news(1) is True
    world.fail(DOWN)
    await store.claim("me", 2)
    await Store(world.clock, world.local[0].shelf).write("me", ROUND)
    assert await store.news(0.5) is True
    assert world.shared[0].operations == ["news", "claim"]


async def test_who_listens_to_the_local_store_stops_when_the_shared_one_is_back() -> None:
    world = World()
    world.fail(DOWN)
    await world.claim()
    listening = asyncio.create_task(world.stores[0].news(60))
    world.fail(None)
    for _ in range(2):
        await world.turn()
        assert not listening.done()
    assert world.stores[0].lost is None
    await world.clock.advance(LISTEN_SECONDS)
    assert listening.done() and await listening is False


async def test_closing_closes_both() -> None:
    world = World()
    await world.stores[0].close()
    assert world.shared[0].closed and world.local[0].closed


async def test_a_worker_that_is_back_too_early_tells_of_it_once() -> None:
    world = World(workers=3)
    world.fail(DOWN)
    await world.claim()
    world.shared[0].failure = None
    await world.turn()
    await world.turn()
    assert [store.lost for store in world.stores] == [FOLLOWED, DOWN, DOWN]
    world.fail(None)
    for _ in range(3):
        await world.turn()
    assert [store.lost for store in world.stores] == [None] * 3
    assert world.told(announced=True) == {StoreLost: 1, StoreBack: 1}


async def test_the_end_of_a_loss_is_told_by_another_one_if_the_worker_that_told_of_it_has_ended() -> None:
    world = World(workers=2)
    world.shared[0].failure = DOWN
    await world.stores[0].claim("me", 2)
    await world.clock.advance(CUT_OFF_SECONDS)  # The worker is killed, and the other one has never followed it.
    del world.stores[0]
    for _ in range(3):
        await world.turn()
    assert world.told(announced=True) == {StoreLost: 1, StoreBack: 1}


async def test_the_end_of_a_loss_is_told_a_turn_later_if_another_worker_was_finding_out_whether_to_tell() -> None:
    world = World(workers=2)
    world.fail(DOWN)
    await world.claim()
    world.fail(None)
    await world.turn()
    # A third worker took the claim for telling, and was killed.
    await Store(world.clock, world.local[0].shelf).claim("it", 1.2 * TURN_SECONDS, ANNOUNCE.format("service"))
    await world.turn()
    assert [store.lost for store in world.stores] == [None] * 2
    assert world.told(announced=True) == {StoreLost: 1}
    await world.turn()
    assert world.told(announced=True) == {StoreLost: 1, StoreBack: 1}


async def test_a_loss_that_is_found_out_while_another_worker_is_followed_is_told_and_so_is_its_end() -> None:
    world = World(workers=2)
    late = SlowToFail(world.clock)
    late.gate = asyncio.Event()
    world.stores[0]._shared = late
    reading = asyncio.create_task(world.stores[0].read())
    await settle()
    other = Store(world.clock, world.local[0].shelf)
    await other.claim("a stranger's worker", CUT_OFF_SECONDS, CUT_OFF)
    await world.stores[0].turn()
    assert (world.stores[0].lost, world.told(announced=True)) == (FOLLOWED, {})
    late.failure = DOWN
    late.gate.set()
    await reading
    assert world.told(announced=True) == {StoreLost: 1}
    late.failure = None
    for _ in range(6):
        await world.turn()
    assert world.told(announced=True) == {StoreLost: 1, StoreBack: 1}


@pytest.mark.parametrize("seed", range(20))
async def test_lines_of_loss_and_return_take_turns_whatever_fails_when(seed: int) -> None:
    world, random = World(workers=3), Random(seed)
    for _ in range(40):
        for shared, store in zip(world.shared, world.stores, strict=True):
            shared.failure = random.choice((None, None, DOWN))
            if random.random() < 0.5:
                await store.claim("me", 2)
            if random.random() < 0.8:
                await store.turn()
        await world.clock.advance(random.random() * TURN_SECONDS)
    world.fail(None)
    for _ in range(5):
        await world.turn()
    assert [store.lost for store in world.stores] == [None] * 3
    assert world.lines == [StoreLost, StoreBack] * (len(world.lines) // 2)
    assert world.lines
