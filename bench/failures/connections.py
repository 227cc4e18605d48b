"""Connections that are kept open, one to every worker: /proc shows which worker has which."""

import asyncio
import json
import re
from typing import Any

from bench.failures.fleet import PATIENCE_SECONDS, PRICE, Replica
from bench.sockets import owners_of

LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
OPENED_AT_ONCE, ROUNDS = 64, 50


class Connection:
    """One connection over HTTP/1.1."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def to(cls, port: int) -> "Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    @property
    def own_port(self) -> int:
        port: int = self._writer.get_extra_info("sockname")[1]
        return port

    def ask(self, path: str = PRICE) -> None:
        self._writer.write(f"GET {path} HTTP/1.1\r\nHost: fastprice\r\n\r\n".encode())

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """Read the status and the body; OSError if the other side closes before."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                head = await self._reader.readuntil(b"\r\n\r\n")
                length = LENGTH.search(head)
                body = await self._reader.readexactly(int(length[1]) if length else 0)
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("closed before the answer") from error
        return int(head.split(b" ", 2)[1]), json.loads(body)

    async def get(self, path: str = PRICE) -> tuple[int, dict[str, Any]]:
        self.ask(path)
        return await self.answer()

    def close(self) -> None:
        self._writer.close()


async def one_to_each_worker(replica: Replica) -> list[Connection]:
    """Open many connections at once until every worker has accepted one; RuntimeError if some worker never does."""
    workers, found = set(replica.workers()), dict[int, Connection]()
    for _ in range(ROUNDS):
        opened = [await Connection.to(replica.port) for _ in range(OPENED_AT_ONCE)]
        for connection in opened:
            connection.ask()
        for connection in opened:
            await connection.answer()
        owners = owners_of(replica.port, workers)
        for connection in opened:
            owner = owners.get(connection.own_port)
            if owner is None or found.setdefault(owner, connection) is not connection:
                connection.close()
        if found.keys() == workers:
            return list(found.values())
    raise RuntimeError(f"only {len(found)} of {len(workers)} workers accepted a connection")
