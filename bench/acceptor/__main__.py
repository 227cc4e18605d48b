"""Let connections come in every way that is hard for a service, and say what has become of them."""

import argparse
from functools import partial
from typing import Any

from bench import machine
from bench.acceptor import bursts, come_and_go, sharing, signals
from bench.connections.parts import Case, Part, chosen, measured
from bench.peers.rounds import Measure, Surroundings, started, surroundings
from bench.processes import stop_on_signal
from bench.report import save
from bench.tables import connections_tables

PARTS: tuple[Part, ...] = (*come_and_go.PARTS, *bursts.PARTS, *signals.PARTS, *sharing.PARTS)
# With these rounds the whole run takes about ten minutes. What must never happen is counted in every round.
ENOUGH_ROUNDS = 3
# A median would hide a loss in one round of three: for these measures the sum is shown.
SUMS = ("opened", *signals.COUNTED, "overflows", "errors")


def main() -> None:
    names = [part.name for part in PARTS]
    servers = dict.fromkeys(case.peer.name for part in PARTS for case in part.cases)
    words = argparse.ArgumentParser(prog="make bench-acceptor", description=__doc__)
    words.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS)
    words.add_argument("--seconds", type=int, default=4)
    words.add_argument("--only", nargs="+", choices=[*names, *servers], default=[], help="parts, their rows, or both")
    given = words.parse_args()
    stop_on_signal()
    facts, files = machine.facts(), machine.raise_open_files()
    if warning := machine.disturbance():
        print(f"mind: {warning}")
    with surroundings() as around:
        measure = partial(_measure, around, given.seconds)
        parts = [summed(measured(part, measure, given.rounds, files)) for part in chosen(PARTS, given.only)]
    result = {"machine": facts, "versions": machine.versions(), "rounds": given.rounds, "seconds": given.seconds,
              "parts": parts}  # fmt: skip
    print(connections_tables(result))
    save("acceptor", result, enough=given.rounds >= ENOUGH_ROUNDS and not given.only)


def summed(part: dict[str, Any]) -> dict[str, Any]:
    """A part whose rows and targets have the sums of all rounds in place of the medians, for the measures in SUMS."""
    sums = {row["name"]: {name: sum(one[name] for one in row["each"]) for name in SUMS if name in row}
            for row in part["rows"]}  # fmt: skip
    for row in part["rows"]:
        row |= sums[row["name"]]
    for target in part["targets"]:
        if target["measure"] in SUMS:
            target["ratio"] = sums[target["ours"]][target["measure"]]
            target["met"] = target["ratio"] <= target["most"]
    return part


def _measure(around: Surroundings, seconds: int, case: Case) -> Measure:
    with started(case.peer, around) as subject:
        return case.measure(subject, seconds)


if __name__ == "__main__":
    main()
