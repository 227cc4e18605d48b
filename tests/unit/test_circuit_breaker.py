"""What the breaker lets through, what it counts, and what it tells."""

import asyncio
import contextlib
from itertools import pairwise

import pytest

from fastprice.application.events import BreakerMoved
from fastprice.application.ports import PriceSource
from fastprice.domain.errors import (
    Banned, Blocked, InvalidQuote, InvalidReply, LocalFailure, PairRefused, RateLimited, SourceDown, SourceError,
    SourceRefused, SourceRejected, SourceTimeout, UnknownSymbol
)
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.circuit_breaker import GuardedSource
from tests.fakes import ETH, FakeClock, FakeSource, RecordingEvents, a_quote, settle

pytestmark = pytest.mark.anyio

FAIL_MAX = 3
RESET = 30.0
NEUTRAL: list[SourceError] = [
    RateLimited("asked too often", 1), Banned("banned", 1), Blocked("blocked", 1),
    LocalFailure("this machine cannot ask it"),
]  # fmt: skip
OF_THE_PAIR: list[SourceError] = [UnknownSymbol("no such pair"), PairRefused("halted"), InvalidQuote("price 0 is out of range")]


class Held:
    """A source whose every call waits until the test ends it, in any order: `calls[i].set_result(…)`."""

    name = "held"
    source_time = SourceTime.NONE

    def __init__(self) -> None:
        self.calls: list[asyncio.Future[Quote]] = []

    async def fetch(self, pair: Pair) -> Quote:
        self.calls.append(asyncio.get_running_loop().create_future())
        return await self.calls[-1]


class World:
    """A guarded source, what it told, and its clock."""

    def __init__(self, *answers: str | SourceError, source: PriceSource | None = None) -> None:
        self.clock = FakeClock()
        self.events = RecordingEvents()
        self.source = FakeSource("a", self.clock, *answers) if answers else None
        inner = source or self.source
        assert inner is not None
        self.guarded = GuardedSource(inner, FAIL_MAX, RESET, self.clock, self.events)

    @property
    def calls(self) -> int:
        assert self.source is not None
        return self.source.calls

    @property
    def moves(self) -> list[str]:
        return [event.state for event in self.events.of(BreakerMoved)]

    async def fetch(self, times: int = 1) -> None:
        """Call, whatever comes of it."""
        for _ in range(times):
            with contextlib.suppress(SourceError):
                await self.guarded.fetch(ETH)

    def start(self) -> asyncio.Task[Quote]:
        return asyncio.create_task(self.guarded.fetch(ETH))


async def held_world() -> tuple[World, Held]:
    source = Held()
    return World(source=source), source


async def ended(tasks: list[asyncio.Task[Quote]]) -> list[Quote | BaseException]:
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_a_guarded_source_is_its_source_by_name_and_meaning_of_time() -> None:
    source = FakeSource("kraken", FakeClock(), "1", source_time=SourceTime.TRADE)
    guarded = World(source=source).guarded
    assert (guarded.name, guarded.source_time, guarded.state) == ("kraken", SourceTime.TRADE, "closed")


async def test_it_opens_after_fail_max_failures_in_a_row_and_then_asks_nothing() -> None:
    world = World(SourceDown("refused"))
    await world.fetch(FAIL_MAX - 1)
    assert world.guarded.state == "closed"
    await world.fetch(1)
    assert (world.guarded.state, world.calls) == ("open", FAIL_MAX)
    await world.fetch(10)
    assert (world.calls, world.moves) == (FAIL_MAX, ["open"])


async def test_a_success_begins_the_count_anew() -> None:
    down = SourceDown("refused")
    world = World(down, down, "100", down, down, "100", down)
    await world.fetch(6)
    assert world.guarded.state == "closed"
    await world.fetch(FAIL_MAX)
    assert world.guarded.state == "open"


async def test_every_caller_gets_the_sources_own_error_even_the_one_that_opens_it() -> None:
    error = SourceDown("refused")
    world = World(error)
    for _ in range(FAIL_MAX):
        with pytest.raises(SourceDown) as caught:
            await world.guarded.fetch(ETH)
        assert caught.value is error
    with pytest.raises(SourceRejected, match="open for 30 s more"):
        await world.guarded.fetch(ETH)


async def test_the_probes_caller_gets_the_sources_own_error_too() -> None:
    world = World(SourceDown("refused"))
    await world.fetch(FAIL_MAX)
    await world.clock.advance(RESET)
    with pytest.raises(SourceDown, match="refused"):
        await world.guarded.fetch(ETH)


async def test_it_stays_open_for_the_reset_time_and_not_a_moment_longer() -> None:
    world = World(SourceDown("refused"))
    await world.fetch(FAIL_MAX)
    await world.clock.advance(RESET - 0.001)
    await world.fetch()
    assert world.calls == FAIL_MAX
    await world.clock.advance(0.001)
    await world.fetch()
    assert world.calls == FAIL_MAX + 1


async def test_half_open_lets_exactly_one_of_a_thousand_callers_through() -> None:
    world = World(*[SourceDown("refused")] * FAIL_MAX, "100")
    await world.fetch(FAIL_MAX)
    await world.clock.advance(RESET)
    assert world.source is not None
    gate = world.source.gate = asyncio.Event()
    tasks = [world.start() for _ in range(1_000)]
    await settle()
    assert (world.calls, world.guarded.state) == (FAIL_MAX + 1, "half_open")
    gate.set()
    results = await ended(tasks)
    assert sum(isinstance(result, Quote) for result in results) == 1
    assert sum(isinstance(result, SourceRejected) for result in results) == 999
    assert (world.guarded.state, world.moves) == ("closed", ["open", "half_open", "closed"])


async def test_a_failed_probe_opens_it_for_the_whole_reset_time_again() -> None:
    world = World(SourceDown("refused"))
    await world.fetch(FAIL_MAX)
    await world.clock.advance(RESET)
    await world.fetch()
    await world.clock.advance(RESET - 0.001)
    await world.fetch(5)
    assert (world.calls, world.moves) == (FAIL_MAX + 1, ["open", "half_open", "open"])


async def test_after_a_good_probe_it_takes_fail_max_failures_to_open_again() -> None:
    world = World(*[SourceDown("refused")] * FAIL_MAX, "100", SourceDown("refused"))
    await world.fetch(FAIL_MAX)
    await world.clock.advance(RESET)
    await world.fetch(FAIL_MAX)
    assert world.guarded.state == "closed"
    await world.fetch()
    assert world.guarded.state == "open"


async def opened_with_two_late_calls() -> tuple[World, Held, list[asyncio.Task[Quote]]]:
    """An open breaker, and two calls that were admitted while it was closed and are still under way."""
    world, source = await held_world()
    tasks = [world.start() for _ in range(FAIL_MAX + 2)]
    await settle()
    for call in source.calls[:FAIL_MAX]:
        call.set_exception(SourceDown("refused"))
    await ended(tasks[:FAIL_MAX])
    assert world.guarded.state == "open"
    return world, source, tasks[FAIL_MAX:]


async def test_a_late_success_does_not_close_what_opened_meanwhile() -> None:
    world, source, late = await opened_with_two_late_calls()
    source.calls[-1].set_result(a_quote())
    await late[-1]
    assert (world.guarded.state, world.moves) == ("open", ["open"])
    late[0].cancel()


async def test_a_late_failure_does_not_make_it_stay_open_longer() -> None:
    world, source, late = await opened_with_two_late_calls()
    await world.clock.advance(RESET - 1)
    source.calls[-1].set_exception(SourceDown("refused"))
    late[0].cancel()
    await ended(late)
    await world.clock.advance(1)
    probe = world.start()
    await settle()
    assert (world.guarded.state, world.moves) == ("half_open", ["open", "half_open"])
    probe.cancel()


async def test_late_results_do_not_speak_for_the_probe() -> None:
    world, source, late = await opened_with_two_late_calls()
    await world.clock.advance(RESET)
    probe = world.start()
    await settle()
    source.calls[FAIL_MAX].set_result(a_quote())
    source.calls[FAIL_MAX + 1].set_exception(SourceDown("refused"))
    await ended(late)
    assert world.guarded.state == "half_open"
    source.calls[-1].set_result(a_quote())
    await probe
    assert world.guarded.state == "closed"


async def test_late_failures_do_not_open_what_closed_meanwhile() -> None:
    world, source, late = await opened_with_two_late_calls()
    await world.clock.advance(RESET)
    probe = world.start()
    await settle()
    source.calls[-1].set_result(a_quote())
    await probe
    for call in source.calls[FAIL_MAX : FAIL_MAX + 2]:
        call.set_exception(SourceDown("refused"))
    await ended(late)
    again = [world.start() for _ in range(FAIL_MAX - 1)]
    await settle()
    for call in source.calls[-len(again) :]:
        call.set_exception(SourceDown("refused"))
    await ended(again)
    assert world.guarded.state == "closed"


async def test_cancelled_calls_count_as_failures() -> None:
    world, _ = await held_world()
    tasks = [world.start() for _ in range(FAIL_MAX)]
    await settle()
    for task in tasks:
        task.cancel()
    assert all(isinstance(result, asyncio.CancelledError) for result in await ended(tasks))
    assert (world.guarded.state, world.moves) == ("open", ["open"])


async def test_calls_that_their_caller_gave_up_at_a_deadline_count_as_failures() -> None:
    world, _ = await held_world()
    for _ in range(FAIL_MAX):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await world.guarded.fetch(ETH)
    assert world.guarded.state == "open"


@pytest.mark.parametrize(
    "error", [SourceTimeout("x"), SourceRefused("x"), InvalidReply("x"), RuntimeError("a defect")], ids=repr
)
async def test_any_other_failure_counts(error: Exception) -> None:
    world, source = await held_world()
    tasks = [world.start() for _ in range(FAIL_MAX)]
    await settle()
    for call in source.calls:
        call.set_exception(error)
    assert await ended(tasks) == [error] * FAIL_MAX
    assert world.guarded.state == "open"


async def test_a_hung_probe_does_not_keep_it_half_open_once_its_caller_gives_up() -> None:
    world, source = await opened_and_rested()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.001):
            await world.guarded.fetch(ETH)
    assert world.guarded.state == "open"
    await world.clock.advance(RESET)
    probe = world.start()
    await settle()
    source.calls[-1].set_result(a_quote())
    await probe
    assert world.moves == ["open", "half_open", "open", "half_open", "closed"]


async def opened_and_rested() -> tuple[World, Held]:
    """An open breaker whose time is over: the next call is the probe."""
    world, source, late = await opened_with_two_late_calls()
    for task in late:
        task.cancel()
    await ended(late)
    await world.clock.advance(RESET)
    return world, source


async def test_steps_of_the_wall_clock_neither_open_nor_close_it() -> None:
    world = World(SourceDown("refused"))
    await world.fetch(FAIL_MAX)
    world.clock.step_wall(+3600)
    await world.fetch()
    world.clock.step_wall(-7200)
    assert world.calls == FAIL_MAX
    await world.clock.advance(RESET)
    await world.fetch()
    assert world.calls == FAIL_MAX + 1


@pytest.mark.parametrize("error", NEUTRAL + OF_THE_PAIR, ids=lambda error: type(error).__name__)
async def test_an_answer_that_says_nothing_of_the_other_pairs_counts_neither_way(error: SourceError) -> None:
    down = SourceDown("refused")
    world = World(*[error] * (FAIL_MAX * 2), *[down] * (FAIL_MAX - 1), error, down)
    await world.fetch(FAIL_MAX * 2)
    assert world.guarded.state == "closed"
    await world.fetch(FAIL_MAX)
    assert world.guarded.state == "closed"
    await world.fetch()  # The neutral one in between did not begin the count anew.
    assert world.guarded.state == "open"


@pytest.mark.parametrize("error", NEUTRAL, ids=lambda error: type(error).__name__)
async def test_a_probe_that_proves_nothing_leaves_it_open_for_another_turn(error: SourceError) -> None:
    world = World(*[SourceDown("refused")] * FAIL_MAX, error, "100")
    await world.fetch(FAIL_MAX)
    await world.clock.advance(RESET)
    with pytest.raises(type(error)):
        await world.guarded.fetch(ETH)
    assert world.guarded.state == "open"
    await world.clock.advance(RESET)
    await world.fetch()
    assert world.moves == ["open", "half_open", "open", "half_open", "closed"]


@pytest.mark.parametrize("error", OF_THE_PAIR, ids=lambda error: type(error).__name__)
async def test_a_probe_for_a_pair_that_has_no_price_shows_that_the_source_answers_again(error: SourceError) -> None:
    world = World(*[SourceDown("refused")] * FAIL_MAX, error, "100")
    await world.fetch(FAIL_MAX)
    await world.clock.advance(RESET)
    with pytest.raises(type(error)):
        await world.guarded.fetch(ETH)
    assert world.moves == ["open", "half_open", "closed"]


async def test_it_tells_each_move_once_and_nothing_else() -> None:
    down = SourceDown("refused")
    world = World("100", down, "100", *[down] * FAIL_MAX, down, "100", "100")
    await world.fetch(3)
    assert world.events.all == []
    await world.fetch(FAIL_MAX + 4)
    await world.clock.advance(RESET)
    await world.fetch(5)
    await world.clock.advance(RESET)
    await world.fetch(5)
    assert world.events.all == [
        BreakerMoved("a", *states)
        for states in pairwise(("closed", "open", "half_open", "open", "half_open", "closed"))
    ]
