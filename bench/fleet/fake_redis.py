"""A fake Redis: what it stores and publishes, and how its server and the network to it fail."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from bench.fleet.virtual_time import START_MS
from fastprice.application.ports import LEADER
from fastprice.domain.errors import StoreUnavailable
from tests.memory_store import MemoryStore

# An operation to run in Redis; it never waits there.
Run = Callable[[MemoryStore], Coroutine[Any, Any, Any]]

# The time one way through a data centre and in Redis: the minimum, and the average beyond it.
LEAST_SECONDS, MORE_SECONDS = 0.0001, 0.00015
# What each further subscriber adds to one PUBLISH: an assumption, and small compared with the latency one way.
FANOUT_SECONDS = 2e-6


class Subscriber(Protocol):
    """Gets a notification whenever something is written."""

    def hear(self) -> None: ...


class ServerClock:
    """The server's own clock."""

    def __init__(self) -> None:
        self.monotonic = asyncio.get_running_loop().time

    def wall_ms(self) -> int:
        return START_MS + int(self.monotonic() * 1000)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(slots=True)
class Request:
    """One operation on its way; `connected` says whether its connection existed when it was sent."""

    op: str
    run: Run
    sent: float
    connected: bool
    reply: "asyncio.Future[Any]"


class Redis:
    """The server: up, frozen (as by SIGSTOP) or dead; requests to a frozen server are executed when it thaws."""

    def __init__(self, random: Random) -> None:
        self.state = "up"
        self.epoch = 0
        self.done: Counter[str] = Counter()
        self.by_second: Counter[int] = Counter()
        self.deliveries = 0
        self.latency: Callable[[], float] = self._usual
        self.lost_share = 0.0
        self.subscribers: dict[int, dict[Subscriber, None]] = defaultdict(dict)
        self.backlog: list[Request] = []
        self._random = random
        self._loop = asyncio.get_running_loop()
        self.memory = MemoryStore(ServerClock())

    def _usual(self) -> float:
        return LEAST_SECONDS + self._random.expovariate(1 / MORE_SECONDS)

    def execute(self, request: Request) -> Any:
        self.done[request.op] += 1
        self.by_second[int(self._loop.time())] += 1
        result = _done(request.run(self.memory))
        if request.op == "write" and result:
            self._publish()
        return result

    @property
    def leader(self) -> str | None:
        """The holder of the leader's claim."""
        leader: str | None = _done(self.memory.holder(LEADER))
        return leader

    def freeze(self) -> None:
        self.state = "frozen"

    def thaw(self) -> None:
        """Continue, first with requests whose clients have long given up."""
        self.state = "up"
        late, self.backlog = self.backlog, []
        for request in late:
            self.execute(request)

    def die(self) -> None:
        """Stop and lose everything in memory; all connections break."""
        self.state = "dead"
        self.epoch += 1
        self.backlog.clear()
        self.memory = MemoryStore(ServerClock())
        self.subscribers.clear()

    def start(self) -> None:
        self.state = "up"

    def _publish(self) -> None:
        """Notify machine by machine, each a little later; a message that is lost on the way still counts as sent."""
        sent = 0
        for subscribers in self.subscribers.values():
            sent += len(subscribers)
            heard = [store for store in subscribers if self._random.random() >= self.lost_share]
            self._loop.call_later(self.latency() + sent * FANOUT_SECONDS, _hear, heard)
        self.deliveries += sent


def _hear(stores: list[Subscriber]) -> None:
    for store in stores:
        store.hear()


def _done(operation: Coroutine[Any, Any, Any]) -> Any:
    """The result of an operation that does not wait."""
    try:
        operation.send(None)
    except StopIteration as end:
        return end.value
    raise RuntimeError("an operation on memory has waited")


class Link:
    """The network between one machine and Redis."""

    def __init__(self, redis: Redis, timeout_seconds: float) -> None:
        self.redis = redis
        self.cut = False
        self._timeout = timeout_seconds
        self._loop = asyncio.get_running_loop()
        self._held: list[Request] = []

    def restore(self) -> None:
        """Deliver what the network has kept trying to deliver, even if no client waits for the answer any more."""
        self.cut = False
        held, self._held = self._held, []
        for request in held:
            self._arrive(request, 0.0)

    def send(self, op: str, run: Run, connected: bool) -> "asyncio.Future[Any]":
        there, back = self.redis.latency(), self.redis.latency()
        request = Request(op, run, self._loop.time(), connected, self._loop.create_future())
        self._loop.call_later(there, self._arrive, request, back)
        return request.reply

    def _arrive(self, request: Request, back: float) -> None:
        redis = self.redis
        if self.cut or redis.state == "frozen":
            # Without a connection nothing was sent yet: the client still waits for the handshake.
            if request.connected:
                (self._held if self.cut else redis.backlog).append(request)
            self._later(request.sent + self._timeout, request, StoreUnavailable("no answer in time"))
        elif redis.state == "dead":
            self._later(self._loop.time() + back, request, StoreUnavailable("connection refused"))
        elif self._loop.time() + back > request.sent + self._timeout:
            redis.execute(request)
            self._later(request.sent + self._timeout, request, StoreUnavailable("no answer in time"))
        else:
            self._later(self._loop.time() + back, request, redis.execute(request))

    def _later(self, when: float, request: Request, outcome: Any) -> None:
        self._loop.call_at(when, answer, request.reply, outcome)


def answer(reply: "asyncio.Future[Any]", outcome: Any) -> None:
    """Complete a reply, unless its client has given up meanwhile."""
    if reply.done():
        return
    if isinstance(outcome, StoreUnavailable):
        reply.set_exception(outcome)
    else:
        reply.set_result(outcome)
