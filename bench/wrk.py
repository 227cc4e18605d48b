"""The load generator: wrk on a core of its own, and what it measured."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.processes import GENERATOR_CORE, environment, pinned

SCRIPT = Path(__file__).with_name("wrk.lua")
CONNECTIONS = 300
# wrk counts slower answers as timeouts; its default of 2 s is short for 10,000 connections on one core.
TIMEOUT_SECONDS = 10
# How long wrk may still wait for its connections after the end.
PATIENCE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Load:
    """The result of one run; `failed` are socket errors and timeouts, `not_2xx` answers of another status.

    `opened` is how many connections were opened, where the generator counts them.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    failed: int
    not_2xx: int
    opened: int = 0

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds


def command(url: str, seconds: int, connections: int = CONNECTIONS, headers: Sequence[str] = ()) -> list[str]:
    words = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={TIMEOUT_SECONDS}s", "--latency"]
    words += [word for header in headers for word in ("-H", header)]
    return pinned(GENERATOR_CORE, [*words, "-s", str(SCRIPT), url])


def run(
    url: str, seconds: int, connections: int = CONNECTIONS, script: Mapping[str, str] | None = None,
    headers: Sequence[str] = (),
) -> Load:
    """Load `url` for `seconds`; `script` holds the variables of wrk.lua."""
    with start(url, seconds, connections, script, headers) as wrk:
        return read(wrk, seconds)


def start(
    url: str, seconds: int, connections: int = CONNECTIONS, script: Mapping[str, str] | None = None,
    headers: Sequence[str] = (),
) -> "subprocess.Popen[str]":
    words = command(url, seconds, connections, headers)
    return subprocess.Popen(words, env=environment(script or {}), stdout=subprocess.PIPE, text=True)


def read(generator: "subprocess.Popen[str]", seconds: int) -> Load:
    """Wait for the end of wrk, or of another generator with the same output, and read its result."""
    try:
        said, _ = generator.communicate(timeout=seconds + PATIENCE_SECONDS)
    finally:
        generator.kill()
    return understood(said)


def understood(said: str) -> Load:
    """Read the result from a generator's output; RuntimeError if there is none."""
    for line in said.splitlines():
        if line.startswith("measured "):
            return Load(**json.loads(line.removeprefix("measured ")))
    raise RuntimeError(f"the load generator measured nothing:\n{said}")
