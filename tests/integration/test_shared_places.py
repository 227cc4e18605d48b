"""Directories that several services share, and that other programs fill, empty or remove."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from fastprice.infrastructure.prometheus.directory import hold, metrics_directory
from fastprice.market import Market, source_urls
from tests.conftest import free_port
from tests.service import PATIENCE, Answer, running

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.anyio

REFRESHES = "fastprice_refreshes_total"


def refreshes(answer: Answer) -> float:
    lines = [line for line in answer.body.decode().splitlines() if line.startswith(REFRESHES)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def counted(more_than: float) -> Callable[[Answer], bool]:
    return lambda answer: answer.status == 200 and refreshes(answer) > more_than


@pytest.fixture
def namespaces() -> None:
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("namespaces need root and util-linux")


def with_shm(options: str) -> tuple[str, ...]:
    """A command that starts a program with a /dev/shm of its own."""
    return ("unshare", "-m", "sh", "-c", f'mount -t tmpfs -o {options} tmpfs /dev/shm && exec "$@"', "sh")


# One directory for each service


def test_each_service_has_a_directory_and_removes_it(tmp_path: Path) -> None:
    with metrics_directory(tmp_path) as one, metrics_directory(tmp_path) as other:
        assert one.is_dir() and other.is_dir() and one != other
    assert not list(tmp_path.iterdir())


def test_a_directory_is_left_alone_while_any_process_of_its_service_uses_it(tmp_path: Path) -> None:
    with metrics_directory(tmp_path) as directory:
        worker = hold(directory)
    directory.mkdir()  # As a killed master leaves it.
    os.close(worker)
    worker = hold(directory)
    with metrics_directory(tmp_path):
        assert directory.is_dir()
    os.close(worker)
    with metrics_directory(tmp_path):
        assert not directory.exists()


def test_a_directory_that_another_service_removes_at_the_same_moment_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, taken = os.mkdir, list[Path]()

    def removed_meanwhile(path: Path, mode: int = 0o777) -> None:
        try:
            make(path, mode)
        except FileExistsError:  # Ours is seen, and gone before it is looked at again.
            if not taken:
                shutil.rmtree(path)
            taken.append(Path(path))
            raise

    monkeypatch.setattr(os, "mkdir", removed_meanwhile)
    with metrics_directory(tmp_path) as directory:
        assert directory.is_dir() and len(taken) == 2 and directory == taken[1] != taken[0]


def test_what_only_looks_like_a_directory_of_metrics_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / f"fastprice-metrics-u{os.getuid()}-link").symlink_to(tmp_path / "precious")
    (tmp_path / f"fastprice-metrics-u{os.getuid()}-file").touch()
    with metrics_directory(tmp_path):
        assert (tmp_path / "precious").is_dir()


async def test_the_directory_of_a_killed_service_is_removed_by_the_next_one(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        workers, left_over = await service.until_workers(2), service.metrics_directory()
        for pid in (service.process.pid, *workers):
            os.kill(pid, signal.SIGKILL)
        await service.process.wait()
    assert left_over.is_dir()
    async with running(market, tmp_path):
        assert not left_over.exists()


@contextlib.asynccontextmanager
async def in_a_container(market: Market, directory: Path) -> AsyncIterator[None]:
    """A service with its own pid namespace, as in a container that shares /dev/shm with the host."""
    settings = {"HOST": "127.0.0.1", "PORT": str(free_port()), "WORKERS": "2", "STORE_DIR": str(directory / "other")}
    process = await asyncio.create_subprocess_exec(
        "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-m", "fastprice.cli", "serve",
        env=os.environ | source_urls(market.url) | settings, stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            while b"serving" not in (line := await process.stderr.readline()):
                assert line, "it never served"
        yield
    finally:
        process.kill()
        await process.communicate()


async def test_services_that_share_memory_but_no_pids_keep_their_metrics(
    market: Market, tmp_path: Path, namespaces: None
) -> None:
    async with running(market, tmp_path) as service, in_a_container(market, tmp_path):
        before = refreshes(await service.get("/metrics"))
        await service.until_answer(counted(before), "/metrics")
    async with in_a_container(market, tmp_path), running(market, tmp_path), running(market, tmp_path) as service:
        await service.until_answer(counted(0), "/metrics")


# A directory that is removed or damaged


async def test_metrics_come_back_by_themselves_when_their_directory_was_removed(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        before = refreshes(await service.until_answer(counted(2), "/metrics"))
        workers, directory = await service.until_workers(2), service.metrics_directory()
        shutil.rmtree(directory)
        assert {answer.status for answer in await service.from_many_workers(path="/metrics")} == {200}
        await service.until_answer(counted(before), "/metrics")
        with metrics_directory(directory.parent):
            assert directory.is_dir(), "it is known to be used again"
        assert service.workers() == workers


def replace_by_a_directory(file: Path) -> None:
    file.unlink()
    file.mkdir()


SPOIL: dict[str, Callable[[Path], None]] = {
    "cut to nothing": lambda file: os.truncate(file, 0),
    "cut in the middle": lambda file: os.truncate(file, 100),
    "removed": Path.unlink,
    "replaced by a directory": replace_by_a_directory,
}


@pytest.mark.parametrize("spoil", SPOIL.values(), ids=SPOIL)
async def test_no_worker_dies_of_what_happens_to_the_files_of_metrics(
    market: Market, tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    async with running(market, tmp_path) as service:
        before = refreshes(await service.until_answer(counted(2), "/metrics"))
        workers = await service.until_workers(2)
        for file in (files := sorted(service.metrics_directory().glob("*.db"))):
            spoil(file)
        for path in "/metrics", "/api/v1/prices/eth-usdt":
            assert {answer.status for answer in await service.from_many_workers(path=path)} == {200}
        for file in files:
            with contextlib.suppress(OSError):
                file.rmdir()
        await service.until_answer(counted(before), "/metrics")
        assert service.workers() == workers


# A full directory


async def test_a_full_memory_directory_at_the_start_is_told_in_one_line_and_replaced(
    market: Market, tmp_path: Path, namespaces: None
) -> None:
    (temporary := tmp_path / "tmp").mkdir()
    async with running(market, tmp_path, inside=with_shm("size=16k"), TMPDIR=temporary, STORE_DIR="") as service:
        await service.until(200)
        await service.until_answer(counted(0), "/metrics")
        assert service.metrics_directory().parent == temporary
        told = [line for line in service.log if " WARNING " in line or " ERROR " in line]
        told = [line for line in told if "SIMULATED" not in line]
        assert len(told) == 1 and "/dev/shm cannot be used" in told[0] and str(temporary) in told[0]


async def test_a_memory_directory_that_fills_up_costs_metrics_and_no_worker(
    market: Market, tmp_path: Path, namespaces: None
) -> None:
    async with running(market, tmp_path, inside=with_shm("size=8m,nr_inodes=200"), STORE_DIR="") as service:
        before = refreshes(await service.until_answer(counted(2), "/metrics"))
        workers = await service.until_workers(2)
        shm = Path(f"/proc/{service.process.pid}/root/dev/shm")
        fill(shm)
        for _ in range(3):
            for path in "/metrics", "/api/v1/prices/eth-usdt", "/api/v1/prices/eth-usdt/sources", "/nothing":
                await service.from_many_workers(path=path)
        assert (await service.get("/metrics")).status == (await service.get()).status == 200
        assert service.workers() == workers
        await service.until_logged("metrics cannot be saved")
        shutil.rmtree(shm / "fill")
        await service.until_logged("metrics are saved again")
        # A successor also starts in a full directory.
        fill(shm)
        os.kill(workers[0], signal.SIGKILL)
        await service.until_workers(2, without=frozenset(workers[:1]))
        assert (await service.get("/metrics")).status == (await service.get()).status == 200
        shutil.rmtree(shm / "fill")
        await service.until_answer(counted(before), "/metrics")
        assert not [line for line in service.log if "Traceback" in line]


def fill(shm: Path) -> None:
    """Leave neither a block nor an inode."""
    (filling := shm / "fill").mkdir()
    with contextlib.suppress(OSError), open(filling / "large", "wb", buffering=0) as large:
        while large.write(bytes(4096)):
            pass
    with contextlib.suppress(OSError):
        for number in range(1_000):
            (filling / str(number)).touch()


async def test_nothing_to_write_to_is_one_line(tmp_path: Path, namespaces: None) -> None:
    places = " ".join(dict.fromkeys(("/dev/shm", "/tmp", "/var/tmp", "/usr/tmp", "/mnt")))
    # The repository itself may be in one of them: it is mounted again on top of what hides it.
    script = f"""
    exec 3<"$0"
    for place in {places}; do
      [ -d $place ] || continue
      mount -t tmpfs tmpfs $place
      case $0 in $place/*) mkdir -p "$0"; mount --no-canonicalize --bind /proc/self/fd/3 "$0" ;; esac
      mount -o remount,ro $place
    done
    cd /mnt
    exec "$@" 3<&-
    """
    done = await asyncio.create_subprocess_exec(
        "unshare", "-m", "sh", "-c", script, str(ROOT), sys.executable, "-m", "fastprice.cli", "serve",
        env={**os.environ, "TMPDIR": "/mnt", "PORT": str(free_port())}, stderr=asyncio.subprocess.PIPE,
    )
    _, error = await asyncio.wait_for(done.communicate(), PATIENCE)
    assert done.returncode == 1 and error.decode().count("\n") == 1, error.decode()
    assert error.startswith(b"fastprice: no directory can be written to: ")
