"""How evenly connections come to eight workers: kept ones are counted in /proc, short ones by what they cost each."""

import time
from collections import Counter

from bench import wrk
from bench.connections import client
from bench.connections.parts import COSTS, Case, Part, accounted, our_service
from bench.load import settle
from bench.peers.catalog import Peer, nginx, ours
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.processes import Watched
from bench.sockets import owners_of

WORKERS, CONNECTIONS = 8, 300
WARM_UP_SECONDS, PATIENCE_SECONDS = 1, 10
# After the last worker was forked, until it serves.
SETTLE_SECONDS = 2.0


def spread(subject: Subject, seconds: int) -> Measure:
    settle(subject.server)
    time.sleep(SETTLE_SECONDS)
    workers = subject.server.pids()[1:]
    with client.crowd(subject, client.request(), CONNECTIONS, PATIENCE_SECONDS) as kept:
        owned = Counter(owners_of(subject.place.port, workers).values())
    _short(subject, WARM_UP_SECONDS)
    before = _milliseconds(workers)
    measure = accounted(subject, lambda: _short(subject, seconds))
    used = [now - then for now, then in zip(_milliseconds(workers), before, strict=True)]
    measure["errors"] += kept.failed + kept.not_2xx
    return measure | _extremes("kept", [owned[pid] for pid in workers]) | _extremes("short", used)


def _short(subject: Subject, seconds: int) -> wrk.Load:
    return wrk.run(subject.url, seconds, CONNECTIONS, headers=["Connection: close"])


def _milliseconds(pids: list[int]) -> list[float]:
    return [Watched(pid).cpu().total * 1000 for pid in pids]


def _extremes(kind: str, values: list[float] | list[int]) -> Measure:
    """The most and the least of a worker; the least counts as 1 at least, so that there is a ratio."""
    most, least = max(values), min(values)
    return {f"{kind}_most": most, f"{kind}_least": least, f"{kind}_ratio": most / max(least, 1)}


SERVERS = (
    our_service("lane", "fastprice", ours(workers=WORKERS, core=None), "wrk", "cc"),
    Peer("nginx", "nginx, return 200", nginx(WORKERS, None), ("nginx", "wrk", "cc")),
)
PARTS = (
    Part("spread", f"{WORKERS} workers",
         f"{WORKERS} workers on all cores: {CONNECTIONS} kept connections by who has them, and short ones from"
         f" {CONNECTIONS} clients by the CPU time that each worker spent on them.",
         [Case(server, spread) for server in SERVERS],
         (Target("lane", "", 2, "kept_ratio"), Target("lane", "", 2, "short_ratio")),
         {"kept_most": "most kept", "kept_least": "least", "kept_ratio": "kept, most / least",
          "short_most": "most CPU ms", "short_least": "least CPU ms", "short_ratio": "short, most / least",
          "cpu_us": COSTS["cpu_us"], "per_second": COSTS["per_second"], "p99_ms": "p99 ms", "errors": "errors"}),
)  # fmt: skip
