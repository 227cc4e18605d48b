"""What everything in a market goes by: its clock, whether limits are enforced, and how fast streams go."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Pace:
    """With `every_ms`, all channels push as often, else as documented; `clock` is what waiting is measured with."""

    now_ms: Callable[[], int]
    limits: bool = False
    every_ms: int | None = None
    clock: Callable[[], float] = time.monotonic
