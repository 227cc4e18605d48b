"""Micro-benchmarks of the lane, from the bytes of a request to the bytes of its answer."""

import asyncio
import itertools
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from uvicorn.config import Config
from uvicorn.server import ServerState

from bench.test_micro import CLOCK, quote_now
from fastprice.application.latest_price import LatestPrice
from fastprice.domain.quote import AgeLimits
from fastprice.interface.price_snapshot import FRESH, UNCHANGED, price_snapshots
from fastprice.server.fast_lane import FastLaneProtocol, Lane
from tests.fakes import ETH

HEAD = b"GET /api/v1/prices/eth-usdt HTTP/1.1\r\nHost: localhost:8000\r\n"


class Client(asyncio.Transport):
    """A connection to a client that takes everything: a datagram socket whose peer lets the kernel drop what comes."""

    def __init__(self) -> None:
        self.peer, self.socket = [socket.socket(type=socket.SOCK_DGRAM) for _ in range(2)]
        self.peer.bind(("127.0.0.1", 0))
        self.socket.connect(self.peer.getsockname())
        super().__init__({"socket": self.socket})

    def write(self, data: Any) -> None:
        raise AssertionError("the kernel has not taken an answer")

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.socket.close()
        self.peer.close()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


@pytest.fixture
def lane() -> Lane:
    latest = LatestPrice([ETH], AgeLimits(3_600_000, 7_200_000), price_snapshots(CLOCK, 1.0), CLOCK)
    latest.offer(quote_now())
    return Lane({b"/api/v1/prices/eth-usdt": latest.by_slug[ETH.slug]}, CLOCK.monotonic)


@pytest.fixture
def connection(lane: Lane) -> Iterator[FastLaneProtocol]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError("the lane has not answered")

    config = Config(app, http=FastLaneProtocol, ws="none", access_log=False, log_config=None)
    config.load()
    events = asyncio.new_event_loop()
    made = FastLaneProtocol(config, ServerState(), {"lane": lane}, events)
    client = Client()
    made.connection_made(client)
    yield made
    client.close()
    events.close()


def learned(connection: FastLaneProtocol, head: bytes) -> None:
    for _ in range(3):
        connection.data_received(head)


def test_lane_hit(benchmark: BenchmarkFixture, connection: FastLaneProtocol, lane: Lane) -> None:
    learned(connection, HEAD + b"\r\n")
    benchmark(connection.data_received, HEAD + b"\r\n")
    assert lane.learned and only(lane, FRESH)


def test_lane_hit_with_a_condition(benchmark: BenchmarkFixture, connection: FastLaneProtocol, lane: Lane) -> None:
    head = HEAD + b"If-None-Match: *\r\n\r\n"
    learned(connection, head)
    benchmark(connection.data_received, head)
    assert lane.learned and only(lane, FRESH + UNCHANGED)


def test_lane_miss(benchmark: BenchmarkFixture, connection: FastLaneProtocol, lane: Lane) -> None:
    numbers = itertools.count()
    benchmark(lambda: connection.data_received(HEAD + b"X-Request-ID: %016x\r\n\r\n" % next(numbers)))
    assert not lane.learned
    assert only(lane, FRESH) == next(numbers)


def only(lane: Lane, kind: int) -> int:
    """How many answers of this kind there were; none of another kind."""
    assert sum(lane.counts) == lane.counts[kind]
    return lane.counts[kind]
