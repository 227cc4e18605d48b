"""Fixtures for every test: fakes, a real Redis, a simulated exchange; each cleans up after itself."""

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

from bench.processes import free_port as free_port
from fastprice.market import Market
from tests.fakes import FakeClock, RecordingEvents

# For an hour of these tests alone: `pytest tests/unit/test_bad_input.py --hypothesis-profile thorough`.
settings.register_profile("thorough", max_examples=20_000, deadline=None)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def events() -> RecordingEvents:
    return RecordingEvents()


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    """A simulated exchange in this process."""
    market = Market(pairs=("eth-usdt", "btc-usdt"), seed=7)
    await market.start("127.0.0.1", 0)
    yield market
    await market.stop()


@dataclass
class RedisServer:
    """A redis-server on a free port, for this test alone; the test can kill, stop and start it at will."""

    directory: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    program: str = "redis-server"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, *options: str, file: Path | None = None) -> None:
        """Start it with these options, or as a Sentinel with this configuration file."""
        program = shutil.which(self.program)
        assert program, "redis-server is missing: `make redis-server` installs it"
        kind = [str(file), "--sentinel"] if file else ["--save", "", "--appendonly", "no"]
        words = [program, *kind, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.directory)]
        self.process = subprocess.Popen([*words, *options], stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path, free_port())
    server.start()
    yield server
    server.stop()


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when the process listens; fail if it ends before that."""
    while process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise AssertionError(f"the process for port {port} ended with {process.returncode}")
