"""Services beside a simulated market; one of their workers listens to its streams."""

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.growth.points import directory
from bench.load import settle
from bench.peers.answer import PATH
from bench.processes import Running, answer_of, free_port, running
from bench.service import ETH, running_market, running_redis, settings
from bench.sockets import clients_of
from bench.streams_in.exchange import Exchange

# The market answers polls quickly, so that a poll sent before a step is never answered long after the step.
POLL_SECONDS = 0.005
PATIENCE_SECONDS = 30.0
SERVE = [sys.executable, "-m", "fastprice.cli", "serve"]


@dataclass(frozen=True, slots=True)
class Fleet:
    """Services over the same store, each a port and its processes, and the source that they listen to."""

    services: Sequence[tuple[int, Running]]
    exchange: Exchange

    @property
    def workers(self) -> list[int]:
        return [pid for _, process in self.services for pid in process.pids()[1:]]

    def leader(self) -> int:
        """The worker that listens to the market, once it gets prices; RuntimeError if no worker does in time."""
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            if self.exchange.frames() and (holders := clients_of(self.exchange.port, self.workers)):
                return holders[0]
            time.sleep(0.5)
        raise RuntimeError(f"no worker opens a stream of {self.exchange.name}")


@contextmanager
def fleet(
    name: str, replicas: int, workers: int, redis: bool, core: int | None, pairs: Sequence[str] = ETH, **more: str
) -> Iterator[Fleet]:
    """Start replicas that use one source; they have answered, but may not yet listen to its stream."""
    with ExitStack() as cleanup:
        market = cleanup.enter_context(running_market(cleanup.enter_context(directory()), pairs, POLL_SECONDS))
        if redis:
            more["REDIS_URL"], _ = cleanup.enter_context(running_redis(cleanup.enter_context(directory())))
        more |= {"SOURCES": name, "WORKERS": str(workers), "PAIRS": ",".join(pairs)}
        started = list[tuple[int, Running, Path]]()
        for _ in range(replicas):
            place, port = Path(cleanup.enter_context(_place())), free_port()
            process = cleanup.enter_context(running(SERVE, core, place, **settings(port, market, place, **more)))
            started.append((port, process, place))
        for port, process, place in started:
            answer_of(f"http://127.0.0.1:{port}{PATH}", process, place)
            settle(process)
        yield Fleet([(port, process) for port, process, _ in started], Exchange(market, name))


def _place() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="fastprice-bench-", ignore_cleanup_errors=True)
