"""The connection between a service and its Redis, which can be cut, slow, or half open."""

import asyncio
import contextlib


class Wire:
    """A TCP connection to Redis that can be cut, be slow, silently swallow everything, or pass on byte by byte."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self.target = target
        self.delay = 0.0
        self.swallows = self.slices = False
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def join(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def cut(self) -> None:
        """Refuse new connections, and break the existing ones."""
        if self._server is not None:
            self._server.close()
            for writer in list(self._open):
                writer.transport.abort()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
            both = {writer, far_writer}
            self._open |= both
            await asyncio.gather(self._pass(reader, far_writer, 0.0), self._pass(far_reader, writer, 1.0))
            self._open -= both
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, share_of_delay: float) -> None:
        with contextlib.suppress(OSError):
            while words := await reader.read(1 << 16):
                await asyncio.sleep(self.delay * share_of_delay)
                for part in [words[at : at + 1] for at in range(len(words))] if self.slices else [words]:
                    if not self.swallows:
                        writer.write(part)
                        await asyncio.sleep(0)
        writer.close()
