"""The load of a drill: clients that request prices all the time, and subscribers; every answer is judged."""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from typing import Any

from bench.chaos.fleet import PAIRS
from bench.chaos.oracle import Standing
from bench.chaos.wire import MAYBE, PRICE, PRICES, Ask, Line, wall_ms
from bench.drills.drill import Notes
from bench.drills.judge import Judge

PAUSE_SECONDS, AGAIN_SECONDS = 0.02, 0.1
# Kept connections are closed now and then, so that new workers get their share.
KEPT = 200
LAST = b"0"


class Door(Standing):
    """Where clients connect: a service, or nginx in front of several services (`is_shared`).

    `may_refuse`: no exchange is honest, so 503 is allowed; `is_leaving`: new connections may be refused.
    `times` are the seconds that each answer took since `times` was last reset.
    """

    def __init__(self, name: str, port: int, host: str = "127.0.0.1", is_shared: bool = False) -> None:
        super().__init__(name)
        self.port, self.host, self.is_shared = port, host, is_shared
        self.may_refuse = self.is_leaving = False
        self.times: list[float] = []


async def ask_on(door: Door, judge: Judge, notes: Notes, number: int) -> None:
    """Send requests forever, for one pair after the other, on one connection after another."""
    etags: dict[str, str] = {}
    pairs = itertools.islice(itertools.cycle(PAIRS), number, None)
    while True:
        try:
            line = await Line.to(door.port, door.host)
        except OSError as error:
            if not door.is_leaving:
                notes.requests += 1
                notes.lose(f"not connected: {type(error).__name__}")
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        with contextlib.closing(line):
            try:
                for turn in range(KEPT + number):
                    if not await _ask(door, judge, notes, line, _next_ask(next(pairs), turn, etags), etags):
                        break
                    await asyncio.sleep(PAUSE_SECONDS)
            except OSError as error:
                notes.lose(f"unanswered: {type(error).__name__}")


def _next_ask(pair: str, turn: int, etags: dict[str, str]) -> Ask:
    """A plain request most of the time, else one with the last ETag."""
    path = f"{PRICES}/{pair}"
    if turn % 4 == 3 and pair in etags:
        return Ask(path, MAYBE, pair, etag=etags[pair])
    return Ask(path, PRICE, pair)


async def _ask(
    door: Door, judge: Judge, notes: Notes, line: Line, ask: Ask, etags: dict[str, str]
) -> bool:  # fmt: skip
    """Send one request; returns whether the connection stays open."""
    notes.requests += 1
    began = time.monotonic()
    answer, = await line.ask(ask)
    door.times.append(time.monotonic() - began)
    if door.is_shared:
        line.newest.clear()  # The next answer may come from another replica, which may be slightly behind.
    if answer.status >= 500 and not door.may_refuse:
        notes.lose(f"answered with {answer.status}")
    judge.judge(door, line, ask, answer)
    if answer.status == 200:
        etags[ask.pair] = answer.headers["etag"]
    return answer.headers.get("connection") != "close"


async def subscribe(door: Door, judge: Judge, notes: Notes, number: int) -> None:
    """Listen forever to the stream of one pair; a stream that ends is opened again."""
    pair, newest_ms, told_at = PAIRS[number % len(PAIRS)], 0, 0.0
    while True:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            async for event in events(door, f"{PRICES}/{pair}/stream"):
                if event.get("event") != b"price":
                    continue
                if newest_ms and not judge.is_excused and not door.may_refuse and told_at:
                    # This is how old the price of this subscriber had become.
                    notes.oldest_ms = max(notes.oldest_ms, wall_ms() - newest_ms)
                newest_ms, told_at = judge.judge_event(door, event, 0 if judge.is_excused else newest_ms), wall_ms()
        # nginx may continue with another replica, which may be slightly behind.
        newest_ms, told_at = 0, 0.0
        notes.seen["streams that ended and were opened anew"] += not door.is_leaving
        await asyncio.sleep(AGAIN_SECONDS)


async def events(door: Door, path: str) -> AsyncIterator[dict[str, Any]]:
    """The events of a stream until it ends; OSError if it is refused or breaks."""
    line = await Line.to(door.port, door.host)
    with contextlib.closing(line):
        line.writer.write(Ask(path, headers=("Accept: text/event-stream",)).data)
        head = await line.reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ConnectionRefusedError(head.partition(b"\r\n")[0])
        text = b""
        while (size := (await line.reader.readline()).strip()) not in (LAST, b""):
            text += (await line.reader.readexactly(int(size, 16) + 2))[:-2]
            *whole, text = text.split(b"\n\n")
            for one in whole:
                fields = (row.partition(b": ") for row in one.split(b"\n") if not row.startswith(b":"))
                yield {name.decode(): value for name, _, value in fields}
