"""One WebSocket connection to an exchange: from connecting to its end, the same for all exchanges.

It subscribes at the exchange's pace, sends keep-alives and reads. It is never reused: its owner makes another one.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

import aiohttp

from fastprice.application.ports import Clock
from fastprice.domain.errors import CoolDown, SourceDown
from fastprice.infrastructure.exchanges.clocks import Clocks
from fastprice.infrastructure.exchanges.frames import said_in
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.pulse import Pulse
from fastprice.infrastructure.exchanges.reply import one_line
from fastprice.infrastructure.exchanges.stream import Stream
from fastprice.infrastructure.exchanges.stream_messages import Ack, Alive, Notice, Reject, Row, Said, Topic
from fastprice.infrastructure.exchanges.subscriptions import Subscriptions
from fastprice.infrastructure.exchanges.websocket import Ended, FindAddress, connected, ended_by, failure_in

# The pause between two checks of the clocks.
LOOK_SECONDS = 0.5
# How long frames are read before other tasks get a turn: many frames come at once, and must not delay requests.
SLICE_SECONDS = 0.0003
# A frame that is there already is returned at once; if it took longer, other tasks had a turn.
WAITED_SECONDS = 0.0001
# A connection counts as behind for this long at most: even under an endless flood, something has to be served.
BEHIND_SECONDS = 0.1

FRAMES = aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY
# What is done with a row that was read at a wall time.
TakeRow = Callable[[Row, int], None]


class Connection:
    """Subscribes to topics and passes their rows to `take`; `planned` is set when the exchange will cut it soon.

    `ready` is set with its first data. `counts` is the number of messages of each kind.
    """

    def __init__(
        self, stream: Stream, topics: Sequence[Topic], take: TakeRow, session: Session, pulse: Pulse, clock: Clock,
        life_share: float,
    ) -> None:  # fmt: skip
        self.ready, self.planned = asyncio.Event(), asyncio.Event()
        self.counts: Counter[str] = Counter()
        self.frame_at_ms: int | None = None
        # 1. A connection stalls, and goes on. 2. The first waiting messages are read, and other tasks get a turn.
        # 3. They are served as if they were new. So no rows are taken while there is more to read.
        self.is_behind = False
        self._stream = stream
        self._carried = frozenset(topics)
        self._subscriptions = Subscriptions(stream, topics)
        self._take = take
        self._session = session
        self._pulse = pulse
        self._clock = clock
        self._woken, self._is_unwanted = asyncio.Event(), False
        # The newest ping without an answer: exchanges count answers too, so a flood of pings gets only a few answers.
        self._ping: bytes | None = None
        self._clocks = Clocks(stream, life_share, clock.monotonic())

    @property
    def is_live(self) -> bool:
        return self.ready.is_set() and not self.task.done()

    @property
    def is_settled(self) -> bool:
        """Whether it has delivered data, and sent its last request a while ago."""
        return self.is_live and self._subscriptions.are_settled(self._clock.monotonic())

    def carries(self, topics: Iterable[Topic]) -> bool:
        """Whether some of these topics are its own."""
        return not self._carried.isdisjoint(topics)

    def start(self, address: FindAddress) -> None:
        """Connect, subscribe and read in a task, which raises Ended in the end."""
        self.task = asyncio.create_task(self._run(address), name="connection of a stream")

    async def stop(self) -> None:
        """End it."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    def leave(self) -> None:
        """Let it end as if it were lost, so that another one is made."""
        self._is_unwanted = True

    async def _run(self, address: FindAddress) -> NoReturn:
        where, socket = await connected(self._session, address)
        self._clocks.begin(self._clock.monotonic())
        every = where.keep_alive_seconds or (self._stream.keep_alive.every_seconds if self._stream.keep_alive else 0.0)
        tasks = [asyncio.create_task(work) for work in (self._read(socket), self._write(socket, every), self._watch())]
        try:
            if not self._stream.waits_for_welcome:
                self._subscribe()
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            ends = await asyncio.gather(*tasks, return_exceptions=True)
            with contextlib.suppress(Exception):  # It may be broken in any way.
                await socket.close()
        raise next((end for end in ends if isinstance(end, Ended)), Ended("lost", SourceDown(failure_in(ends))))

    def renew(self, topics: Sequence[Topic]) -> None:
        """Subscribe again to topics that are silent."""
        self._subscriptions.renew(topics, self._clock.wall_ms())
        self._woken.set()

    async def _write(self, socket: aiohttp.ClientWebSocketResponse[Any], every: float) -> None:
        """Send requests at the exchange's pace, and keep-alives when they are due."""
        alive_at = self._clock.monotonic() + every
        while True:
            now = self._clock.monotonic()
            if every and self._stream.keep_alive and now >= alive_at:
                alive_at = now + every
                frame = self._stream.keep_alive.frame(self._subscriptions.number(), self._clock.wall_ms())
                sending = socket.send_str(frame)
            elif request := self._subscriptions.next(now):
                sending = socket.send_str(request.frame)
            elif self._ping is not None:
                sending, self._ping = socket.pong(self._ping), None
            else:
                self._woken.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(alive_at - now if every else None):
                        await self._woken.wait()
                continue
            try:
                await sending
            except (ConnectionError, aiohttp.ClientError) as error:
                raise Ended("lost", SourceDown(f"the stream broke off ({one_line(str(error))})")) from None
            await self._clock.sleep(self._stream.limits.pause_seconds)

    async def _watch(self) -> None:
        """Check the clocks, and raise Ended when one has run out."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            now = self._clock.monotonic()
            if self._is_unwanted:
                raise Ended("asked", SourceDown("its stream is silent about pairs whose prices change"))
            if end := self._clocks.end(now, self._subscriptions):
                raise end
            if self._clocks.life_is_over(now):
                self.planned.set()
            self._subscriptions.repeat_unanswered(now, self._clock.wall_ms())
            self._woken.set()

    async def _read(self, socket: aiohttp.ClientWebSocketResponse[Any]) -> None:
        started = began = self._clock.monotonic()
        while True:
            before = self._clock.monotonic()
            message = await socket.receive()
            now = self._clock.monotonic()
            if now - before > WAITED_SECONDS:
                started = began = now  # It waited, so other tasks had a turn.
            elif now - started > SLICE_SECONDS:
                self.is_behind = now - began < BEHIND_SECONDS
                try:
                    await asyncio.sleep(0)
                finally:  # It may be cancelled here, and then nobody must wait for it.
                    self.is_behind = False
                started = self._clock.monotonic()
            self._clocks.frame_at, self.frame_at_ms = now, self._clock.wall_ms()
            if message.type in FRAMES:
                self._frame(message.data)
            elif message.type is aiohttp.WSMsgType.PING:
                self.counts["ping"] += 1
                self._ping = message.data
                self._woken.set()
            elif message.type is not aiohttp.WSMsgType.PONG:
                raise ended_by(self._stream, socket, message)

    def _frame(self, frame: bytes | str) -> None:
        """Handle one frame; whatever its content is, only what ends the connection is raised."""
        said = said_in(self._stream, frame if isinstance(frame, bytes) else frame.encode())
        for each in said:
            self._hear(each)
        if not said:
            self.counts["ignored"] += 1

    def _hear(self, said: Said) -> None:
        match said:
            case Row():
                self._clocks.data_at = self._clock.monotonic()
                self.ready.set()
                self._subscriptions.heard(Topic(said.channel, said.symbol))
                self._take(said, self._pulse.read_at_ms())
            case Ack():
                self.counts["ack"] += 1
                self._subscriptions.acknowledged(said)
            case Reject(error=CoolDown() as error):
                raise Ended("refused", error)
            case Reject():
                self.counts["reject"] += 1
                self._subscriptions.rejected(said, self._clock.wall_ms())
                self._woken.set()
                if self._subscriptions.is_empty:
                    raise Ended("refused", said.error)
            case Alive():
                self.counts["alive"] += 1
                if said.kind == "welcome" and self._stream.waits_for_welcome:
                    self._subscribe()
            case Notice():
                self.counts["notice"] += 1
                self.planned.set()

    def _subscribe(self) -> None:
        self._subscriptions.begin(self._clock.wall_ms())
        self._woken.set()
