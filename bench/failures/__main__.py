"""Let a fleet start cold, lose its caller and lose Redis, and say what came of it."""

import argparse
import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bench import machine
from bench.failures import outage, replicas, streaming, takeover
from bench.processes import missing, stop_on_signal
from bench.report import save
from bench.tables import failures_tables

ENOUGH = {"intervals": 100, "kills": 100, "listeners": 20, "stop": 60}
MEASURES: dict[str, tuple[str, Callable[[int], Awaitable[dict[str, Any]]]]] = {
    "replicas": ("intervals", replicas.measure),
    "takeover": ("kills", takeover.measure),
    "streaming": ("listeners", streaming.measure),
    "outage": ("stop", outage.measure),
}


def main() -> None:
    words = argparse.ArgumentParser(prog="make bench-failures", description=__doc__)
    words.add_argument("--intervals", type=int, default=ENOUGH["intervals"])
    words.add_argument("--kills", type=int, default=ENOUGH["kills"])
    words.add_argument("--listeners", type=int, default=ENOUGH["listeners"], help="how many of them are killed")
    words.add_argument("--stop", type=int, default=ENOUGH["stop"], help="for how many seconds Redis is stopped")
    words.add_argument("--only", choices=list(MEASURES))
    words.add_argument("--note", action="append", default=[], help="what else to know of the machine")
    given = words.parse_args()
    if lacking := missing("redis-server", "hey"):
        sys.exit(f"cannot measure without {' and '.join(lacking)}")
    stop_on_signal()
    facts = machine.facts()
    machine.raise_open_files()
    notes = list(given.note)
    if warning := machine.disturbance():
        notes.append(f"Mind: {warning}.")
        print(notes[-1])
    measured = []
    for name, (size, measure) in MEASURES.items():
        if given.only in (None, name):
            print(f"{name} ...", flush=True)
            measured.append(asyncio.run(_measured(measure, getattr(given, size))))
    result = {"machine": facts, "versions": machine.versions(), "notes": notes, "measured": measured}
    print(failures_tables(result))
    save("failures", result, enough=not given.only and all(getattr(given, size) >= ENOUGH[size] for size in ENOUGH))
    sys.exit(any(row["met"] is False for part in measured for row in part["rows"]))


async def _measured(measure: Callable[[int], Awaitable[dict[str, Any]]], size: int) -> dict[str, Any]:
    return await measure(size)


if __name__ == "__main__":
    main()
