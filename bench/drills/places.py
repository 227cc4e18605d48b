"""The machine itself: clocks that jump, full disks and memory, few descriptors, a name server that does not answer."""

import asyncio
import contextlib
import os
import resource
import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from bench.chaos.wire import PRICES, Ask
from bench.drills.drill import STALE_MS, Allowed, Drill, Notes
from bench.drills.scene import Scene, scene
from bench.drills.site import WallClock
from bench.drills.stopped import STUCK_SECONDS
from tests.nginx import Names

LOAD = "24 clients and 6 subscribers; 2 workers"
HOUR = 3600.0
FULL_SECONDS = 6.0
# Enough for the embedded store, its write-ahead log and what the workers share, and little more.
DISK, SHM = "size=2m", "size=8m,nr_inodes=300"
FEW_FILES, CROWD = 256, 600
# How much more memory than it has now a worker may allocate.
LITTLE_BYTES = 2 << 20
NAME_SERVER, NAME = "127.83.0.53", "exchange.test"
AS_ROOT = "this needs root, for namespaces of its own"


class QuietNames(Names):
    """A name server that can be switched to not answering."""

    is_silent = False

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self.is_silent:
            super().datagram_received(data, addr)


async def clock(seconds: float, notes: Notes, size: float) -> None:
    """The wall clock of all processes is set, and set back: held prices stay, and new prices are accepted."""
    directory = Path(tempfile.mkdtemp(prefix="fastprice-drill-"))
    wall = WallClock(directory)
    with wall.here():
        async with scene(notes, 2, code=[wall.code], directory=directory) as stage:
            workers = [service.workers for service in stage.services]
            for step in (seconds, -seconds):
                await asyncio.sleep(2)
                wall.step(step)
                stage.judge.stepped()
                await asyncio.sleep(6 * size)
                await stage.recovered()
                # A worker whose heartbeat used the wall clock would send none until that clock has caught up.
                await asyncio.sleep(STUCK_SECONDS if step < 0 and size >= 1 else 0)
            notes.expect([service.workers for service in stage.services] == workers, "workers were replaced")


async def forward(notes: Notes, size: float) -> None:
    await clock(HOUR, notes, size)


async def backward(notes: Notes, size: float) -> None:
    await clock(-HOUR, notes, size)


async def full_disk(notes: Notes, size: float) -> None:
    """Fill the disk of the embedded store."""
    directory = Path(tempfile.mkdtemp(prefix="fastprice-drill-"))
    (place := directory / "disk").mkdir()
    async with _in_a_place(notes, place, DISK, directory, {"STORE_DIR": str(place)}) as (stage, seen):
        await _filled(stage, seen, size)


async def full_shm(notes: Notes, size: float) -> None:
    """Fill the shared memory: it holds the store, the metrics and the workers' heartbeats."""
    directory = Path(tempfile.mkdtemp(prefix="fastprice-drill-"))
    async with _in_a_place(notes, Path("/dev/shm"), SHM, directory, {"STORE_DIR": ""}) as (stage, seen):
        await _filled(stage, seen, size)
        metrics = await stage.service.get("/metrics")
        notes.expect(metrics.status == 200, f"metrics {metrics.status}")


@contextlib.asynccontextmanager
async def _in_a_place(
    notes: Notes, place: Path, options: str, directory: Path, environ: dict[str, str]
) -> AsyncIterator[tuple[Scene, Path]]:
    """A service with a small file system mounted at `place`, and the path at which we see it."""
    if os.geteuid():
        raise RuntimeError(AS_ROOT)
    inside = ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} tmpfs {place} && exec "$@"', "sh")
    async with scene(notes, inside=inside, directory=directory, environ=environ) as stage:
        yield stage, Path(f"/proc/{stage.service.process.pid}/root{place}")


async def _filled(stage: Scene, place: Path, size: float) -> None:
    workers = stage.service.workers
    (filling := place / "fill").mkdir()
    with contextlib.suppress(OSError), (filling / "large").open("wb", buffering=0) as large:
        while large.write(bytes(4096)):
            pass
    with contextlib.suppress(OSError):
        for number in range(1000):
            (filling / str(number)).touch()
    await asyncio.sleep(FULL_SECONDS * size)
    stage.notes.expect(stage.service.workers == workers, "workers have ended in a full place")
    shutil.rmtree(filling)
    await stage.recovered()


async def few_files(notes: Notes, size: float) -> None:
    """Many more connections than descriptors, which send nothing, or send one request and stay."""
    async with scene(notes, files=FEW_FILES) as stage:
        for _ in range(max(1, round(3 * size))):
            lines = []
            for number in range(CROWD):
                with contextlib.suppress(OSError):
                    lines.append(await stage.line())
                    if number % 2:
                        lines[-1].writer.write(Ask(f"{PRICES}/eth-usdt").data)
            await asyncio.sleep(2)
            for line in lines:
                line.close()
        await stage.recovered()


async def little_memory(notes: Notes, size: float) -> None:
    """Workers get hardly more memory than they have, while exchanges send bombs and clients many requests at once."""
    async with scene(notes, expected="MemoryError|can't start new thread") as stage:
        workers = stage.service.workers
        for pid in workers:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + LITTLE_BYTES
            resource.prlimit(pid, resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))
        for fault in ("huge", "bomb", "deep", ""):
            for name in ("binance", "okx") if fault else ():
                stage.exchange.set_fault(name, fault)
            line = await stage.line()
            line.writer.write(Ask(PRICES).data * 2000)
            await asyncio.sleep(2 * size)
            line.close()
            stage.exchange.clear_fault()
        for pid in stage.service.workers:
            resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        notes.expect(stage.service.workers == workers, "workers have ended for want of memory")
        await stage.recovered()


async def silent_names(notes: Notes, size: float) -> None:
    """The name of the first source can no longer be resolved; a resolver waits in a thread for seconds."""
    if os.geteuid():
        raise RuntimeError(AS_ROOT)
    directory = Path(tempfile.mkdtemp(prefix="fastprice-drill-"))
    (names_at := directory / "resolv.conf").write_text(f"nameserver {NAME_SERVER}\noptions timeout:5 attempts:2\n")
    loop = asyncio.get_running_loop()
    transport, names = await loop.create_datagram_endpoint(QuietNames, (NAME_SERVER, 53))
    names.addresses.append("127.0.0.1")
    inside = ("unshare", "-m", "sh", "-c", f'mount --bind {names_at} /etc/resolv.conf && exec "$@"', "sh")
    try:
        async with scene(notes, inside=inside, directory=directory, named=NAME) as stage:
            before = stage.exchange.calls["binance"]
            notes.expect(before > 0, "the source is not asked by its name")
            names.is_silent = True
            await asyncio.sleep(14 * size)
            names.is_silent = False
            await stage.recovered()
    finally:
        transport.close()


DRILLS = (
    Drill("clock-forward", "a step of the wall clock expires no price early, and ends no worker", LOAD,
          "the clock of all processes set an hour forward, and back again", forward, Allowed(),
          "test_processes.py", (20,)),
    Drill("clock-back", "a step back keeps no price for longer", LOAD, "an hour back, and forward again", backward,
          Allowed(), "test_processes.py", (20,)),
    Drill("disk-full", "a full disk costs no price", LOAD, "the file system of the embedded store is full", full_disk,
          Allowed(), "test_shared_places.py"),
    Drill("shm-full", "full shared memory costs metrics, but no worker", LOAD,
          "no block and no inode is left in /dev/shm", full_shm, Allowed(), "test_shared_places.py", (24,)),
    Drill("few-files", "requests are served when there are more connections than descriptors",
          f"{LOAD}; {CROWD} connections more", f"{FEW_FILES} descriptors for each process", few_files,
          Allowed(share=1e-3), "test_acceptor.py"),
    Drill("little-memory", "a worker that gets no more memory continues with what it has",
          f"{LOAD}; 2,000 requests in one write", "workers may grow by 2 MB; exchanges send megabytes", little_memory,
          Allowed(oldest_ms=STALE_MS), "test_exchange_source.py"),
    Drill("dns-silent", "a silent name server costs no price", LOAD,
          "the name of the first source is not resolved for 14 s", silent_names, Allowed(), "test_exchange_source.py"),
)  # fmt: skip
