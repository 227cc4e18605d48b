"""Connections that come and go, in each of the ways in which a worker handles them: they must leave nothing behind."""

import time
from collections.abc import Callable

from bench.connections import client
from bench.connections.parts import Case, Part, our_service
from bench.load import settle
from bench.peers.answer import PATH
from bench.peers.catalog import ours
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.processes import Running
from bench.wrk import Load

WORKERS, AT_ONCE, ENOUGH = 4, 100, 70_000
SETTLE_SECONDS, PATIENCE_SECONDS = 2.0, 10.0
MOST_MB = 4.0
CLOSE = "Connection: close"
# A request that is not plain takes the ordinary way, whatever it requests.
UNUSUAL = "Content-Length: 0"


def coming(asked: bytes, each: int = 0) -> Callable[[Subject, int], Measure]:
    """Open ENOUGH connections, and as many again: what a worker keeps after the first ones, it needs only once."""

    def enough(subject: Subject, seconds: int) -> Measure:
        """Open them in runs of `seconds`; p99 is that of the worst run."""
        loads: list[Load] = []
        while sum(load.opened for load in loads) < ENOUGH:
            loads.append(client.run(subject, asked, seconds, AT_ONCE, each))
        opened = sum(load.opened for load in loads)
        return {
            "opened": opened,
            "opened_per_second": opened / sum(load.seconds for load in loads),
            "p99_ms": max(load.p99_ms for load in loads),
            "errors": sum(load.failed + load.not_2xx for load in loads),
        }

    def measure(subject: Subject, seconds: int) -> Measure:
        settle(subject.server)
        first = enough(subject, seconds)
        time.sleep(SETTLE_SECONDS)
        files, memory = subject.server.open_files(), subject.server.memory_mb()
        again = enough(subject, seconds)
        more = {"files_more": _files(subject.server, files) - files, "mb_before": memory,
                "mb_more": subject.server.memory_mb() - memory}  # fmt: skip
        return again | more | {name: first[name] + again[name] for name in ("opened", "errors")}

    return measure


def _files(server: Running, before: int) -> int:
    """How many descriptors are open when those of the last connections are closed, or after a while."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (count := server.open_files()) > before and time.monotonic() < until:
        time.sleep(0.1)
    return count


def _case(name: str, label: str, asked: bytes, each: int = 0) -> Case:
    return Case(our_service(name, label, ours(workers=WORKERS, core=None), "cc"), coming(asked, each))


NAMES = ("closed", "kept", "handed_over")
PARTS = (
    Part("come-and-go", "connections that come and go",
         f"{WORKERS} workers on all cores, {AT_ONCE} connections at a time, more than {2 * ENOUGH:,} of each kind per"
         " round: closed by the service after their one answer; kept, and closed by the client after two; handed over"
         " to the ordinary way, and closed there. How many they are is the sum of the rounds. *More* compares the end"
         " with the middle; memory is PSS, of all processes together.",
         (_case("closed", "closed by the service", client.request(PATH, "GET", "1.1", CLOSE)),
          _case("kept", "kept, then closed by the client", client.request(), 2),
          _case("handed_over", "handed over to the ordinary way",
                client.request(PATH, "GET", "1.1", CLOSE, UNUSUAL))),
         tuple(Target(name, "", most, measure) for name in NAMES
               for most, measure in ((0, "errors"), (0, "files_more"), (MOST_MB, "mb_more"))),
         {"opened": "connections", "opened_per_second": "per s", "p99_ms": "p99 ms", "files_more": "descriptors more",
          "mb_before": "MB before", "mb_more": "MB more", "errors": "errors"}),
)  # fmt: skip
