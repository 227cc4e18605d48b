"""Calling the exchanges through a proxy, as HTTPS_PROXY says: a real CONNECT, real TLS, and how its failures look."""

import asyncio
import base64
import contextlib
import os
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from fastprice.domain.errors import SourceDown, SourceError, SourceRefused, SourceTimeout
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.source import ExchangeSource
from fastprice.market import Market
from tests.conftest import free_port
from tests.fakes import ETH
from tests.integration.test_redis_urls import openssl
from tests.service import PATIENCE

pytestmark = pytest.mark.anyio

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytes], Awaitable[None]]


@contextlib.asynccontextmanager
async def listening(talk: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that reads one head from each connection, records it, and goes on as `talk` says."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            await talk(reader, writer, heads[-1])
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1], heads


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()


def leading_to(port: int, first: Callable[[bytes], bytes], answer: bytes = b"") -> Talk:
    """Connect the caller to a port of this machine; what is sent there first is made from the head by `first`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(answer)
        inner_writer.write(first(head))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    return talk


def saying(answer: bytes) -> Talk:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
        writer.write(answer)

    return talk


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: bytes) -> None:
    await reader.read()


def certified(place: Path, name: str) -> ssl.SSLContext:
    """A certificate for a name, which is its own authority."""
    openssl(
        place, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem", "-out", "cert.pem", "-subj", f"/CN={name}",
        "-addext", f"subjectAltName=DNS:{name}",
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(place / "cert.pem", place / "key.pem")
    return context


async def test_exchanges_are_asked_through_the_proxy_of_the_environment(market: Market, tmp_path: Path) -> None:
    into_market = leading_to(int(market.url.rpartition(":")[2]), lambda head: head.replace(b"GET /", b"GET /binance/", 1))
    async with listening(into_market, certified(tmp_path, "data-api.binance.vision")) as (exchange_port, asked):
        tunnel = leading_to(exchange_port, lambda head: b"", b"HTTP/1.1 200 Connected\r\n\r\n")
        async with listening(tunnel) as (port, heads):
            environ = {
                "SOURCES": "binance", "HTTPS_PROXY": f"http://me:hunter2@127.0.0.1:{port}",
                "SSL_CERT_FILE": str(tmp_path / "cert.pem"), "FETCH_TIMEOUT": "30", "ROUND_TIMEOUT": "30",
            }  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "fastprice.cli", "quote", env={**os.environ, **environ}, stdout=asyncio.subprocess.PIPE
            )
            async with asyncio.timeout(PATIENCE):
                table, _ = await process.communicate()
    assert process.returncode == 0 and market.served["binance"][0][1].encode() in table, table.decode()
    assert heads[0].startswith(b"CONNECT data-api.binance.vision:443 HTTP/1.1\r\n")
    assert b"Proxy-Authorization: Basic " + base64.b64encode(b"me:hunter2") in heads[0]
    assert b"Authorization" not in asked[0], "the exchange does not get the proxy's password"


async def failure(proxy_port: int, url: str, seconds: float = PATIENCE) -> SourceError:
    """Why the exchange could not be called; the message names the proxy as a possible cause, without its password."""
    async with Session("fastprice/test", lambda url: f"http://me:hunter2@127.0.0.1:{proxy_port}") as session:
        source = ExchangeSource(EXCHANGES["binance"], url, seconds, session, SystemClock(), lambda event: None)
        with pytest.raises(SourceError) as caught:
            await source.fetch(*source.calls((ETH,)))
    line = str(caught.value)
    assert line.startswith(f"through the proxy 127.0.0.1:{proxy_port}: ") and line.isprintable()
    assert "hunter2" not in line
    return caught.value


@pytest.mark.parametrize("url", ["https://data-api.binance.vision", "http://data-api.binance.vision"])
async def test_proxys_failures_are_told_as_the_proxys(url: str) -> None:
    async with listening(saying(b"HTTP/1.1 407 Go away hunter2\r\nContent-Length: 0\r\n\r\n")) as (port, _):
        error = await failure(port, url)
        assert type(error) is SourceRefused and "HTTP 407: it wants another name and password" in str(error)
    async with listening(saying(b"")) as (port, _):
        assert "closed without an answer" in str(await failure(port, url))
    async with listening(silent) as (port, _):
        assert type(await failure(port, url, 0.2)) is SourceTimeout
    error = await failure(free_port(), url)
    assert type(error) is SourceDown and "Connection refused" in str(error)


async def test_proxy_that_does_not_connect_says_so() -> None:
    for status in b"403 Forbidden", b"502 Bad Gateway", b"503 Nothing":
        async with listening(saying(b"HTTP/1.1 %s\r\nContent-Length: 0\r\n\r\n" % status)) as (port, _):
            assert f"HTTP {status[:3].decode()}: it does not connect us" in str(await failure(port, "https://data-api.binance.vision"))
