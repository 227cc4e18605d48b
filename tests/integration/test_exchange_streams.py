"""Every exchange's declared stream against the simulated exchange, which was written from the same documents."""

import asyncio
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from typing import Any

import pytest

from fastprice.application.live_events import StreamReconnected
from fastprice.domain.quote import Pair
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.live import LiveStream
from fastprice.market import Market
from tests.fakes import ETH, RecordingEvents
from tests.service import polling

pytestmark = pytest.mark.anyio

STREAMING = [name for name, exchange in EXCHANGES.items() if exchange.stream]
PAIRS = ("eth-usdt", "btc-usd", "eth-btc", "doge-usdt")
UNLISTED = Pair("NOBODY", "USDT")


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    market = Market(PAIRS, limits=True)
    market.every_ms = 0
    await market.start()
    yield market
    await market.stop()


class Live:
    """One exchange's stream, and its newest values for each pair."""

    def __init__(self, name: str, market: Market, session: Session) -> None:
        exchange, self.events = EXCHANGES[name], RecordingEvents()
        assert exchange.stream
        url = f"{market.url}/{name}"
        args = f"ws{url.removeprefix('http')}", url, session, SystemClock(), self.events, lambda: 0.5
        self.stream = LiveStream(exchange, exchange.stream, *args)
        self.prices: dict[Pair, str] = {}
        self.books: dict[Pair, tuple[str | None, str | None]] = {}

    def look(self) -> "Live":
        for update in self.stream.take(1000):
            if update.price:
                self.prices[update.pair] = update.price
            if update.book:
                self.books[update.pair] = update.book
        return self


@pytest.fixture
async def live(market: Market, name: str) -> AsyncIterator[Live]:
    async with Session("fastprice/test") as session:
        live = Live(name, market, session)
        yield live
        await live.stream.close()


async def until(condition: Callable[[], Any]) -> None:
    for _ in polling():
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("never came")


@pytest.mark.parametrize("name", STREAMING)
async def test_prices_are_those_that_the_exchange_pushed_digit_for_digit(
    name: str, market: Market, live: Live
) -> None:
    pairs = list(map(Pair.parse, PAIRS))
    live.stream.open(pairs, lambda: None, lambda error: None)
    await until(lambda: live.look().prices.keys() == live.books.keys() == set(pairs))
    for _ in range(20):
        for slug in PAIRS:
            market.set_truth(slug, market.truth(Pair.parse(slug)) * Decimal("1.001"))
        await asyncio.sleep(0.01)
    said = {(push.pair, push.price) for push in market.pushed[name]}
    await until(lambda: all((pair.slug, live.look().prices[pair]) in said for pair in pairs))
    for pair in pairs:
        bid, ask = live.books[pair]
        assert bid and ask and Decimal(bid) <= Decimal(ask)
    assert not live.events.of(StreamReconnected)
    assert not market.stream_limits_exceeded[name]


@pytest.mark.parametrize("name", STREAMING)
async def test_an_unlisted_pair_costs_no_other_one(name: str, market: Market, live: Live) -> None:
    live.stream.open([UNLISTED, *map(Pair.parse, PAIRS)], lambda: None, lambda error: None)
    await until(lambda: live.look().prices.keys() == set(map(Pair.parse, PAIRS)))
    assert not live.events.of(StreamReconnected)


@pytest.mark.parametrize("name", STREAMING)
async def test_a_pair_that_is_subscribed_to_anew_goes_on(name: str, market: Market, live: Live) -> None:
    live.stream.open([ETH], lambda: None, lambda error: None)
    await until(lambda: live.look().prices)
    live.stream.renew([ETH])
    await asyncio.sleep(0.1)
    live.prices.clear()
    await until(lambda: live.look().prices)
    assert not live.events.of(StreamReconnected)


@pytest.mark.parametrize("name", STREAMING)
async def test_after_a_loss_it_goes_on_by_itself(name: str, market: Market, live: Live) -> None:
    live.stream.open([ETH], lambda: None, lambda error: None)
    await until(lambda: live.look().prices)
    market.set_stream_fault(name, "close_1006")
    await until(lambda: live.events.of(StreamReconnected))
    market.clear_stream_fault(name)
    live.prices.clear()
    await until(lambda: live.look().prices)
