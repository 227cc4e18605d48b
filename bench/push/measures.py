"""How a server that pushes is measured: without subscribers, with them, and with others beside them."""

import subprocess
import time
from collections.abc import Callable

from bench import wrk
from bench.connections.client import request
from bench.peers.rounds import Measure, Subject
from bench.processes import GENERATOR_CORE, compiled, pinned
from bench.push.reader import Reader, Received, subscribed
from bench.push.servers import HERE

FEW, WARM_UP_SECONDS = 100, 1.5
# The interval of requests, which is never in step with the pushes.
ASK_EVERY_MS = 9
# Until the buffers of subscribers that never read are full.
FILL_SECONDS = 5
# The least that a cost counts, even if it is lost in the noise, so that there is a ratio.
LEAST_US = 0.01
Take = Callable[[Subject, int], Measure]


def pushing(subscribers: int, longer: int = 1) -> Take:
    """What a message costs beyond the server's work without subscribers, and the memory per subscriber."""

    def measure(subject: Subject, seconds: int) -> Measure:
        _warm_up(subject)
        idle = _cpu_without_subscribers(subject, seconds * longer)
        before_mb = subject.server.memory_mb()
        with subscribed(subject, subscribers) as reader:
            received, used = _between_pushes(subject, reader, seconds * longer)
            held_mb = subject.server.memory_mb() - before_mb
        events = max(received.events, 1)
        return {
            "cpu_us": max((used - idle * received.seconds) / events * 1e6, LEAST_US),
            "all_us": used / events * 1e6,
            "idle_ms": idle * 1000,
            "kb_each": held_mb * 1024 / subscribers,
            **delivery(received, subscribers),
        }

    return measure


def asked_beside(subscribers: int) -> Take:
    """How long a plain request for the price takes on the same worker, without subscribers and with them."""

    def measure(subject: Subject, seconds: int) -> Measure:
        _warm_up(subject)
        alone = asked(subject, seconds)
        with subscribed(subject, subscribers) as reader:
            reader.begin()
            beside = asked(subject, seconds)
            received = reader.end()
        told = delivery(received, subscribers)
        return {
            "asked_ms": beside.p99_ms,
            "alone_ms": alone.p99_ms,
            "delayed_ms": beside.p99_ms - alone.p99_ms,
            "asked_slowest_ms": beside.slowest_ms,
            **told,
            "errors": told["errors"] + sum(one.failed + one.not_2xx for one in (alone, beside)),
        }

    return measure


def never_read(subscribers: int, silent: int) -> Take:
    """How subscribers that never read affect the others and the memory."""

    def measure(subject: Subject, seconds: int) -> Measure:
        _warm_up(subject)
        without_mb = subject.server.memory_mb()
        with subscribed(subject, subscribers, silent) as reader:
            before_mb = subject.server.memory_mb()
            time.sleep(FILL_SECONDS)
            received, _ = _between_pushes(subject, reader, seconds)
            after_mb = subject.server.memory_mb()
        return {
            **delivery(received, subscribers - silent),
            "kb_each": (after_mb - without_mb) * 1024 / subscribers,
            "before_mb": before_mb,
            "after_mb": after_mb,
            "grown_mb": after_mb - before_mb,
        }

    return measure


def _warm_up(subject: Subject) -> None:
    """Warm a server up; RuntimeError if it does not push."""
    with subscribed(subject, FEW) as reader:
        reader.begin()
        time.sleep(WARM_UP_SECONDS)
        if not reader.end().events:
            raise RuntimeError(f"nothing was pushed within {WARM_UP_SECONDS:g} s")


def _cpu_without_subscribers(subject: Subject, seconds: float) -> float:
    """Seconds of CPU per second, without subscribers."""
    before = subject.server.precise_cpu()
    time.sleep(seconds)
    return (subject.server.precise_cpu() - before) / seconds


def _between_pushes(subject: Subject, reader: Reader, seconds: float) -> tuple[Received, float]:
    """What was received within `seconds`, and the seconds of CPU that the server used meanwhile."""
    reader.begin()
    before = subject.server.precise_cpu()
    time.sleep(seconds)
    received = reader.end()
    return received, subject.server.precise_cpu() - before


def delivery(received: Received, readers: int) -> Measure:
    """The figures of a delivery; if a server pushed nothing, it delivered nothing, and its times of 0 mean nothing."""
    due = received.pushes * readers
    return {
        "p50_ms": received.p50_ms,
        "p99_ms": received.p99_ms,
        "slowest_ms": received.slowest_ms,
        "per_second": received.pushes / received.seconds,
        "delivered": 1 - received.lost / due if due else 0.0,
        "lost": received.lost if due else readers,
        "errors": received.errors,
    }


def asked(subject: Subject, seconds: int) -> wrk.Load:
    directory = subject.place.directory
    (directory / "request").write_bytes(request())
    program = [compiled(HERE / "asker.c", directory), str(subject.place.port), str(directory / "request")]
    words = pinned(GENERATOR_CORE, [*program, str(ASK_EVERY_MS), str(seconds)])
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        return wrk.read(process, seconds)
