"""Play every scenario in virtual time, and say what was seen."""

import argparse
import time
from collections.abc import Sequence

from bench.fleet.measure import Row, played
from bench.fleet.scenarios import FAILURES, GROWTH, SEED, Scenario
from bench.report import save
from bench.tables import fleet_tables

# A few scenarios that take seconds, for a quick check.
QUICK_WORKERS, QUICK_FAILURES = 80, ("Redis dead for 30 s, then empty", "12 of 25 machines cut off for 30 s")


def main() -> None:
    words = argparse.ArgumentParser(prog="make bench-fleet", description=__doc__)
    words.add_argument("--quick", action="store_true", help="small fleets and a few failures; keeps no figures")
    words.add_argument("--seed", default=SEED)
    given = words.parse_args()
    growth = [scenario for scenario in GROWTH if not given.quick or scenario.workers <= QUICK_WORKERS]
    failures = [scenario for scenario in FAILURES if not given.quick or scenario.name in QUICK_FAILURES]
    result = {"seed": given.seed, "growth": _all(growth, given.seed), "failures": _all(failures, given.seed)}
    print(fleet_tables(result))
    save("fleet", result, enough=not given.quick and given.seed == SEED)


def _all(scenarios: Sequence[Scenario], seed: str) -> list[Row]:
    rows = []
    for scenario in scenarios:
        began = time.perf_counter()
        rows.append(played(scenario, seed))
        print(f"{scenario.name}: played in {time.perf_counter() - began:.1f} s", flush=True)
    return rows


if __name__ == "__main__":
    main()
