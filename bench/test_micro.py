"""Micro-benchmarks of every step of a price through the service; `make bench` runs them."""

import asyncio
import shutil
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from starlette.applications import Starlette

from bench.service import running_redis
from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import PriceStore, Stored
from fastprice.application.recent import RecentPrices
from fastprice.domain.quote import AgeLimits, Quote
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.reply import Reply
from fastprice.infrastructure.exchanges.spec import read
from fastprice.infrastructure.prometheus import Metrics
from fastprice.infrastructure.records import Records
from fastprice.infrastructure.redis_store import RedisStore
from fastprice.infrastructure.sqlite_store import SqliteStore
from fastprice.interface.app import make_app
from fastprice.interface.parts import Parts
from fastprice.interface.price_json import price_answer
from fastprice.interface.price_snapshot import price_snapshots
from fastprice.interface.streams import Streams
from fastprice.market.call import Call
from fastprice.market.floor import Floor
from tests.fakes import ETH, RecordingEvents, a_quote

# Asynchronous steps are too short to be measured one by one: each round runs this many and is divided by it.
BATCH = 200
CLOCK = SystemClock()
RECORDS = Records([ETH], ["binance"])


@pytest.fixture
def loop() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def quote_now() -> Quote:
    now_ms = CLOCK.wall_ms()
    return a_quote("3120.45", now_ms, bid="3120.44", ask="3120.46", volume_24h="41325.02", source_time_ms=now_ms)


def batched(benchmark: BenchmarkFixture, loop: asyncio.Runner, step: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    async def batch() -> None:
        for _ in range(BATCH):
            await step()

    benchmark.extra_info["steps_per_round"] = BATCH
    benchmark(lambda: loop.run(batch()))


def test_render(benchmark: BenchmarkFixture) -> None:
    benchmark(price_answer, quote_now(), stale=False)


@pytest.mark.parametrize("name", EXCHANGES)
def test_parse(benchmark: BenchmarkFixture, name: str) -> None:
    source = Floor().sources[name]
    path, _, query = source.exchange.target(ETH).partition("?")
    choice = source.read(path, dict(parse_qsl(query)))
    assert choice
    call = source.reply(choice)
    assert isinstance(call, Call)
    reply = Reply(200, {}, call.truth().body, CLOCK.wall_ms())
    exchange = EXCHANGES[name]
    assert benchmark(read, exchange, exchange.single, (ETH,), reply)[ETH].source == name


def test_offer_to_l1(benchmark: BenchmarkFixture) -> None:
    latest = LatestPrice([ETH], AgeLimits(3_600_000, 7_200_000), price_snapshots(CLOCK, 1.0), CLOCK)
    place, quote = latest.by_slug[ETH.slug], quote_now()

    def taken() -> bool:
        place.snapshot = place.last = None
        return latest.offer(quote)

    assert benchmark(taken)


def price_app(metrics: Metrics) -> Starlette:
    latest = LatestPrice([ETH], AgeLimits(3_600_000, 7_200_000), price_snapshots(CLOCK, 1.0), CLOCK)
    latest.offer(quote_now())

    async def no_metrics() -> tuple[bytes, str]:
        return b"", "text/plain"

    parts = Parts(
        version="bench", latest=latest, clock=CLOCK, reports=lambda: (), standing=lambda pair: (),
        live=lambda: (),
        redis=lambda: "not_configured", scrape=no_metrics, count_request=metrics.count_request, tally=metrics.l1,
        patience=lambda: 0.0, refresh_interval=1.0, streams=Streams(latest, CLOCK, 0.1, 100),
        recent=RecentPrices(latest, CLOCK),
    )  # fmt: skip
    return make_app(parts, None)


@pytest.mark.parametrize("condition", ["200", "304"])
def test_asgi_price(benchmark: BenchmarkFixture, loop: asyncio.Runner, condition: str) -> None:
    app = price_app(Metrics("bench"))
    sent: list[Any] = []
    headers = [(b"host", b"localhost")] + ([(b"if-none-match", b"*")] if condition == "304" else [])
    path = "/api/v1/prices/eth-usdt"
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": headers}

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)
        if len(sent) > 1000:
            sent.clear()

    async def ask() -> None:
        await app(dict(scope), receive, send)

    batched(benchmark, loop, ask)
    assert sent[-2]["status"] == int(condition)


def round_trips(store: PriceStore) -> Callable[[], Coroutine[Any, Any, None]]:
    """A leader's store calls in each interval: it writes a round under its claim, and reads it in its next turn."""
    at = iter(range(CLOCK.wall_ms(), CLOCK.wall_ms() + 10**9))

    async def round_trip() -> None:
        assert await store.claim("bench", 60.0)
        assert await store.write("bench", Stored(now_ms := next(at), (a_quote(at_ms=now_ms),)))
        await store.read()

    return round_trip


def test_embedded_store_round_trip(benchmark: BenchmarkFixture, loop: asyncio.Runner, tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "store.db", RECORDS, CLOCK)
    batched(benchmark, loop, round_trips(store))
    loop.run(store.close())


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server here")
def test_shared_store_round_trip(benchmark: BenchmarkFixture, loop: asyncio.Runner, tmp_path: Path) -> None:
    with running_redis(tmp_path) as (url, _):
        store = RedisStore(url, "bench", RECORDS, 1.0, 60.0, CLOCK, RecordingEvents())
        batched(benchmark, loop, round_trips(store))
        loop.run(store.close())


def test_count_a_request(benchmark: BenchmarkFixture) -> None:
    metrics = Metrics("bench")
    benchmark(metrics.count_request, "/api/v1/prices/{pair}", "GET", 200, 0.0001)


def test_flush_metrics(benchmark: BenchmarkFixture) -> None:
    metrics = Metrics("bench")
    metrics.count_request("/api/v1/prices/{pair}", "GET", 200, 0.0001)
    benchmark(metrics.flush)
