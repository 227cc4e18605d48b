"""Connections with more requests than our other clients could judge: answers are only counted, by their status line."""

import asyncio
import contextlib
import time
from collections.abc import Iterator

from bench.chaos.fleet import Service


class Flood(asyncio.Protocol):
    """One connection; `right` is how many answers with the wanted status have come."""

    def __init__(self, status: int) -> None:
        self.right = 0
        self.transport: asyncio.WriteTransport | None = None
        self._wanted, self._tail, self._news = f"HTTP/1.1 {status}".encode(), b"", asyncio.Event()

    @classmethod
    async def to(cls, service: Service, status: int) -> "Flood":
        _, made = await asyncio.get_running_loop().create_connection(lambda: cls(status), service.host, service.port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._tail + data
        # The tail is too short for a whole status line, so that nothing is counted twice.
        self._tail = data[1 - len(self._wanted) :]
        self.right += data.count(self._wanted)
        self._news.set()

    async def ask(self, batch: bytes, count: int) -> None:
        """Send a batch of `count` requests in one write, and wait for their answers."""
        assert self.transport
        self.transport.write(batch)
        wanted = self.right + count
        while self.right < wanted:
            self._news.clear()
            await self._news.wait()

    async def ask_all(self, batches: Iterator[bytes], count: int) -> None:
        """Send one batch after the other until there is none left."""
        for batch in batches:
            await self.ask(batch, count)

    async def ask_every(self, batch: bytes, seconds: float) -> None:
        """Send a batch every `seconds`, forever, without waiting for answers."""
        assert self.transport
        due = time.monotonic()
        while True:
            due += seconds
            await asyncio.sleep(max(due - time.monotonic(), 0))
            # What the kernel does not accept is not sent: a client has limited buffers as well.
            if self.transport.get_write_buffer_size() < len(batch):
                self.transport.write(batch)

    async def within(self, seconds: float, batch: bytes, count: int, every: float | None = None) -> int:
        """How many answers come within `seconds`; a batch is sent `every` so many seconds, or after the last answer."""
        before = self.right
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while every is None:
                    await self.ask(batch, count)
                await self.ask_every(batch, every)
        return self.right - before

    def close(self) -> None:
        assert self.transport
        self.transport.abort()
