"""`fastprice quote` and `fastprice watch` over real HTTP, for more pairs than the exchanges allow calls at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from fastprice.application.watching import Watching
from fastprice.bootstrap import ask_everyone, live_sources, opened_session
from fastprice.domain.quote import Pair
from fastprice.infrastructure.clock import SystemClock
from fastprice.market import Market, source_urls
from fastprice.settings import Settings
from tests.service import PATIENCE

pytestmark = pytest.mark.anyio

# Coinbase documents 15 calls at once, and each call is for one pair.
MANY = tuple(f"c{number}-usdt" for number in range(22))
PAIRS = tuple(map(Pair.parse, MANY))


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    market = Market(MANY, limits=True)
    await market.start()
    yield market
    await market.stop()


def settings(market: Market) -> Settings:
    return Settings.from_env(source_urls(market.url) | {"STREAMS": "0"})


async def test_quote_asks_for_all_pairs_and_no_call_exceeds_a_limit(market: Market) -> None:
    said = await ask_everyone(settings(market), PAIRS)
    assert list(said) == list(PAIRS)
    assert {row.error for rows in said.values() for row in rows} == {None}
    assert not any(market.limits_exceeded.values())
    assert (market.calls["kraken"], market.calls["coinbase"]) == (1, len(PAIRS))


async def test_quote_of_a_pair_that_nobody_lists_exceeds_no_limit_either(market: Market) -> None:
    nobodys = Pair("NO", "SUCH")
    said = await ask_everyone(settings(market), (*PAIRS[:5], nobodys))
    assert all(row.is_unlisted for row in said.pop(nobodys))
    assert {row.error for rows in said.values() for row in rows} == {None}
    assert not any(market.limits_exceeded.values()) and market.calls["kraken"] == 2


async def test_watch_asks_for_all_pairs_and_no_call_exceeds_a_limit(market: Market) -> None:
    async with opened_session(settings(market)) as session:
        sources = live_sources(settings(market), session, SystemClock(), lambda event: None)
        watching = Watching(sources, PAIRS, SystemClock())
        running = asyncio.create_task(watching.run())
        async with asyncio.timeout(PATIENCE):
            while len(watching.said) < len(PAIRS) * len(sources):
                await watching.news.wait()
                watching.news.clear()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert not watching.errors and not any(market.limits_exceeded.values())
    assert market.calls["coinbase"] == len(PAIRS)
