"""A real nginx with the configuration of docker/nginx for tests, with scripted replicas and a name server behind it."""

import asyncio
import contextlib
import json
import os
import shutil
import socket
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.conftest import free_port
from tests.service import PATIENCE, polling

SOURCE = Path(__file__).parents[1] / "docker" / "nginx"
PRICE = "/api/v1/prices/eth-usdt"

# Shorter timeouts than in production; by default a refused client has 5 s to finish sending.
QUICKER = {
    "client_header_timeout 5s;": "client_header_timeout 1s;",
    "client_body_timeout 5s;": "client_body_timeout 5s; lingering_timeout 100ms;",
    "proxy_read_timeout 5s;": "proxy_read_timeout 1s;",
}


def answer(status: str = "200 OK", cache_control: str = "public, max-age=4", body: str = "{}") -> bytes:
    """A replica's answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nCache-Control: {cache_control}\r\n"
    return f"{head}ETag: \"1\"\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


@dataclass
class Replica:
    """Records every head that it gets, and sends the same answer to all, or one that a function gives; `silent` is the
    number of next requests that it leaves unanswered."""

    host: str
    says: bytes | Callable[[], bytes] = field(default_factory=answer)
    heads: list[bytes] = field(default_factory=list)
    silent: float = 0
    _server: asyncio.Server | None = None

    async def start(self, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, self.host, port)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                self.heads.append(await reader.readuntil(b"\r\n\r\n"))
                if self.silent or self._server is None:
                    self.silent -= 1
                    break
                writer.write(self.says() if callable(self.says) else self.says)
        writer.close()


class Names(asyncio.DatagramProtocol):
    """A name server that answers every query with these addresses, valid for ten minutes, as Docker's does."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        question = data[12 : data.index(0, 12) + 5]
        head = data[:2] + struct.pack(">5H", 0x8180, 1, len(self.addresses), 0, 0)
        rows = (struct.pack(">HHHIH", 0xC00C, 1, 1, 600, 4) + socket.inet_aton(host) for host in self.addresses)
        self._transport.sendto(head + question + b"".join(rows), addr)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes


@dataclass
class Front:
    """A running nginx; `replicas` holds the replicas behind it, by address."""

    port: int
    status_port: int
    names: Names
    replicas: dict[str, Replica]
    replica_port: int
    process: asyncio.subprocess.Process
    source: Path
    environ: dict[str, str]
    log: list[str] = field(default_factory=list)

    async def add(self, host: str) -> Replica:
        replica = self.replicas[host] = Replica(host)
        await replica.start(self.replica_port)
        self.names.addresses.append(host)
        return replica

    async def reload(self, **environ: str) -> tuple[int, str]:
        """Apply the source and these settings: the exit code of start.sh, and its output."""
        process = await asyncio.create_subprocess_exec(
            "sh", str(self.source / "start.sh"), "reload", env={**self.environ, **environ},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        told, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        return process.returncode or 0, told.decode()

    async def send(self, message: bytes, port: int = 0) -> bytes:
        """All bytes that come back for this message until the connection is closed or reset."""
        said = bytearray()
        async with asyncio.timeout(PATIENCE):
            reader, writer = await asyncio.open_connection("127.0.0.1", port or self.port)
            writer.write(message)
            with contextlib.suppress(ConnectionResetError):
                while part := await reader.read(65536):
                    said += part
            writer.close()
        return bytes(said)

    async def ask(self, path: str = PRICE, method: str = "GET", **headers: str) -> Reply:
        return await self.ask_at(self.port, path, method, **headers)

    async def ask_at(self, port: int, path: str, method: str = "GET", **headers: str) -> Reply:
        lines = [f"{method} {path} HTTP/1.1", "Host: front", "Connection: close"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head, _, body = (await self.send("\r\n".join([*lines, "", ""]).encode(), port)).partition(b"\r\n\r\n")
        first, *rest = head.decode().split("\r\n")
        return Reply(int(first.split()[1]), {k.lower(): v for k, v in (row.split(": ", 1) for row in rest)}, body)

    async def logged(self, request_id: str) -> Any:
        """The line of the access log with this id."""
        for _ in polling():
            for line in self.log:
                if f'"id":"{request_id}"' in line:
                    return json.loads(line)
            await asyncio.sleep(0.05)
        raise AssertionError("".join(self.log))


def readable(header: str, reply: Reply) -> bool:
    """Whether a script of another origin may read this header."""
    exposed = reply.headers.get("access-control-expose-headers", "").lower().split(", ")
    return reply.headers.get("access-control-allow-origin") == "*" and header in exposed


def unchunked(reply: Reply) -> bytes:
    """The body of an answer, which nginx sends in chunks if it does not know the length."""
    if reply.headers.get("transfer-encoding") != "chunked":
        return reply.body
    body, rest = b"", reply.body
    while size := int((line := rest.partition(b"\r\n"))[0], 16):
        body, rest = body + line[2][:size], line[2][size + 2 :]
    return body


def _text(quicker: bool) -> str:
    """The configuration as it is, except for its timeouts."""
    text = (SOURCE / "nginx.conf").read_text()
    if quicker:
        for old, new in QUICKER.items():
            assert old in text
            text = text.replace(old, new)
    return "user root;\n" + text if os.geteuid() == 0 else text  # In its container nginx never runs as root.


@contextlib.asynccontextmanager
async def fronted(directory: Path, replicas: int = 1, *, quicker: bool = False, **environ: str) -> AsyncIterator[Front]:
    """nginx as its container starts it, in front of this many replicas."""
    assert shutil.which("nginx", path=_path()), "nginx is missing: `make nginx` installs it"
    source = shutil.copytree(SOURCE, directory / "source")
    port, status_port, replica_port = free_port(), free_port(), free_port()
    (source / "nginx.conf").write_text(_text(quicker))
    transport, names = await asyncio.get_running_loop().create_datagram_endpoint(Names, ("127.0.0.1", 0))
    settings = {
        **os.environ,
        "NGINX_RUN": str(directory / "run"),
        "NGINX_PORT": str(port),
        "NGINX_ACCESS_LOG": "1",
        "NGINX_STATUS_PORT": str(status_port),
        "REPLICAS": f"app:{replica_port}",
        "RESOLVER": f"127.0.0.1:{transport.get_extra_info('sockname')[1]}",
        "PATH": _path(),
        **environ,
    }
    process = await asyncio.create_subprocess_exec(
        "sh", str(source / "start.sh"), env=settings,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    front = Front(port, status_port, names, {}, replica_port, process, source, settings)
    reading = asyncio.create_task(_read(process, front.log))
    try:
        for number in range(replicas):
            await front.add(f"127.0.0.{number + 2}")
        await _until_open(front)
        yield front
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)
        await reading
        for replica in front.replicas.values():
            await replica.stop()
        transport.close()


def _path() -> str:
    return f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin"


async def _read(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stdout is not None
    while line := await process.stdout.readline():
        log.append(line.decode(errors="replace"))


async def _until_open(front: Front) -> None:
    for _ in polling():
        assert front.process.returncode is None, "".join(front.log)
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.close()
            return
        await asyncio.sleep(0.02)
    raise AssertionError("".join(front.log))
