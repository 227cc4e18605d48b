"""The load generator for what wrk cannot do: a limit of requests per connection, HTTP/1.0, HEAD, a crowd that stays."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import wrk
from bench.peers.answer import PATH
from bench.peers.rounds import Subject
from bench.processes import GENERATOR_CORE, compiled, pinned

SOURCE = Path(__file__).with_name("client.c")


def request(path: str = PATH, method: str = "GET", version: str = "1.1", *headers: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: 127.0.0.1", *headers, "", ""]).encode()


def run(subject: Subject, asked: bytes, seconds: int, connections: int, each: int = 0) -> wrk.Load:
    """Send requests for `seconds`; each connection is closed after `each` answers, or never."""
    with _started(subject, asked, str(connections), str(each), str(seconds)) as process:
        return wrk.read(process, seconds)


@contextmanager
def crowd(subject: Subject, asked: bytes, connections: int, seconds: int) -> Iterator[wrk.Load]:
    """Open connections at once; each sends one request, which may take `seconds`, and stays until the end."""
    with _started(subject, asked, str(connections), "0", str(seconds), "once") as process:
        assert process.stdout is not None
        yield wrk.understood(process.stdout.readline())


def _started(subject: Subject, asked: bytes, *words: str) -> "subprocess.Popen[str]":
    directory = subject.place.directory
    (directory / "request").write_bytes(asked)
    program = [compiled(SOURCE, directory), str(subject.place.port), str(directory / "request"), *words]
    return subprocess.Popen(pinned(GENERATOR_CORE, program), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
