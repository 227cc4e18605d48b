"""`fastprice serve` as a real process tree for tests: on a free port, in its own directories, with a given market."""

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from fastprice.market import Market, source_urls
from tests.conftest import free_port

PRICE = "/api/v1/prices/eth-usdt"
# How long anything may take on the busiest machine before a test gives up: a limit, never a measurement.
PATIENCE = 60.0


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Service:
    """A running service; `log` is everything it has written."""

    process: asyncio.subprocess.Process
    port: int
    session: aiohttp.ClientSession
    host: str = "127.0.0.1"
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def get(self, path: str = PRICE, **headers: str) -> Answer:
        async with self.session.get(self.url + path, headers=headers) as response:
            return Answer(response.status, {k.lower(): v for k, v in response.headers.items()}, await response.read())

    async def from_many_workers(self, count: int = 24, path: str = PRICE) -> list[Answer]:
        """One answer on each of `count` connections opened together, so that several workers answer."""
        return list(await asyncio.gather(*(self.get(path) for _ in range(count))))

    async def until(self, status: int, path: str = PRICE) -> Answer:
        """The first answer with this status."""
        return await self.until_answer(lambda answer: answer.status == status, path)

    async def until_answer(self, wanted: Any, path: str = PRICE) -> Answer:
        answer = None
        for _ in polling():
            if self.process.returncode is not None:
                break
            with contextlib.suppress(aiohttp.ClientError):
                answer = await self.get(path)
                if wanted(answer):
                    return answer
            await asyncio.sleep(0.02)
        raise AssertionError(f"never came; the last was {answer}; the log:\n" + "".join(self.log))

    async def until_logged(self, text: str) -> str:
        for _ in polling():
            if line := next((line for line in self.log if text in line), None):
                return line
            await asyncio.sleep(0.02)
        raise AssertionError(f"{text!r} was never logged:\n" + "".join(self.log))

    def workers(self) -> list[int]:
        """The pids of the worker processes."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in path.read_text().split()]

    def metrics_directory(self) -> Path:
        """The directory in which the workers share their metrics: the master keeps it open."""
        for file in Path(f"/proc/{self.process.pid}/fd").iterdir():
            if "fastprice-metrics-" in (name := os.readlink(file)):
                return Path(name)
        raise AssertionError("the master holds no directory of metrics")

    async def until_workers(self, count: int, without: frozenset[int] = frozenset()) -> list[int]:
        for _ in polling():
            if len(now := self.workers()) == count and not without & set(now):
                return now
            await asyncio.sleep(0.02)
        raise AssertionError(f"there are {self.workers()}; the log:\n" + "".join(self.log))

    async def until_all_serve(self, count: int) -> list[int]:
        """The workers, once this many have started to serve: a process exists before it serves."""
        def serving(answer: Answer) -> float:
            found = re.findall(r"^fastprice_workers\{.*\} (.*)$", answer.body.decode(), re.M)
            return sum(map(float, found))

        await self.until_answer(lambda answer: serving(answer) == count, "/metrics")
        return await self.until_workers(count)

    async def stop(self) -> int:
        """Send SIGTERM; returns the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


def polling() -> Any:
    """Yields until the test's patience ends."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        yield


@contextlib.asynccontextmanager
async def running(
    market: Market, directory: Path, inside: Sequence[str] = (), host: str = "127.0.0.1", **environ: Any
) -> AsyncIterator[Service]:
    """Start the service with short intervals and two workers, unless `environ` says otherwise; stop it at the end.

    Cross-checks are off, so that tests can count the calls to each source.

    `inside` is a command that starts it in other namespaces, `host` the address it listens on there; its port is any
    free one unless PORT is given.
    """
    port = environ.get("PORT") or free_port()
    settings = {
        "HOST": host,
        "PORT": port,
        "WORKERS": 2,
        "REFRESH_INTERVAL": 0.1,
        "CACHE_TTL": 1,
        "MAX_STALE": 3,
        "FETCH_TIMEOUT": 0.4,
        "RETRY_BASE": 0.01,
        "BREAKER_RESET": 1,
        "CROSS_CHECK_INTERVAL": 0,
        "STREAMS": 0,
        "STORE_DIR": directory / "store",
        **source_urls(market.url),
        **environ,
    }
    process = await asyncio.create_subprocess_exec(
        *inside, sys.executable, "-m", "fastprice.cli", "serve",
        env={**os.environ, **{name: str(value) for name, value in settings.items()}},
        stderr=asyncio.subprocess.PIPE,
    )
    connector = aiohttp.TCPConnector(force_close=True, limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:
        service = Service(process, port, session, host)
        reader = asyncio.create_task(_read(process, service.log))
        try:
            await service.until(200, "/health/liveness")
            yield service
        finally:
            await _end(process)
            await reader


async def _read(process: asyncio.subprocess.Process, log: list[str]) -> None:
    assert process.stderr is not None
    while line := await process.stderr.readline():
        log.append(line.decode())


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
