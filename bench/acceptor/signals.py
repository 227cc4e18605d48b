"""Workers that stop while connections come all the time: each accepted one is answered, unless its worker is killed."""

import os
import signal
import time
from collections.abc import Callable

from bench.acceptor.arrivals import arrivals
from bench.acceptor.counted import accepted
from bench.connections.parts import Case, Part, our_service
from bench.load import settle
from bench.peers.catalog import ours
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.processes import Running

WORKERS, PER_SECOND = 4, 5_000
# Time from the first connection to the signal, and from one signal to the next or to the last connection.
BEFORE_SECONDS, AFTER_SECONDS = 1.0, 3.0
SETTLE_SECONDS, KILLS = 2.0, 3
# What may happen to a connection that is not answered.
REFUSED, RESET, ENDED, CUT, SILENT = UNANSWERED = ("refused", "reset", "ended", "cut", "silent")
COUNTED = ("accepted", "answered", "lost", *UNANSWERED)


def ended(server: Running) -> None:
    server.process.terminate()


def reloaded(server: Running) -> None:
    os.kill(server.pid, signal.SIGHUP)


def one_killed(server: Running) -> None:
    """Kill the oldest worker of the master."""
    os.kill(server.pids()[1], signal.SIGKILL)


def under_arrivals(
    act: Callable[[Running], None], times: int, broken: tuple[str, ...]
) -> Callable[[Subject, int], Measure]:
    """Do `act` so many times; `broken` names what counts as an error, beside wrong answers."""

    def measure(subject: Subject, seconds: int) -> Measure:
        settle(subject.server)
        time.sleep(SETTLE_SECONDS)
        before, already = subject.server.pids(), accepted(subject.place)
        with arrivals(subject, PER_SECOND, round(BEFORE_SECONDS + times * AFTER_SECONDS)) as coming:
            time.sleep(BEFORE_SECONDS)
            for _ in range(times):
                act(subject.server)
                time.sleep(AFTER_SECONDS)
            counted = coming.all()
        if subject.server.process.poll() is None and subject.server.pids() == before:
            raise RuntimeError("no worker has ended")
        counted["accepted"] = accepted(subject.place) - already
        counted["lost"] = counted["accepted"] - counted["answered"]
        return counted | {"errors": counted["not_2xx"] + sum(counted[name] for name in broken)}

    return measure


def _case(name: str, label: str, act: Callable[[Running], None], broken: tuple[str, ...], times: int = 1) -> Case:
    server = our_service(name, label, ours("bench.acceptor.counted", workers=WORKERS, core=None), "cc")
    return Case(server, under_arrivals(act, times, broken))


PARTS = (
    Part("signals", "connections while workers end",
         f"{WORKERS} workers on all cores and {PER_SECOND:,} new connections per second, each of which asks once. All"
         " counts are sums of the rounds. *Lost*: accepted by a worker, as it notes itself, and not answered."
         " *Refused*: nobody listens. *Reset*: not a byte of an answer came; one that was not accepted waited in the"
         " queue when the last worker closed the socket. *Ended* and *cut*: closed without an answer, or in the middle"
         " of one. *Silent*: neither, 5 s later.",
         (_case("term", "SIGTERM to the service", ended, ("lost", SILENT)),
          _case("reload", "SIGHUP", reloaded, UNANSWERED),
          _case("kill", f"kill -9 of a worker, {KILLS} times", one_killed, (REFUSED, SILENT), KILLS)),
         (Target("term", "", 0, "errors"), Target("reload", "", 0, "errors"), Target("kill", "", 0, "errors")),
         {"opened": "connections", **{name: name for name in COUNTED}, "p99_ms": "p99 ms",
          "errors": "errors"}),
)  # fmt: skip
