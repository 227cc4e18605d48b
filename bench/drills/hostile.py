"""Clients that are slow, silent or hostile."""

import asyncio
import contextlib
import random
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterator

from bench.chaos.calm import MORE_MB
from bench.chaos.clients import GARBAGE, PLAIN
from bench.chaos.oracle import TO_GARBAGE
from bench.chaos.wire import PRICES, Line
from bench.drills.drill import Allowed, Drill, Notes
from bench.drills.front import behind_nginx
from bench.drills.scene import SUBSCRIBERS, Scene, scene
from fastprice.server.careful_http import UNREAD_SECONDS
from fastprice.server.refusals import HEAD_SECONDS
from tests.nginx import Front

LOAD = "24 clients and 6 subscribers; 2 workers"
SLOW, NEVER, DEAF = 1000, 200, 300
HUGE_HEAD_BYTES, PIECE_BYTES, GREEDY_BYTES = 50 << 20, 1 << 16, 256 << 10
MORE_BY_SLOW_MB = 10
# Until all buffers of a subscriber that does not read are full: some 20 KB at a few events a second.
FILL_SECONDS = 60.0
SUBSCRIBED = re.compile(r"^fastprice_stream_subscribers (\S+)", re.M)
RAW, AT_ONCE, RAW_SECONDS = 10_000, 100, 0.3


async def slowloris(notes: Notes, size: float) -> None:
    """A thousand clients of nginx and a thousand of a replica send half a head; one client sends an endless head."""
    count = round(SLOW * min(1, size))
    async with behind_nginx(notes) as (stage, front):
        before = stage.memory_mb()
        lines = [await Line.to(front.port) for _ in range(count)] + [await stage.line() for _ in range(count)]
        for line in lines:
            line.writer.write(PLAIN[: len(PLAIN) // 2])
        huge = asyncio.create_task(_huge_head(front.port))
        await asyncio.sleep(HEAD_SECONDS + 3)
        grown = stage.memory_mb() - before
        await huge
        ended = [await _has_ended(line.reader.read) for line in lines]
        opened = ended.count(False)
        notes.expect(grown < MORE_BY_SLOW_MB, f"a worker has grown by {grown} MB")
        notes.expect(opened == 0, f"{opened} of them are still connected after {HEAD_SECONDS + 3:g} s")
        await stage.recovered()


async def _huge_head(port: int) -> None:
    """Send a head of fifty megabytes, as long as it is accepted."""
    line = await Line.to(port)
    with contextlib.suppress(OSError), contextlib.closing(line):
        line.writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n")
        for _ in range(HUGE_HEAD_BYTES // PIECE_BYTES):
            line.writer.write(b"x: " + b"y" * (PIECE_BYTES - 5) + b"\r\n")
            await line.writer.drain()


async def _has_ended(read: Callable[[int], Awaitable[bytes]]) -> bool:
    """Whether the other side has closed or reset the connection; what it sent before is dropped."""
    try:
        async with asyncio.timeout(1):
            while await read(PIECE_BYTES):
                pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


async def never_read(notes: Notes, size: float) -> None:
    """Clients that send many requests and read nothing, and subscribers that read nothing."""
    async with scene(notes) as stage:
        before = stage.memory_mb()
        greedy = [await stage.line() for _ in range(round(NEVER * min(1, size)))]
        for line in greedy:
            line.writer.transport.pause_reading()  # type: ignore[attr-defined]
            line.writer.write(PLAIN * (GREEDY_BYTES // len(PLAIN)))
        deaf = [await _deaf(stage) for _ in range(round(DEAF * min(1, size)))]
        await asyncio.sleep(UNREAD_SECONDS * size)
        if size >= 1:
            stay = await _staying(stage)
            notes.expect(stay <= 0, f"{stay:g} of {len(deaf)} subscribers that never read stay")
        grown = stage.memory_mb() - before
        notes.expect(grown < MORE_MB, f"a worker has grown by {grown} MB")
        for each in deaf:
            each.close()
        for line in greedy:
            line.close()
        await stage.recovered()


async def _staying(stage: Scene) -> float:
    """How many subscribers that never read are left when they are gone or FILL_SECONDS have passed.

    First the kernel's buffers have to fill up. Only the service knows when it has closed a connection: the client
    gets the rest of the data slowly, and the end of the connection comes after that.
    """
    end = time.monotonic() + FILL_SECONDS
    while True:
        metrics = (await stage.service.get("/metrics")).body.decode()
        staying = float(SUBSCRIBED.findall(metrics)[0]) - SUBSCRIBERS
        if staying <= 0 or time.monotonic() > end:
            return staying
        await asyncio.sleep(1)


async def _deaf(stage: Scene) -> socket.socket:
    """A subscriber that does not read, with the smallest receive buffer that the kernel allows."""
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
    one.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(one, (stage.service.host, stage.service.port))
    await loop.sock_sendall(one, f"GET {PRICES}/eth-usdt/stream HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return one


async def raw_bytes(notes: Notes, size: float) -> None:
    """Damaged requests are refused or answered, never with a 5xx, and other requests are not affected.

    Every other one comes through nginx: if the two read it differently, a 502 or the answer to another one would come.
    """
    async with behind_nginx(notes) as (stage, front):
        numbers = iter(range(max(AT_ONCE, round(RAW * size))))
        await asyncio.gather(*(_damaged(stage, front, notes, numbers) for _ in range(AT_ONCE)))
        await stage.recovered()


async def _damaged(stage: Scene, front: Front, notes: Notes, numbers: Iterator[int]) -> None:
    for number in numbers:
        rng = random.Random(number)
        data = bytearray(rng.choice((PLAIN, PLAIN + PLAIN, *GARBAGE)))
        for _ in range(rng.randrange(1, 6)):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randrange(2)] = rng.randbytes(rng.randrange(3))
        line = await (Line.to(front.port) if number % 2 else stage.line())
        with contextlib.closing(line), contextlib.suppress(OSError, asyncio.IncompleteReadError, ValueError, KeyError):
            line.writer.write(bytes(data))
            async with asyncio.timeout(RAW_SECONDS):
                while True:
                    answer = await line.answer(0)
                    notes.requests += 1
                    refused = answer.status in (*TO_GARBAGE, 414, 501, 505)
                    notes.expect(refused, f"{answer.status} for {bytes(data)[:200]!r}")


DRILLS = (
    Drill("slowloris", "deliberately slow clients cost at most 10 MB, and other clients nothing",
          "60 clients and 6 subscribers through nginx; 2 replicas of 2 workers, Redis",
          f"{SLOW:,} unfinished heads at nginx, {SLOW:,} at a replica, and a head of 50 MB", slowloris,
          Allowed(share=1e-4), "test_careful_http.py, test_nginx.py", (21,)),
    Drill("never-read", "clients that never read cost bounded memory, and are closed", LOAD,
          f"{NEVER} clients with 256 KB of requests, {DEAF} subscribers, none of which reads", never_read, Allowed(),
          "test_live_stream.py"),
    Drill("raw-bytes", "no bytes, sent to nginx or to a replica, are answered with a 5xx",
          f"60 clients and 6 subscribers through nginx; 2 replicas of 2 workers; {AT_ONCE} connections at a time",
          f"{RAW:,} damaged requests, half of them through nginx", raw_bytes, Allowed(), "test_careful_http.py", (22,)),
)  # fmt: skip
