"""The stream as the manual of sse-starlette suggests: a generator for each subscriber, here with a queue."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.push.beat import now_ms, waits
from bench.push.event import MARK, NAME, STREAM

FILE_VARIABLE, INTERVAL_VARIABLE = "DATA_FILE", "INTERVAL"
Event = dict[str, str]
subscribers: set[asyncio.Queue[Event]] = set()


async def publish(template: str, interval: float) -> None:
    for seconds in waits(interval):
        await asyncio.sleep(seconds)
        now = now_ms()
        event = {"id": now, "event": NAME, "data": template.replace(MARK, now)}
        for queue in subscribers:
            queue.put_nowait(event)


async def events() -> AsyncIterator[Event]:
    queue: asyncio.Queue[Event] = asyncio.Queue()
    subscribers.add(queue)
    try:
        while True:
            yield await queue.get()
    finally:
        subscribers.discard(queue)


async def stream(request: Request) -> Response:
    response: Response = EventSourceResponse(events())
    return response


@contextlib.asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    template, interval = Path(os.environ[FILE_VARIABLE]).read_text(), float(os.environ[INTERVAL_VARIABLE])
    publishing = asyncio.create_task(publish(template, interval))
    yield
    publishing.cancel()


app = Starlette(routes=[Route(STREAM, stream)], lifespan=lifespan)
