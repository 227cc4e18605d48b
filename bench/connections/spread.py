"""How evenly eight workers get connections: /proc shows who has the kept ones, each worker counts the short ones."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from bench import wrk
from bench.connections import client
from bench.connections.parts import COSTS, Case, Part, accounted, our_service
from bench.load import settle
from bench.peers.catalog import Peer, nginx, ours
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.processes import Watched
from bench.service import served_by_each
from bench.sockets import owners_of

WORKERS, CONNECTIONS = 8, 300
WARM_UP_SECONDS, PATIENCE_SECONDS = 1, 10
# Time from the fork of the last worker until it serves; also until each worker has saved its count.
SETTLE_SECONDS = 2.0


def by_counts(subject: Subject, seconds: int) -> Measure:
    return _spread(subject, seconds, served_by_each)


def by_cpu(subject: Subject, seconds: int) -> Measure:
    """The spread in milliseconds of CPU, for servers that do not count requests."""
    return _spread(subject, seconds, lambda workers: [Watched(pid).cpu().total * 1000 for pid in workers])


def _spread(subject: Subject, seconds: int, shares: Callable[[Sequence[int]], list[float]]) -> Measure:
    settle(subject.server)
    time.sleep(SETTLE_SECONDS)
    workers = subject.server.pids()[1:]
    with client.crowd(subject, client.request(), CONNECTIONS, PATIENCE_SECONDS) as kept:
        owned = Counter(owners_of(subject.place.port, workers).values())
    _short(subject, WARM_UP_SECONDS)
    time.sleep(SETTLE_SECONDS)
    before = shares(workers)
    measure = accounted(subject, lambda: _short(subject, seconds))
    time.sleep(SETTLE_SECONDS)
    used = [now - then for now, then in zip(shares(workers), before, strict=True)]
    measure["errors"] += kept.failed + kept.not_2xx
    return measure | _extremes("kept", [owned[pid] for pid in workers]) | _extremes("short", used)


def _short(subject: Subject, seconds: int) -> wrk.Load:
    return wrk.run(subject.url, seconds, CONNECTIONS, headers=["Connection: close"])


def _extremes(kind: str, shares: Sequence[float]) -> Measure:
    """The most and the least of any worker, and their ratio, for which the least counts as at least 1."""
    most, least = max(shares), min(shares)
    return {f"{kind}_most": most, f"{kind}_least": least, f"{kind}_ratio": most / max(least, 1)}


OURS = our_service("lane", "fastprice", ours(workers=WORKERS, core=None), "wrk", "cc")
NGINX = Peer("nginx", "nginx, return 200", nginx(WORKERS, None), ("nginx", "wrk", "cc"))
PARTS = (
    Part("spread", f"{WORKERS} workers",
         f"{WORKERS} workers on all cores: {CONNECTIONS} kept connections by who has them, and short ones from"
         f" {CONNECTIONS} clients by the requests that each worker has counted; nginx counts none, so of it by the"
         " milliseconds of CPU.",
         (Case(OURS, by_counts), Case(NGINX, by_cpu)),
         (Target("lane", "", 2, "kept_ratio"), Target("lane", "", 2, "short_ratio")),
         {"kept_most": "most kept", "kept_least": "least kept", "kept_ratio": "kept, most / least",
          "short_most": "most short", "short_least": "least short", "short_ratio": "short, most / least",
          "cpu_us": COSTS["cpu_us"], "per_second": COSTS["per_second"], "p99_ms": "p99 ms", "errors": "errors"}),
)  # fmt: skip
