"""The master and its workers: signals at any moment, clocks that jump, workers that hang, directories that are full."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from fastprice.market import Market
from fastprice.server.worker import RESTART_SECONDS
from tests.conftest import free_port
from tests.service import PATIENCE, PRICE, Service, polling, running

pytestmark = pytest.mark.anyio

# The master and one worker of `fastprice serve`, with an application that reports on stdout what happens.
PROCESSES = """
import asyncio, contextlib, os, signal, sys, time
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from fastprice.infrastructure.logging_setup import logging_config
from fastprice.server.gunicorn_conf import Gunicorn, Processes

def tell(what):
    print(what, flush=True)

def at_fork(age):
    "What happens in a worker right after the fork."

def at_start(age):
    "What happens when a worker's event loop runs."

class Told(Gunicorn):
    def load_config(self):
        super().load_config()
        self.cfg.set("timeout", 2)
        self.cfg.set("post_fork", forked)

def forked(server, worker):
    global age
    age = worker.age
    tell(f"forked {age}")
    worker.call_first(lambda: None)
    at_fork(age)

@contextlib.asynccontextmanager
async def lifespan(app):
    tell(f"started {age}")
    at_start(age)
    yield {"lane": None, "streams": None}

async def slow(request):
    "Takes a second, counted from when the test lets it begin."
    tell("asked")
    while not os.path.exists(os.environ["BEGIN"]):
        await asyncio.sleep(0.01)
    await asyncio.sleep(1)
    return PlainTextResponse("done")

def serve():
    Told(Processes(
        binds=[f"127.0.0.1:{sys.argv[1]}"], workers=1, keep_alive=1, graceful_timeout=20, memory_directory="/tmp",
        log_config=logging_config("info", "text", False),
        app=lambda slot: Starlette(routes=[Route("/", slow)], lifespan=lifespan),
        after_fork=lambda slot: None, after_death=lambda slot: None, ready=lambda addresses: None,
    )).run()
"""
# A wall clock that tests can set: every process of the tree that has this on its path reads the shift from a file.
CLOCK = """
import pathlib, time
shift, time_itself = pathlib.Path({shift!r}), time.time
time.time = lambda: time_itself() + float(shift.read_text())
"""


@dataclass
class Told:
    """Running processes, and the lines that they print."""

    process: asyncio.subprocess.Process
    port: int

    async def until(self, line: str) -> list[str]:
        """Every line up to this one."""
        assert self.process.stdout is not None
        told: list[str] = []
        async with asyncio.timeout(PATIENCE):
            while not told or told[-1] != line:
                read = await self.process.stdout.readline()
                assert read, f"{line!r} never came, only {told}"
                told.append(read.decode().strip())
        return told


@contextlib.asynccontextmanager
async def processes(script: str, **environ: str) -> AsyncIterator[Told]:
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROCESSES + script + "\nserve()", str(port), stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environ},
    )
    try:
        yield Told(process, port)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.communicate(), PATIENCE)


@dataclass
class WallClock:
    """The wall clock of a process tree that has `environ`."""

    directory: Path

    @property
    def environ(self) -> dict[str, str]:
        self.set(0)
        (self.directory / "sitecustomize.py").write_text(CLOCK.format(shift=str(self.directory / "shift")))
        return {"PYTHONPATH": str(self.directory)}

    def set(self, shift: float) -> None:
        """Let it differ from the true time by this many seconds."""
        new = self.directory / "new"
        new.write_text(str(shift))
        new.replace(self.directory / "shift")


@pytest.fixture
def wall(tmp_path: Path) -> WallClock:
    directory = tmp_path / "clock"
    directory.mkdir()
    return WallClock(directory)


# Signals


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda sent: sent.name)
async def test_a_signal_to_a_worker_that_has_just_been_forked_is_not_lost(sent: signal.Signals) -> None:
    script = f"def at_fork(age):\n    if age == 1: os.kill(os.getpid(), {int(sent)})"
    async with processes(script) as told:
        assert await told.until("started 2") == ["forked 1", "forked 2", "started 2"]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT], ids=lambda sent: sent.name)
async def test_a_signal_to_a_worker_that_starts_its_loop_ends_it(sent: signal.Signals) -> None:
    script = f"def at_start(age):\n    if age == 1: os.kill(os.getpid(), {int(sent)})"
    async with processes(script) as told:
        assert await told.until("started 2") == ["forked 1", "started 1", "forked 2", "started 2"]


@pytest.mark.parametrize("first", [None, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1, signal.SIGWINCH])
async def test_signals_that_come_while_the_master_starts_wait_until_it_can_act_on_them(
    first: signal.Signals | None
) -> None:
    early = [sent for sent in (first, signal.SIGTERM) if sent]
    script = f"""
from fastprice.server.held_signals import held_signals
with held_signals():
    for sent in {[int(sent) for sent in early]}:
        os.kill(os.getpid(), sent)
    tell("sent")
    serve()
"""
    async with processes(script) as told:
        await told.until("sent")
        assert await asyncio.wait_for(told.process.wait(), PATIENCE) == 0


async def test_no_signal_is_held_any_more_when_the_service_runs(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        for pid in (service.process.pid, *await service.until_workers(2)):
            await until_no_signal_is_blocked(pid)


async def test_what_a_signal_begins_is_said_in_the_log(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        service.process.send_signal(signal.SIGHUP)
        await service.until_logged("SIGHUP: every worker is replaced")
        await service.until(200)
        service.process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(service.process.wait(), PATIENCE) == 0
        assert sum("SIGTERM: answers and streams have" in line for line in service.log) == 1


async def test_every_address_of_both_kinds_is_served(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, HOST="::") as service:
        await service.until(200)
        for host in "[::1]", "127.0.0.1":
            async with service.session.get(service.url.replace("127.0.0.1", host) + PRICE) as answer:
                assert answer.status == 200


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"), reason="takes root")
async def test_it_serves_where_there_is_ipv6_alone(tmp_path: Path) -> None:
    environ = os.environ | {"HOST": "::", "PORT": "8000", "WORKERS": "2", "STORE_DIR": str(tmp_path)}
    alone = 'ip link set lo up && ip -4 address flush dev lo && exec "$@"'
    process = await asyncio.create_subprocess_exec(
        "unshare", "--net", "sh", "-c", alone, "sh", sys.executable, "-m", "fastprice.cli", "serve", env=environ
    )
    ask = f"import urllib.request as u; print(u.urlopen('http://[::1]:8000/health/liveness', timeout={PATIENCE}).status)"
    inside = ("nsenter", "--net", "--target", str(process.pid), sys.executable, "-c", ask)
    for _ in polling():
        asked = await asyncio.create_subprocess_exec(
            *inside, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
        said, _ = await asked.communicate()
        if said or process.returncode is not None:
            break
    assert said == b"200\n"
    process.terminate()
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0


async def until_no_signal_is_blocked(pid: int) -> None:
    for _ in polling():
        if int(Path(f"/proc/{pid}/status").read_text().split("SigBlk:")[1].split()[0], 16) == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{pid} still blocks signals")


# Clocks


def last_sign_of_life(pid: int) -> float:
    """When a worker last gave its master a sign of life, by the monotonic clock."""
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if "wgunicorn-" in os.readlink(file):
                return file.stat().st_mtime
    raise AssertionError(f"{pid} has no file for signs of life")


async def until_all_told_that_they_live(service: Service, since: float) -> None:
    for _ in polling():
        if all(last_sign_of_life(pid) > since for pid in service.workers()):
            return
        await asyncio.sleep(0.05)
    raise AssertionError("a worker gives no sign of life any more")


async def test_workers_live_on_whatever_the_wall_clock_does(market: Market, tmp_path: Path, wall: WallClock) -> None:
    hour, year_2100 = 3_600.0, 4_102_444_800.0
    async with running(market, tmp_path, **wall.environ) as service:
        before = await service.until_workers(2)
        for shift in (-30.0, -hour, hour, 0.0, 86_400.0 - time.time(), year_2100 - time.time(), 0.0):
            wall.set(shift)
            await until_all_told_that_they_live(service, time.monotonic())
        assert await service.until_workers(2) == before
        await service.until(200)


async def until_refused(port: int) -> None:
    for _ in polling():
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.02)
    raise AssertionError("connections are taken still")


async def test_answers_in_flight_are_finished_though_the_clock_is_set_forward_while_stopping(
    wall: WallClock, tmp_path: Path
) -> None:
    begin = tmp_path / "begin"
    async with processes("", BEGIN=str(begin), **wall.environ) as told:
        await told.until("started 1")
        reader, writer = await asyncio.open_connection("127.0.0.1", told.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await told.until("asked")
        told.process.terminate()
        await until_refused(told.port)
        wall.set(3_600)
        begin.touch()
        assert (await reader.read()).endswith(b"\r\n\r\ndone")
        writer.close()
        assert await asyncio.wait_for(told.process.wait(), PATIENCE) == 0


# Workers that fail


async def test_a_worker_that_cannot_start_harms_nobody_else() -> None:
    """It tries again, but not too often; an exit code that gunicorn reserves for itself would stop everything."""
    script = "def at_start(age):\n    if age < 3: raise SystemExit(3)"
    async with processes(script) as told:
        began = time.monotonic()
        assert len(await told.until("started 3")) == 6
        assert time.monotonic() - began >= 2 * RESTART_SECONDS


@pytest.mark.parametrize("moment", ["at_fork", "at_start"])
async def test_a_worker_that_hangs_is_replaced(moment: str) -> None:
    async with processes(f"def {moment}(age):\n    if age == 1: time.sleep(3600)") as told:
        await told.until("started 2")
