"""An hour of ordinary load: what a worker holds does not grow."""

import asyncio
import os

from bench.drills.drill import Allowed, Drill, Notes
from bench.drills.exchanges import LOAD
from bench.drills.scene import Scene, scene

# So often it is looked, and the first tenth is for what fills once and stays.
LOOKS, FIRST = 60, 6
HOUR_SECONDS = 3600.0
MORE_MB, MORE_DESCRIPTORS, MORE_THREADS = 5, 20, 2


async def soak(notes: Notes, size: float) -> None:
    """Sixty looks at memory, descriptors and threads, the most of the late ones held against the most of the early."""
    async with scene(notes) as stage:
        looks = list[tuple[int, int, int]]()
        for _ in range(LOOKS):
            await asyncio.sleep(HOUR_SECONDS * size / LOOKS)
            looks.append((stage.memory_mb(), _held(stage, "fd"), _held(stage, "task")))
        await stage.recovered()
    middle = (FIRST + LOOKS) // 2
    early, late = map(max, zip(*looks[FIRST:middle], strict=True)), map(max, zip(*looks[middle:], strict=True))
    for what, most, before, after in zip(
        ("MB", "descriptors", "threads"), (MORE_MB, MORE_DESCRIPTORS, MORE_THREADS), early, late, strict=True
    ):
        notes.seen[f"{what}: at most {before} in the first half, {after} in the second"] += 1
        notes.expect(after - before <= most, f"{after - before} {what} more in the second half than in the first")


def _held(stage: Scene, kind: str) -> int:
    """How many descriptors, `fd`, or threads, `task`, all workers have together."""
    return sum(len(os.listdir(f"/proc/{pid}/{kind}")) for service in stage.services for pid in service.workers)


DRILL = Drill("soak", "an hour of load leaves memory, descriptors and threads as they were", LOAD,
              "none", soak, Allowed(), "test_make.py", (26,), most_seconds=HOUR_SECONDS + 240)  # fmt: skip
