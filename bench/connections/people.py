"""The service as people use it: eight workers on all cores, called by the tools and the library that they know."""

import re
import subprocess
import sys
import time
from collections.abc import Callable

from bench import load
from bench.connections.parts import Case, Part, accounted, our_service
from bench.peers.catalog import ours
from bench.peers.rounds import Measure, Subject
from bench.processes import environment
from bench.wrk import Load, understood

WORKERS = 8
SETTLE_SECONDS, PATIENCE_SECONDS = 2.0, 120
COUNTS = ("-n", "20000", "-c", "100")
AB = {
    "requests": r"Complete requests:\s+(\d+)",
    "seconds": r"Time taken for tests:\s+([\d.]+)",
    "p50_ms": r"50%\s+(\d+)",
    "p99_ms": r"99%\s+(\d+)",
    "slowest_ms": r"100%\s+(\d+)",
    "failed": r"Failed requests:\s+(\d+)",
    "not_2xx": r"Non-2xx responses:\s+(\d+)",
}


def of_ab(report: str) -> Load:
    """Read ab's report, which does not mention non-2xx answers if there are none."""
    found = {name: re.search(pattern, report) for name, pattern in AB.items()}
    said = {name: float(match[1]) if match else 0.0 for name, match in found.items()}
    return Load(
        int(said["requests"]), said["seconds"], said["p50_ms"], said["p99_ms"], said["slowest_ms"], int(said["failed"]),
        int(said["not_2xx"]),
    )


def of_hey(report: str) -> Load:
    """Read hey's report as `make load` does."""
    said = load.read(report)
    summary = {name: value or 0.0 for name, value in said["summary"].items()}
    answers = said["statuses"]
    return Load(
        sum(answers.values()), summary["seconds"], summary["p50 ms"], summary["p99 ms"], summary["slowest ms"],
        sum(said["errors"].values()), sum(count for status, count in answers.items() if status[0] != "2"),
    )


def told(words: tuple[str, ...], read: Callable[[str], Load]) -> Callable[[Subject, int], Measure]:
    """Measure with a command that gets the URL; {seconds} among its words is how long to measure."""

    def measure(subject: Subject, seconds: int) -> Measure:
        load.settle(subject.server)
        time.sleep(SETTLE_SECONDS)
        command = [word.format(url=subject.url, seconds=seconds) for word in words]

        def run() -> Load:
            done = subprocess.run(
                command, env=environment({}), stdout=subprocess.PIPE, text=True, timeout=PATIENCE_SECONDS
            )
            return read(done.stdout)

        return accounted(subject, run)

    return measure


def _asked_by(name: str, label: str, program: tuple[str, ...], words: tuple[str, ...], read: Callable[[str], Load],
              modules: tuple[str, ...] = ()) -> Case:  # fmt: skip
    server = our_service(name, label, ours(workers=WORKERS, core=None), *program, modules=modules)
    return Case(server, told(words, read))


CALLER = (sys.executable, "-m", "bench.connections.caller", "{url}", "{seconds}")
PARTS = (
    Part("people", "people's tools",
         f"{WORKERS} workers on all cores, the client beside them. `ab` is told `-l`, because the price may change in"
         " length; its percentiles are whole milliseconds.",
         [_asked_by("ab", "`ab -n 20000 -c 100`", ("ab",), ("ab", "-q", "-l", *COUNTS, "{url}"), of_ab),
          _asked_by("ab_keep", "`ab -k -n 20000 -c 100`", ("ab",), ("ab", "-q", "-l", "-k", *COUNTS, "{url}"), of_ab),
          _asked_by("hey", "`hey -disable-keepalive -n 20000 -c 100`", ("hey",),
                    ("hey", "-disable-keepalive", *COUNTS, "{url}"), of_hey),
          _asked_by("requests", "`requests.get` in a loop", (), CALLER, understood, ("requests",))]),
)  # fmt: skip
