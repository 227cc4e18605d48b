"""Micro-benchmarks of the lane, from the bytes of a request to the bytes of its answer."""

import itertools
import socket
from collections.abc import Callable, Iterator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench.test_micro import CLOCK, quote_now
from fastprice.application.latest_price import LatestPrice
from fastprice.domain.quote import AgeLimits
from fastprice.interface.polled import Polled
from fastprice.interface.price_snapshot import price_snapshots
from fastprice.server.lane import SENT, Lane
from tests.fakes import ETH

HEAD = b"GET /api/v1/prices/eth-usdt HTTP/1.1\r\nHost: localhost:8000\r\n"
LISTING = b"GET /api/v1/prices HTTP/1.1\r\nHost: localhost:8000\r\n\r\n"
FRESH, FRESH_UNCHANGED = 0, 2


@pytest.fixture
def lane() -> Lane:
    latest = LatestPrice([ETH], AgeLimits(3_600_000, 7_200_000), price_snapshots(CLOCK, 1.0), CLOCK)
    latest.offer(quote_now())
    return Lane(Polled(latest, CLOCK, 1.0).find, CLOCK.monotonic)


@pytest.fixture
def ask(lane: Lane) -> Iterator[Callable[[bytes], None]]:
    """Sends requests on a connection that accepts all data: a datagram socket whose peer lets the kernel drop it."""
    with socket.socket(type=socket.SOCK_DGRAM) as peer, socket.socket(type=socket.SOCK_DGRAM) as connection:
        peer.bind(("127.0.0.1", 0))
        connection.connect(peer.getsockname())

        def ask(head: bytes) -> None:
            assert lane.serve(head, connection.fileno()) is SENT

        yield ask


def learned(ask: Callable[[bytes], None], head: bytes) -> bytes:
    for _ in range(3):
        ask(head)
    return head


def test_lane_hit(benchmark: BenchmarkFixture, ask: Callable[[bytes], None], lane: Lane) -> None:
    benchmark(ask, learned(ask, HEAD + b"\r\n"))
    assert lane.learned and only(lane, FRESH)


def test_lane_hit_with_a_condition(benchmark: BenchmarkFixture, ask: Callable[[bytes], None], lane: Lane) -> None:
    benchmark(ask, learned(ask, HEAD + b"If-None-Match: *\r\n\r\n"))
    assert lane.learned and only(lane, FRESH_UNCHANGED)


def test_lane_hit_of_every_price(benchmark: BenchmarkFixture, ask: Callable[[bytes], None], lane: Lane) -> None:
    benchmark(ask, learned(ask, LISTING))
    assert lane.learned and only(lane, FRESH)


def test_lane_miss(benchmark: BenchmarkFixture, ask: Callable[[bytes], None], lane: Lane) -> None:
    numbers = itertools.count()
    benchmark(lambda: ask(HEAD + b"X-Request-ID: %016x\r\n\r\n" % next(numbers)))
    assert not lane.learned
    assert only(lane, FRESH) == next(numbers)


def only(lane: Lane, kind: int) -> int:
    """How many answers of this kind there were; checks that there were none of another kind."""
    (counts,) = lane.counts.values()
    assert sum(counts) == counts[kind]
    return counts[kind]
