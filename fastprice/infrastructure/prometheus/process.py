"""What this process uses and may use, as Linux reports it."""

import contextlib
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
MEMORY = Path("/proc/self/smaps_rollup")


def usable_cores(quota: Path = QUOTA) -> float:
    """How many cores the processes of this container can keep busy: those of the machine, or its CPU limit."""
    has_affinity = hasattr(os, "sched_getaffinity")  # macOS lacks it.
    cores = float(len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError):  # No such file, or `max`: there is no limit.
        microseconds, period = map(int, quota.read_text().split())
        cores = min(cores, microseconds / period)
    return cores


def memory_bytes(source: Path = MEMORY) -> int:
    """This process's memory (PSS: pages shared with siblings are divided among them); 0 where it is not known.

    The kernel needs about a millisecond for it, so do not call it on the event loop.
    """
    with contextlib.suppress(OSError):
        for name, kilobytes, *_ in map(str.split, source.read_text().splitlines()[1:]):
            if name == "Pss:":
                return int(kilobytes) * 1024
    return 0
