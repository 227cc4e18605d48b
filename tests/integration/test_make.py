"""Every target of the Makefile is really run, with small numbers: otherwise a broken target would go unnoticed."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fastprice.market import Market
from tests.browser import MISSING, PROGRAM
from tests.conftest import free_port
from tests.service import PATIENCE, polling

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
# Targets that are done already, and those that would only install programs to measure against.
READY = [word for name in (".venv/run.done", ".venv/dev.done", ".venv/bench.done", "bench-tools", "cc") for word in ("-o", name)]
MEASUREMENTS = {
    "load": ("REQUESTS=200 CLIENTS=10", "answers 200 | 200"),
    "soak": ("DURATION=1s CLIENTS=5 PAIRS='BTC-USDT, eth-usdt'", "errors | 0"),
    "bench-peers": ("ROUNDS=1 SECONDS=1 ONLY='lane uvicorn'", "smoke test"),
    "bench-connections": ("ROUNDS=1 SECONDS=1 ONLY='close ten lane'", "smoke test"),
    "bench-acceptor": ("ROUNDS=1 SECONDS=1 ONLY='signals reload'", "smoke test"),
    "bench-push": ("ROUNDS=1 SECONDS=1 ONLY='thousand floor fastprice'", "smoke test"),
    "bench-streams": ("ROUNDS=1 STEPS=5 STREAM_SECONDS=1 ONLY='embedded burst okx'", "smoke test"),
    "bench-growth": ("ROUNDS=1 SECONDS=1 ONLY=workers POINTS=1", "smoke test"),
    "bench-failures": ("FAILURES='--only takeover --kills 1'", "smoke test"),
    "bench-fleet": ("QUICK=1", "smoke test"),
    "drills": ("ONLY=redis-emptied SIZE=0.1", "smoke test"),
    "drills-soak": ("SIZE=0.002", "smoke test"),
    "drills-protections": ("ONLY=etag", "smoke test"),
    "soak-push": ("MINUTES=0.05", "smoke test"),
    "bench-agreement": ("QUICK=1", "smoke test"),
}
SERVERS = ("run", "demo")
CONTAINERS = ("up", "dev", "scale", "monitoring", "roll", "reload", "down", "logs")
OTHERS = ("help", "quote", "audit", "rules", "clean", "screenshots")
# Targets that are not run here, each with its reason.
NOT_RUN = {
    "test": "it is what runs this",
    "lint": "`make test` runs it first",
    "types": "`make test` runs it first",
    "test-pythons": "CI runs it after this",
    "bench": "its tests are among those that `make test` runs",
    "lock": "it needs a package index, and would change the locks",
    "docker": "every target of the containers runs it",
    "bench-tools": "it installs programs",
    "cc": "it installs a program",
    "chaos": "tests/integration/test_chaos.py runs a few seconds of it",
    "chaos-streams": "tests/integration/test_stream_faults.py plays each of its faults",
    **dict.fromkeys(("redis-server", "iproute2", "prometheus", "nginx", "chromium", "hey", "wrk"), "`make test` runs it first"),
}


@dataclass
class Done:
    code: int
    said: str


@contextlib.asynccontextmanager
async def making(line: str, directory: Path = ROOT, **environ: object) -> AsyncIterator[asyncio.subprocess.Process]:
    """`line` as a user types it in bash, in a session of its own; at the end the whole session is interrupted."""
    # `make test` passes its level and variables on to a make inside of it; a user's shell has neither.
    shell = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", line, cwd=directory, start_new_session=True,
        env={**shell, **{name: str(value) for name, value in environ.items()}},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGINT)
        await asyncio.wait_for(process.communicate(), PATIENCE)


async def made(line: str, directory: Path = ROOT, **environ: object) -> Done:
    async with making(line, directory, **environ) as process:
        said, _ = await asyncio.wait_for(process.communicate(), 3 * PATIENCE)
        return Done(process.returncode or 0, said.decode())


def make(target: str, *options: str) -> str:
    return " ".join(["make", *READY, *options, target])


def ports() -> dict[str, Any]:
    return {"PORT": free_port(), "MARKET_PORT": free_port()}


def test_every_target_is_run_here_or_has_a_reason_not_to_be() -> None:
    targets = set(re.findall(r"^\.PHONY: (\S+)$", MAKEFILE, re.M))
    assert targets == set(re.findall(r"^([a-z][\w-]*):", MAKEFILE, re.M))
    assert targets == {*MEASUREMENTS, *SERVERS, *CONTAINERS, *OTHERS, *NOT_RUN}


# Packages that are installed only for tests and benchmarks cannot be imported.
WITHOUT = """
import importlib, sys
from importlib.machinery import PathFinder
class Lean(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in {hidden!r} else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Lean
importlib.import_module({module!r})
"""


def lean() -> list[str]:
    """The modules run by targets that install only what the service needs."""
    recipes = re.findall(r"^[a-z-]+: (.*)\n((?:\t.*\n)+)", MAKEFILE, re.M)
    programs = (re.findall(r"python -m (bench[.\w]*)", lines) for needs, lines in recipes if "/run.done" in needs)
    packages = {module for modules in programs for module in modules}
    return sorted(f"{name}.__main__" if (ROOT / name.replace(".", "/")).is_dir() else name for name in packages)


@pytest.mark.parametrize("module", lean())
def test_what_a_target_runs_imports_nothing_that_it_does_not_set_up(module: str) -> None:
    locked = set(re.findall(r"^([\w-]+)==", (ROOT / "requirements/run.lock").read_text(), re.M))
    usual = {re.sub(r"[-_.]+", "-", name).lower() for name in locked} | {"fastprice"}
    hidden = {
        top
        for top, names in packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", name).lower() for name in names} & usual
    }
    assert "pytest" in hidden
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(hidden=hidden, module=module)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


async def test_measurements_run_and_keep_figures_that_are_not_to_be_quoted_apart() -> None:
    kept = {file: file.read_bytes() for file in (ROOT / "bench/results").iterdir()}
    # A few run at the same time, because they mostly wait; so their figures are worthless, and a target may be missed.
    # All at once would starve the clients that open connections at a steady rate.
    room = asyncio.Semaphore(3)

    async def run(target: str, numbers: str) -> Done:
        async with room:
            return await made(f"{numbers} {make(target)}", WORKERS=1, **ports())

    everything = await asyncio.gather(*(run(target, numbers) for target, (numbers, _) in MEASUREMENTS.items()))
    for (target, (_, wanted)), done in zip(MEASUREMENTS.items(), everything, strict=True):
        assert wanted in re.sub(" +", " ", done.said), (target, done.said)
        assert "Traceback" not in done.said, done.said
        # If a drill's promise is not kept even with all protections, it cannot show what happens without one.
        is_unsound = target == "drills-protections" and "NOT KEPT" in done.said.partition("without ")[0]
        assert done.code == 0 or is_unsound or target in ("bench-failures", "drills", "drills-soak"), (target, done.said)
    assert {file: file.read_bytes() for file in (ROOT / "bench/results").iterdir()} == kept


async def statuses(process: asyncio.subprocess.Process, port: int, pairs: tuple[str, ...]) -> list[int]:
    """The statuses of these pairs once each has a price, or those of the last attempt."""
    seen: list[int] = []
    async with aiohttp.ClientSession() as session:
        for _ in polling():
            with contextlib.suppress(aiohttp.ClientError):
                seen = []
                for pair in pairs:
                    async with session.get(f"http://127.0.0.1:{port}/api/v1/prices/{pair}") as response:
                        seen.append(response.status)
                if set(seen) == {200}:
                    break
            if process.returncode is not None:
                break
            await asyncio.sleep(0.05)
    return seen


@pytest.mark.parametrize("pairs", ["eth-usdt,btc-usdt", "BTC-USDT , eth-usdt", ""], ids=repr)
async def test_the_market_of_the_demo_has_every_pair_that_is_served(tmp_path: Path, pairs: str) -> None:
    places = ports()
    async with making(make("demo"), PAIRS=pairs, WORKERS=1, STORE_DIR=tmp_path, **places) as process:
        served = ("eth-usdt", "btc-usdt") if pairs else ("eth-usdt",)
        assert set(await statuses(process, places["PORT"], served)) == {200}
    for port in places.values():
        with pytest.raises(OSError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_a_pair_that_is_none_ends_the_demo_with_a_line_that_says_so() -> None:
    done = await made(make("demo"), PAIRS="eth_usdt", **ports())
    assert done.code and "'eth_usdt' is not a pair like eth-usdt" in done.said and "PAIRS" in done.said


async def test_run_serves_and_quote_asks(market: Market, tmp_path: Path) -> None:
    port = free_port()
    async with making(make("run"), MARKET_URL=market.url, PORT=port, WORKERS=1, STORE_DIR=tmp_path) as process:
        assert await statuses(process, port, ("eth-usdt",)) == [200]
    quoted = await made(make("quote"), MARKET_URL=market.url)
    assert quoted.code == 0 and "binance" in quoted.said


@pytest.mark.parametrize(
    ("code", "output", "fails", "tells"),
    [
        (0, "No known vulnerabilities found", False, ""),
        (1, "Found 2 known vulnerabilities in 1 package\nName Version ID\norjson 3.9.0 CVE-1", True, "orjson 3.9.0 CVE-1"),
        (1, "Traceback\nConnectionError: no route", False, "PyPI cannot be reached: ConnectionError: no route"),
        (1, "ERROR: orjson: Dependency not found on PyPI", False, "PyPI cannot be reached: ERROR: orjson: Dependency"),
        (1, "Traceback\nValueError: no such line", True, "the lock cannot be audited:\nTraceback\nValueError"),
    ],
)  # fmt: skip
async def test_audit_fails_at_a_known_hole_and_only_says_so_where_none_can_be_known(
    tmp_path: Path, code: int, output: str, fails: bool, tells: str
) -> None:
    (tmp_path / "output").write_text(output)
    (tmp_path / "pip-audit").write_text(f"#!/bin/sh\ncat {tmp_path}/output >&2\nexit {code}\n")
    (tmp_path / "pip-audit").chmod(0o755)
    done = await made(make("audit", f"BIN={tmp_path}"))
    assert (done.code != 0, tells in done.said) == (fails, True) and bool(done.said) == bool(tells), done.said


@pytest.mark.skipif(not PROGRAM, reason=MISSING)
async def test_screenshots_takes_a_picture_of_each_state_of_the_page(tmp_path: Path) -> None:
    done = await made(f"WAIT=1 DIRECTORY={tmp_path} {make('screenshots')}", WORKERS=1, STORE_DIR=tmp_path / "store", **ports())
    assert done.code == 0, done.said
    pictures = {path.name for path in tmp_path.glob("*.png")}
    assert pictures == {path.name for path in (ROOT / "docs").glob("*.png")} and len(pictures) == 4


async def test_help_names_every_target_that_has_a_text() -> None:
    told = (await made("make")).said
    assert re.findall(r"^  make (\S+)", told, re.M) == re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M)


async def test_clean_removes_what_was_made_and_nothing_else(tmp_path: Path) -> None:
    for name in ".venv", "build", ".mypy_cache", "fastprice":
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "Makefile", tmp_path)
    assert (await made("make clean", tmp_path)).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["Makefile", "fastprice"]


@pytest.mark.parametrize("target", CONTAINERS)
async def test_without_docker_each_target_of_the_containers_says_what_to_do(tmp_path: Path, target: str) -> None:
    done = await made(make(target), PATH=docker(tmp_path, "exit 127"))
    assert done.code and done.said.splitlines()[0].startswith("this needs Docker with compose (https://docs.docker.com")


@pytest.mark.parametrize("target", [target for target in CONTAINERS if target != "logs"])
async def test_with_docker_each_of_them_hands_compose_the_market_and_the_pairs(tmp_path: Path, target: str) -> None:
    path = docker(tmp_path, f'echo "$* | ${{MARKET_URL-}} | ${{PAIRS-}}" >>{tmp_path}/told; echo replica')
    done = await made(f"MARKET=1 PAIRS='ETH-USDT, btc-usdt' {make(target)}", PATH=path)
    told = [line for line in (tmp_path / "told").read_text().splitlines() if line.startswith("compose") and "version" not in line]
    assert done.code == 0 and told, done.said
    assert all(line.endswith("| ETH-USDT, btc-usdt") for line in told)
    if target in ("up", "scale", "monitoring"):
        assert all("--profile market" in line and "| http://market:9000 |" in line for line in told)


def docker(directory: Path, script: str) -> str:
    """A PATH in which docker is this script."""
    program = directory / "docker"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return f"{directory}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize("line", ["SECONDS=1 {}", "export SECONDS=1; {}", "{} SECONDS=1"])
async def test_seconds_may_be_given_though_bash_counts_in_a_variable_of_that_name(line: str) -> None:
    done = await made(line.format(make("bench-peers", "--dry-run")))
    assert done.said.rstrip().endswith("--rounds 5 --seconds 1"), done.said
