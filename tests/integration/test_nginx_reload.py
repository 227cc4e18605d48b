"""A running nginx reloads a changed configuration under load: nothing is lost, and a wrong one changes nothing."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.nginx import PRICE, Front, fronted
from tests.service import polling

pytestmark = pytest.mark.anyio

CLIENTS = 20
REQUEST = f"GET {PRICE} HTTP/1.1\r\nHost: front\r\n\r\n".encode()


async def ask_on(front: Front, counts: Counter[str], stop: asyncio.Event) -> None:
    """Send requests on one connection after the other, and count the answers by status.

    If a connection that has carried an answer is closed before the first byte of the next one, it was closed as idle
    while the request was under way. HTTP libraries then retry on a new one (RFC 9112, 9.3.1): "again". Else "lost".
    """
    while not stop.is_set():
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        answers = 0
        try:
            while not stop.is_set():
                writer.write(REQUEST)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
                counts[head.split()[1].decode()] += 1
                answers += 1
                if b"connection: close" in head:
                    break
        except (OSError, asyncio.IncompleteReadError) as error:
            counts["again" if answers and not getattr(error, "partial", b"") else "lost"] += 1
        writer.close()


@contextlib.asynccontextmanager
async def under_load(front: Front) -> AsyncIterator[Counter[str]]:
    counts: Counter[str] = Counter()
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as clients:
        for _ in range(CLIENTS):
            clients.create_task(ask_on(front, counts, stop))
        try:
            yield counts
        finally:
            stop.set()


async def test_reload_takes_over_what_is_new_and_loses_no_request(tmp_path: Path) -> None:
    async with fronted(tmp_path, 2) as front, under_load(front) as counts:
        for cache, control in ("1", "public, max-age=0"), ("0", "public, max-age=4"):
            before = counts["200"]
            assert await front.reload(MICRO_CACHE=cache) == (0, "")
            alike = 0
            for _ in polling():
                alike = alike + 1 if (await front.ask()).headers["cache-control"] == control else 0
                if alike == 5 and counts["200"] > before + 200:
                    break
        assert front.process.returncode is None
    assert counts.keys() <= {"200", "again"} and counts["again"] <= 2 * CLIENTS, counts


async def test_reload_that_cannot_be_used_is_told_and_changes_nothing(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        code, told = await front.reload(STREAMS_PER_ADDRESS="many")
        assert (code, told) == (2, "STREAMS_PER_ADDRESS is 'many', but must be a whole number from 0 to 65535\n")
        text = (front.source / "nginx.conf").read_text()
        (front.source / "nginx.conf").write_text(text.replace("server_tokens off;", "server_tokens maybe;"))
        code, told = await front.reload()
        assert code == 2 and "maybe" in told and told.endswith("nginx keeps its previous configuration\n")
        assert (await front.ask()).status == 200
        (front.source / "nginx.conf").write_text(text)
        assert await front.reload() == (0, "")
        front.process.terminate()
        await front.process.wait()
        code, told = await front.reload()
        assert code == 2 and told.startswith("no nginx is running with ")
