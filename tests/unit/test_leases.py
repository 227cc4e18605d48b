"""Asking under a claim only: what a worker does that was paused in the middle of asking."""

import asyncio

import pytest

from fastprice.application.leases import LeasedSource, Leases
from fastprice.application.retry import RetryingSource
from fastprice.domain.errors import ClaimOver, SourceDown
from tests.fakes import BTC, ETH, FakeClock, FakeSource, settle

pytestmark = pytest.mark.anyio


class World:
    """A source behind a lease, asked up to three times."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.leases = Leases(self.clock)
        self.source = FakeSource("a", self.clock, SourceDown("refused"), "100")
        leased = LeasedSource(self.source, self.leases)
        self.retrying = RetryingSource(leased, 3, 0.0, self.clock, lambda: 0.0)


async def test_a_source_is_asked_only_while_the_claim_lasts() -> None:
    world = World()
    with pytest.raises(ClaimOver):
        await world.retrying.fetch(ETH)
    world.leases.renew(ETH, world.clock.now + 2)
    assert (await world.retrying.fetch(ETH)).price == "100"
    with pytest.raises(ClaimOver):
        await world.retrying.fetch(BTC)
    world.clock.now += 2
    with pytest.raises(ClaimOver):
        await world.retrying.fetch(ETH)
    assert world.source.calls == 2


async def test_a_worker_that_was_paused_past_its_claim_does_not_ask_again() -> None:
    world = World()
    world.leases.renew(ETH, world.clock.now + 2)
    world.source.gate = asyncio.Event()
    fetching = asyncio.create_task(world.retrying.fetch(ETH))
    await settle()
    world.clock.now += 60
    world.source.gate.set()
    with pytest.raises(ClaimOver):
        await fetching
    assert world.source.calls == 1


async def test_a_claim_that_is_renewed_meanwhile_lets_a_slow_source_be_asked_again() -> None:
    world = World()
    world.leases.renew(ETH, world.clock.now + 2)
    world.source.gate = asyncio.Event()
    fetching = asyncio.create_task(world.retrying.fetch(ETH))
    await settle()
    world.clock.now += 1.5
    world.leases.renew(ETH, world.clock.now + 2)
    world.clock.now += 1.5
    world.source.gate.set()
    assert (await fetching).price == "100"
