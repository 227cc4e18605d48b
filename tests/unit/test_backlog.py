"""A connection's backlog is read to its end before any of it is taken, and other tasks run meanwhile."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.connection import BEHIND_SECONDS, Connection
from fastprice.infrastructure.exchanges.pulse import Pulse
from fastprice.infrastructure.exchanges.stream_messages import Topic
from tests.fakes import FakeClock

pytestmark = pytest.mark.anyio

TICK_SECONDS = 0.00005


class TickingClock(FakeClock):
    """Advances a bit whenever it is read, as if everything took a while."""

    def monotonic(self) -> float:
        self.now += TICK_SECONDS
        return self.now


class Backlog:
    """The socket of a connection with this many frames waiting, and no more after them."""

    def __init__(self, count: int) -> None:
        row = {"instId": "ETH-USDT", "last": "1", "bidPx": "1", "askPx": "2", "ts": "1753300000000"}
        frame = {"arg": {"channel": "tickers", "instId": "ETH-USDT"}, "data": [row]}
        self.frame, self.left = json.dumps(frame), count

    async def receive(self) -> Any:
        if not self.left:
            await asyncio.Event().wait()
        self.left -= 1
        return SimpleNamespace(type=aiohttp.WSMsgType.TEXT, data=self.frame)


def reading(socket: Backlog) -> tuple[Connection, "asyncio.Task[Any]"]:
    """A connection, and the task that reads it."""
    clock, stream = TickingClock(), EXCHANGES["okx"].stream
    assert stream
    connection = Connection(
        stream, [Topic("tickers", "ETH-USDT")], lambda row, read_at_ms: None, cast(Any, None), Pulse(clock), clock, 1.0
    )
    return connection, asyncio.create_task(connection._read(cast(Any, socket)))


async def looked_at(count: int) -> list[tuple[bool, int]]:
    """For each turn of other tasks while so many frames are read: is the connection behind, and how many are left."""
    looks, socket = list[tuple[bool, int]](), Backlog(count)
    connection, task = reading(socket)
    while socket.left or connection.is_behind:
        await asyncio.sleep(0)
        looks.append((connection.is_behind, socket.left))
    task.cancel()
    return looks


async def test_nobody_takes_a_part_of_a_backlog_and_everybody_has_turns() -> None:
    looks = await looked_at(200)
    assert len(looks) > 50, "others had turns"
    assert all(is_behind for is_behind, left in looks if left) and looks[-1] == (False, 0)


async def test_a_flood_that_does_not_end_keeps_nobody_for_ever() -> None:
    looks = await looked_at(round(BEHIND_SECONDS / TICK_SECONDS))
    assert any(left and not is_behind for is_behind, left in looks)


async def test_nobody_waits_for_a_connection_that_ends_in_the_middle_of_its_backlog() -> None:
    connection, task = reading(socket := Backlog(200))
    while not connection.is_behind:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert socket.left and not connection.is_behind
