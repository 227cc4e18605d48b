"""How old a message is when it is read: if that is later than usual after its own stamp, it has waited on its way."""

from dataclasses import replace

from fastprice.application.live_ports import Update
from fastprice.domain.quote import MAX_SKEW_MS

# A message that comes so much later than usual waited somewhere; networks alone make less difference.
LATE_MS = 300
# The usual delay is the least one in the last one or two windows: clocks are set, and run at different paces.
WINDOW_MS = 60_000


class Delays:
    """Learns from the updates of one stream, by channel, how long after its stamp a message is read at best.

    1. A connection stalls, and messages wait in it. 2. It goes on, and all of them are read at once. By the time of
    reading, they would seem to be new.
    """

    def __init__(self) -> None:
        # When the current window began, its least delay, and that of the window before.
        self._windows: dict[str, tuple[int, int, int]] = {}

    def judged(self, channel: str, update: Update, now_ms: int) -> Update:
        """The update as it would have been read without a delay; `now_ms` is when it is taken."""
        if update.time_ms is None or update.time_ms > now_ms + MAX_SKEW_MS:
            return update
        # Not by `read_at_ms`, which is earlier than the actual reading if the event loop stood still.
        least_ms = self._learn(channel, now_ms - update.time_ms, now_ms)
        delay_ms = update.read_at_ms - update.time_ms - least_ms
        return replace(update, read_at_ms=update.read_at_ms - delay_ms) if delay_ms > LATE_MS else update

    def _learn(self, channel: str, lag_ms: int, now_ms: int) -> int:
        began_ms, least_ms, before_ms = self._windows.get(channel, (now_ms, lag_ms, lag_ms))
        if not 0 <= now_ms - began_ms < WINDOW_MS:
            began_ms, before_ms, least_ms = now_ms, least_ms, lag_ms
        self._windows[channel] = began_ms, min(least_ms, lag_ms), before_ms
        return min(least_ms, lag_ms, before_ms)
