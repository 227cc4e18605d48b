"""The clocks of a connection: any frame, any data, the first data, its life; plain state, in monotonic seconds.

A single silent pair is no reason to end a connection: the polls detect it.
"""

from fastprice.domain.errors import SourceDown
from fastprice.infrastructure.exchanges.stream import Stream
from fastprice.infrastructure.exchanges.subscriptions import Subscriptions
from fastprice.infrastructure.exchanges.websocket import Ended

# How long the first data may take where nothing is acknowledged either.
FIRST_DATA_SECONDS = 15.0


class Clocks:
    """`frame_at` and `data_at` are when the last frame and the last data came."""

    def __init__(self, stream: Stream, life_share: float, now: float) -> None:
        self._patience = stream.patience
        self._life_seconds = stream.lifetime_seconds * life_share
        self.begin(now)

    def begin(self, now: float) -> None:
        """The connection is established."""
        self.frame_at = self._began = now
        self.data_at: float | None = None

    def end(self, now: float, subscriptions: Subscriptions) -> Ended | None:
        """Why the connection must be given up, or None."""
        patience = self._patience
        if now - self.frame_at > patience.any_frame:
            return Ended("silent", SourceDown(f"nothing came by its stream for {patience.any_frame:g} s"))
        if self.data_at is not None:
            if patience.any_data and now - self.data_at > patience.any_data:
                return Ended("no_data", SourceDown(f"its stream told no price for {patience.any_data:g} s"))
        elif subscriptions.sent_at is not None:
            # An acknowledged pair may be one that nobody trades just now.
            seconds = patience.any_data if subscriptions.is_acknowledged else FIRST_DATA_SECONDS
            if seconds and now - subscriptions.sent_at > seconds:
                return Ended("no_data", SourceDown(f"its stream told no price within {seconds:g} s"))
        return None

    def life_is_over(self, now: float) -> bool:
        """Whether the exchange is about to cut the connection because of its age."""
        return bool(self._life_seconds) and now - self._began > self._life_seconds
