"""Micro-benchmarks of a push: what is rendered once, and what each subscriber costs on top of the kernel's write."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.test_micro import CLOCK, quote_now
from fastprice.application.latest_price import LatestPrice
from fastprice.domain.quote import AgeLimits
from fastprice.interface.price_snapshot import price_snapshots
from fastprice.interface.sse import Feed, Message, news
from fastprice.server.subscriber import PushedTo
from tests.fakes import ETH


@pytest.fixture
def latest() -> LatestPrice[Any]:
    latest = LatestPrice([ETH], AgeLimits(3_600_000, 7_200_000), price_snapshots(CLOCK, 1.0), CLOCK)
    latest.offer(quote_now())
    return latest


def event(latest: LatestPrice[Any]) -> Message:
    feed = Feed(latest.by_slug[ETH.slug])
    feed.price_at = 1
    return news([feed], 0, CLOCK.monotonic(), with_id=True)


@pytest.fixture
def descriptor() -> Iterator[int]:
    """A datagram socket, which accepts all data: its peer lets the kernel drop what arrives."""
    with socket.socket(type=socket.SOCK_DGRAM) as peer, socket.socket(type=socket.SOCK_DGRAM) as connection:
        peer.bind(("127.0.0.1", 0))
        connection.connect(peer.getsockname())
        yield connection.fileno()


def test_render_an_event(benchmark: BenchmarkFixture, latest: LatestPrice[Any]) -> None:
    assert benchmark(event, latest).events == 1


def test_push_to_100_subscribers(benchmark: BenchmarkFixture, latest: LatestPrice[Any], descriptor: int) -> None:
    common = event(latest)
    subscriber = PushedTo(None, descriptor)  # type: ignore[arg-type]
    benchmark.extra_info["subscribers"] = 100
    assert benchmark(PushedTo.push, [subscriber] * 100, common, 0, 0) == 100
