"""Three ways in which workers share connections: how evenly they do, and what a stopped worker costs."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from bench.connections import client
from bench.connections.parts import Case, Part, accounted, our_service
from bench.load import settle
from bench.peers.answer import PATH
from bench.peers.catalog import ours
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.service import served_by_each
from bench.sockets import owners_of

WORKERS, CONNECTIONS, BURST, AT_ONCE = 8, 1_000, 50, 100
# Time from the fork of the last worker until it serves; also until each worker has saved its count.
SETTLE_SECONDS = 2.0
# A client without an answer by then will get none.
PATIENCE_SECONDS = 3
CLOSE = client.request(PATH, "GET", "1.1", "Connection: close")


def shares(subject: Subject, seconds: int) -> Measure:
    settle(subject.server)
    time.sleep(SETTLE_SECONDS)
    workers = subject.server.pids()[1:]
    with _kept(subject):
        owned = Counter(owners_of(subject.place.port, workers).values())
    measure = _extremes("kept", [owned[pid] for pid in workers])
    counts = [_counts(workers)]
    measure |= accounted(subject, lambda: client.run(subject, CLOSE, seconds, AT_ONCE))
    counts.append(_counts(workers))
    measure["errors"] += _bursts(subject)
    counts.append(_counts(workers))
    for kind, before, after in zip(("short", "bursts"), counts, counts[1:], strict=False):
        measure |= _extremes(kind, [now - then for now, then in zip(after, before, strict=True)])
    return measure | {"lost": _lost_to(subject, workers[0])}


@contextmanager
def _kept(subject: Subject) -> Iterator[None]:
    """Connections that are opened one after the other, send one request, and stay."""
    with ExitStack() as stack:
        for _ in range(CONNECTIONS):
            one = stack.enter_context(socket.create_connection(("127.0.0.1", subject.place.port)))
            one.sendall(client.request())
            one.recv(1 << 16)
        yield


def _bursts(subject: Subject) -> int:
    """Repeated bursts of connections that send one request each and are closed; returns the errors."""
    errors = 0
    for _ in range(CONNECTIONS // BURST):
        with client.crowd(subject, CLOSE, BURST, PATIENCE_SECONDS) as load:
            errors += load.failed + load.not_2xx
    return errors


def _lost_to(subject: Subject, worker: int) -> int:
    """How many of the connections that come while a worker is stopped get no answer."""
    os.kill(worker, signal.SIGSTOP)
    try:
        with client.crowd(subject, client.request(), CONNECTIONS, PATIENCE_SECONDS) as load:
            return load.failed + load.not_2xx
    finally:
        os.kill(worker, signal.SIGCONT)


def _counts(workers: Sequence[int]) -> list[float]:
    time.sleep(SETTLE_SECONDS)
    return served_by_each(workers)


def _extremes(kind: str, each: Sequence[float]) -> Measure:
    """The most and the least of any worker, and their ratio, for which the least counts as at least 1."""
    most, least = max(each), min(each)
    return {f"{kind}_most": most, f"{kind}_least": least, f"{kind}_ratio": most / max(least, 1)}


def _case(name: str, label: str, *words: str) -> Case:
    return Case(our_service(name, label, ours(*words, workers=WORKERS, core=None), "cc"), shares)


def _columns(kind: str, title: str) -> dict[str, str]:
    return {f"{kind}_most": f"most {title}", f"{kind}_least": "least", f"{kind}_ratio": f"{title}, most / least"}


OURS = "fewest_first"
PARTS = (
    Part("sharing", "how workers share connections",
         f"{WORKERS} workers on all cores: the most and the least that one of them had, of {CONNECTIONS:,} that came"
         f" one after the other and were kept; of short ones, from {AT_ONCE} clients; and of {CONNECTIONS:,} short"
         f" ones that came in bursts of {BURST}. *Lost*: of {CONNECTIONS:,} that came while one worker was stopped,"
         f" those without an answer after {PATIENCE_SECONDS} s, the sum of the rounds.",
         (_case("first_come", "a shared socket, first come", "bench.acceptor.first_come"),
          _case("reuse_port", "a socket each (`SO_REUSEPORT`)", "bench.acceptor.reuse_port"),
          _case(OURS, "a shared socket, fewest first (ours)")),
         (Target(OURS, "", 2, "kept_ratio"), Target(OURS, "", 2, "short_ratio"), Target(OURS, "", 0, "lost"),
          Target(OURS, "", 0, "errors")),
         _columns("kept", "kept") | _columns("short", "short") | _columns("bursts", "in bursts")
         | {"per_second": "short ones per s", "cpu_us": "CPU µs of each", "lost": "lost", "errors": "errors"},
         CONNECTIONS),
)  # fmt: skip
