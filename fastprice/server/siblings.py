"""How many connections each worker of a service has, so that the workers share new ones evenly.

The workers share one listening socket, so that another worker takes what a stopped or full one does not. But the kernel
wakes all of them for each connection, and the fastest accepts it: 300 clients of eight workers were once spread as
109, 95, 89, 4, 1, 1, 2 and 0. So a worker that has more connections than another one lets that one go first.
"""

import math
import mmap
from struct import Struct

MAX_WORKERS = 512
# A row is written at least once a second; a row older than this belongs to a worker that is stopped or gone.
ALIVE_SECONDS = 2.5
# Connections that are closed at once are counted in windows of this length; a count of open ones would miss them.
WINDOW_SECONDS = 0.1
# Connections kept; those taken in a window; the number of that window; until when the worker counts as alive.
ROW = Struct("dddd")


class Siblings:
    """A row for each worker, in shared memory; the worker writes it, and the master clears it after the worker's end.

    Times are those of the monotonic clock, which all processes of a machine share.
    """

    def __init__(self, workers: int) -> None:
        self._rows = mmap.mmap(-1, MAX_WORKERS * ROW.size)
        self._workers = workers

    def tell(self, slot: int, kept: int, taken: int, now: float) -> None:
        """Say how many connections this worker keeps, and has taken in the current window."""
        if slot < MAX_WORKERS:
            ROW.pack_into(self._rows, slot * ROW.size, kept, taken, now // WINDOW_SECONDS, now + ALIVE_SECONDS)

    def forget(self, slot: int) -> None:
        """Stop counting a worker that has ended."""
        if slot < MAX_WORKERS:
            ROW.pack_into(self._rows, slot * ROW.size, 0, 0, 0, 0)

    def fewest(self, slot: int, now: float) -> float:
        """The load of the living sibling that has the least; infinite where there is none."""
        window, fewest = now // WINDOW_SECONDS, math.inf
        for place in range(min(max(self._workers, slot + 1), MAX_WORKERS)):
            kept, taken, in_window, alive_until = ROW.unpack_from(self._rows, place * ROW.size)
            if place != slot and now < alive_until:
                fewest = min(fewest, kept + (taken if in_window == window else 0))
        return fewest
