"""Streams of real workers: workers are killed, asked to leave or replaced, and the exchange misbehaves."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fastprice.market import Market
from tests.service import Service, running

pytestmark = pytest.mark.anyio

PATH = "/api/v1/prices/eth-usdt/stream"
LAST_CHUNK = b"\r\n0\r\n\r\n"


class Subscriber:
    """A client like a browser: it reads events, and some time after a stream has ended it opens another one."""

    def __init__(self, service: Service, path: str = PATH) -> None:
        self._service, self._path = service, path
        self.events: list[tuple[str, dict[str, Any]]] = []
        # Whether the open stream has brought an event, and the last bytes of each stream that has ended.
        self.is_live = False
        self.ends: list[bytes] = []

    async def follow(self, again: float | None) -> None:
        """Read one stream after the other, `again` seconds apart; with None only one."""
        while True:
            with contextlib.suppress(OSError):
                self.ends.append(await self._read())
            self.is_live = False
            if again is None:
                return
            await asyncio.sleep(again)

    async def _read(self) -> bytes:
        reader, writer = await asyncio.open_connection(self._service.host, self._service.port)
        with contextlib.closing(writer):
            writer.write(f"GET {self._path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            name, last = "", b""
            while line := await reader.readline():
                last = (last + line)[-len(LAST_CHUNK) :]
                if line.startswith(b"event: "):
                    name = line[7:].decode().strip()
                elif line.startswith(b"data: "):
                    self.events.append((name, json.loads(line[6:])))
                    self.is_live = True
            return last


@contextlib.asynccontextmanager
async def subscribed(service: Service, count: int, again: float | None = 0.2) -> AsyncIterator[list[Subscriber]]:
    subscribers = [Subscriber(service) for _ in range(count)]
    tasks = [asyncio.create_task(each.follow(again)) for each in subscribers]
    try:
        await until(lambda: all(each.is_live for each in subscribers))
        yield subscribers
        if again is None:
            await asyncio.wait_for(asyncio.gather(*tasks), 60)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(is_so: Any) -> None:
    async with asyncio.timeout(60):
        while not is_so():
            await asyncio.sleep(0.02)


async def metric(service: Service, name: str) -> float:
    text = (await service.get("/metrics")).body.decode()
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(f"fastprice_{name} "))


async def test_subscribers_of_a_killed_worker_are_back_on_the_others(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, WORKERS=3) as service:
        await service.until(200)
        workers = await service.until_all_serve(3)
        async with subscribed(service, 60) as subscribers:
            os.kill(workers[0], signal.SIGKILL)
            await until(lambda: any(each.ends or not each.is_live for each in subscribers))
            await until(lambda: all(each.is_live for each in subscribers))
            assert sum(bool(each.ends) for each in subscribers) < 60, "those of the other workers notice nothing"
        for each in subscribers:
            stamps = [data["fetched_at_ms"] for name, data in each.events if name == "price"]
            assert stamps == sorted(stamps)


@pytest.mark.parametrize("fast_lane", ["1", "0"])
async def test_at_the_end_every_stream_ends_whole_and_the_service_in_time(
    market: Market, tmp_path: Path, fast_lane: str
) -> None:
    async with running(market, tmp_path, WORKERS=2, GRACEFUL_TIMEOUT=5, FAST_LANE=fast_lane) as service:
        await service.until(200)
        async with subscribed(service, 100, again=None) as subscribers:
            service.process.send_signal(signal.SIGTERM)
        assert [each.ends for each in subscribers] == [[LAST_CHUNK]] * 100
        assert await asyncio.wait_for(service.process.wait(), 60) == 0
        assert not [line for line in service.log if "Traceback" in line or " ERROR " in line]


async def test_a_reload_moves_subscribers_one_by_one_and_tears_nothing(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, WORKERS=2, GRACEFUL_TIMEOUT=5) as service:
        await service.until(200)
        before = await service.until_workers(2)
        async with subscribed(service, 60) as subscribers:
            service.process.send_signal(signal.SIGHUP)
            await service.until_workers(2, without=frozenset(before))
            await until(lambda: all(each.ends for each in subscribers))
            await until(lambda: all(each.is_live for each in subscribers))
            assert {end for each in subscribers for end in each.ends} == {LAST_CHUNK}


async def test_states_are_told_as_an_exchange_falls_silent_and_comes_back(market: Market, tmp_path: Path) -> None:
    environ: dict[str, Any] = {"REFRESH_INTERVAL": 0.2, "CACHE_TTL": 0.6, "MAX_STALE": 1.5, "BREAKER_RESET": 0.2}
    async with running(market, tmp_path, **environ) as service:
        await service.until(200)
        async with subscribed(service, 3) as subscribers:
            market.set_fault("all", "hang")

            def told() -> list[list[str]]:
                return [[data["state"] for name, data in each.events if name == "state"] for each in subscribers]

            await until(lambda: all(states[-1:] == ["expired"] for states in told()))
            market.clear_fault("all")
            await until(lambda: all(states[-1:] == ["fresh"] for states in told()))
            assert all("stale" in states for states in told())
            await until(lambda: all(each.events[-1][0] == "price" for each in subscribers))


async def test_subscribers_and_events_are_counted_over_all_workers(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, WORKERS=2) as service:
        await service.until(200)
        async with subscribed(service, 30):
            async with asyncio.timeout(30):
                while await metric(service, "stream_subscribers") != 30:
                    await asyncio.sleep(0.1)
            assert await metric(service, "stream_events_total") >= 30
        async with asyncio.timeout(30):
            while await metric(service, "stream_subscribers"):
                await asyncio.sleep(0.1)
