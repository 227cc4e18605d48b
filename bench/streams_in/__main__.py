"""Measure how soon a price that an exchange pushes is everywhere, and what taking pushes in costs."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from bench import machine
from bench.processes import missing, stop_on_signal
from bench.report import save
from bench.streams_in import load, steps
from bench.tables import streams_tables
from fastprice.infrastructure.exchanges import EXCHANGES

STREAMING = [name for name, exchange in EXCHANGES.items() if exchange.stream]
ENOUGH_STEPS, ENOUGH_SECONDS, ENOUGH_ROUNDS, ENOUGH_BURSTS = 1000, 20.0, 3, 5
# One exchange with messages of typical length, so that many come in a second.
BUSY = "okx"
PARTS = ("embedded", "redis", "cpu", "requests", "burst")


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench-streams", description=__doc__)
    parser.add_argument("--steps", type=int, default=ENOUGH_STEPS, help="price steps of each exchange")
    parser.add_argument("--seconds", type=float, default=ENOUGH_SECONDS, help="of each measurement under load")
    parser.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS, help="measurements under load, of which medians")
    parser.add_argument("--only", nargs="+", choices=[*PARTS, *STREAMING], default=[], help="parts, exchanges, or both")
    parser.add_argument("--note", action="append", default=[], help="what else to know of the machine")
    given = parser.parse_args(words)
    stop_on_signal()
    facts, notes = machine.facts(), list(given.note)
    machine.raise_open_files()
    if warning := machine.disturbance():
        notes.append(f"Mind: {warning}.")
        print(notes[-1])
    parts = [part for part in PARTS if part in given.only] or list(PARTS)
    if "redis" in parts and missing("redis-server"):
        parts.remove("redis")
        notes.append("Over Redis nothing was measured, because redis-server is not here.")
    names = [name for name in STREAMING if name in given.only] or STREAMING
    found = [_measured(part, names, given) for part in parts]
    result = {"machine": facts, "versions": machine.versions(), "notes": notes, "parts": found}
    print(streams_tables(result))
    save("streams", result, enough=not given.only and given.steps >= ENOUGH_STEPS
         and given.seconds >= ENOUGH_SECONDS and given.rounds >= ENOUGH_ROUNDS)  # fmt: skip
    return 0


def _measured(part: str, names: Sequence[str], given: argparse.Namespace) -> dict[str, Any]:
    """Measure one part; returns it with its description, as it is saved."""
    print(f"{part} ...", flush=True)
    if part in ("embedded", "redis"):
        rows = steps.of_exchanges(names, given.steps, part == "redis")
        return {"name": part, "about": ABOUT[part], "exchanges": rows}
    if part == "cpu":
        return {"name": part, "about": ABOUT[part], "rows": load.cpu(BUSY, given.seconds, given.rounds)}
    if part == "requests":
        return {"name": part, "about": ABOUT[part], "rows": load.beside(BUSY, given.seconds, given.rounds)}
    count = ENOUGH_BURSTS if given.rounds >= ENOUGH_ROUNDS else 1
    return {"name": part, "about": ABOUT[part], "rows": load.bursts(BUSY, count)}


ABOUT = {
    "embedded": f"One replica of {steps.WORKERS} workers with the embedded store, one exchange at a time,"
    " REFRESH_INTERVAL=5 and STREAM_INTERVAL=0: from the exchange's push of a price to the moment when the last worker"
    " answers with it.",
    "redis": f"{steps.REPLICAS} replicas of {steps.WORKERS} workers over Redis, likewise; and to each single subscriber"
    " of the replicas that do not lead: exchange, leader, Redis, another replica, subscriber.",
    "cpu": f"{load.PAIRS} pairs of one exchange that pushes about 3,000 frames a second; {load.WORKERS} workers on one"
    " core, the market on the other; default settings.",
    "requests": f"The same with one worker, and a request for a price every {load.ASK_SECONDS * 1000:g} ms.",
    "burst": f"{load.BURST_FRAMES:,} frames at once to one worker with {load.BURST_PAIRS} pairs, and a request every"
    f" {load.BURST_ASK_SECONDS * 1000:g} ms until they are read.",
}

if __name__ == "__main__":
    sys.exit(main())
