"""Answering before ASGI: a request for a price that is known by its bytes costs a look-up and a write."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from fastprice.interface.prepared import PreparedCondition, PreparedPrice
from fastprice.server.careful_http import CarefulProtocol

# The bounds of what a worker learns: at most 2 MiB of heads.
MAX_LEARNED, MAX_SEEN, MAX_HEAD_BYTES = 1024, 1024, 1024
# Headers that make a request something else than a plain question, or a conditional one.
UNUSUAL = frozenset((b"content-length", b"transfer-encoding", b"expect", b"upgrade"))
# Answers quicker than this are counted without being measured one by one: the first bucket of the histogram.
QUICK_SECONDS = 5e-5

Prepared = PreparedPrice | PreparedCondition


class Lane:
    """What the connections of one worker share: the prepared prices, the heads that were learned, the counts.

    `by_path` holds the prepared prices; none where the lane is switched off. `clock` is the monotonic clock of their
    deadlines.
    """

    def __init__(self, by_path: Mapping[bytes, PreparedPrice], clock: Callable[[], float]) -> None:
        self.by_path = dict(by_path)
        self.clock = clock
        self.learned: dict[bytes, Prepared] = {}
        self.counts = [0, 0, 0, 0]
        self.seconds = 0.0
        self.slow: list[float] = []
        self._seen: set[bytes] = set()

    def learn(self, head: bytes, prepared: Prepared) -> None:
        """Remember a head that the parser and every rule have accepted, once it has come twice.

        Heads that never come again would push out those that do; one look-up in a set is all that they cost.
        """
        if len(head) > MAX_HEAD_BYTES:
            return
        if head not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(head)
            return
        if len(self.learned) >= MAX_LEARNED:
            self.learned.clear()
        self.learned[head] = prepared

    def drain(self) -> tuple[list[int], float, list[float]]:
        """The counts by kind, all seconds, and each duration that was not quick, since the last time."""
        drained = self.counts.copy(), self.seconds, self.slow
        self.counts[:] = (0, 0, 0, 0)
        self.seconds, self.slow = 0.0, []
        return drained


class FastLaneProtocol(CarefulProtocol):
    """A connection whose requests for known prices are answered as soon as they are read.

    Only where nothing is in flight and the client takes what it is sent; everything else goes the ordinary way, and
    gets the same bytes.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._lane: Lane = app_state["lane"]
        self._learned = self._lane.learned
        self._clock = self._lane.clock
        self._open = not self.access_log and self.limit_concurrency is None
        self._plain = True
        self._conditions: list[bytes] = []
        self._candidate: Prepared | None = None
        self._answered: Prepared | None = None
        self._messages = 0

    def data_received(self, data: bytes) -> None:
        prepared = self._learned.get(data)
        if prepared is not None and self.at_rest and not self.flow.write_paused and self._give(prepared):
            return
        alone, self._messages, self._answered = self.at_rest, 0, None
        super().data_received(data)
        if self._answered is not None and self._messages == 1 and alone and self.at_rest:
            # Exactly one request, whole, and answered here: the same bytes will mean the same next time.
            self._lane.learn(data, self._answered)

    def on_message_begin(self) -> None:
        self._messages += 1
        self._plain, self._conditions, self._candidate = self.at_rest, [], None
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        super().on_header(name, value)
        name = self.headers[-1][0]
        if name in UNUSUAL:
            self._plain = False
        elif name == b"if-none-match":
            self._conditions.append(value)

    def on_headers_complete(self) -> None:
        price = self._lane.by_path.get(self.url)
        if price is None or not self._may_answer():
            super().on_headers_complete()
            return
        self.check_head()
        self._candidate = price.given(b",".join(self._conditions))

    def on_message_complete(self) -> None:
        candidate, self._candidate = self._candidate, None
        if candidate is None:
            super().on_message_complete()
            return
        if self._give(candidate):
            self.end_message()
            self._answered = candidate
        else:
            super().on_headers_complete()
            super().on_message_complete()

    def _may_answer(self) -> bool:
        parser = self.parser
        return (
            self._plain
            and self._open
            and not self.flow.write_paused
            and not self.transport.is_closing()
            and parser.get_method() == b"GET"
            and parser.get_http_version() == "1.1"
            and bool(parser.should_keep_alive())
        )

    def _give(self, prepared: Prepared) -> bool:
        """Write an answer that is right at this moment; False where there is none."""
        now = self._clock()
        if now > prepared.valid_until and not prepared.renew(now):
            return False
        self.transport.write(prepared.message)
        lane = self._lane
        lane.counts[prepared.kind] += 1
        self.touched = True
        self.server_state.total_requests += 1
        elapsed = self._clock() - now
        lane.seconds += elapsed
        if elapsed > QUICK_SECONDS:
            lane.slow.append(elapsed)
        return True
