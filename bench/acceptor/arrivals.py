"""New connections at a steady rate, regardless of what happens to them."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.connections import client
from bench.peers.answer import PATH
from bench.peers.rounds import Measure, Subject
from bench.processes import GENERATOR_CORE, compiled, pinned

SOURCE = Path(__file__).with_name("comer.c")
PATIENCE_SECONDS = 30


class Arrivals:
    """A running stream of new connections."""

    def __init__(self, process: "subprocess.Popen[str]", seconds: int) -> None:
        self._process, self._seconds = process, seconds

    def all(self) -> Measure:
        """Wait for the end, and return what happened to the connections; RuntimeError if nothing was measured."""
        said, _ = self._process.communicate(timeout=self._seconds + PATIENCE_SECONDS)
        if not said.startswith("measured "):
            raise RuntimeError(f"no connections came: {said}")
        counted: Measure = json.loads(said.removeprefix("measured "))
        return counted


@contextmanager
def arrivals(subject: Subject, per_second: int, seconds: int) -> Iterator[Arrivals]:
    """Open `per_second` connections each second; each sends one request and is closed by the service."""
    directory = subject.place.directory
    (directory / "request").write_bytes(client.request(PATH, "GET", "1.1", "Connection: close"))
    program = [compiled(SOURCE, directory), str(subject.place.port), str(directory / "request"), str(per_second)]
    words = pinned(GENERATOR_CORE, [*program, str(seconds)])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Arrivals(process, seconds)
        finally:
            process.kill()
