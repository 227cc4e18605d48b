"""A third-party client listens to the simulated exchanges: the WebSocket side of ccxt."""

import asyncio
import importlib
from collections.abc import AsyncIterator, Awaitable
from typing import Any
from urllib.parse import urlsplit

import pytest

from fastprice.market import Market
from fastprice.market.dialects import DIALECTS

pytestmark = pytest.mark.anyio

PAIRS = ("ETH/USDT", "BTC/USD", "ETH/BTC", "DOGE/USD")
CLASSES = {"coinbase": "coinbaseexchange"}
# Without this, ccxt subscribes to a channel that sends a snapshot every two seconds.
OPTIONS: dict[str, Any] = {"kucoin": {"watchTicker": {"spotMethod": "/market/ticker"}}}


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    """A market that pushes at every step of its prices, and enforces the limits of its clients."""
    market = Market([pair.replace("/", "-").lower() for pair in PAIRS], limits=True)
    market.every_ms = 0
    await market.start()
    yield market
    await market.stop()


@pytest.fixture
async def client(market: Market, name: str) -> AsyncIterator[Any]:
    """ccxt's own class for an exchange, pointed at the market instead."""
    kind = CLASSES.get(name, name)
    options = {"defaultType": "spot", "fetchMarkets": {"types": ["spot"]}} | OPTIONS.get(name, {})
    settings = {"enableRateLimit": False, "timeout_on_exit": 0, "options": options}
    client = getattr(importlib.import_module(f"ccxt.pro.{kind}"), kind)(settings)
    client.urls["api"] = moved(client.urls["api"], f"{market.url}/{name}")
    await client.load_markets()
    yield client
    await client.close()


def moved(urls: Any, base: str) -> Any:
    """The same paths at another host, under the same scheme but without TLS."""
    if isinstance(urls, dict):
        return {key: moved(url, base) for key, url in urls.items()}
    url = urlsplit(urls.format(hostname=""))
    return (base.replace("http", "ws") if url.scheme == "wss" else base) + url.path


async def within_reason(watched: Awaitable[Any]) -> Any:
    return await asyncio.wait_for(watched, 20)


def pushed(market: Market, name: str, pair: str) -> set[tuple[float | None, ...]]:
    """Last, bid and ask of everything that the source really pushed for a pair."""
    slug = pair.replace("/", "-").lower()
    prices = [(push.price, push.bid, push.ask) for push in market.pushed[name] if push.pair == slug]
    return {tuple(amount and float(amount) for amount in three) for three in prices}  # type: ignore[misc]


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "bitstamp"])
async def test_ccxt_watches_tickers(market: Market, client: Any, name: str) -> None:
    tickers = await asyncio.gather(*[within_reason(client.watch_ticker(pair)) for pair in PAIRS])
    for pair, ticker in zip(PAIRS, tickers, strict=True):
        assert ticker["symbol"] == pair
        # The tickers of Bybit have no bid and ask.
        assert (ticker["last"], ticker["bid"], ticker["ask"]) in pushed(market, name, pair)
    later = await within_reason(client.watch_ticker("ETH/USDT"))
    assert (later["last"], later["bid"], later["ask"]) in pushed(market, name, "ETH/USDT")


@pytest.mark.parametrize("name", ["binance", "okx", "coinbase", "kraken", "bybit", "kucoin", "gate", "bitget"])
async def test_ccxt_watches_many_at_once(market: Market, client: Any, name: str) -> None:
    # The call returns the first ticker that comes, and keeps the others.
    await within_reason(client.watch_tickers(list(PAIRS)))
    async with asyncio.timeout(20):
        while not set(PAIRS) <= set(client.tickers):
            await asyncio.sleep(0.01)
    for pair in PAIRS:
        ticker = client.tickers[pair]
        assert (ticker["last"], ticker["bid"], ticker["ask"]) in pushed(market, name, pair)


@pytest.mark.parametrize("name", ["kucoin"])
async def test_ccxt_watches_snapshots(market: Market, client: Any, name: str) -> None:
    ticker = await within_reason(client.watch_ticker("ETH/USDT", {"spotMethod": "/market/snapshot"}))
    assert (ticker["last"], ticker["bid"], ticker["ask"]) in pushed(market, name, "ETH/USDT")


# ccxt's class for Binance unsubscribes from another channel than it subscribed to, on another connection.
@pytest.mark.parametrize("name", ["okx", "bybit", "kucoin", "bitget"])
async def test_ccxt_stops_watching(market: Market, client: Any, name: str) -> None:
    await within_reason(client.watch_ticker("ETH/USDT"))
    assert market.stream_state(name)["subscriptions"]
    await within_reason(client.un_watch_ticker("ETH/USDT"))
    assert not market.stream_state(name)["subscriptions"]


@pytest.mark.parametrize("name", ["binance", "okx", "kraken", "bybit", "gate", "bitget"])
async def test_ccxt_watches_bids_and_asks(market: Market, client: Any, name: str) -> None:
    best = (await within_reason(client.watch_bids_asks(["ETH/USDT"])))["ETH/USDT"]
    assert (best["bid"], best["ask"]) in {told[1:] for told in pushed(market, name, "ETH/USDT")}


@pytest.mark.parametrize("name", DIALECTS)
async def test_ccxt_watches_trades(market: Market, client: Any, name: str) -> None:
    trade = (await within_reason(client.watch_trades("ETH/USDT")))[-1]
    assert trade["symbol"] == "ETH/USDT"
    assert (trade["price"], None, None) in pushed(market, name, "ETH/USDT")
