"""When a source is asked again, how often, and after which pause."""

import asyncio
import itertools
from typing import Any

import pytest

from fastprice.application.retry import RetryingSource
from fastprice.domain.errors import (
    Banned, Blocked, InvalidQuote, RateLimited, SourceDown, SourceError, SourceRefused, SourceTimeout, UnknownSymbol
)
from fastprice.domain.quote import Quote, SourceTime
from tests.fakes import ETH, FakeClock, FakeSource

pytestmark = pytest.mark.anyio

BASE = 0.1


class World:
    """A retrying source; `random` gives the shares one after the other, by default always the whole."""

    def __init__(self, *answers: Any, attempts: int = 3, shares: tuple[float, ...] = (1.0,)) -> None:
        self.clock = FakeClock()
        self.source = FakeSource("a", self.clock, *answers, source_time=SourceTime.PRICE)
        shares_for_ever = itertools.cycle(shares)
        self.retrying = RetryingSource(self.source, attempts, BASE, self.clock, lambda: next(shares_for_ever))

    async def fetch(self) -> Quote | BaseException:
        """Fetch while time passes as it likes; what comes of it."""
        task = asyncio.create_task(self.retrying.fetch(ETH))
        while not task.done():
            await self.clock.advance(1.0)
        error = task.exception()
        return task.result() if error is None else error


def test_it_is_its_source_by_name_and_meaning_of_time() -> None:
    world = World("100")
    assert (world.retrying.name, world.retrying.source_time) == ("a", SourceTime.PRICE)


async def test_an_answer_is_passed_on_with_no_pause() -> None:
    world = World("100")
    quote = await world.fetch()
    assert isinstance(quote, Quote) and quote.price == "100"
    assert (world.source.calls, world.clock.slept) == (1, [])


@pytest.mark.parametrize("failures", [1, 2])
async def test_a_fast_failure_is_asked_again_until_there_is_an_answer(failures: int) -> None:
    world = World(*[SourceDown("refused")] * failures, "100")
    assert isinstance(await world.fetch(), Quote)
    assert world.source.calls == failures + 1


@pytest.mark.parametrize(
    "error", [SourceError("x"), SourceTimeout("x"), SourceRefused("x"), InvalidQuote("x"), UnknownSymbol("x"),
              RateLimited("x", 1), Banned("x", 1), Blocked("x", 1)], ids=lambda error: type(error).__name__
)
async def test_where_asking_again_cannot_help_the_source_is_asked_once(error: SourceError) -> None:
    world = World(error, "100")
    assert await world.fetch() is error
    assert (world.source.calls, world.clock.slept) == (1, [])


async def test_an_error_that_does_not_allow_it_ends_the_asking_in_the_middle() -> None:
    timeout = SourceTimeout("no answer")
    world = World(SourceDown("refused"), timeout, "100")
    assert await world.fetch() is timeout
    assert world.source.calls == 2


@pytest.mark.parametrize("attempts", [1, 2, 5])
async def test_it_gives_up_after_so_many_attempts_with_the_last_error(attempts: int) -> None:
    errors = [SourceDown(f"refusal {number}") for number in range(attempts)]
    world = World(*errors, "100", attempts=attempts)
    assert await world.fetch() is errors[-1]
    assert (world.source.calls, len(world.clock.slept)) == (attempts, attempts - 1)


async def test_the_longest_pauses_double() -> None:
    world = World(SourceDown("refused"), attempts=5)
    await world.fetch()
    assert world.clock.slept == [BASE, BASE * 2, BASE * 4, BASE * 8]


async def test_every_pause_is_a_random_share_of_the_longest_down_to_none() -> None:
    world = World(SourceDown("refused"), attempts=5, shares=(0.0, 0.5, 0.25, 1.0))
    await world.fetch()
    assert world.clock.slept == [0.0, BASE, BASE, BASE * 8]


async def test_a_cancelled_pause_asks_nobody_any_more() -> None:
    world = World(SourceDown("refused"))
    task = asyncio.create_task(world.retrying.fetch(ETH))
    await world.clock.advance(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await world.clock.advance(10)
    assert world.source.calls == 1
