"""Play the failure drills: a row for each, exit code 1 if a claim is not kept."""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Sequence
from datetime import date
from typing import Any

from bench import machine
from bench.drills import (  # fmt: skip
    crowds, exchanges, hostile, mixed, places, processes, redis_troubles, soak, stopped
)
from bench.drills.drill import Drill, Notes, row
from bench.processes import missing, stop_on_signal
from bench.report import SMOKE, save
from bench.tables import drills_table

DRILLS: tuple[Drill, ...] = (
    *processes.DRILLS, *stopped.DRILLS, *redis_troubles.DRILLS, *exchanges.DRILLS, *places.DRILLS, *hostile.DRILLS,
    *crowds.DRILLS, *mixed.DRILLS,
)  # fmt: skip
ALL = (*DRILLS, soak.DRILL)
USUAL = {drill.name for drill in DRILLS}
# Rows are saved as they come, so that an interrupted run is not lost.
SO_FAR = SMOKE / "drills-so-far.json"


def main() -> None:
    words = argparse.ArgumentParser(prog="make drills", description=__doc__)
    words.add_argument("--only", nargs="+", choices=[drill.name for drill in ALL], default=[])
    words.add_argument("--size", type=float, default=1.0, help="how long, 1 is the whole; less is not to be quoted")
    words.add_argument("--minutes", type=float, default=mixed.MINUTES, help="how long everything is mixed by chance")
    given = words.parse_args()
    stop_on_signal()
    facts = machine.facts()
    machine.raise_open_files()
    sizes = {True: given.size * given.minutes / mixed.MINUTES, False: given.size}
    rows = [played(drill, sizes[drill.is_combined]) for drill in ALL if drill.name in (given.only or USUAL)]
    result = {"date": f"{date.today():%Y-%m-%d}", "machine": facts, "versions": machine.versions(), "rows": rows}
    print(drills_table(rows))
    is_soak = given.only == [soak.DRILL.name]
    is_whole = given.minutes >= mixed.MINUTES and not given.only
    save("drills-soak" if is_soak else "drills", result, enough=given.size >= 1 and (is_soak or is_whole))
    sys.exit(not all(one["kept"] for one in rows))


def played(drill: Drill, size: float) -> dict[str, Any]:
    """Run one drill and return its row, even if the drill fails."""
    print(f"{drill.name}: {drill.fault} ...", flush=True)
    began, notes = time.monotonic(), Notes()
    if lacking := missing(*drill.needs):
        notes.amiss.append(f"this needs {' and '.join(lacking)}")
    else:
        asyncio.run(_guarded(drill, notes, size))
    one = row(drill, notes, began)
    told(one)
    for place in notes.places:
        if one["kept"]:
            shutil.rmtree(place, ignore_errors=True)
        else:
            print(f"    its logs are kept in {place}", flush=True)
    SO_FAR.parent.mkdir(parents=True, exist_ok=True)
    so_far: Sequence[Any] = json.loads(SO_FAR.read_text()) if SO_FAR.exists() else []
    kept = [*(other for other in so_far if other["name"] != drill.name), one]
    SO_FAR.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")
    return one


async def _guarded(drill: Drill, notes: Notes, size: float) -> None:
    """Record a drill that fails, so that the others go on."""
    try:
        async with asyncio.timeout(drill.most_seconds * max(1, size)):
            await drill.play(notes, size)
    except Exception as error:
        notes.amiss.append(f"{type(error).__name__}: {error}"[:500])


def told(one: dict[str, Any]) -> None:
    verdict = "kept" if one["kept"] else f"NOT KEPT: {'; '.join(one['amiss'])}"
    healed = "" if one["recovered"] is None else f", well again after {one['recovered']} s"
    print(f"  {one['requests']:,} requests, {one['events']:,} events, {one['lost']} lost, {one['wrong']} wrong, oldest"
          f" {one['oldest_ms']} ms{healed}, {one['seconds']} s: {verdict}")  # fmt: skip
    for words in one["seen"]:
        print(f"    {words}", flush=True)


if __name__ == "__main__":
    main()
