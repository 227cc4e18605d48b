"""Python code that runs first in every process of a drilled service: a clock that can be set, or a patch."""

import mmap
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from bench.processes import environment

# Code that runs in every service of every scene: the removal of a protection.
everywhere: list[str] = []
CLOCK = """
import mmap, struct, time
with open({path!r}, "r+b") as file:
    shift = mmap.mmap(file.fileno(), 8)
def shifted(now_ns):
    return lambda: now_ns() + struct.unpack("q", shift[:8])[0]
time.time_ns = shifted(time.time_ns)
time.time = lambda: time.time_ns() / 1e9
"""


def environ(directory: Path, *code: str) -> dict[str, str]:
    """Environment variables that make a Python process run this code at its start."""
    if not (code := (*code, *everywhere)):
        return {}
    directory.mkdir(exist_ok=True)
    (directory / "sitecustomize.py").write_text("\n".join(code))
    return {"PYTHONPATH": f"{directory}:{environment({})['PYTHONPATH']}"}


class WallClock:
    """A wall clock that this process and services share, and that can be set; `code` is for their processes."""

    def __init__(self, directory: Path) -> None:
        path = directory / "shift"
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._shift = mmap.mmap(file.fileno(), 8)
        self.code = CLOCK.format(path=str(path))

    def step(self, seconds: float) -> None:
        """Move the clock by `seconds` relative to the true time."""
        now, = struct.unpack("q", self._shift[:8])
        self._shift[:8] = struct.pack("q", now + round(seconds * 1e9))

    @contextmanager
    def here(self) -> Iterator[None]:
        """Let this process use the clock too."""
        true_ns = time.time_ns

        def shifted() -> int:
            return int(true_ns() + struct.unpack("q", self._shift[:8])[0])

        with patch.object(time, "time_ns", shifted), patch.object(time, "time", lambda: shifted() / 1e9):
            yield
