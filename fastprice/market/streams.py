"""All WebSocket feeds of a market: the beat that pushes changed prices, and the faults that are set for streams."""

import asyncio
import contextlib
import time
from collections.abc import Iterable, Mapping
from functools import cached_property

from fastprice.domain.quote import Pair
from fastprice.market.acts import ACTS
from fastprice.market.breaks import BREAKS
from fastprice.market.connection import Connection
from fastprice.market.deeds import DEEDS
from fastprice.market.dialects import DIALECTS
from fastprice.market.feed import Feed
from fastprice.market.handshakes import HANDSHAKES
from fastprice.market.pace import Pace
from fastprice.market.source import Source
from fastprice.market.stream_switch import NONE_SET, StreamSwitch
from fastprice.market.walk import STEP_MS

STREAM_FAULTS = BREAKS | ACTS | DEEDS | HANDSHAKES
STREAM_MEANINGS = {name: (fault.__doc__ or "").strip() for name, fault in STREAM_FAULTS.items()}
DEFAULT_SECONDS = {
    "old": 3600.0, "ahead": 50.0, "planned_cut": 5.0, "lifetime": 24.0, "drip": 1.0, "handshake_429": 5.0,
}  # fmt: skip
OTHERWISE_SECONDS = 0.5
# This many pairs are pushed together; more are spread over the time between two steps of the walk.
PAIRS_TOGETHER, MOST_SLICES = 20, 10
TEND_SECONDS = 1.0


class Streams:
    """The feeds by source, from `start` to `stop`."""

    def __init__(self, sources: Mapping[str, Source], pairs: Iterable[Pair], pace: Pace) -> None:
        self.pace = pace
        self.feeds = {name: Feed(sources[name], dialect, pace) for name, dialect in DIALECTS.items()}
        self.tended_at = 0.0
        self._pairs = list(pairs)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._beat())

    async def stop(self) -> None:
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for feed in self.feeds.values():
            for connection in list(feed.connections):
                connection.hang_up()

    def moved(self, pair: Pair) -> None:
        """A price was moved by hand: push it now."""
        for feed in self.feeds.values():
            if pair in feed.lines:
                feed.move(pair, by_hand=True)
                feed.flush()

    def set_fault(
        self, feed: Feed, fault: str, seconds: float, factor: float, pairs: frozenset[Pair] | None
    ) -> None:
        """Switch a stream fault on, in place of the one before."""
        now_ms = self.pace.now_ms()
        held = {pair: feed.source.tick(pair, now_ms) for pair in self._pairs} if fault == "frozen" else {}
        self._switch(feed, StreamSwitch(fault, seconds, factor, pairs, held, self.pace.clock()))
        for connection in list(feed.connections):
            self.act(connection)

    def clear_fault(self, feed: Feed) -> None:
        self._switch(feed, NONE_SET)

    def act(self, connection: Connection) -> None:
        """Apply the current fault to a connection."""
        if fault := ACTS.get(connection.feed.switch.fault):
            fault(connection)

    @cached_property
    def _slices(self) -> list[list[Pair]]:
        count = max(1, min(MOST_SLICES, len(self._pairs) // PAIRS_TOGETHER))
        return [self._pairs[number::count] for number in range(count)]

    def _switch(self, feed: Feed, switch: StreamSwitch) -> None:
        feed.switch = switch
        for connection in feed.connections:
            if connection.slow is not None and switch.fault != "drip":
                connection.write(bytes(connection.slow))
                connection.slow = None

    async def _beat(self) -> None:
        """Push each slice of the pairs once per step of the walk, just after the step."""
        pause = STEP_MS / 1000 / len(self._slices)
        while True:
            for pairs in self._slices:
                await asyncio.sleep(pause - time.time() % pause)
                for feed in self.feeds.values():
                    for pair in pairs if feed.lines else ():
                        feed.move(pair)
                    feed.flush()
            if self.pace.clock() - self.tended_at >= TEND_SECONDS:
                self._tend()
                self.tended_at = self.pace.clock()

    def _tend(self) -> None:
        """Once a second: send heartbeats and pings, and disconnect clients that took too long."""
        for feed in self.feeds.values():
            for connection in list(feed.connections):
                connection.tend()
