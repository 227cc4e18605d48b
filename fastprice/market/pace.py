"""What the whole market shares: its clock, whether limits are enforced, and how often streams push."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Pace:
    """With `every_ms`, all channels push at that interval, else as documented; `clock` measures waiting times."""

    now_ms: Callable[[], int]
    limits: bool = False
    every_ms: int | None = None
    clock: Callable[[], float] = time.monotonic
