"""What is measured, in parts: the same servers beside each other, and ours alone, with the targets."""

from bench.connections.parts import Case, Part
from bench.peers.targets import Target
from bench.push.measures import Take, asked_beside, never_read, pushing
from bench.push.servers import fastprice, servers

CROWD, GROUP, FEW, SILENT = 10_000, 1_000, 100, 1_000
# Seconds between two pushes.
SLOW, QUICK, FILLING = 1.0, 0.1, 0.25
# The factor of a longer measurement, because so few messages cost less than what the service does anyway.
LONGER = 4
MOST_LATE_MS, MOST_DELAYED_MS, MOST_KB = 150, 5, 7
LATE = {"p50_ms": "change to last subscriber, median ms", "p99_ms": "p99 ms", "slowest_ms": "slowest ms",
        "per_second": "pushes per s", "delivered": "delivered", "lost": "lost", "errors": "errors"}  # fmt: skip
COSTS = {"cpu_us": "CPU µs per message", "all_us": "idle work included", "idle_ms": "idle, CPU ms per s",
         "kb_each": "kB per subscriber"}  # fmt: skip
CHEAPER = (Target("fastprice", "floor", 1.25), Target("fastprice", "nchan", 0.65), Target("fastprice", "node", 0.60),
           Target("fastprice", "sse_starlette", 0.13))  # fmt: skip
ALONE = (Target("fastprice", "", MOST_KB, "kb_each"), Target("fastprice", "", 0, "lost"),
         Target("fastprice", "", MOST_LATE_MS, "p99_ms"))  # fmt: skip


def beside_each_other(interval: float, take: Take) -> list[Case]:
    return [Case(server, take) for server in servers(interval)]


def by_itself(name: str, what: str, interval: float, take: Take) -> Case:
    return Case(fastprice(name, f"fastprice, {what}", interval), take)


PARTS = (
    Part("ten_thousand", f"{CROWD:,} subscribers",
         f"{CROWD:,} subscribers, one message per second to each.",
         beside_each_other(SLOW, pushing(CROWD)), CHEAPER + ALONE, COSTS | LATE, CROWD),
    Part("thousand", f"{GROUP:,} subscribers",
         f"{GROUP:,} subscribers, ten messages per second to each.",
         beside_each_other(QUICK, pushing(GROUP)), CHEAPER + ALONE, COSTS | LATE, GROUP),
    Part("flat", "more and more subscribers",
         f"The service alone: {FEW} and {GROUP:,} subscribers with ten messages per second, {CROWD:,} with one.",
         (by_itself("at_100", f"{FEW} subscribers", QUICK, pushing(FEW, LONGER)),
          by_itself("at_1000", f"{GROUP:,} subscribers", QUICK, pushing(GROUP)),
          by_itself("at_10000", f"{CROWD:,} subscribers", SLOW, pushing(CROWD))),
         (Target("at_10000", "at_100", 1.1), Target("at_100", "at_10000", 1.1), Target("at_10000", "at_1000", 1.1),
          Target("at_1000", "at_10000", 1.1)),
         COSTS | LATE, CROWD),
    Part("plain_beside", "plain requests beside a push",
         f"A plain request for the price, one at a time on a kept connection, to a worker that pushes to {CROWD:,}"
         " subscribers once per second, and to the same worker before they came.",
         (by_itself("asked", "asked while it pushes", SLOW, asked_beside(CROWD)),),
         (Target("asked", "", MOST_DELAYED_MS, "delayed_ms"), Target("asked", "", 0, "lost")),
         {"asked_ms": "request p99 ms", "alone_ms": "without subscribers", "delayed_ms": "delayed by ms",
          "asked_slowest_ms": "slowest request ms"} | LATE, CROWD),
    Part("never_read", "subscribers that never read",
         f"{CROWD:,} subscribers, four messages per second to each; all of them read, or {SILENT:,} never do and offer"
         " the smallest buffer that the kernel allows. What was delivered and when is that of the others.",
         (by_itself("all_read", "all read", FILLING, never_read(CROWD, 0)),
          by_itself("silent", f"{SILENT:,} never read", FILLING, never_read(CROWD, SILENT))),
         (Target("silent", "", MOST_LATE_MS, "p99_ms"), Target("silent", "", 0, "lost"),
          Target("silent", "", MOST_KB, "kb_each"), Target("silent", "all_read", 1.25, "p99_ms")),
         {"kb_each": COSTS["kb_each"], "before_mb": "MB at first", "after_mb": "MB in the end", "grown_mb": "grown MB"}
         | LATE, CROWD),
)  # fmt: skip
