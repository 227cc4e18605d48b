"""The subscribers of `make bench-push` count each event of a price once, however its bytes are split."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from bench.peers.answer import Answer
from bench.peers.catalog import Place
from bench.peers.rounds import Subject
from bench.processes import Running
from bench.push.event import MARK, save
from bench.push.reader import Received, subscribed

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not shutil.which("cc"), reason="the reader is compiled here")]

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
OTHERS = b'retry: 1000\n\n: silence\n\nevent: state\ndata: {"state":"stale","fetched_at_ms":5}\n\n'
ANSWER = Answer({}, b'{"symbol":"ETH-USDT","price":"1","fetched_at_ms":1,"stale":false}')
SUBSCRIBERS, PUSHES = 20, 3


def whole(event: bytes) -> Sequence[bytes]:
    return [event]


def slowly(event: bytes) -> Sequence[bytes]:
    """In pieces of a few bytes, each sent as a packet of its own."""
    return [event[at:at + 30] for at in range(0, len(event), 30)]


def with_carriage_returns(event: bytes) -> Sequence[bytes]:
    return [event.replace(b"\n", b"\r\n")]


def chunked(event: bytes) -> Sequence[bytes]:
    return [b"%x\r\n%b\r\n" % (len(event), event)]


class Server:
    """Pushes to all or some of the clients that have connected."""

    def __init__(self) -> None:
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + OTHERS)
        self.writers.append(writer)

    async def push(self, pieces: Sequence[bytes], writers: Sequence[asyncio.StreamWriter]) -> None:
        for piece in pieces:
            for writer in writers:
                writer.write(piece)
            await asyncio.sleep(0.002)


def subject(directory: Path, port: int) -> Subject:
    class Unused(Running):
        def __init__(self) -> None: ...

    return Subject(Unused(), Place(directory, directory, port, ANSWER, ""))


async def received(directory: Path, shape: object, lose: bool = False) -> Received:
    assert callable(shape)
    server = Server()
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    template = Path(save(ANSWER, directory)[0]).read_bytes()
    with closing(listener):
        subscribers = subscribed(subject(directory, listener.sockets[0].getsockname()[1]), SUBSCRIBERS, silent=2)
        reader = await asyncio.to_thread(subscribers.__enter__)
        try:
            await asyncio.to_thread(reader.begin)
            for number in range(PUSHES):
                event = template.replace(MARK.encode(), b"%d" % (time.time_ns() // 1_000_000 + number))
                lost = 10 if lose and number == 1 else 0
                await server.push(shape(event), server.writers[lost:])
            return await asyncio.to_thread(reader.end)
        finally:
            await asyncio.to_thread(subscribers.__exit__, None, None, None)
            for writer in server.writers:
                writer.close()


@pytest.mark.parametrize("shape", [whole, slowly, with_carriage_returns, chunked])
async def test_each_event_of_a_price_is_counted_once(tmp_path: Path, shape: object) -> None:
    got = await received(tmp_path, shape)
    assert (got.subscribers, got.pushes, got.lost, got.errors) == (SUBSCRIBERS, PUSHES, 0, 0)
    assert got.events == PUSHES * (SUBSCRIBERS - 2)
    assert -5 <= got.p50_ms <= got.p99_ms <= got.slowest_ms < 10_000


async def test_an_event_that_a_reader_did_not_get_is_lost(tmp_path: Path) -> None:
    got = await received(tmp_path, whole, lose=True)
    assert 8 <= got.lost <= 10 and got.pushes == PUSHES


async def test_a_status_that_is_not_200_is_an_error(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        writer.close()

    listener = await asyncio.start_server(refuse, "127.0.0.1", 0)
    with closing(listener):
        subscribers = subscribed(subject(tmp_path, listener.sockets[0].getsockname()[1]), SUBSCRIBERS)
        reader = await asyncio.to_thread(subscribers.__enter__)
        await asyncio.to_thread(reader.begin)
        got = await asyncio.to_thread(reader.end)
        await asyncio.to_thread(subscribers.__exit__, None, None, None)
    assert (got.errors, got.events) == (SUBSCRIBERS, 0)
