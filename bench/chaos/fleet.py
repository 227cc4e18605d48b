"""The real processes of an episode: services, grouped by the exchange and the store that they share, and a Redis."""

import asyncio
import contextlib
import os
import re
import resource
import signal
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import RedisError

from bench.chaos.exchange import NotingExchange
from bench.chaos.ledger import Ledger
from bench.chaos.oracle import CACHE_TTL, FETCH_TIMEOUT, INTERVAL, MAX_STALE, Oracle, Standing
from bench.chaos.wire import Answer, Ask, Line
from bench.processes import Watched, environment, free_port
from bench.service import settings

PAIRS = ("eth-usdt", "btc-usdt", "shib-usdt")
WORKERS, GRACEFUL_TIMEOUT = 2, 10
# How much longer a start or a stop may take on a busy machine.
MARGIN_SECONDS, START_SECONDS = 10.0, 40.0
# Fewer descriptors than the connections that one of our hostile clients opens.
OPEN_FILES = 256
# Streams have their own chaos tests, in bench.streamfaults.
SETTINGS = {
    "STREAMS": "0",
    "WORKERS": str(WORKERS), "PAIRS": ",".join(PAIRS), "REFRESH_INTERVAL": f"{INTERVAL}", "CACHE_TTL": f"{CACHE_TTL}",
    "MAX_STALE": f"{MAX_STALE:g}", "FETCH_TIMEOUT": f"{FETCH_TIMEOUT}", "ROUND_TIMEOUT": "2", "RETRY_BASE": "0.02",
    "BREAKER_RESET": "5", "GRACEFUL_TIMEOUT": str(GRACEFUL_TIMEOUT),
}  # fmt: skip
DEFECT = re.compile(r"Traceback|defect|WORKER TIMEOUT")
TOLD = re.compile(r"shared store (lost|back)")


class Service(Standing):
    """One `fastprice serve` with a directory of its own; `leaving` is set when it is about to be stopped.

    `inside` is a command that starts it in other namespaces, `open_files` how many descriptors each process may have.
    """

    inside: Sequence[str] = ()
    open_files = OPEN_FILES

    def __init__(self, name: str, directory: Path, exchange: str, ledger: Ledger, **variables: str) -> None:
        super().__init__(name)
        self.port, self.directory, self.leaving = free_port(), directory / name, asyncio.Event()
        self.directory.mkdir()
        self._ledger = ledger
        self._environ = settings(self.port, exchange, self.directory, **SETTINGS | variables)
        self.port, self.host = int(self._environ["PORT"]), self._environ["HOST"]
        self._process: Process | None = None

    @property
    def process(self) -> Process:
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def workers(self) -> list[int]:
        return Watched(self.process.pid).pids()[1:]

    @property
    def _store(self) -> Path:
        return Path(self._environ["STORE_DIR"])

    @property
    def _is_barred(self) -> bool:
        """Whether a start is rightly refused because the store's path is not a directory."""
        return self._store.exists() and not self._store.is_dir()

    async def spawn(self) -> None:
        """Start without waiting; the output is appended to the service's log."""
        self.upset()
        self.forget()
        self.leaving.clear()
        if self._is_barred:
            self._store.unlink()
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self.inside, sys.executable, "-m", "fastprice.cli", "serve", env=environment(self._environ),
                cwd=self.directory, stdin=DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=partial(_limit_open_files, self.open_files),
            )  # fmt: skip

    async def start(self) -> None:
        """Start, and wait until the service answers."""
        await self.spawn()
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(OSError):
                await self.get("/health/liveness")
                return
            if self.process.returncode is not None and self._is_barred:
                await self.spawn()  # The directory was replaced during the start.
            await asyncio.sleep(0.05)
        self._ledger.find(self.name, "does not start", self.log()[-600:])

    async def stop(self, number: signal.Signals = signal.SIGTERM, most: float = GRACEFUL_TIMEOUT + 2) -> None:
        """Stop the service by a signal to its master, within `most` seconds on a machine that is not busy."""
        self.upset()
        self.leaving.set()
        began, workers = time.monotonic(), self.workers
        if self.process.returncode is not None:
            return  # That it did not start, or ended on its own, is a finding already.
        self.process.send_signal(number)
        try:
            async with asyncio.timeout(most + MARGIN_SECONDS):
                code = await self.process.wait()
                # After kill -9 of the master, workers notice on their own that it is gone.
                while any(_lives(pid) for pid in workers):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            self._ledger.find(self.name, f"does not leave after {number.name}", f"{workers}, {self.log()[-600:]}")
            await self.kill(*workers)
            return
        if (took := time.monotonic() - began) > most and not self._ledger.busy:
            self._ledger.find(self.name, f"slow to leave after {number.name}", f"{took:.1f} s, {self.log()[-600:]}")
        if code not in (0, -number):
            self._ledger.find(self.name, f"exit code {code} after {number.name}", self.log()[-600:])

    async def kill(self, *workers: int) -> None:
        if self._process is not None:
            for pid in (*workers, *Watched(self._process.pid).pids()):
                if pid != self._process.pid or self._process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            await self._process.wait()

    async def get(self, path: str) -> Answer:
        line = await Line.to(self.port, self.host)
        try:
            return (await line.ask(Ask(path)))[0]
        finally:
            line.close()

    def log(self) -> str:
        return (self.directory / "log").read_text(errors="replace")

    def examine_log(self, undisturbed: bool, expected: str = "") -> None:
        """Find defects; if only Redis had troubles, also check that its losses and returns are logged alternately.

        A log line that matches `expected`, or whose cause does, is no defect.
        """
        lines = self.log().splitlines()
        for number, line in enumerate(lines):
            if found := DEFECT.search(line):
                cause = next((later for later in lines[number + 1:] if not later.startswith(" ")), "")
                if expected and re.search(expected, f"{line}\n{cause}"):
                    continue
                self._ledger.find(self.name, f"{found[0]} in the log: {cause.partition(':')[0]}", f"{line}: {cause}")
        told = TOLD.findall("\n".join(lines))
        if undisturbed and told != ["lost", "back"] * (len(told) // 2):
            self._ledger.find(self.name, "losses and returns of Redis do not pair up", " ".join(told))


class RedisServer:
    """A redis-server on its own port, without persistence."""

    def __init__(self) -> None:
        self.port = free_port()
        self._client = Redis(port=self.port, socket_timeout=1, socket_connect_timeout=1)
        self._process: Process | None = None

    async def start(self) -> None:
        words = ("redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no")
        self._process = await asyncio.create_subprocess_exec(*words, stdout=DEVNULL, start_new_session=True)
        while await self.do("PING") is None:
            await asyncio.sleep(0.05)

    async def do(self, *words: Any) -> Any:
        """The result of a command, None if it fails."""
        try:
            return await asyncio.to_thread(self._client.execute_command, *words)
        except (RedisError, OSError):
            return None

    async def act(self, commands: str) -> None:
        """Run commands, send signals to the server, or start it; several are separated by semicolons."""
        for command in filter(None, commands.split("; ")):
            if command == "start":
                await self.start()
            elif command.startswith("SIG"):
                await self.send(signal.Signals[command])
            else:
                await self.do(*command.split())

    async def end(self) -> None:
        await self.send(signal.SIGKILL)

    async def send(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)
            if number == signal.SIGKILL:
                await self._process.wait()


class Group:
    """Services that share an exchange and, if there is a Redis, a store."""

    def __init__(self, name: str, directory: Path, seed: int, ledger: Ledger, redis: RedisServer | None = None) -> None:
        self.name, self.redis, self.ledger = name, redis, ledger
        self.exchange = NotingExchange(PAIRS, seed, MAX_STALE * 1000)
        self.oracle = Oracle(self.exchange, ledger)
        self.services: list[Service] = []
        self.undisturbed = False
        self._directory = directory

    async def start(self, services: int) -> None:
        if self.redis:
            await self.redis.start()
        await self.exchange.start()
        self.services = [self.service(f"{self.name}{number}") for number in range(services)]
        await asyncio.gather(*(service.start() for service in self.services))
        self.oracle.learn((await self.services[0].get("/openapi.json")).json)

    def service(self, name: str) -> Service:
        variables = {"REDIS_URL": f"redis://127.0.0.1:{self.redis.port}/0"} if self.redis else {}
        return Service(name, self._directory, self.exchange.url, self.ledger, **variables)

    async def close(self) -> None:
        """Kill whatever still runs; `Calm` is responsible for stopping it properly."""
        for service in self.services:
            await service.kill()
        if self.redis:
            await self.redis.end()
        await self.exchange.stop()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _limit_open_files(most: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
