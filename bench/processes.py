"""Processes under measurement: started on a core, accounted for from /proc with all their children, and ended by id."""

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, GENERATOR_CORE = CORES[0], CORES[-1]
PROC = Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
START_SECONDS, STOP_SECONDS = 20.0, 15.0
KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Cpu:
    """Processor time in seconds."""

    user: float
    system: float

    @property
    def total(self) -> float:
        return self.user + self.system

    def __sub__(self, before: "Cpu") -> "Cpu":
        return Cpu(self.user - before.user, self.system - before.system)


class Watched:
    """Any running process, with everything that it started."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def pids(self) -> list[int]:
        """The process and its living descendants, parents first."""
        found = [self.pid]
        for pid in found:
            for children in PROC.glob(f"{pid}/task/*/children"):
                with contextlib.suppress(OSError):
                    found += map(int, children.read_text().split())
        return found

    def cpu(self) -> Cpu:
        """The CPU time of all of them since their start, including their children that have ended."""
        user = system = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
                user += int(fields[11]) + int(fields[13])
                system += int(fields[12]) + int(fields[14])
        return Cpu(user / TICKS_PER_SECOND, system / TICKS_PER_SECOND)

    def precise_cpu(self) -> float:
        """Seconds that their living threads have run, from the scheduler; `cpu` counts in hundredths of a second."""
        nanoseconds = 0
        for pid in self.pids():
            for each in PROC.glob(f"{pid}/task/*/schedstat"):
                with contextlib.suppress(OSError):
                    nanoseconds += int(each.read_text().split()[0])
        return nanoseconds / 1e9

    def memory_mb(self, kind: str = "Pss") -> float:
        """Resident memory; shared pages are split between their processes (Pss), or counted in each (Rss)."""
        kilobytes = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
                kilobytes += sum(int(line.split()[1]) for line in lines if line.startswith(f"{kind}:"))
        return kilobytes / 1024

    def open_files(self) -> int:
        """File descriptors of all of them together."""
        return sum(len(list((PROC / str(pid) / "fd").iterdir())) for pid in self.pids())


class Running(Watched):
    """A process that we have started."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        super().__init__(process.pid)
        self.process = process

    def stop(self) -> None:
        """Stop it as its operator would; what has not ended after that is killed, one id at a time."""
        pids = self.pids()
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in pids[1:]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def running(words: list[str], core: int | None, directory: Path, **variables: str) -> Iterator[Running]:
    """Start a server in a directory, with its output in a file there; stop it at the end."""
    log = directory / "log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            words if core is None else pinned(core, words), env=environment(variables), cwd=directory,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )
    server = Running(process)
    try:
        yield server
    finally:
        server.stop()


def pinned(core: int, words: list[str]) -> list[str]:
    return ["taskset", "-c", str(core), *words]


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """A bare environment, so that no setting of the caller changes what is measured."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[1])} | dict(variables)


def compiled(source: Path, directory: Path) -> str:
    """Compile a C program of one file into a directory; returns its path."""
    program = str(directory / source.stem)
    subprocess.run(["cc", "-O2", "-o", program, str(source)], check=True)
    return program


def free_port() -> int:
    """A free port below those of outgoing connections, so that no such connection can take it meanwhile."""
    while True:
        port = random.randrange(12_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def answer_of(url: str, server: Running, directory: Path) -> tuple[dict[str, str], bytes]:
    """Headers and body of the first 200 from a server that is just starting; RuntimeError if none comes."""
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5) as response:
                return dict(response.headers.items()), response.read()
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    log = (directory / "log").read_text(errors="replace")
    raise RuntimeError(f"{server.process.args!r} did not answer at {url}:\n{log[-2000:]}")


def stop_on_signal() -> None:
    """Make sure that started processes are stopped when this program gets a signal to end."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


def missing(*programs: str) -> list[str]:
    """The programs that this machine does not have."""
    return [program for program in programs if shutil.which(program) is None]
