"""Streams that go the ordinary way: a task for each subscriber, which sends the same bytes as server/push.py does."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence

from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from fastprice.interface.channel import Channel
from fastprice.interface.price_endpoint import METHODS
from fastprice.interface.responses import problem
from fastprice.interface.sse import COMMENT, HEADERS, Message
from fastprice.interface.streams import Streams

LAST_EVENT_ID = b"last-event-id"
# A worker that has no room now may have some soon, and other workers may have it now.
FULL_HEADERS = {"Retry-After": "1"}


class StreamEndpoint:
    """Answers `/api/v1/prices/{pair}/stream` and `/api/v1/stream`."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] not in METHODS:
            raise HTTPException(405)
        streams, choice = self._streams, self._streams.choose(scope["path"], scope["query_string"])
        if streams.is_full:
            full = problem(503, "this worker has reached its subscriber limit", "too_many_subscribers", FULL_HEADERS)
            await full(scope, receive, send)
            return
        is_head = scope["method"] == "HEAD"
        begin: Callable[[], Callable[[], None]] = scope.get("state", {}).get("begin_stream", _is_no_stream)
        end = _ends_by_itself if is_head else begin()
        known = next((value for name, value in scope["headers"] if name == LAST_EVENT_ID), None)
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        if not is_head:
            subscriber = Waiting(streams)
            try:
                first = streams.join(subscriber, choice, known)
                await send({"type": "http.response.body", "body": first.body, "more_body": True})
                await subscriber.serve(receive, send)
            finally:
                streams.part(subscriber)
        end()
        await send({"type": "http.response.body", "body": b""})


def _ends_by_itself() -> None:
    """Do nothing: this answer needs no preparation for its end."""


def _is_no_stream() -> Callable[[], None]:
    """Stands in for `begin_stream` if the server has none, and does nothing."""
    return _ends_by_itself


class Waiting:
    """A subscriber whose task waits until there is something to send."""

    channel: Channel

    def __init__(self, streams: Streams) -> None:
        self.version = 0
        self._streams = streams
        self._wake = asyncio.Event()
        self._is_over = self._was_silent = False

    @classmethod
    def push(cls, several: Sequence["Waiting"], common: Message, before: int, after: int) -> int:
        for each in several:
            if each._wake.is_set():
                each._streams.counts.dropped += common.events
            each._was_silent |= common is COMMENT
            each._wake.set()
        return 0  # Their tasks send and count the events.

    def leave(self) -> None:
        self._is_over = True
        self._wake.set()

    async def serve(self, receive: Receive, send: Send) -> None:
        """Send what is new until the client disconnects, or `leave` ends the stream."""
        listening = asyncio.create_task(self._listen(receive))
        try:
            while await self._wake.wait() and not self._is_over:
                self._wake.clear()
                streams, self._was_silent, was_silent = self._streams, False, self._was_silent
                new = self.channel.news(self.version, streams.clock.monotonic())
                self.version = streams.version
                if message := new.body or (COMMENT.body if was_silent else b""):
                    streams.counts.events += new.events
                    await send({"type": "http.response.body", "body": message, "more_body": True})
        finally:
            listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await listening

    async def _listen(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        self.leave()
