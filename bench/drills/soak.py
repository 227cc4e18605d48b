"""An hour of ordinary load: what a worker holds does not grow."""

import asyncio
import os
import signal
import tempfile
from pathlib import Path

from bench.drills.drill import Allowed, Drill, Notes
from bench.drills.exchanges import LOAD
from bench.drills.scene import Scene, scene

# How many looks there are; the first tenth is for what fills up once and stays.
LOOKS, FIRST = 60, 6
HOUR_SECONDS = 3600.0
# What is looked at, and by how much it may grow in the second half.
MORE = {"MB": 5, "descriptors": 20, "threads": 2, "tasks": 20}
# A worker that gets this signal reports how many tasks its loop has; nothing else uses the signal.
ASKS = signal.SIGRTMIN
TELL = """
import asyncio, os, signal
def tell(number, frame):
    with open(f"{directory}/{{os.getpid()}}", "w") as file:
        file.write(f"{{len(asyncio.all_tasks())}}.")
signal.signal(signal.SIGRTMIN, tell)
"""
LOOK_SECONDS = 0.01


async def soak(notes: Notes, size: float) -> None:
    """Sixty looks at what workers hold; the maximum of the late ones is compared with the maximum of the early ones."""
    with tempfile.TemporaryDirectory() as told:
        async with scene(notes, code=(TELL.format(directory=told),)) as stage:
            looks = list[tuple[int, ...]]()
            for _ in range(LOOKS):
                await asyncio.sleep(HOUR_SECONDS * size / LOOKS)
                looks.append((stage.memory_mb(), _held(stage, "fd"), _held(stage, "task"), await _tasks(stage, told)))
            await stage.recovered()
    middle = (FIRST + LOOKS) // 2
    early, late = map(max, zip(*looks[FIRST:middle], strict=True)), map(max, zip(*looks[middle:], strict=True))
    for (what, most), before, after in zip(MORE.items(), early, late, strict=True):
        notes.seen[f"{what}: at most {before} in the first half, {after} in the second"] += 1
        notes.expect(after - before <= most, f"{after - before} {what} more in the second half than in the first")


def _workers(stage: Scene) -> list[int]:
    return [pid for service in stage.services for pid in service.workers]


def _held(stage: Scene, kind: str) -> int:
    """How many descriptors, `fd`, or threads, `task`, all workers have together."""
    return sum(len(os.listdir(f"/proc/{pid}/{kind}")) for pid in _workers(stage))


async def _tasks(stage: Scene, directory: str) -> int:
    """How many tasks the loops of all workers have together."""
    count = 0
    for pid in _workers(stage):
        os.kill(pid, ASKS)
        file = Path(directory) / str(pid)
        while not (file.exists() and (text := file.read_text()).endswith(".")):
            await asyncio.sleep(LOOK_SECONDS)
        file.unlink()
        count += int(text.removesuffix("."))
    return count


DRILL = Drill("soak", "an hour of load leaves memory, descriptors, threads and tasks as they were", LOAD,
              "none", soak, Allowed(), "test_make.py", (26,), most_seconds=HOUR_SECONDS + 240)  # fmt: skip
