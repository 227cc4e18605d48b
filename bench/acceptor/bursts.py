"""Ten thousand connections at once, and whether the kernel's queue of waiting connections was ever full."""

from pathlib import Path

from bench.connections import client
from bench.connections.crowd import CROWD, FEW, PATIENCE_SECONDS
from bench.connections.parts import WARM_UP_SECONDS, Case, Part, our_service
from bench.load import settle
from bench.peers.catalog import ours
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.processes import SERVER_CORE

NETSTAT = Path("/proc/net/netstat")
WORKERS = (1, 4)
OVERFLOWS = ("ListenOverflows", "ListenDrops")


def overflows() -> int:
    """How many connections found no room in the queues of all listening sockets of this machine."""
    names, values = [line.split() for line in NETSTAT.read_text().splitlines() if line.startswith("TcpExt:")]
    counts = dict(zip(names, values, strict=True))
    return max(int(counts[name]) for name in OVERFLOWS)


def burst(subject: Subject, seconds: int) -> Measure:
    """Open all connections at once; `seconds` does not matter here: the connections end when all are answered."""
    settle(subject.server)
    client.run(subject, client.request(), WARM_UP_SECONDS, FEW)
    before = overflows()
    with client.crowd(subject, client.request(), CROWD, PATIENCE_SECONDS) as load:
        return {
            "p50_ms": load.p50_ms,
            "p99_ms": load.p99_ms,
            "slowest_ms": load.slowest_ms,
            "overflows": overflows() - before,
            "errors": load.failed + load.not_2xx,
        }


def case(workers: int) -> Case:
    label = f"{workers} worker{'s' if workers > 1 else ''}"
    server = ours(workers=workers, core=SERVER_CORE if workers == 1 else None)
    return Case(our_service(f"workers_{workers}", label, server, "cc"), burst)


PARTS = (
    Part("bursts", f"{CROWD:,} at once",
         f"{CROWD:,} connections opened at once by one client, each asking once; whoever waits for {PATIENCE_SECONDS} s"
         " is an error. One worker has a core for itself, four share all of them with the client. Overflows are"
         f" {' and '.join(OVERFLOWS)} of `{NETSTAT}`, the larger of the two.",
         [case(workers) for workers in WORKERS],
         tuple(Target(f"workers_{workers}", "", 0, measure) for workers in WORKERS
               for measure in ("errors", "overflows")),
         {"p50_ms": "p50 ms", "p99_ms": "p99 ms", "slowest_ms": "slowest ms", "overflows": "overflows",
          "errors": "errors"}, CROWD),
)  # fmt: skip
