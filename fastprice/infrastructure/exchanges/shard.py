"""Some topics of an exchange, kept connected: reconnected after a loss, and before a planned cut."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastprice.application.ports import Clock
from fastprice.domain.errors import SourceDown
from fastprice.infrastructure.exchanges.connection import Connection
from fastprice.infrastructure.exchanges.websocket import Ended

logger = logging.getLogger(__name__)

# The pause before a reconnect is a random share of a limit. The limit doubles with each failure, and starts again from
# the first one after a connection was healthy: it lasted for longer than this and delivered prices.
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, HEALTHY_SECONDS = 0.5, 30.0, 60.0
# How long a successor has for its first price, before the old connection, which will be cut anyway, is closed.
TAKEOVER_SECONDS = 20.0


class Shard:
    """Keeps a connection open; `begin` makes a started one when the exchange's budget allows it.

    `ended` is called with the reason why a connection ended, and returns the least pause in seconds before the next
    one, which is ignored if the connection already has a successor.
    """

    def __init__(
        self, begin: Callable[[], Coroutine[Any, Any, Connection]], ended: Callable[[Ended], float],
        clock: Clock, random: Callable[[], float],
    ) -> None:  # fmt: skip
        self.connections: list[Connection] = []
        self._begin_connection = begin
        self._ended = ended
        self._clock = clock
        self._random = random

    async def run(self) -> None:
        """Stay connected until cancelled."""
        failures = 0
        while True:
            connection, began = await self._begin(), self._clock.monotonic()
            try:
                await self._follow(connection)
            except Exception as error:
                end = _end_of(error)
                has_told = any(each.ready.is_set() for each in self.connections)
                is_healthy = has_told and self._clock.monotonic() - began > HEALTHY_SECONDS
                failures = 0 if is_healthy else failures + 1
                pause = self._random() * min(FIRST_PAUSE_SECONDS * 2.0**failures, MAX_PAUSE_SECONDS)
                await self._clock.sleep(max(pause, self._ended(end)))
            finally:
                for each in self.connections:
                    await each.stop()
                self.connections.clear()

    async def _begin(self) -> Connection:
        connection = await self._begin_connection()
        self.connections.append(connection)
        return connection

    async def _follow(self, connection: Connection) -> None:
        """Wait until the connection ends, and raise Ended then; a connection that will be cut is replaced before.

        1. The next connection connects and subscribes. 2. It delivers its first price; until the old one is closed both
        deliver, and duplicates are left out. 3. The old connection is closed.
        """
        began = float("-inf")
        while True:
            await first_of(connection.task, connection.planned.wait())
            # If the successor will be cut soon as well, replacing it at once would only lead to the next replacement.
            young_seconds = max(0.0, began + HEALTHY_SECONDS - self._clock.monotonic())
            await first_of(connection.task, self._clock.sleep(young_seconds))
            if connection.task.done():
                break
            began, following = self._clock.monotonic(), await self._begin()
            await first_of(following.task, following.ready.wait(), self._clock.sleep(TAKEOVER_SECONDS))
            if following.task.done():
                # The successor has failed: the old connection is used to its end.
                if isinstance(end := following.task.exception(), Ended):
                    self._ended(end)
                await asyncio.wait([connection.task])
                break
            self.connections.remove(connection)
            await connection.stop()
            self._ended(Ended("planned", SourceDown("a cut that was planned")))
            connection = following
        await connection.task


def _end_of(error: Exception) -> Ended:
    """Why a connection ended; a defect of ours is logged, and ends only this connection."""
    if isinstance(error, Ended):
        return error
    logger.error("a defect ended a connection of a stream; the next one starts afresh", exc_info=error)
    return Ended("lost", SourceDown("a defect of this service, see its log"))


async def first_of(task: asyncio.Task[Any], *others: Awaitable[Any]) -> None:
    """Wait until the first of them is done, then cancel all but the task."""
    waits = [asyncio.ensure_future(other) for other in others]
    try:
        await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
