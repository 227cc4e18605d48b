"""Limits of a connection: heads must end, in time and in size, and have one Host each, and answers must be read.

The tests do not wait: the sweep is given a time in the future.
"""

import asyncio
import json
import logging
import os
import resource
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from fastprice.interface.responses import problem
from fastprice.server.careful_http import MAX_HEAD_BYTES, UNREAD_SECONDS, CarefulProtocol
from fastprice.server.descriptors import ABOUT_TO_ASK_SECONDS, make_room
from fastprice.server.paced_http import MAX_UNSENT_BYTES
from fastprice.server.refusals import HEAD_SECONDS, REFUSALS, refusal
from fastprice.server.sweep import SWEEP_SECONDS, sweep
from tests.integration.test_lane import (
    BTC_PRICE, CHUNKED, LARGE, ONE_READ, OTHER, PLAIN, POST, PRICE, SLOW, Prices, Side, Wire, client_of, every_byte,
    never_reading, request, turns
)

pytestmark = pytest.mark.anyio

KEEP_ALIVE = 75


@pytest.fixture(params=[{"use_uvloop": False}, {"use_uvloop": True}], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", request.param


@pytest.fixture(params=[True, False], ids=["lane", "no-lane"])
async def side(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Side]:
    """The limits are the same with the lane and without it."""
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "hasHandlers", lambda: False)
    prices = Prices()
    prices.give()
    lane = prices.lane() if request.param else None
    async with Side(prices, lane).running(timeout_keep_alive=KEEP_ALIVE) as side:
        yield side


@pytest.fixture
async def wire(side: Side) -> Wire:
    return await Wire(side).connect()


async def swept(wire: Wire, seconds: float) -> bytes:
    """What the server sends because of a sweep that runs this many seconds from now."""
    wire.connection.close_if_overdue(time.monotonic() + seconds)
    return await wire.listen()


async def stuffed(side: Side) -> Wire:
    """A client that reads nothing; the server has begun to buffer what it cannot send, but not much yet."""
    wire = await Wire(side, buffers=4096).connect()
    while not hasattr(wire.connection, "transport") or not wire.connection.transport.get_write_buffer_size():
        await wire.push(PLAIN)
        await turns(lambda: wire.heard == wire.said and not side.server.server_state.tasks)
    assert not wire.connection.flow.write_paused
    return wire


def is_answered(heard: bytes) -> bool:
    return heard.startswith(b"HTTP/1.1 200 OK\r\n") and heard.count(b"HTTP/1.1 ") == 1


# Heads that do not end


async def test_silent_connection_is_closed_without_a_word(wire: Wire) -> None:
    assert await swept(wire, HEAD_SECONDS - 1) == b"" and wire.is_open
    assert await swept(wire, HEAD_SECONDS + 1) == b"" and not wire.is_open


@pytest.mark.parametrize("length", [1, 9, 30, len(PLAIN) - 1])
async def test_half_a_head_is_refused_and_closed(wire: Wire, length: int) -> None:
    assert await wire.say(PLAIN[:length]) == b""
    assert await swept(wire, HEAD_SECONDS - 1) == b"" and wire.is_open
    assert await swept(wire, HEAD_SECONDS + 1) == refusal(408) and not wire.is_open


async def test_head_that_drips_has_no_more_time_than_one_that_rests(wire: Wire) -> None:
    for second in range(int(HEAD_SECONDS)):
        assert await wire.say(PLAIN[second : second + 1]) == b""
        assert await swept(wire, second) == b"" and wire.is_open
    assert await swept(wire, HEAD_SECONDS + 1) == refusal(408) and not wire.is_open


async def test_dripping_empty_lines_is_being_silent(wire: Wire) -> None:
    for second in range(int(HEAD_SECONDS)):
        assert await wire.say(b"\r\n") == b""
        assert await swept(wire, second) == b"" and wire.is_open
    assert await swept(wire, HEAD_SECONDS + 1) == b"" and not wire.is_open


async def test_half_a_head_behind_an_answered_one_has_the_time_of_a_head(wire: Wire) -> None:
    assert is_answered(await wire.say(PLAIN + PLAIN[:20]))
    assert await swept(wire, 0) == b""
    assert await swept(wire, HEAD_SECONDS - 1) == b"" and wire.is_open
    assert await swept(wire, HEAD_SECONDS + 1) == refusal(408) and not wire.is_open


async def test_head_that_ends_in_time_is_answered_and_the_next_has_as_long(wire: Wire) -> None:
    for _ in range(3):
        await wire.say(PLAIN[:20])
        assert await swept(wire, HEAD_SECONDS - 1) == b""
        assert is_answered(await wire.say(PLAIN[20:]))
    assert wire.is_open


async def test_body_that_never_ends_is_closed(wire: Wire) -> None:
    heard = await wire.say(request(PRICE, b"Content-Length: 9", first=POST))
    assert heard.startswith(b"HTTP/1.1 405 ")
    await wire.say(b"1")
    assert await swept(wire, 0) == b"" and wire.is_open
    assert await swept(wire, HEAD_SECONDS + 1) == b"" and not wire.is_open


# Idle connections


@pytest.mark.parametrize("asked", [PLAIN, SLOW, PLAIN * 3, PLAIN + SLOW], ids=["plain", "slow", "pipelined", "both"])
async def test_idle_connection_is_kept_for_keep_alive_and_no_longer(wire: Wire, asked: bytes) -> None:
    assert await wire.say(asked)
    assert await swept(wire, 0) == b""
    assert await swept(wire, KEEP_ALIVE - 1) == b"" and wire.is_open
    assert await swept(wire, KEEP_ALIVE + 1) == b"" and not wire.is_open


@pytest.mark.parametrize("asked", [PLAIN, SLOW], ids=["plain", "slow"])
async def test_every_request_begins_keep_alive_anew(wire: Wire, asked: bytes) -> None:
    for number in range(1, 6):
        assert is_answered(await wire.say(asked))
        assert await swept(wire, number * (KEEP_ALIVE - 1)) == b"" and wire.is_open
    assert await swept(wire, 6 * KEEP_ALIVE) == b"" and not wire.is_open


async def test_no_timer_is_left_behind_by_a_request(wire: Wire) -> None:
    for asked in PLAIN, SLOW, PLAIN + SLOW:
        await wire.say(asked)
        assert getattr(wire.connection, "timeout_keep_alive_task", None) is None


async def test_nobody_who_waits_for_an_answer_is_closed(side: Side, wire: Wire) -> None:
    side.patience = 60
    await wire.push(request(OTHER) + PLAIN + PLAIN[:20])
    await turns(lambda: bool(side.server.server_state.tasks))
    for seconds in 0, HEAD_SECONDS + 1, KEEP_ALIVE + 1, 3600:
        wire.connection.close_if_overdue(time.monotonic() + seconds)
    BTC_PRICE(side.prices)
    assert (await wire.listen()).count(b"HTTP/1.1 200 OK\r\n") == 2 and wire.is_open
    assert is_answered(await wire.say(PLAIN[20:]))


# Answers that are not read


async def test_client_that_does_not_take_its_answers_is_cut_off(side: Side) -> None:
    stuck = await never_reading(side)
    state = side.server.server_state
    stuck.connection.close_if_overdue(time.monotonic() + UNREAD_SECONDS - 1)
    assert not stuck.connection.transport.is_closing()
    stuck.connection.close_if_overdue(time.monotonic() + UNREAD_SECONDS + 1)
    await turns(lambda: not state.connections and not state.tasks)


async def test_client_that_takes_its_answers_late_is_not_cut_off(side: Side) -> None:
    late = await never_reading(side)
    await late.listen()
    assert await swept(late, UNREAD_SECONDS + 1) == b"" and late.is_open


async def test_closed_connection_whose_rest_is_not_read_is_cut_off(side: Side) -> None:
    stuck = await stuffed(side)
    transport = stuck.connection.transport
    later = time.monotonic()
    stuck.connection.close_if_overdue(later)
    stuck.connection.close_if_overdue(later + KEEP_ALIVE + 1)
    assert transport.is_closing()
    for seconds in 1.0, UNREAD_SECONDS:
        stuck.connection.close_if_overdue(later + KEEP_ALIVE + 1 + seconds)
        await asyncio.sleep(0)
        assert stuck.connection in side.server.server_state.connections
    stuck.connection.close_if_overdue(later + KEEP_ALIVE + 1 + UNREAD_SECONDS + 2)
    await turns(lambda: not side.server.server_state.connections)


# Many requests at once

HEAD, NO_SUCH = request(first=b"HEAD %s HTTP/1.1"), request(b"/no/such")
UPGRADE = b"Connection: Upgrade", b"Upgrade: h2c"
IN_ADVANCE: dict[str, bytes] = {
    "known prices": PLAIN,
    "a slow route": SLOW,
    "HEAD": HEAD,
    "unknown paths": NO_SUCH,
    "a large answer": request(b"/openapi.json"),
    "the shortest requests": b"GET / HTTP/1.1\r\nHost:\r\n\r\n",
    "conditions": request(PRICE, b"If-None-Match: *"),
    "a query": request(PRICE + b"?max_age_ms=5000"),
    "bodies": request(PRICE, b"Content-Length: 90", first=POST) + b"a" * 90,
    "chunked bodies": request(PRICE, CHUNKED, first=POST) + b"5\r\nhello\r\n" * 9 + b"0\r\n\r\n",
    "upgrades": request(PRICE, *UPGRADE),
    "empty lines between": b"\r\n" * 500 + PLAIN,
}


@pytest.mark.parametrize("asked", IN_ADVANCE.values(), ids=IN_ADVANCE)
async def test_what_a_client_asks_and_does_not_read_is_bounded(side: Side, asked: bytes) -> None:
    stuck = await Wire(side, buffers=4096).connect()
    answer = await (await Wire(side).connect()).say(asked)
    await stuck.push(asked * (4_000_000 // len(asked)))
    connection = stuck.connection
    assert stuck.is_stuck
    assert len(connection._unparsed) <= 2 * ONE_READ
    assert len(connection._unanswered) <= 2 and len(side.server.server_state.tasks) <= 2
    assert connection.transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + len(answer)
    whole = stuck.said // len(asked)
    heard = await stuck.listen()
    heard += await stuck.say(asked[stuck.said % len(asked) :] if stuck.said % len(asked) else b"")
    assert heard.startswith(answer * whole) and len(connection._unparsed) == 0, "in order, and nothing is left over"


async def test_no_client_waits_for_what_others_ask_in_advance(side: Side) -> None:
    greedy = [await Wire(side).connect() for _ in range(20)]
    for wire in greedy:
        wire._sock.send(NO_SUCH * 400)
    modest, state = await Wire(side).connect(), side.server.server_state
    await turns(lambda: state.total_requests > len(greedy))
    before = state.total_requests
    modest._sock.send(SLOW)
    await turns(lambda: bool(modest.read()))
    assert state.total_requests - before <= 100, "of 8,000"
    heard = [await wire.listen() for wire in greedy]
    assert [answers.count(b"HTTP/1.1 404 ") for answers in heard] == [400] * len(greedy)


async def test_a_body_is_read_to_its_end_and_nothing_of_it_is_kept(side: Side, wire: Wire) -> None:
    side.patience = 60
    body = b"a" * 3_000_000
    await wire.push(request(OTHER, b"Content-Length: %d" % len(body)))
    await turns(lambda: bool(side.server.server_state.tasks))
    await wire.push(body)
    await turns(lambda: wire.heard == wire.said and not wire.connection._unparsed)
    assert wire.said > len(body) and not wire.connection.cycle.body
    BTC_PRICE(side.prices)
    assert is_answered(await wire.listen()) and is_answered(await wire.say(PLAIN))


async def test_what_was_read_is_answered_when_the_server_leaves(side: Side, wire: Wire) -> None:
    wire._sock.send(NO_SUCH * 50)
    await turns(lambda: bool(getattr(wire.connection, "_unparsed", b"")))
    wire.connection.shutdown()
    heard = await wire.listen()
    assert heard.count(b"HTTP/1.1 404 ") == 50 and heard.count(b"connection: close\r\n") == 1 and not wire.is_open


# Upgrades, which are ignored

UPGRADES: dict[str, bytes] = {
    "h2c": request(PRICE, b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"),
    "websocket": request(PRICE, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: a", b"Sec-WebSocket-Version: 13"),
    "keep-alive too": request(PRICE, b"Connection: keep-alive, Upgrade", b"Upgrade: TLS/1.0, h2c"),
    "of a slow route": request(b"/health/liveness", *UPGRADE),
    "of HEAD": request(PRICE, *UPGRADE, first=b"HEAD %s HTTP/1.1"),
    "of an unknown path": request(b"/no", *UPGRADE),
    "with a body": request(PRICE, b"Content-Length: 5", *UPGRADE, first=POST) + b"hello",
    "with a body that looks like a request": request(PRICE, b"Content-Length: %d" % len(PLAIN), *UPGRADE, first=POST) + PLAIN,
    "with an empty body": request(PRICE, b"Content-Length: 0", *UPGRADE),
    "chunked": request(PRICE, CHUNKED, *UPGRADE, first=POST) + b"3\r\nabc\r\n0\r\n\r\n",
    "chunked, with a trailer": request(PRICE, CHUNKED, *UPGRADE, first=POST) + b"0\r\nX-A: 1\r\n\r\n",
}  # fmt: skip


def without_upgrade(asked: bytes) -> bytes:
    return b"\r\n".join(line for line in asked.split(b"\r\n") if not line.startswith((b"Upgrade:", b"Connection:")))


@pytest.mark.parametrize("asked", UPGRADES.values(), ids=UPGRADES)
async def test_a_wish_to_upgrade_changes_no_answer_and_no_answer_after_it(side: Side, asked: bytes) -> None:
    plain = await Wire(side).connect()
    answers = [await plain.say(without_upgrade(asked)), await plain.say(PLAIN), await plain.say(SLOW)]
    stream = asked + PLAIN + SLOW + asked + PLAIN
    expected = answers[0] + answers[1] + answers[2] + answers[0] + answers[1]
    for size in len(stream), len(asked), 7, 1:
        wire = await Wire(side).connect()
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert b"".join([await wire.say(piece) for piece in pieces]) == expected
        assert wire.is_open and is_answered(await wire.say(PLAIN))


@pytest.mark.parametrize("target", [b"fastprice:443", b"example.com:80", PRICE, b"/"])
async def test_connect_is_refused_and_nothing_behind_it_is_taken_for_a_request(wire: Wire, target: bytes) -> None:
    assert await wire.say(request(target, first=b"CONNECT %s HTTP/1.1") + PLAIN) == refusal(400) and not wire.is_open


# Descriptors


@pytest.fixture
def few_descriptors(request: pytest.FixtureRequest) -> Iterator[int]:
    """A limit that leaves room for only a few connections, whose two ends are both in this process."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = {int(name) for name in os.listdir("/proc/self/fd")}
    # Descriptors that other tests left open may be higher than free numbers.
    free = [number for number in range(len(taken) + 50) if number not in taken]
    limit = free[40] * 4 // 3
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limits[1]))
    yield limit
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_the_longest_idle_give_way_and_descriptors_are_left_for_the_service(
    few_descriptors: int, side: Side, caplog: pytest.LogCaptureFixture
) -> None:
    side.patience = 60
    wires = []
    for number in range(30):
        wire = Wire(side)
        await asyncio.get_running_loop().sock_connect(wire._sock, side.address)
        await turns(lambda wire=wire: wire._sock.getsockname() in {client_of(c) for c in side.connections()})  # type: ignore[misc]
        if number == 0:
            wire._sock.send(request(OTHER))  # Waits for its first price, so the client waits for the server.
            await turns(lambda: bool(side.server.server_state.tasks))
        wires.append(wire)
        assert all(c.descriptor < few_descriptors - 10 for c in side.connections())
    waits, *idle = wires
    still_open = [wire._sock.getsockname() in {client_of(c) for c in side.connections()} for wire in idle]
    assert still_open == sorted(still_open), "those that came first were closed first"
    assert still_open[-1] and not still_open[0]
    BTC_PRICE(side.prices)
    assert b"BTC-USDT" in await heard_of(waits)
    told = [record for record in caplog.records if "too many clients for the limit of" in record.getMessage()]
    assert len(told) <= 1, "not once per client"


@pytest.mark.parametrize("often", [1, 30], ids=["once", "now and then"])
async def test_a_client_that_has_asked_does_not_give_way_to_those_that_ask_nothing(
    few_descriptors: int, side: Side, often: int
) -> None:
    side.patience = 60
    asking, crowd = Wire(side), []
    await asyncio.get_running_loop().sock_connect(asking._sock, side.address)
    for number in range(30):
        if number < often:
            asking._sock.send(PLAIN)
            assert b" 200 OK" in await heard_of(asking)
        wire = Wire(side)
        await asyncio.get_running_loop().sock_connect(wire._sock, side.address)
        await turns(lambda wire=wire: wire._sock.getsockname() in {client_of(c) for c in side.connections()})  # type: ignore[misc]
        crowd.append(wire)
    assert any(wire._sock.getsockname() not in {client_of(c) for c in side.connections()} for wire in crowd)
    asking._sock.send(PLAIN)
    assert b" 200 OK" in await heard_of(asking)


async def test_a_client_whose_question_has_come_and_was_not_read_yet_does_not_give_way(side: Side) -> None:
    side.patience = 60
    loop = asyncio.get_running_loop()
    silent, asking = [Wire(side) for _ in range(8)], [Wire(side) for _ in range(8)]
    for wire in (*asking, *silent):  # The clients that will send a request have waited the longest.
        await loop.sock_connect(wire._sock, side.address)
        await turns(lambda wire=wire: wire._sock.getsockname() in {client_of(c) for c in side.connections()})  # type: ignore[misc]
    for wire in asking:
        wire._sock.send(PLAIN)
    make_room(side.server.server_state.connections, 6)
    for wire in asking:
        assert b" 200 OK" in await heard_of(wire)
    still_open = {client_of(connection) for connection in side.connections()}
    assert sum(wire._sock.getsockname() in still_open for wire in silent) <= 2


async def test_a_client_that_has_just_connected_does_not_give_way_to_those_that_have_asked_before(
    few_descriptors: int, side: Side
) -> None:
    side.patience = 60
    loop, asked, just_come = asyncio.get_running_loop(), [Wire(side) for _ in range(8)], Wire(side)
    for wire in asked:
        await loop.sock_connect(wire._sock, side.address)
        wire._sock.send(PLAIN)
        assert b" 200 OK" in await heard_of(wire)
    await asyncio.sleep(ABOUT_TO_ASK_SECONDS)
    for connection in side.connections():
        connection.close_if_overdue(time.monotonic())
    await loop.sock_connect(just_come._sock, side.address)
    await turns(lambda: just_come._sock.getsockname() in {client_of(c) for c in side.connections()})
    make_room(side.server.server_state.connections, 3)
    just_come._sock.send(PLAIN)
    assert b" 200 OK" in await heard_of(just_come)


async def heard_of(wire: Wire) -> bytes:
    heard = [b""]
    await turns(lambda: bool(heard.append(wire.read()) or heard[-1]))  # type: ignore[func-returns-value]
    return heard[-1]


# Heads that are too long

TOO_LONG: dict[str, list[bytes]] = {
    "one header": [request(PRICE, b"X-A: " + b"a" * MAX_HEAD_BYTES)],
    "many headers": [request(PRICE, *[b"X-%d: 1" % number for number in range(3000)])],
    "name of a header": [request(PRICE, b"a" * MAX_HEAD_BYTES + b": 1")],
    "path": [request(b"/" + b"a" * MAX_HEAD_BYTES)],
    "query": [request(PRICE + b"?" + b"a" * MAX_HEAD_BYTES)],
    "path in pieces": [b"GET /", *[b"a" * 1000] * 17],
    "header in pieces, its line unfinished": [PLAIN[:-2] + b"X-A: ", *[b"a" * 1000] * 17],
    "name in pieces": [PLAIN[:-2], *[b"a" * 1000] * 17],
    "headers in pieces": [PLAIN[:-2], *[b"X-A: " + b"a" * 1000 + b"\r\n"] * 17],
    "in one piece, unfinished": [PLAIN[:-2] + b"X-A: " + b"a" * MAX_HEAD_BYTES],
    "much larger than it is read": [PLAIN[:-2] + b"X-A: " + b"a" * 60_000],
}


@pytest.mark.parametrize("pieces", TOO_LONG.values(), ids=TOO_LONG)
async def test_head_that_is_too_long_is_refused_as_soon_as_it_is(wire: Wire, pieces: list[bytes]) -> None:
    heard = [await wire.say(piece) for piece in pieces if wire.is_open]
    assert b"".join(heard) == refusal(431) and not wire.is_open
    assert sum(map(len, pieces[: len(heard) - 1])) <= MAX_HEAD_BYTES


async def test_trailer_that_is_too_long_is_refused_too(wire: Wire) -> None:
    heard = await wire.say(request(PRICE, CHUNKED, first=POST) + b"3\r\nabc\r\n0\r\nX-A: ")
    assert heard.startswith(b"HTTP/1.1 405 ") and wire.is_open
    pieces = [await wire.say(b"a" * 1000) for _ in range(17) if wire.is_open]
    assert b"".join(pieces) == refusal(431) and not wire.is_open


@pytest.mark.parametrize("length", [1, 1000, 9000])
async def test_head_that_is_long_enough_is_answered_however_it_comes(wire: Wire, length: int) -> None:
    head = request(PRICE, *LARGE)
    assert MAX_HEAD_BYTES - 1000 < len(head) < MAX_HEAD_BYTES
    pieces = [head[at : at + length] for at in range(0, len(head), length)]
    assert is_answered(b"".join([await wire.say(piece) for piece in pieces]))


async def test_body_may_be_longer_than_a_head(wire: Wire) -> None:
    heard = await wire.say(request(PRICE, b"Content-Length: 50000", first=POST))
    for _ in range(50):
        heard += await wire.say(b"a" * 1000)
    heard += await wire.say(request(PRICE, CHUNKED, first=POST))
    for _ in range(50):
        heard += await wire.say(b"3e8\r\n" + b"a" * 1000 + b"\r\n")
    heard += await wire.say(b"0\r\n\r\n")
    assert heard.count(b"HTTP/1.1 405 ") == heard.count(b"HTTP/1.1 ") == 2
    assert is_answered(await wire.say(PLAIN))


async def test_many_heads_in_one_piece_are_not_one_long_head(wire: Wire) -> None:
    heard = await wire.say(PLAIN * 1000 + PLAIN[:20])
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 1000
    assert is_answered(await wire.say(PLAIN[20:]))


# Which requests are refused

HOST, TEN = b"Host: fastprice", b"GET %s HTTP/1.0"
REFUSED = {
    "no Host": request(host=b""),
    "two Hosts": request(PRICE, HOST),
    "two Hosts in HTTP/1.0": request(PRICE, HOST, first=TEN),
    "two Hosts apart and in another case": request(PRICE, b"X-A: 1", b"hOST: b"),
    "no Host for a slow route": request(LIVENESS := b"/health/liveness", host=b""),
    "two Hosts for a slow route": request(LIVENESS, HOST),
    "HTTP/2.0": request(first=b"GET %s HTTP/2.0"),
    "HTTP/0.9": request(first=b"GET %s HTTP/0.9"),
    "no version": b"GET /\r\n\r\n",
    "junk": b"junk\r\n\r\n",
    "bare LF": PLAIN.replace(b"\r\n", b"\n"),
    "folded header": request(PRICE, b"X-A: 1", b" 2"),
    "two lengths": request(PRICE, b"Content-Length: 0", b"Content-Length: 0"),
    "a length and chunked": request(PRICE, b"Content-Length: 0", CHUNKED),
}


@pytest.mark.parametrize("asked", REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("split", [False, True], ids=["whole", "at every byte"])
async def test_request_that_http_does_not_allow_is_refused(side: Side, wire: Wire, asked: bytes, split: bool) -> None:
    heard = [await wire.say(cast(bytes, piece)) for piece in (every_byte(asked) if split else [asked]) if wire.is_open]
    assert b"".join(heard) == refusal(400) and not wire.is_open
    assert side.counted() == {name: value for name, value in side.counted().items() if "build_info" in name}


ALLOWED = {
    "one Host": PLAIN,
    "empty Host": request(host=b"Host:"),
    "Host in odd case": request(host=b"hOsT: a"),
    "headers that are nearly Host": request(PRICE, b"Hos: a", b"Hosts: a", b"X-Host: a", b"Hots: b"),
}


@pytest.mark.parametrize("asked", ALLOWED.values(), ids=ALLOWED)
async def test_one_host_is_right(wire: Wire, asked: bytes) -> None:
    for _ in range(3):
        assert is_answered(await wire.say(asked)) and wire.is_open


async def test_http_1_0_needs_no_host(wire: Wire) -> None:
    assert is_answered(await wire.say(request(first=TEN, host=b""))) and not wire.is_open


@pytest.mark.parametrize("status", REFUSALS)
def test_refusal_is_a_whole_answer_in_the_shape_of_the_other_errors(status: int) -> None:
    head, _, body = refusal(status).partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ") for line in lines)
    title, detail = REFUSALS[status]
    assert first == f"HTTP/1.1 {status} {title}"
    assert headers["connection"] == "close" and int(headers["content-length"]) == len(body)
    like = problem(status, detail)
    assert headers["content-type"] == like.headers["content-type"]
    for name in "cache-control", "access-control-allow-origin":
        assert headers[name] == like.headers[name]
    told, usual = json.loads(body), json.loads(bytes(like.body))
    assert told.keys() == usual.keys()
    assert (told["status"], told["title"], told["detail"]) == (status, title, detail)


# Requests before a broken one

BROKEN: dict[str, tuple[bytes, int]] = {
    "junk": (b"junk\r\n\r\n", 400),
    "no Host": (request(host=b""), 400),
    "two Hosts": (request(PRICE, HOST), 400),
    "head too long": (request(PRICE, b"X-A: " + b"a" * MAX_HEAD_BYTES), 431),
}


@pytest.mark.parametrize(("broken", "status"), BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("good", [[PLAIN], [SLOW], [PLAIN, SLOW], [SLOW, PLAIN, SLOW]], ids=["fast", "slow", "both", "more"])
async def test_what_was_asked_before_a_broken_request_is_answered_before_it_is_refused(
    side: Side, wire: Wire, good: list[bytes], broken: bytes, status: int
) -> None:
    whole = await Wire(side).connect()
    answers = [await whole.say(question) for question in good]
    assert await wire.say(b"".join(good) + broken + PLAIN) == b"".join(answers) + refusal(status)
    assert not wire.is_open


async def test_refusal_waits_for_every_answer_and_ignores_what_is_said_meanwhile(side: Side, wire: Wire) -> None:
    side.patience = 60
    asked = request(OTHER) + PLAIN + b"junk"
    await wire.push(asked)
    await turns(lambda: wire.heard == len(asked))
    await wire.push(PLAIN)
    assert wire.read() == b""
    BTC_PRICE(side.prices)
    heard = await wire.listen()
    answers = heard.removesuffix(refusal(400))
    assert len(answers) < len(heard) and not wire.is_open
    assert answers.count(b"HTTP/1.1 200 OK\r\n") == answers.count(b"HTTP/1.1 ") == 2


CLOSING = {
    "close": request(PRICE, b"Connection: close"),
    "HTTP/1.0": request(PRICE, first=TEN),
    "close and chunked": request(PRICE, b"Connection: close", CHUNKED),
}


@pytest.mark.parametrize("asked", CLOSING.values(), ids=CLOSING)
async def test_nothing_is_said_behind_an_answer_that_closes(wire: Wire, asked: bytes) -> None:
    assert is_answered(await wire.say(asked + b"junk")) and not wire.is_open


@pytest.mark.parametrize("closing", CLOSING.values(), ids=CLOSING)
async def test_nothing_is_said_behind_an_answer_that_closes_and_is_yet_to_be_sent(side: Side, closing: bytes) -> None:
    wire = await stuffed(side)
    asked = wire.said // len(PLAIN)
    await wire.push(closing + b"junk")
    await turns(wire.connection.transport.is_closing)
    heard = await wire.listen()
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == heard.count(b"HTTP/1.1 ") == asked + 1
    assert heard.count(b"connection: close\r\n") == 1 and not wire.is_open


# The sweep


class NotedLoop:
    """Records the calls that are scheduled."""

    def __init__(self) -> None:
        self.later: list[tuple[Any, ...]] = []

    def call_later(self, seconds: float, call: Callable[..., object], *arguments: Any) -> None:
        self.later.append((seconds, call, *arguments))


class Unlimited(asyncio.Transport):
    """A transport without a connection, which has no limits to set."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


class NotedConnection(CarefulProtocol):
    """Records when the sweep checked it."""

    def __init__(self, state: ServerState, loop: NotedLoop) -> None:
        config = uvicorn.Config("fastprice.market:Market", log_config=None)
        super().__init__(config, state, {}, cast(asyncio.AbstractEventLoop, loop))
        self.looks: list[float] = []
        self.connection_made(Unlimited())

    def close_if_overdue(self, now: float) -> None:
        self.looks.append(now)


def test_one_sweep_a_second_looks_at_all_connections_of_a_server_while_there_are_any() -> None:
    loop, state = NotedLoop(), ServerState()
    connections = [NotedConnection(state, loop) for _ in range(3)]
    next_one = (SWEEP_SECONDS, sweep, state, loop)
    assert SWEEP_SECONDS == 1.0 and loop.later == [next_one]
    sweep(state, cast(asyncio.AbstractEventLoop, loop))
    assert loop.later == [next_one] * 2
    assert [len(connection.looks) for connection in connections] == [1, 1, 1]
    connections.append(NotedConnection(state, loop))
    assert loop.later == [next_one] * 2, "one that comes meanwhile is swept with the others"
    state.connections.clear()
    sweep(state, cast(asyncio.AbstractEventLoop, loop))
    assert loop.later == [next_one] * 2, "nobody is there, nothing is to do"
    assert [len(connection.looks) for connection in connections] == [1, 1, 1, 0]
    NotedConnection(state, loop)
    assert loop.later == [next_one] * 3


def test_every_server_has_a_sweep_of_its_own() -> None:
    loop, states = NotedLoop(), [ServerState(), ServerState()]
    for state in states:
        NotedConnection(state, loop)
        NotedConnection(state, loop)
    assert loop.later == [(SWEEP_SECONDS, sweep, state, loop) for state in states]


async def test_sweep_closes_what_is_overdue_and_nothing_else(side: Side) -> None:
    silent, half, fresh = [await Wire(side).connect() for _ in range(3)]
    await half.say(PLAIN[:20])
    for wire in silent, half:
        wire.connection._since -= HEAD_SECONDS + 1
    sweep(side.server.server_state, asyncio.get_running_loop())
    assert [await wire.listen() for wire in (silent, half, fresh)] == [b"", refusal(408), b""]
    assert [wire.is_open for wire in (silent, half, fresh)] == [False, False, True]
