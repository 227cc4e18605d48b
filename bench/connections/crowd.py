"""Many connections: all opened at once, and kept without requests."""

import time

from bench import wrk
from bench.connections import client
from bench.connections.parts import COSTS, WARM_UP_SECONDS, Part, accounted, beside_each_other
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.sockets import owners_of

CROWD, IDLE, FEW = 10_000, 5_000, 100
# A client without an answer by then will get none.
PATIENCE_SECONDS = 10
SETTLE_SECONDS = 1.0


def at_once(subject: Subject, seconds: int) -> Measure:
    """Open all connections at once; `seconds` does not matter here: the connections end when all are answered."""
    _warm_up(subject)

    def run() -> wrk.Load:
        with client.crowd(subject, client.request(), CROWD, PATIENCE_SECONDS) as load:
            return load

    return accounted(subject, run)


def idle(subject: Subject, seconds: int) -> Measure:
    """By how much the server's memory has grown when each connection has sent one request and is silent.

    A connection that the server has closed by then is an error: holding fewer must not count as needing less.
    """
    _warm_up(subject)
    before = subject.server.memory_mb()
    with client.crowd(subject, client.request(), IDLE, PATIENCE_SECONDS) as load:
        time.sleep(SETTLE_SECONDS)
        after = subject.server.memory_mb()
        held = len(owners_of(subject.place.port, subject.server.pids()))
    return {
        "kb_each": (after - before) * 1024 / IDLE,
        "before_mb": before,
        "after_mb": after,
        "errors": IDLE - held + load.not_2xx,
    }


def _warm_up(subject: Subject) -> None:
    client.run(subject, client.request(), WARM_UP_SECONDS, FEW)


PARTS = (
    Part("crowd", f"{CROWD:,} connections at once",
         f"{CROWD:,} connections opened at once by one client, each asking once; whoever waits for {PATIENCE_SECONDS} s"
         " is an error.",
         beside_each_other(at_once, "cc"),
         (Target("lane", "", 0, "errors"), Target("lane", "nginx", 1.5, "p99_ms")),
         {"p99_ms": "p99 ms", "p50_ms": "p50 ms", "cpu_us": COSTS["cpu_us"], "errors": "errors"}, CROWD),
    Part("idle", "idle connections",
         f"{IDLE:,} connections that have asked once and are kept: how much the server's memory (PSS) grew. What the"
         " kernel keeps is not counted.",
         beside_each_other(idle, "cc"),
         (Target("lane", "", 3, "kb_each"),),
         {"kb_each": "kB per connection", "before_mb": "MB before", "after_mb": "MB with them", "errors": "errors"},
         IDLE),
)  # fmt: skip
