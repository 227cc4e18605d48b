"""Subscribers that come and go: a process that opens streams and ends them in every way that a client can."""

import asyncio
import random
import socket
import struct
import sys
import time

from bench.connections.client import request
from bench.push.event import STREAM

# The most connections at the same time: some stay for a moment.
AT_ONCE = 200
STAY_SECONDS, PATIENCE_SECONDS = 0.3, 10.0
# With this option, closing a connection resets it.
RESET = struct.pack("ii", 1, 0)
ASKED = request(STREAM, "GET", "1.1", "Accept: text/event-stream")
BODY = ASKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 20000\r\n\r\n") + b"x" * 20_000
WAYS = ("close", "reset", "reset_at_once", "half_close", "pipelined", "body", "junk")


async def leave(port: int, way: str) -> bool:
    """Open and leave one connection; false if it was not answered correctly and stayed long enough to see that."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(BODY if way == "body" else ASKED + (ASKED if way == "pipelined" else b""))
        if way == "reset_at_once":
            _reset(writer)
            return True
        said = await asyncio.wait_for(reader.read(4096), PATIENCE_SECONDS)
        if way == "junk":
            writer.write(b"\x00" * 5_000)
        if way == "half_close":
            writer.write_eof()
            await asyncio.wait_for(reader.read(), PATIENCE_SECONDS)
        else:
            await asyncio.sleep(random.random() * STAY_SECONDS)
        if way == "reset":
            _reset(writer)
        return said.startswith(b"HTTP/1.1 200")
    except OSError:
        return way in ("reset", "reset_at_once", "junk")
    finally:
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    named = writer.get_extra_info("socket")
    named.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    writer.transport.abort()


async def main(port: int, per_minute: int, seconds: float) -> tuple[int, int]:
    """How many connections were opened, and how many of them were not answered correctly."""
    here, began, came, wrong = set[asyncio.Task[bool]](), time.monotonic(), 0, 0
    while (now := time.monotonic() - began) < seconds:
        if came < now * per_minute / 60 and len(here) < AT_ONCE:
            here.add(asyncio.create_task(leave(port, WAYS[came % len(WAYS)])))
            came += 1
        else:
            await asyncio.sleep(0.002)
        done = {task for task in here if task.done()}
        here -= done
        wrong += sum(not task.result() for task in done)
    wrong += sum(not answered for answered in await asyncio.gather(*here))
    return came, wrong


if __name__ == "__main__":
    print(*asyncio.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))))
