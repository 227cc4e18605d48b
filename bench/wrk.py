"""The load generator: wrk on a core of its own, and what it measured."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.processes import GENERATOR_CORE, environment, pinned

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 300
# wrk calls slower answers timeouts; the default of 2 s is short for 10,000 connections on one core.
TIMEOUT_SECONDS = 10
# After the end wrk may still wait for its connections.
PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of wrk saw; `failed` are socket errors and timeouts, `not_2xx` answers of another status."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    failed: int
    not_2xx: int

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def command(url: str, seconds: int, connections: int = CONNECTIONS) -> list[str]:
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s", "--latency"]
    return pinned(GENERATOR_CORE, [*words, "-s", str(SCRIPT), url])


def run(url: str, seconds: int, connections: int = CONNECTIONS, script: Mapping[str, str] | None = None) -> Load:
    """Load `url` for `seconds`; `script` holds the variables of wrk.lua."""
    with start(url, seconds, connections, script) as wrk:
        return read(wrk, seconds)


def start(
    url: str, seconds: int, connections: int = CONNECTIONS, script: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    words = command(url, seconds, connections)
    return subprocess.Popen(words, env=environment(script or {}), stdout=subprocess.PIPE, text=True)


def read(wrk: "subprocess.Popen[str]", seconds: int) -> Load:
    """Wait for wrk's end and take its measure; RuntimeError where it has none."""
    try:
        said, _ = wrk.communicate(timeout=seconds + PATIENCE_SECONDS)
    finally:
        wrk.kill()
    for line in said.splitlines():
        if line.startswith("measured "):
            return Load(**json.loads(line.removeprefix("measured ")))
    raise RuntimeError(f"wrk measured nothing:\n{said}")
