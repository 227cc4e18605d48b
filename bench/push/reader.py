"""The subscribers: many connections of one process, and what they have received between two moments."""

import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.connections.client import request
from bench.peers.catalog import Peer
from bench.peers.rounds import Subject
from bench.processes import GENERATOR_CORE, START_SECONDS, compiled, pinned
from bench.push.event import STREAM

SOURCE = Path(__file__).with_name("reader.c")
# The most connections that are opened per second, so that no backlog overflows.
PER_SECOND = 2_500
STREAM_TYPE = "text/event-stream"
ACCEPT = {"Accept": STREAM_TYPE}
STARTING = "503"


@dataclass(frozen=True, slots=True)
class Received:
    """What was received between two moments. `lost` counts messages of these pushes that a reader did not get.

    The times are those from the change to the last subscriber, for all pushes.
    """

    subscribers: int
    seconds: float
    events: int
    pushes: int
    lost: int
    p50_ms: float
    p99_ms: float
    slowest_ms: float
    errors: int


class Reader:
    """Subscribers' connections, all of which are open and being read."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def begin(self) -> None:
        """Start a measurement; returns at a moment between two pushes, as `end` does."""
        self._tell("begin")

    def end(self) -> Received:
        said = self._tell("end").removeprefix("measured ")
        return Received(**json.loads(said))

    def heard(self) -> str:
        """The next line of the reader; RuntimeError if it has ended."""
        assert self._process.stdout is not None
        if not (line := self._process.stdout.readline()):
            raise RuntimeError("the reader of events has ended early")
        return line

    def _tell(self, word: str) -> str:
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)
        return self.heard()


@contextmanager
def subscribed(subject: Subject, subscribers: int, silent: int = 0) -> Iterator[Reader]:
    """Keep `subscribers` of the stream connected, of which `silent` never read."""
    directory = subject.place.directory
    asked = directory / "subscription"
    asked.write_bytes(request(STREAM, "GET", "1.1", *map(": ".join, ACCEPT.items())))
    program = [compiled(SOURCE, directory), str(subject.place.port), str(asked), str(subscribers), str(PER_SECOND)]
    words = pinned(GENERATOR_CORE, [*program, str(silent)])
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        reader = Reader(process)
        try:
            reader.heard()
            yield reader
        finally:
            process.kill()


def streams(peer: Peer, subject: Subject) -> None:
    """Wait until a starting server answers with a stream; RuntimeError if it answers with something else."""
    url, until = f"http://127.0.0.1:{subject.place.port}{STREAM}", time.monotonic() + START_SECONDS
    while time.monotonic() < until and subject.server.process.poll() is None:
        with contextlib.suppress(ConnectionError, urllib.error.URLError, TimeoutError):
            if (answer := _first(url)) == STREAM_TYPE:
                return
            if answer != STARTING:
                raise RuntimeError(f"{STREAM} is answered with {answer}")
        time.sleep(0.05)
    raise RuntimeError(f"{STREAM} is not answered")


def _first(url: str) -> str:
    """The content type of an answer that has begun, or its status if that is not 200."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=ACCEPT), timeout=5) as response:
            return str(response.headers.get_content_type())
    except urllib.error.HTTPError as error:
        return str(error.code)
