"""Measure every part, each server in every round, and say how the service compares."""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from bench import machine
from bench.connections import crowd, people, short, spread, surface
from bench.connections.parts import Case, Part
from bench.peers.rounds import ENOUGH_ROUNDS, Measure, Surroundings, available, in_rounds, row, started, surroundings
from bench.peers.targets import reached
from bench.processes import stop_on_signal
from bench.report import save
from bench.tables import connections_tables

PARTS: tuple[Part, ...] = (*short.PARTS, *crowd.PARTS, *spread.PARTS, *people.PARTS, *surface.PARTS)


def main() -> None:
    names = [part.name for part in PARTS]
    servers = dict.fromkeys(case.peer.name for part in PARTS for case in part.cases)
    words = argparse.ArgumentParser(prog="make bench-connections", description=__doc__)
    words.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS)
    words.add_argument("--seconds", type=int, default=4)
    words.add_argument("--only", nargs="+", choices=[*names, *servers], default=[], help="parts, servers, or both")
    given = words.parse_args()
    stop_on_signal()
    facts, files = machine.facts(), machine.raise_open_files()
    if warning := machine.disturbance():
        print(f"mind: {warning}")
    with surroundings() as around:
        parts = [measured(part, around, given.rounds, given.seconds, files) for part in chosen(given.only)]
    result = {"machine": facts, "versions": machine.versions(), "rounds": given.rounds, "seconds": given.seconds,
              "parts": parts}  # fmt: skip
    print(connections_tables(result))
    save("connections", result, enough=given.rounds >= ENOUGH_ROUNDS and not given.only)


def chosen(only: Sequence[str]) -> list[Part]:
    """The named parts, or all where none is named; of each the named servers likewise."""
    parts = [part for part in PARTS if part.name in only] or list(PARTS)
    servers = {name for name in only if name not in {part.name for part in PARTS}}
    if not servers:
        return parts
    fewer = [replace(part, cases=[case for case in part.cases if case.peer.name in servers]) for part in parts]
    return [part for part in fewer if part.cases]


def measured(part: Part, around: Surroundings, rounds: int, seconds: int, files: int) -> dict[str, Any]:
    """A part with the medians of every server; what this machine cannot do is said, never silently left out."""
    print(f"{part.title} ...", flush=True)
    here, skipped = available([case.peer for case in part.cases])
    if part.files + machine.SPARE_FILES > files:
        here, skipped = [], {part.title: [f"{part.files:,} open files"]}
        print(f"skipped: {part.title} (only {files:,} open files)")
    cases = [case for case in part.cases if case.peer in here]
    measures = in_rounds({case.peer.name: partial(_measure, case, around, seconds) for case in cases}, rounds)
    return {
        "name": part.name,
        "title": part.title,
        "about": part.about,
        "measures": dict(part.measures),
        "skipped": skipped,
        "rows": [row(peer, measures[peer.name]) for peer in here],
        "targets": reached(measures, part.targets),
    }


def _measure(case: Case, around: Surroundings, seconds: int) -> Measure:
    with started(case.peer, around) as subject:
        return case.measure(subject, seconds)


if __name__ == "__main__":
    main()
