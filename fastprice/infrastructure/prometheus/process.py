"""What this process uses and may use, as Linux tells it."""

import contextlib
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
MEMORY = Path("/proc/self/smaps_rollup")


def usable_cores(quota: Path = QUOTA) -> float:
    """How many cores the processes of this container can keep busy: those of the machine, or its limit of CPU time."""
    has_affinity = hasattr(os, "sched_getaffinity")  # As macOS has not.
    cores = float(len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1)
    with contextlib.suppress(OSError, ValueError):  # No such file, or `max`: there is no limit.
        microseconds, period = map(int, quota.read_text().split())
        cores = min(cores, microseconds / period)
    return cores


def memory_bytes(source: Path = MEMORY) -> int:
    """This process's memory (PSS), pages that siblings share divided among them; 0 where the system does not tell.

    The kernel needs about a millisecond for it, so it is not for the event loop.
    """
    with contextlib.suppress(OSError):
        for name, kilobytes, *_ in map(str.split, source.read_text().splitlines()[1:]):
            if name == "Pss:":
                return int(kilobytes) * 1024
    return 0
