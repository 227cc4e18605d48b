"""Minutes with many subscribers: some that never read, and some that come and go all the time.

A worker that leaks, falls behind or lets some pay for others shows it here, and not within seconds.
"""

import argparse
import os
import subprocess
import sys
import time
from typing import TypedDict

from bench import machine
from bench.peers.rounds import Measure, Subject, started, surroundings
from bench.processes import GENERATOR_CORE, PROC, pinned, stop_on_signal
from bench.push.__main__ import EXCHANGE_SECONDS
from bench.push.measures import asked, delivery
from bench.push.parts import CROWD, GROUP, QUICK, SILENT
from bench.push.reader import streams, subscribed
from bench.push.servers import fastprice
from bench.report import save
from bench.tables import subscribers_table

MINUTES, WINDOW_MINUTES, PER_MINUTE = 10.0, 0.5, 20_000
# Until a crowd has connected and the buffers of subscribers that never read are full.
SETTLE_SECONDS = 5
# A shorter run is a check that it works, and needs no crowd.
CROWDED_MINUTES = 1.0


class Soaked(TypedDict):
    """What was seen of a worker; first figures are those of the first window, which is half a minute by default."""

    name: str
    seconds: float
    subscribers: int
    events: float
    lost: float
    p99_ms: float
    slowest_ms: float
    pushes_per_s: float
    asked_alone_ms: float
    asked_ms: float
    mb_first: float
    mb_last: float
    open_first: int
    open_last: int
    came: int
    wrong: int


def main() -> None:
    words = argparse.ArgumentParser(prog="make soak-push", description=__doc__)
    words.add_argument("--minutes", type=float, default=MINUTES)
    given = words.parse_args()
    stop_on_signal()
    facts, files = machine.facts(), machine.raise_open_files()
    crowd = CROWD if given.minutes >= CROWDED_MINUTES and files > CROWD + SILENT + machine.SPARE_FILES else GROUP
    windows = max(2, round(given.minutes / WINDOW_MINUTES))
    rows = list[Soaked]()
    with surroundings(EXCHANGE_SECONDS) as around:
        server = fastprice("fastprice", "fastprice", QUICK)
        for name, readers, silent, per_minute in (
            (f"{crowd:,} subscribers and {SILENT:,} that never read", crowd, SILENT, 0),
            (f"{GROUP:,} subscribers, and {PER_MINUTE:,} a minute that come and go", GROUP, 0, PER_MINUTE),
        ):
            with started(server, around, streams) as subject:
                rows.append(soaked(name, subject, readers, silent, per_minute, windows, given.minutes * 60 / windows))
            print(subscribers_table(rows[-1:]), flush=True)
    result = {"machine": facts, "versions": machine.versions(), "minutes": given.minutes, "rows": rows}
    save("subscribers", result, enough=given.minutes >= MINUTES)
    # A quick check may run on a busy machine, where readers do not keep up.
    sys.exit(given.minutes >= CROWDED_MINUTES and any(row["lost"] or row["wrong"] for row in rows))


def soaked(
    name: str, subject: Subject, readers: int, silent: int, per_minute: int, count: int, window_seconds: float
) -> Soaked:
    alone, windows = asked(subject, max(1, round(window_seconds))), list[Measure]()
    memory, descriptors = list[float](), list[int]()
    with subscribed(subject, readers + silent, silent) as reader:
        time.sleep(SETTLE_SECONDS if readers > GROUP else 1)
        leavers = _leavers(subject, per_minute, window_seconds * count) if per_minute else None
        began = time.monotonic()
        for _ in range(count):
            reader.begin()
            beside = asked(subject, max(1, round(window_seconds)))
            received = reader.end()
            windows.append({**delivery(received, readers), "asked_ms": beside.p99_ms, "events": received.events})
            memory.append(subject.server.memory_mb())
            descriptors.append(_open_files(subject))
        seconds = time.monotonic() - began
        came, wrong = map(int, leavers.communicate()[0].split()) if leavers else (0, 0)
    return Soaked(
        name=name,
        seconds=seconds,
        subscribers=readers + silent,
        events=sum(window["events"] for window in windows),
        lost=sum(window["lost"] for window in windows),
        p99_ms=max(window["p99_ms"] for window in windows),
        slowest_ms=max(window["slowest_ms"] for window in windows),
        pushes_per_s=sum(window["per_second"] for window in windows) / count,
        asked_alone_ms=alone.p99_ms,
        asked_ms=max(window["asked_ms"] for window in windows),
        mb_first=memory[0],
        mb_last=memory[-1],
        open_first=descriptors[0],
        open_last=descriptors[-1],
        came=came,
        wrong=wrong,
    )


def _leavers(subject: Subject, per_minute: int, seconds: float) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "bench.push.leavers", str(subject.place.port), str(per_minute), f"{seconds:g}"]
    return subprocess.Popen(pinned(GENERATOR_CORE, words), stdout=subprocess.PIPE, text=True)


def _open_files(subject: Subject) -> int:
    """The file descriptors of all processes of the server."""
    return sum(len(os.listdir(PROC / str(pid) / "fd")) for pid in subject.server.pids())


if __name__ == "__main__":
    main()
