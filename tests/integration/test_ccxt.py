"""A third-party client reads the simulated exchanges: ccxt, with its own interpretation of the documents."""

import importlib
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from fastprice.domain.quote import Pair
from fastprice.market import Market
from fastprice.market.exchange import Complaint
from fastprice.market.exchanges import EXCHANGES

pytestmark = pytest.mark.anyio

PAIRS = ("ETH/USDT", "BTC/USD", "ETH/BTC", "DOGE/USD", "SOL/USDT")
NOW_MS = 1_753_300_000_000
UNSTAMPED = {"kraken", "gate", "bybit"}
# By default it would also load the derivatives of the exchange, which the market does not have.
SPOT: dict[str, Any] = {"htx": {"spot": True, "linear": False, "inverse": False}}


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    """A market whose clock stands still."""
    market = Market([pair.replace("/", "-").lower() for pair in PAIRS], now_ms=lambda: NOW_MS)
    await market.start()
    yield market
    await market.stop()


@pytest.fixture
async def client(market: Market, name: str) -> AsyncIterator[Any]:
    """ccxt's own class for an exchange, pointed at the market instead."""
    kind = {"coinbase": "coinbaseexchange"}.get(name, name)
    options = {"defaultType": "spot", "fetchMarkets": {"types": SPOT.get(name, ["spot"])}}
    settings = {"enableRateLimit": False, "timeout_on_exit": 0, "options": options}
    client = getattr(importlib.import_module(f"ccxt.async_support.{kind}"), kind)(settings)
    client.urls["api"] = moved(client.urls["api"], f"{market.url}/{name}")
    yield client
    await client.close()


def moved(urls: Any, base: str) -> Any:
    """The same paths at another host."""
    if isinstance(urls, dict):
        return {key: moved(url, base) for key, url in urls.items()}
    return base + urlsplit(urls.format(hostname="")).path


def read(ticker: dict[str, Any]) -> tuple[float, ...]:
    return tuple(ticker[key] for key in ("last", "bid", "ask", "baseVolume"))


def given(market: Market, name: str, pair: str) -> tuple[float, ...]:
    """Last, bid, ask and volume that the simulated source gives."""
    tick = market.sources[name].tick(Pair(*pair.split("/")), NOW_MS)
    assert tick.bid and tick.ask
    return float(tick.price), float(tick.bid), float(tick.ask), float(tick.volume)


@pytest.mark.parametrize("name", EXCHANGES)
async def test_ccxt_reads_five_pairs_one_by_one(market: Market, client: Any, name: str) -> None:
    for pair in PAIRS:
        ticker = await client.fetch_ticker(pair)
        assert (ticker["symbol"], read(ticker)) == (pair, given(market, name, pair))
        assert ticker["timestamp"] == (None if name in UNSTAMPED else NOW_MS)


@pytest.mark.parametrize("name", [name for name in EXCHANGES if name != "coinbase"])
async def test_ccxt_reads_them_at_once_among_all_others(market: Market, client: Any, name: str) -> None:
    everything = await client.fetch_tickers(params={"category": "spot"} if name == "bybit" else {})
    assert len(everything) > 20
    for tickers in everything, await client.fetch_tickers(list(PAIRS)):
        assert {pair: read(tickers[pair]) for pair in PAIRS} == {pair: given(market, name, pair) for pair in PAIRS}


@pytest.mark.parametrize("name", EXCHANGES)
async def test_ccxt_understands_that_it_asks_too_much(market: Market, client: Any, name: str) -> None:
    await client.load_markets()
    market.limits, source = True, market.sources[name]
    path = source.exchange.target(Pair("ETH", "USDT")).partition("?")[0]
    while not source.pay(path, Complaint(400, "", "any call")).wait_ms:
        pass
    # The error codes of these two are documented, but ccxt does not know them.
    errors = importlib.import_module("ccxt.base.errors")
    expected = errors.ExchangeError if name in ("kucoin", "bitstamp") else errors.NetworkError
    with pytest.raises(expected):
        await client.fetch_ticker("ETH/USDT")
    assert market.limits_exceeded[name] == 2
