"""Measure every axis of growth, point by point, and say what grew."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from bench import machine
from bench.growth.points import (
    FLEET_WORKERS, Row, by_connections, by_pairs, by_pairs_as_medians, by_pairs_of_a_fleet, by_workers
)
from bench.processes import missing, stop_on_signal
from bench.report import save
from bench.tables import growth_tables

ENOUGH_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Axis:
    """Something that grows: its points, how one of them is measured, the measures, and the charts made of them."""

    name: str
    about: str
    points: Sequence[int]
    measure: Callable[[int, int], Row]
    measures: dict[str, str]
    charts: dict[str, dict[str, str]]


AXES = (
    Axis("pairs", "One worker, 300 connections that ask for every pair in turn.", (1, 10, 100, 500, 1000), by_pairs,
         {"cpu_us": "CPU µs per request", "net_us": "without the refresh", "refresh_ms": "refresh, CPU ms per s",
          "calls": "upstream calls per s", "fresh": "pairs with a fresh price", "pss_mb": "PSS MB", "wrong": "errors"},
         {"CPU µs per request": {"cpu_us": "in all", "net_us": "without the refresh"},
          "PSS of the service in MB": {"pss_mb": "PSS"}}),
    Axis("pairs-as-medians", "One worker with `PRICE_MODE=median`, which asks all nine sources in each round.",
         (1, 100, 500), by_pairs_as_medians,
         {"refresh_ms": "refresh, CPU ms per s", "calls": "upstream calls per s", "fresh": "pairs with a fresh price",
          "cpu_us": "CPU µs per request", "pss_mb": "PSS MB", "wrong": "errors"},
         {"refresh, CPU ms per s": {"refresh_ms": "refresh"}}),
    Axis("pairs-on-redis", f"{FLEET_WORKERS} workers on one core, over one Redis; operations as below.",
         (1, 100, 500), by_pairs_of_a_fleet,
         {"refresh_ms": "refresh of all workers, CPU ms per s", "calls": "upstream calls per s",
          "fresh": "pairs with a fresh price", "operations": "Redis operations per s", "cpu_us": "CPU µs per request",
          "pss_mb": "PSS MB", "wrong": "errors"},
         {"per second": {"calls": "upstream calls", "operations": "Redis operations"}}),
    Axis("connections", "One worker, one pair.", (10, 100, 1000, 10000), by_connections,
         {"cpu_us": "CPU µs per request", "per_second": "requests per s", "p50_ms": "p50 ms", "p99_ms": "p99 ms",
          "pss_mb": "PSS MB", "wrong": "errors"},
         {"CPU µs per request": {"cpu_us": "CPU"}, "PSS of the service in MB": {"pss_mb": "PSS"}}),
    Axis("workers", "All workers on one core, over one Redis; operations with those inside of scripts.", (1, 2, 4, 8),
         by_workers,
         {"cpu_us": "CPU µs per request", "p99_ms": "p99 ms", "pss_mb": "PSS MB", "calls": "upstream calls per s",
          "operations": "Redis operations per s", "operations_each": "per worker", "wrong": "errors"},
         {"PSS of the service in MB": {"pss_mb": "PSS"},
          "per second": {"calls": "upstream calls", "operations_each": "Redis ops per worker"}}),
)  # fmt: skip


def main() -> None:
    words = argparse.ArgumentParser(prog="make bench-growth", description=__doc__)
    words.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS)
    words.add_argument("--seconds", type=int, default=4)
    words.add_argument("--only", choices=[axis.name for axis in AXES])
    words.add_argument("--points", type=int, help="measure only so many points of each axis, the smallest ones")
    given = words.parse_args()
    stop_on_signal()
    facts, files = machine.facts(), machine.raise_open_files()
    notes = [f"Each process may open {files:,} files."]
    if warning := machine.disturbance():
        print(f"mind: {warning}")
    axes = [
        grown(replace(axis, points=axis.points[:given.points]), given.rounds, given.seconds, files, notes)
        for axis in AXES
        if given.only in (None, axis.name)
    ]
    result = {"machine": facts, "versions": machine.versions(), "rounds": given.rounds, "seconds": given.seconds,
              "notes": notes, "axes": [axis for axis in axes if axis]}  # fmt: skip
    print(growth_tables(result))
    save("growth", result, enough=given.rounds >= ENOUGH_ROUNDS and not given.only and not given.points)


def grown(axis: Axis, rounds: int, seconds: int, files: int, notes: list[str]) -> dict[str, Any] | None:
    """An axis with the medians of every point; points that this machine cannot reach are always noted."""
    lacking = missing("wrk", *(["redis-server"] if "redis" in axis.about.lower() else []))
    points = [point for point in axis.points if axis.name != "connections" or point + machine.SPARE_FILES <= files]
    if lacking or len(points) < len(axis.points):
        notes.append(f"Skipped of {axis.name}: {', '.join(lacking) or 'more connections than files'}.")
        print(notes[-1])
    if lacking:
        return None
    rows = {point: [_measured(axis, point, seconds) for _ in range(rounds)] for point in points}
    medians = [{"at": point} | {name: round(median(row[name] for row in each), 3) for name in axis.measures}
               for point, each in rows.items()]  # fmt: skip
    return {"name": axis.name, "about": axis.about, "measures": axis.measures, "charts": axis.charts, "rows": medians}


def _measured(axis: Axis, point: int, seconds: int) -> Row:
    row = axis.measure(point, seconds)
    print(f"{point:,} {axis.name}: {row['cpu_us']:.1f} µs, {row['pss_mb']:.0f} MB", flush=True)
    return row


if __name__ == "__main__":
    main()
