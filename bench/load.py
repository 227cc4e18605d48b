"""hey's report of `make load` and `make soak` as a table, a picture and JSON, with the resources that the service used.

`python -m bench.load COMMAND...` runs the command, which is hey, against the service whose id is in SERVICE_PID. With
PUBLISH=1 the result replaces the published one, if it is of the whole command.
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from bench import machine
from bench.processes import Watched, stop_on_signal
from bench.report import RESULTS, SMOKE, keep
from bench.tables import load_table

SETTLE_SECONDS = 1.0
# hey keeps the statuses and latencies of this many answers and forgets the rest.
MOST_ANSWERS = 1_000_000
# Only these commands are measurements that may be published.
ENOUGH = {"load": ["hey", "-n", "10000", "-c", "300"], "soak": ["hey", "-z", "60s", "-c", "300"]}
SUMMARY = {
    "requests per s": r"Requests/sec:\s+([\d.]+)",
    "seconds": r"Total:\s+([\d.]+) secs",
    "p50 ms": r"50%+ in ([\d.]+) secs",
    "p99 ms": r"99%+ in ([\d.]+) secs",
    "fastest ms": r"Fastest:\s+([\d.]+) secs",
    "slowest ms": r"Slowest:\s+([\d.]+) secs",
}
BUCKET = re.compile(r"^\s+([\d.]+) \[(\d+)\]", re.M)
STATUS = re.compile(r"^\s+\[(\d{3})\]\s+(\d+) responses", re.M)
ERROR = re.compile(r"^\s+\[(\d+)\]\s+(\D.*)$", re.M)


def main() -> None:
    service, command = Watched(int(os.environ["SERVICE_PID"])), sys.argv[1:]
    stop_on_signal()
    settle(service)
    start = state(service)
    hey = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    end = state(service)
    if hey.returncode:
        sys.exit(hey.returncode)
    result = read(hey.stdout) | {
        "command": " ".join(command),
        "machine": machine.facts(),
        "versions": machine.versions(),
        "process": {"before": start, "after": end},
    }
    print(load_table(result))
    for line in remarks(command, sum(result["statuses"].values())):
        print(line)
    name = "soak" if "-z" in command else "load"
    keep(name, result, RESULTS if os.environ.get("PUBLISH") == "1" and command[:-1] == ENOUGH[name] else SMOKE)
    sys.exit(1 if result["errors"] or set(result["statuses"]) != {"200"} else 0)


def remarks(command: list[str], answers: int) -> Iterator[str]:
    """What one must know about hey to read its report."""
    if answers >= MOST_ANSWERS:
        yield f"mind: statuses and latencies are those of the first {MOST_ANSWERS:,} answers; hey keeps no more"
    if "-n" in command:
        requests, clients = (int(command[command.index(option) + 1]) for option in ("-n", "-c"))
        if requests % clients:
            each = requests // clients
            yield f"hey gives each of {clients} clients {each} requests, so of {requests:,} it sends {each * clients:,}"


def settle(service: Watched) -> None:
    """Wait until the last worker has started: the first one answers earlier."""
    known = -1
    while known != (known := len(service.pids())):
        time.sleep(SETTLE_SECONDS)


def state(service: Watched) -> dict[str, float]:
    """The processes, memory, files and CPU time of the service at this moment."""
    return {
        "processes": len(service.pids()),
        "PSS MB": round(service.memory_mb(), 1),
        "RSS MB, each by itself": round(service.memory_mb("Rss"), 1),
        "open files": service.open_files(),
        "CPU s": round(service.cpu().total, 2),
    }


def read(report: str) -> dict[str, Any]:
    """Read hey's report of one run; what is missing in it, because nothing was answered, is None."""
    errors = report.partition("Error distribution:")[2]
    summary = {name: _number(name, pattern, report) for name, pattern in SUMMARY.items()}
    histogram = report.partition("Response time histogram:")[2].partition("Latency distribution:")[0]
    buckets = BUCKET.findall(histogram)
    return {
        "summary": summary,
        "histogram": [{"up_to_ms": round(float(up_to) * 1000, 3), "count": int(count)} for up_to, count in buckets],
        "statuses": {status: int(count) for status, count in STATUS.findall(report)},
        "errors": {words.strip(): int(count) for count, words in ERROR.findall(errors)},
    }


def _number(name: str, pattern: str, report: str) -> float | None:
    found = re.search(pattern, report)
    if found is None:
        return None
    return round(float(found[1]) * 1000, 1) if name.endswith(" ms") else float(found[1])


if __name__ == "__main__":
    main()
