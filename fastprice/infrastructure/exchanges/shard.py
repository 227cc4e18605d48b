"""Some topics of an exchange, kept connected: opened anew after a loss, and before a cut that is planned."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from fastprice.application.ports import Clock
from fastprice.domain.errors import SourceDown
from fastprice.infrastructure.exchanges.connection import Connection
from fastprice.infrastructure.exchanges.websocket import Ended

logger = logging.getLogger(__name__)

# The pause before a connection is opened anew: a random share of a limit that doubles, and begins with the first one
# again after a connection has told prices for so long.
FIRST_PAUSE_SECONDS, MAX_PAUSE_SECONDS, HEALTHY_SECONDS = 0.5, 30.0, 60.0
# A successor has so long to tell its first price before the connection is closed that is to be cut anyway.
TAKEOVER_SECONDS = 20.0


class Shard:
    """`begin` makes a started connection when the exchange's budget allows for it.

    `ended` is told why a connection ended, and gives the least pause in seconds before the next one where there is none
    in its place already.
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
        """Read until the connection ends, and raise Ended then; one that will be cut is replaced before.

        1. The next one connects and subscribes. 2. It tells its first price; until then both tell, and what has been
        told is left out. 3. The first one is closed.
        """
        began = float("-inf")
        while True:
            await first_of(connection.task, connection.planned.wait())
            # One in the place of another that is to be cut soon as well would be followed by the like of it.
            young_seconds = max(0.0, began + HEALTHY_SECONDS - self._clock.monotonic())
            await first_of(connection.task, self._clock.sleep(young_seconds))
            if connection.task.done():
                break
            began, following = self._clock.monotonic(), await self._begin()
            await first_of(following.task, following.ready.wait(), self._clock.sleep(TAKEOVER_SECONDS))
            if following.task.done():
                # The other one is used to its end.
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
    """Why a connection ended; a defect of ours is logged, and ends no more than that."""
    if isinstance(error, Ended):
        return error
    logger.error("a defect ended a connection of a stream; the next one starts afresh", exc_info=error)
    return Ended("lost", SourceDown("a defect of this service, see its log"))


async def first_of(task: asyncio.Task[Any], *others: Awaitable[Any]) -> None:
    """Wait until the first of them is done; all but the task are cancelled then."""
    waits = [asyncio.ensure_future(other) for other in others]
    try:
        await asyncio.wait([task, *waits], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
