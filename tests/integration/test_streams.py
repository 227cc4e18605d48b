"""Streams out: what a subscriber is sent, the same bytes on both ways, and what clients do to their streams.

The clock of prices stands still unless a test moves it; nothing waits longer than the event loop takes.
"""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from fastprice.interface import streams as streams_module
from fastprice.server.careful_http import UNREAD_SECONDS
from fastprice.server.subscriber import MAX_SAID_BYTES
from tests.integration.test_lane import OTHER, PLAIN, PRICE, Prices, Side, Wire, request, turns

pytestmark = pytest.mark.anyio

ONE, SEVERAL = PRICE + b"/stream", b"/api/v1/stream?pairs=btc-usdt,eth-usdt"
SUBSCRIBE = request(ONE)
Event = dict[str, str]


@pytest.fixture(params=[{"use_uvloop": False}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", request.param


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "LOOK_SECONDS", 0.005)
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "hasHandlers", lambda: False)


@pytest.fixture(params=[True, False], ids=["push", "ordinary"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    prices = Prices()
    prices.give()
    async with Side(prices, prices.lane() if request.param else None).running() as side:
        yield side


class Reader:
    """A client with a stream: its raw bytes, and the events in them."""

    def __init__(self, side: Side, buffers: int = 0) -> None:
        self.wire = Wire(side, buffers)
        self.side = side
        self.raw = b""

    async def ask(self, data: bytes = SUBSCRIBE) -> "Reader":
        before = self.side.streams.subscribers
        await self.wire.connect()
        self.wire._sock.send(data)
        await turns(lambda: self.side.streams.subscribers > before)
        await self.until(lambda: b"retry" in self.raw)
        return self

    async def until(self, is_so: Callable[[], bool]) -> None:
        def looked() -> bool:
            self.raw += self.wire.read()
            return is_so()

        await in_time(looked)

    async def events(self, count: int) -> list[Event]:
        """The events so far, once there are at least this many."""
        await self.until(lambda: len(parsed(self.body)) >= count)
        return parsed(self.body)

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        body = self.raw.partition(b"\r\n\r\n")[2]
        return unchunked(body) if b"chunked" in self.head else body


async def in_time(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_so():
            await asyncio.sleep(0.001)


def unchunked(data: bytes) -> bytes:
    """The complete chunks at the beginning of a body."""
    parts = []
    while (end := data.find(b"\r\n")) > 0:
        size = int(data[:end], 16)
        chunk = data[end + 2 : end + 2 + size + 2]
        if len(chunk) < size + 2:
            break
        assert chunk.endswith(b"\r\n")
        parts.append(chunk[:-2])
        data = data[end + 2 + size + 2 :]
    return b"".join(parts)


def parsed(body: bytes) -> list[Event]:
    """Every event except comments and `retry`, parsed by the rules of the standard."""
    events = []
    for block in body.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields and set(fields) != {"retry"}:
            events.append(fields)
    return events


def later(side: Side, price: str, seconds: float = 1.0) -> None:
    side.prices.clock.now += seconds
    side.prices.give(price)


def prices_of(events: list[Event]) -> list[str]:
    return [json.loads(event["data"])["price"] for event in events if event["event"] == "price"]


# What is sent


async def test_the_current_price_comes_at_once_and_then_every_newer_one_as_the_price_answer_has_it(side: Side) -> None:
    reader = await Reader(side).ask()
    assert reader.body.startswith(b"retry: 1000\n\nid: ")
    for number in range(3):
        later(side, f"{3000 + number}.5")
        answer = await (await Wire(side).connect()).say(PLAIN)
        event = (await reader.events(number + 2))[-1]
        assert event["data"].encode() == answer.partition(b"\r\n\r\n")[2]
        assert event["id"] == str(json.loads(event["data"])["fetched_at_ms"]) and event["event"] == "price"
    assert prices_of(parsed(reader.body)) == ["3120.45", "3000.5", "3001.5", "3002.5"]


async def test_equal_digits_are_a_newer_fact(side: Side) -> None:
    reader = await Reader(side).ask()
    later(side, "3120.45")
    first, second = await reader.events(2)
    assert first["data"] != second["data"] and prices_of([first]) == prices_of([second])


async def test_before_the_first_price_there_is_none_and_it_comes_when_it_is_there(side: Side) -> None:
    reader = await Reader(side).ask(request(OTHER + b"/stream"))
    assert parsed(reader.body) == []
    side.prices.give("60000.1", pair=side.prices.latest.by_slug["btc-usdt"].pair)
    assert prices_of(await reader.events(1)) == ["60000.1"]


async def test_a_stream_of_several_pairs_has_each_price_without_an_id_and_each_at_once(side: Side) -> None:
    btc = side.prices.latest.by_slug["btc-usdt"].pair
    side.prices.give("60000.1", pair=btc)
    reader = await Reader(side).ask(request(SEVERAL, b"Last-Event-ID: 1"))
    assert prices_of(await reader.events(2)) == ["60000.1", "3120.45"]
    later(side, "3121.5")
    side.prices.give("60001.1", pair=btc)
    events = await reader.events(4)
    assert sorted(prices_of(events[2:])) == ["3121.5", "60001.1"] and not any("id" in event for event in events)


async def test_all_pairs_are_meant_where_none_is_named(side: Side) -> None:
    side.prices.give("60000.1", pair=side.prices.latest.by_slug["btc-usdt"].pair)
    reader = await Reader(side).ask(request(b"/api/v1/stream"))
    assert sorted(prices_of(await reader.events(2))) == ["3120.45", "60000.1"]


async def test_who_names_the_current_event_gets_only_newer_ones(side: Side) -> None:
    known = (await (await Reader(side).ask()).events(1))[0]["id"]
    reader = await Reader(side).ask(request(ONE, b"Last-Event-ID: " + known.encode()))
    assert parsed(reader.body) == []
    later(side, "3121.5")
    assert prices_of(await reader.events(1)) == ["3121.5"]
    other = await Reader(side).ask(request(ONE, b"Last-Event-ID: 17"))
    assert prices_of(await other.events(1)) == ["3121.5"]


async def test_states_are_told_when_they_change_and_on_connecting_where_a_price_is_not_fresh(side: Side) -> None:
    reader = await Reader(side).ask()
    side.prices.clock.now += 6
    stale = (await reader.events(2))[-1]
    fetched = json.loads(parsed(reader.body)[0]["data"])["fetched_at_ms"]
    assert stale == {"event": "state", "data": f'{{"symbol":"ETH-USDT","state":"stale","fetched_at_ms":{fetched}}}'}
    newcomer = await Reader(side).ask()
    price, state = await newcomer.events(2)
    assert json.loads(price["data"])["stale"] is True and state == stale
    side.prices.clock.now += 60
    assert json.loads((await reader.events(3))[-1]["data"])["state"] == "expired"
    late = await Reader(side).ask()
    assert [json.loads(event["data"])["state"] for event in await late.events(1)] == ["expired"]
    later(side, "3121.5")
    price, state = (await reader.events(5))[-2:]
    assert prices_of([price]) == ["3121.5"] and json.loads(state["data"])["state"] == "fresh"


async def test_a_pause_is_filled_with_comments(side: Side) -> None:
    reader = await Reader(side).ask()
    side.prices.clock.now += streams_module.SILENCE_SECONDS + 0.1
    await reader.events(2)  # The second event says that the price is stale now.
    for count in 1, 2:
        side.prices.clock.now += streams_module.SILENCE_SECONDS + 0.1
        await reader.until(lambda count=count: reader.body.count(b":\n\n") >= count)  # type: ignore[misc]


async def test_a_price_is_pushed_at_most_once_in_an_interval_and_then_the_newest(side: Side) -> None:
    reader = await Reader(side).ask(request(ONE + b"?min_interval_ms=400"))
    later(side, "3001.5")
    assert len(await reader.events(2)) == 2
    began = time.monotonic()
    for number in range(5):
        later(side, f"30{number}1.7", seconds=0.001)
    assert prices_of(await reader.events(3))[-1] == "3041.7"
    assert time.monotonic() - began > 0.35, "not before the interval is over"


# The same bytes on both ways


REQUESTS = {
    "one pair": SUBSCRIBE,
    "several pairs": request(SEVERAL),
    "HTTP/1.0": request(ONE, first=b"GET %s HTTP/1.0"),
    "HTTP/1.0, kept": request(ONE, b"Connection: keep-alive", first=b"GET %s HTTP/1.0"),
    "closed": request(ONE, b"Connection: close"),
    "at most every 250 ms": request(ONE + b"?min_interval_ms=250"),
    "upper case": request(b"/api/v1/prices/ETH-USDT/stream"),
}


@pytest.mark.parametrize("asked", REQUESTS.values(), ids=REQUESTS)
async def test_both_ways_send_the_same_bytes(asked: bytes) -> None:
    prices = Prices()
    prices.give()
    async with Side(prices, prices.lane()).running() as fast, Side(prices, None).running() as ordinary:
        readers = [await Reader(side).ask(asked) for side in (fast, ordinary)]
        for number in range(3):
            later(fast, f"{3000 + number}.5")
            for reader in readers:
                await reader.events(number + 2)
        for reader in readers:
            reader.side.streams.drain(0)
            await reader.until(lambda reader=reader: not reader.wire.is_open or b"\r\n0\r\n" in reader.raw)  # type: ignore[misc]
        assert readers[0].raw == readers[1].raw
        assert (b"chunked" in readers[0].head) == (b"HTTP/1.0" not in asked)
        assert fast.counted() and not fast.streams.subscribers and not ordinary.streams.subscribers


REFUSED = {
    "unknown pair": (request(b"/api/v1/prices/xrp-usdt/stream"), b"404", b"unknown_pair"),
    "two pairs in the path": (request(b"/api/v1/prices/eth-usdt,btc-usdt/stream"), b"404", b"unknown_pair"),
    "unknown pair of several": (request(b"/api/v1/stream?pairs=eth-usdt,x"), b"404", b"unknown_pair"),
    "unknown parameter": (request(ONE + b"?x=1"), b"400", b"bad_parameter"),
    "pairs of one": (request(ONE + b"?pairs=eth-usdt"), b"400", b"bad_parameter"),
    "no number": (request(ONE + b"?min_interval_ms=soon"), b"400", b"bad_parameter"),
    "other method": (request(ONE, first=b"POST %s HTTP/1.1"), b"405", b"method_not_allowed"),
}


@pytest.mark.parametrize(("asked", "status", "code"), REFUSED.values(), ids=REFUSED)
async def test_what_cannot_be_streamed_is_refused_as_elsewhere(
    side: Side, asked: bytes, status: bytes, code: bytes
) -> None:
    answer = await (await Wire(side).connect()).say(asked)
    assert answer.startswith(b"HTTP/1.1 " + status) and code in answer


async def test_head_is_answered_without_a_stream(side: Side) -> None:
    wire = await Wire(side).connect()
    answer = await wire.say(request(ONE, first=b"HEAD %s HTTP/1.1"))
    assert b" 200 OK" in answer and b"text/event-stream" in answer and answer.endswith(b"\r\n\r\n")
    assert b" 200 OK" in await wire.say(PLAIN), "the connection goes on"


async def test_one_too_many_is_told_at_once(side: Side) -> None:
    side.streams._most = 2
    for _ in range(2):
        await Reader(side).ask()
    answer = await (await Wire(side).connect()).say(SUBSCRIBE)
    assert b" 503 " in answer and b"too_many_subscribers" in answer and b"retry-after: 1" in answer


async def test_a_stream_is_counted_when_it_begins(side: Side) -> None:
    await Reader(side).ask()
    counted = side.counted()
    assert counted['fastprice_http_requests_total{method="GET",route="/api/v1/prices/{pair}/stream",status="200"}'] == 1
    assert counted["fastprice_http_request_duration_seconds_count"] == 1


async def test_a_stream_can_follow_other_requests_on_a_connection(side: Side) -> None:
    reader = Reader(side)
    await reader.wire.connect()
    assert b" 200 OK" in await reader.wire.say(PLAIN)
    reader.wire._sock.send(SUBSCRIBE)
    await reader.until(lambda: len(parsed(reader.body)) == 1)


# What clients do to it


async def test_who_does_not_read_gets_whole_events_and_the_newest_and_nothing_in_between(side: Side) -> None:
    slow, quick = await Reader(side, buffers=4096).ask(), await Reader(side).ask()
    for number in range(1500):
        later(side, f"{number}.5", seconds=0.1)
        await quick.until(lambda number=number: f'"{number}.5"'.encode() in quick.raw)  # type: ignore[misc]
    assert side.streams.counts.dropped > 500
    await slow.until(lambda: b'"1499.5"' in slow.raw)
    for reader in slow, quick:
        ids = [int(event["id"]) for event in parsed(reader.body)]
        assert ids == sorted(set(ids))
    assert len(parsed(quick.body)) == 1501 and len(parsed(slow.body)) < 1000


async def test_who_takes_nothing_for_too_long_is_closed(side: Side) -> None:
    slow = await Reader(side, buffers=4096).ask()
    while not side.streams.counts.dropped:
        later(side, "3001.5", seconds=0.2)
        await asyncio.sleep(0)
    connection = slow.wire.connection
    connection.close_if_overdue(time.monotonic() + UNREAD_SECONDS - 1)
    assert side.streams.subscribers == 1
    connection.close_if_overdue(time.monotonic() + UNREAD_SECONDS + 1)
    await in_time(lambda: side.streams.subscribers == 0)


async def test_what_a_client_says_on_its_stream_is_dropped_and_much_of_it_ends_the_stream() -> None:
    prices = Prices()
    prices.give()
    async with Side(prices, prices.lane()).running() as side:
        reader = await Reader(side).ask()
        reader.wire._sock.send(PLAIN * 3)
        later(side, "3121.5")
        assert prices_of(await reader.events(2))[-1] == "3121.5"
        assert reader.body.count(b"retry") == 1
        await reader.wire.push(b"x" * (MAX_SAID_BYTES + 1))
        await in_time(lambda: side.streams.subscribers == 0)


@pytest.mark.parametrize("how", ["half-closed", "closed", "reset"])
async def test_the_end_of_the_client_is_the_end_of_the_subscription(side: Side, how: str) -> None:
    reader = await Reader(side).ask()
    if how == "half-closed":
        reader.wire.end()
    else:
        reader.wire.close(abruptly=how == "reset")
    await in_time(lambda: side.streams.subscribers == 0 and not side.server.server_state.connections)


async def test_a_reset_in_the_middle_of_a_push_harms_no_other(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams_module, "WRITES_PER_TURN", 2)
    readers = [await Reader(side).ask() for _ in range(8)]
    later(side, "3121.5")
    await asyncio.sleep(0)
    for reader in readers[::2]:
        reader.wire.close(abruptly=True)
    for reader in readers[1::2]:
        assert prices_of(await reader.events(2))[-1] == "3121.5"
    await in_time(lambda: side.streams.subscribers == 4)


async def test_who_comes_in_the_middle_of_a_push_gets_no_id_twice(
    side: Side, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams_module, "WRITES_PER_TURN", 1)
    readers = [await Reader(side).ask() for _ in range(4)]
    for number in range(10):
        later(side, f"{number + 1}.5", seconds=0.2)
        readers.append(await Reader(side).ask())
    later(side, "99.5")
    for reader in readers:
        await reader.until(lambda reader=reader: b'"99.5"' in reader.raw)  # type: ignore[misc]
        ids = [int(event["id"]) for event in parsed(reader.body)]
        assert ids == sorted(set(ids))


# The end of a worker


async def test_subscribers_are_let_go_one_after_the_other_each_with_a_whole_stream(side: Side) -> None:
    readers = [await Reader(side).ask() for _ in range(10)]
    side.streams.drain(0.3)
    await in_time(lambda: side.streams.subscribers < 10)
    assert side.streams.subscribers > 0, "not all at once"
    for reader in readers:
        await reader.until(lambda reader=reader: reader.raw.endswith(b"\r\n0\r\n\r\n"))  # type: ignore[misc]
    assert side.streams.subscribers == 0


async def test_who_comes_when_the_worker_ends_gets_a_stream_that_ends_at_once_because_browsers_come_back_then(
    side: Side,
) -> None:
    side.streams.drain(60)
    late = Reader(side)
    await late.wire.connect()
    late.wire._sock.send(SUBSCRIBE)
    await late.until(lambda: late.raw.endswith(b"\r\n0\r\n\r\n"))
    assert b" 200 " in late.head and late.body.startswith(b"retry: 1000\n\n") and len(parsed(late.body)) == 1
    assert side.streams.subscribers == 0


async def test_a_slow_one_is_let_go_only_when_it_has_its_event_whole(side: Side) -> None:
    slow = await Reader(side, buffers=4096).ask()
    while not side.streams.counts.dropped:
        later(side, "3001.5", seconds=0.2)
        await asyncio.sleep(0)
    side.streams.drain(0)
    await asyncio.sleep(0.05)
    await slow.until(lambda: slow.raw.endswith(b"\r\n0\r\n\r\n"))
    assert parsed(slow.body)


def test_a_chunk_that_is_not_whole_is_no_event() -> None:
    assert unchunked(b"4\r\nabcd\r\n5\r\nabc") == b"abcd"
