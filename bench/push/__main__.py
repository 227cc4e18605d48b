"""Measure every part, each server in every round, and say how the service compares."""

import argparse
from functools import partial

from bench import machine
from bench.connections.parts import Case, chosen, measured
from bench.peers.rounds import ENOUGH_ROUNDS, Measure, Surroundings, started, surroundings
from bench.processes import stop_on_signal
from bench.push.parts import PARTS
from bench.push.reader import streams
from bench.report import save
from bench.tables import connections_tables

# An exchange that answers ten times per second without being late.
EXCHANGE_SECONDS = 0.01


def main() -> None:
    names = [part.name for part in PARTS]
    servers = dict.fromkeys(case.peer.name for part in PARTS for case in part.cases)
    words = argparse.ArgumentParser(prog="make bench-push", description=__doc__)
    words.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS)
    words.add_argument("--seconds", type=int, default=4)
    words.add_argument("--only", nargs="+", choices=[*names, *servers], default=[], help="parts, servers, or both")
    given = words.parse_args()
    stop_on_signal()
    facts, files = machine.facts(), machine.raise_open_files()
    if warning := machine.disturbance():
        print(f"mind: {warning}")
    with surroundings(EXCHANGE_SECONDS) as around:
        measure = partial(_measure, around, given.seconds)
        parts = [measured(part, measure, given.rounds, files) for part in chosen(PARTS, given.only)]
    result = {"machine": facts, "versions": machine.versions(), "rounds": given.rounds, "seconds": given.seconds,
              "parts": parts}  # fmt: skip
    print(connections_tables(result, beside="floor"))
    save("push", result, enough=given.rounds >= ENOUGH_ROUNDS and not given.only)


def _measure(around: Surroundings, seconds: int, case: Case) -> Measure:
    with started(case.peer, around, streams) as subject:
        return case.measure(subject, seconds)


if __name__ == "__main__":
    main()
