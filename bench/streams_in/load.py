"""What frames cost: the CPU of the worker that listens and of the others, and the latency of requests meanwhile.

The market moves every price ten times a second and lets each channel push six times a second, which is 3,000 frames a
second for 500 pairs. The service has one core and the market the other. CPU is the time that a worker's threads have
run according to the scheduler. The same service without streams, which polls as often, is measured too: what frames
cost is the difference.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from statistics import mean, median
from typing import Any

from bench.failures.figures import Row, figure, percentile
from bench.growth.points import named
from bench.processes import SERVER_CORE, Watched
from bench.sockets import waiting_bytes
from bench.streams_in.listeners import ASK, connected, timed
from bench.streams_in.services import Fleet, fleet

PAIRS, EVERY_MS, WORKERS = 500, 167, 4
# The pairs and frames of a burst on one connection.
BURST_PAIRS, BURST_FRAMES = 50, 20_000
SETTLE_SECONDS = 5.0
ASK_SECONDS, BURST_ASK_SECONDS = 0.002, 0.001
MOST_LEADER, MOST_FOLLOWER, MOST_TIMES, MOST_BURST_MS = 15.0, 4.0, 1.2, 10.0
# The longest time for reading a burst.
BURST_SECONDS = 30.0


class Asker:
    """Requests a price from one worker at an interval, over a kept connection, with the kernel's receive times.

    A request that takes longer than the interval delays others, which are counted with what was left of its time when
    they were due: otherwise a long pause would be a single slow request among thousands. A delay of this program
    itself is not counted.
    """

    def __init__(self, connection: socket.socket, every_seconds: float) -> None:
        self._connection, self._every_seconds = connection, every_seconds

    def took(self, go_on: Callable[[], bool]) -> list[float]:
        """Send requests as long as `go_on` returns true; returns the milliseconds of each."""
        took = list[float]()
        while go_on():
            sent_ns = time.time_ns()
            self._connection.sendall(ASK)
            _, came_ns = timed(self._connection)
            left = (came_ns - sent_ns) / 1e6
            took.append(left)
            while (left := left - self._every_seconds * 1000) > 0:
                took.append(left)
            time.sleep(self._every_seconds)
        return took

    def for_seconds(self, seconds: float) -> list[float]:
        """The same for a number of seconds."""
        until = time.monotonic() + seconds
        return self.took(lambda: time.monotonic() < until)


@contextmanager
def loaded(name: str, workers: int, streams: bool, count: int = PAIRS) -> Iterator[Fleet]:
    """A settled service of `count` pairs on one core, with or without the streams of a source."""
    more = {"STREAMS": str(int(streams))}
    with fleet(name, 1, workers, False, SERVER_CORE, named(count), **more) as running:
        running.exchange.push_every(EVERY_MS)
        if streams:
            running.leader()
        time.sleep(SETTLE_SECONDS)
        yield running


def cpu(name: str, seconds: float, rounds: int) -> list[Row]:
    """Percent of a core that the leader and the other workers use, with frames and without."""
    with_streams = [_used(name, seconds, True) for _ in range(rounds)]
    without = [_used(name, seconds, False) for _ in range(rounds)]
    frames, leader, others = (median(each) for each in zip(*with_streams, strict=True))
    _, leader_before, others_before = (median(each) for each in zip(*without, strict=True))
    return [
        figure(f"{name}: frames per s", frames),
        figure("leader, % of a core", leader),
        figure("without streams", leader_before),
        figure("what frames cost it", leader - leader_before, most=MOST_LEADER),
        figure("each other worker, % of a core", others),
        figure("without streams", others_before),
        figure("what frames cost it", others - others_before, most=MOST_FOLLOWER),
    ]


def _used(name: str, seconds: float, streams: bool) -> tuple[float, float, float]:
    """Frames per second, and percent of a core of the leader and of another worker, on average."""
    with loaded(name, WORKERS, streams) as running:
        workers = running.workers
        before, frames, start = _cpu(workers), running.exchange.frames(), time.monotonic()
        time.sleep(seconds)
        used = [now - then for now, then in zip(_cpu(workers), before, strict=True)]
        lasted, frames = time.monotonic() - start, running.exchange.frames() - frames
        # Without streams the leader is the worker that uses the most CPU, because it polls.
        leader = workers.index(running.leader()) if streams else used.index(max(used))
        shares = [100 * each / lasted for each in used]
        return frames / lasted, shares.pop(leader), mean(shares)


def _cpu(pids: Sequence[int]) -> list[float]:
    return [Watched(pid).precise_cpu() for pid in pids]


def beside(name: str, seconds: float, rounds: int) -> list[Row]:
    """Requests to a worker that listens, and to one that only polls, in alternating order."""
    found: dict[bool, list[list[float]]] = {False: [], True: []}
    for number in range(rounds):
        for streams in (False, True) if number % 2 else (True, False):
            with loaded(name, 1, streams) as running, connected(running.services[0][0]) as connection:
                found[streams].append(Asker(connection, ASK_SECONDS).for_seconds(seconds))
    shares = {"p50": 0.5, "p99": 0.99, "longest": 1.0}
    before, under = ({key: median(percentile(one, share) for one in found[streams]) for key, share in shares.items()}
                     for streams in (False, True))  # fmt: skip
    return [
        *(figure(f"{name}: request on the leader's worker, {key} ms", value) for key, value in under.items()),
        *(figure(f"without streams, {key} ms", value) for key, value in before.items()),
        figure("p50, with / without", under["p50"] / before["p50"]),
        figure("p99, with / without", under["p99"] / before["p99"], most=MOST_TIMES),
    ]


def bursts(name: str, count: int) -> list[Row]:
    """Requests while twenty thousand frames wait to be read, in several bursts one after the other."""
    took, seconds = list[float](), 0.0
    with loaded(name, 1, True, BURST_PAIRS) as running, connected(running.services[0][0]) as connection:
        for _ in range(count):
            asker, start = Asker(connection, BURST_ASK_SECONDS), time.monotonic()
            running.exchange.burst()
            took += asker.took(_while_read(running.exchange.port))
            seconds += time.monotonic() - start
            running.exchange.calm()
            time.sleep(1)
    return [
        figure(f"{name}: seconds until a burst is read", seconds / count),
        figure("request meanwhile, p50 ms", percentile(took, 0.5)),
        figure("p99 ms", percentile(took, 0.99), most=MOST_BURST_MS),
        figure("longest ms", max(took)),
        figure("requests", len(took)),
    ]


def _while_read(port: int) -> Callable[[], Any]:
    """Returns a check whether frames wait to be read on the market's connections; it is true at first."""
    state = {"began": time.monotonic(), "looked": 0.0, "empty": 0.0}

    def go_on() -> bool:
        now = time.monotonic()
        if now - state["looked"] > 0.02:
            state["looked"] = now
            state["empty"] = 0.0 if waiting_bytes(port) else state["empty"] or now
        is_over = state["empty"] and now - state["empty"] > 0.1 and now - state["began"] > 1.5
        return not is_over and now - state["began"] < BURST_SECONDS

    return go_on
