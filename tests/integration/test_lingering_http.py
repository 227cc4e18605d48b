"""A client that is still sending when the server closes reads the whole answer, then the end, and never a reset.

The clients are blocking sockets in threads of their own, which send everything before they read anything.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fastprice.server import lingering_http
from fastprice.server.careful_http import MAX_HEAD_BYTES
from fastprice.server.lingering_http import LINGER_SECONDS, MAX_DROPPED_BYTES, READ_BYTES, Lingering
from fastprice.server.refusals import HEAD_SECONDS, refusal
from tests.integration import test_careful_http
from tests.integration.test_lane import CHUNKED, PLAIN, POST, PRICE, Side, Wire, request, turns
from tests.service import PATIENCE

pytestmark = pytest.mark.anyio
anyio_backend, side = test_careful_http.anyio_backend, test_careful_http.side

MUCH = 3 * 1024 * 1024
CLOSE = b"Connection: close"
LENGTH = b"Content-Length: %d" % MUCH
REFUSED = {
    "junk": (b"junk\r\n\r\n", 400),
    "no Host": (request(host=b""), 400),
    "a head that is too long": (request(PRICE, b"X-A: " + b"a" * MAX_HEAD_BYTES), 431),
    "a head that never ends": (PLAIN[:-2] + b"X-A: ", 431),
    "a broken chunk": (request(PRICE, CHUNKED, first=POST) + b"no\r\n", 400),
}
NOT_ALLOWED = {
    "close": request(PRICE, CLOSE, LENGTH, first=POST),
    "HTTP/1.0": request(PRICE, LENGTH, first=b"POST %s HTTP/1.0"),
    "close, to no such path": request(b"/no/such", CLOSE, LENGTH, first=b"PUT %s HTTP/1.1"),
    "close and chunked": request(PRICE, CLOSE, CHUNKED, first=POST) + b"%x\r\n" % MUCH,
}


async def exchanged(side: Side, said: bytes, then: Callable[[socket.socket], object] | None = None) -> bytes:
    """Everything up to the end of the connection, for a client that first sends all of this; a reset is an error."""

    def client() -> bytes:
        with socket.create_connection(side.address, timeout=PATIENCE) as client:
            client.sendall(said)
            if then:
                then(client)
            heard = bytearray()
            while more := client.recv(1 << 16):
                heard += more
            return bytes(heard)

    return await asyncio.to_thread(client)


async def lingering(side: Side) -> Lingering:
    """The one connection that lingers."""
    found: list[Lingering] = []

    def is_there() -> bool:
        found[:] = [each for each in side.connections() if isinstance(each, Lingering)]
        return bool(found)

    await turns(is_there)
    (one,) = found
    return one


def sockets() -> int:
    """How many sockets this process has open."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(link).startswith("socket:")
    return count


@pytest.mark.parametrize(("asked", "status"), REFUSED.values(), ids=REFUSED)
async def test_a_refusal_is_read_whole_by_a_client_that_goes_on_sending(side: Side, asked: bytes, status: int) -> None:
    for _ in range(3):
        heard = await exchanged(side, asked + b"a" * MUCH)
        assert heard[-len(refusal(status)) :] == refusal(status)
    await turns(lambda: not side.connections())


@pytest.mark.parametrize("asked", NOT_ALLOWED.values(), ids=NOT_ALLOWED)
async def test_an_answer_that_closes_before_the_body_was_read_is_read_whole(side: Side, asked: bytes) -> None:
    for _ in range(3):
        head, _, body = (await exchanged(side, asked + b"a" * MUCH)).partition(b"\r\n\r\n")
        assert head.startswith((b"HTTP/1.1 405 ", b"HTTP/1.1 404 ")) and b"connection: close" in head
        assert b"content-length: %d\r\n" % len(body) in head + b"\r\n" and body
    await turns(lambda: not side.connections())


async def test_what_was_asked_before_is_answered_and_the_refusal_follows(side: Side) -> None:
    heard = await exchanged(side, PLAIN * 5 + b"junk\r\n\r\n" + b"a" * MUCH)
    assert heard.count(b"HTTP/1.1 200 OK\r\n") == 5 and heard.endswith(refusal(400))


async def test_a_head_that_was_not_finished_in_time_may_be_finished_late(side: Side) -> None:
    wire = await Wire(side).connect()
    await wire.say(PLAIN[:20])
    wire.connection.close_if_overdue(time.monotonic() + HEAD_SECONDS + 1)
    await lingering(side)
    wire._sock.send(PLAIN[20:] + b"a" * 1000)
    assert await wire.listen() == refusal(408) and not wire.is_open


async def test_the_client_may_send_for_as_long_as_it_reads(side: Side) -> None:
    """The client reads the end while it is still sending, and what it sends after that is not answered with a reset."""

    def more(client: socket.socket) -> None:
        assert client.recv(1 << 16) == refusal(400)
        assert client.recv(1 << 16) == b""
        client.sendall(b"a" * MUCH)

    assert await exchanged(side, b"junk\r\n\r\n", more) == b""
    await turns(lambda: not side.connections())


# Its limits


async def test_who_sends_without_end_is_cut_off(side: Side) -> None:
    sent = 0

    def endless() -> None:
        nonlocal sent
        with socket.create_connection(side.address, timeout=PATIENCE) as client:
            client.sendall(b"junk\r\n\r\n")
            while True:
                sent += client.send(b"a" * READ_BYTES)

    sending = asyncio.create_task(asyncio.to_thread(endless))
    one = await lingering(side)
    with pytest.raises(ConnectionError):
        await sending
    assert MAX_DROPPED_BYTES < one._dropped <= MAX_DROPPED_BYTES + READ_BYTES
    assert sent > MAX_DROPPED_BYTES and not side.connections()


async def test_who_neither_sends_nor_closes_is_cut_off_by_the_sweep(side: Side) -> None:
    wire = await Wire(side).connect()
    assert await wire.say(b"junk\r\n\r\n") == refusal(400)
    one = await lingering(side)
    one.close_if_overdue(time.monotonic() + LINGER_SECONDS - 1)
    assert side.connections() == {one}
    one.close_if_overdue(time.monotonic() + LINGER_SECONDS + 1)
    assert not side.connections()


async def test_a_reset_ends_it_at_the_next_sweep_at_the_latest(side: Side) -> None:
    wire = await Wire(side).connect()
    assert await wire.say(b"junk\r\n\r\n") == refusal(400)
    one = await lingering(side)
    wire.close(abruptly=True)
    one.close_if_overdue(time.monotonic())
    await turns(lambda: not side.connections())


async def test_the_end_of_the_server_waits_for_none_of_them_longer_than_for_a_sweep(side: Side) -> None:
    wire = await Wire(side).connect()
    assert await wire.say(b"junk\r\n\r\n") == refusal(400)
    one = await lingering(side)
    one.shutdown()
    assert side.connections() == {one}
    one.close_if_overdue(time.monotonic())
    assert not side.connections()


async def test_a_connection_that_is_cut_off_does_not_linger(side: Side) -> None:
    wire = await Wire(side).connect()
    await wire.say(request(PRICE, b"Content-Length: 9", first=POST))
    wire.connection.abort()
    await turns(lambda: not side.connections())
    assert await wire.listen() == b"" and not side.connections()


async def test_where_descriptors_are_few_it_is_closed_as_ever(side: Side, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sockets()
    monkeypatch.setattr(lingering_http, "highest_of_clients", lambda: 0)
    wire = await Wire(side).connect()
    assert await wire.say(b"junk\r\n\r\n") == refusal(400)
    await turns(lambda: not side.connections())
    wire.close()
    await turns(lambda: sockets() <= before)


@pytest.fixture
async def many(side: Side) -> AsyncIterator[list[Wire]]:
    yield [await Wire(side).connect() for _ in range(20)]


async def test_those_that_linger_leave_no_descriptor_behind(side: Side, many: list[Wire]) -> None:
    for wire in many:
        assert await wire.say(b"junk\r\n\r\n") == refusal(400)
    assert len(side.connections()) == len(many) and all(isinstance(each, Lingering) for each in side.connections())
    before = sockets()
    for wire in many:
        wire.close()
    await turns(lambda: not side.connections())
    assert sockets() == before - 2 * len(many)
