"""The steady connections of `make bench-acceptor`: what became of each of them is reported correctly."""

import asyncio
import shutil
import socket
import struct
from pathlib import Path

import pytest

from bench.acceptor.arrivals import arrivals
from bench.peers.answer import Answer
from bench.peers.catalog import Place
from bench.peers.rounds import Measure, Subject
from bench.processes import Running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not shutil.which("cc"), reason="the client is compiled here")]

WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
PER_SECOND = 100
# The answers to successive connections, and whether the connection is then reset.
SAID = [(WHOLE, False), (WHOLE[:-1], False), (WHOLE.replace(b"200", b"503"), False), (b"", False), (b"", True)]


class Unused(Running):
    """The server runs in this process."""

    def __init__(self) -> None:
        pass


async def come(directory: Path, port: int) -> Measure:
    subject = Subject(Unused(), Place(directory, directory, port, Answer({}, b""), ""))
    with arrivals(subject, PER_SECOND, 1) as coming:
        return await asyncio.to_thread(coming.all)


async def test_each_is_counted_as_what_it_has_become(tmp_path: Path) -> None:
    come_so_far = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal come_so_far
        said, is_reset = SAID[come_so_far % len(SAID)]
        come_so_far += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        if is_reset:
            named = writer.get_extra_info("socket")
            named.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        counted = await come(tmp_path, server.sockets[0].getsockname()[1])
    opened, each = counted["opened"], come_so_far // len(SAID)
    assert opened == come_so_far and 0.5 * PER_SECOND < opened <= PER_SECOND
    assert all(each <= counted[name] <= each + 1 for name in ("not_2xx", "cut", "ended", "reset"))
    assert counted["answered"] + counted["cut"] + counted["ended"] + counted["reset"] == opened
    assert counted["refused"] == counted["silent"] == 0


async def test_those_for_whom_nobody_listens_are_refused(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        counted = await come(tmp_path, nobody.getsockname()[1])
    assert counted["opened"] == counted["refused"] > 0
