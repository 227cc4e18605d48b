"""The fast lane answers byte for byte what the ordinary way answers, and tolerates what clients do to a connection.

Two servers share one clock and one set of prices, and one of them has no prepared prices, as with FAST_LANE=0. Nothing
here waits for time to pass: a client sees on the server's side of its connection when everything has been sent.
"""

import asyncio
import contextlib
import fcntl
import itertools
import logging
import os
import socket
import struct
import termios
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fastprice.application.latest_price import LatestPrice
from fastprice.application.recent import RecentPrices
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.infrastructure.prometheus import Metrics
from fastprice.infrastructure.prometheus.definitions import HTTP_BUCKETS
from fastprice.interface.app import make_app
from fastprice.interface.middleware import PRICE_ROUTE
from fastprice.interface.parts import Parts
from fastprice.interface.polled import MAX_CHOSEN, Polled
from fastprice.interface.prepared import FULL, KEPT
from fastprice.interface.price_json import price_answer
from fastprice.interface.price_snapshot import price_snapshots
from fastprice.interface.streams import Streams
from fastprice.server import acceptor as acceptor_module
from fastprice.server import lane as lane_module
from fastprice.server.acceptor import AcceptingServer
from fastprice.server.careful_http import MAX_HEAD_BYTES
from fastprice.server.lane import SENT, Lane
from fastprice.server.paced_http import MAX_UNSENT_BYTES
from fastprice.server.refusals import refusal
from fastprice.server.shared import LONG_BYTES, SHORT_BYTES
from tests.fakes import BTC, ETH, START_MS, FakeClock, a_quote

pytestmark = pytest.mark.anyio

PRICE, OTHER, LIVENESS = b"/api/v1/prices/eth-usdt", b"/api/v1/prices/btc-usdt", b"/health/liveness"
ALL = b"/api/v1/prices"
FIELDS: dict[str, Any] = {
    "bid": "3120.44", "ask": "3120.46", "volume_24h": "41325.02", "high_24h": "3188.10", "low_24h": "3050.00",
    "open_24h": "3101.7", "source_time_ms": START_MS - 12,
}  # fmt: skip
TAG, STALE_TAG = [price_answer(a_quote("3120.45", START_MS, **FIELDS), stale).etag for stale in (False, True)]
INTERVAL = 1.5
# The most that asyncio and uvloop read at once.
ONE_READ = 256 * 1024
# More turns of the event loop than any test here needs; an upper bound so that a defect is a failure, not a hang.
MANY_TURNS = 200_000


# The two servers, and clients that see both ends of their connections


ASYNCIO, UVLOOP = {"use_uvloop": False}, {"use_uvloop": True}


@pytest.fixture(params=[ASYNCIO, UVLOOP], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return "asyncio", request.param


@pytest.fixture(autouse=True)
def no_access_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the service by default: nobody listens to access lines; only pytest does."""
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "hasHandlers", lambda: False)


class Prices:
    """What both servers serve: a clock that stands still, and prices."""

    def __init__(self, pairs: Sequence[Pair] = (ETH, BTC)) -> None:
        self.clock = FakeClock()
        limits = AgeLimits(5000, 60_000)
        self.latest = LatestPrice(pairs, limits, price_snapshots(self.clock, INTERVAL), self.clock)

    def give(self, price: str = "3120.45", pair: Pair = ETH) -> None:
        """Set a price of this moment; at the start it is one whose tags are known."""
        assert self.latest.offer(a_quote(price, self.clock.wall_ms(), pair=pair, **FIELDS))

    def begin_again(self) -> None:
        """Reset everything to its start: the time, and the one price."""
        self.forget()
        self.clock.now = FakeClock().now
        self.clock.wall_offset_ms = FakeClock().wall_offset_ms
        self.give()

    def forget(self) -> None:
        for place in self.latest.by_slug.values():
            place.snapshot = None

    def lane(self, clock: Callable[[], float] | None = None) -> Lane:
        return Lane(Polled(self.latest, self.clock, INTERVAL).find, clock or self.clock.monotonic)


class Side:
    """One of the servers, with metrics of its own; without a lane it is what FAST_LANE=0 gives."""

    def __init__(self, prices: Prices, lane: Lane | None) -> None:
        self.prices = prices
        self._served_by = lane
        self.lane = lane or Lane(lambda target: None, prices.clock.monotonic)
        self.metrics = Metrics("1.2.3")
        self.patience = 0.0
        self.streams = Streams(prices.latest, prices.clock, 0.1, 100)
        self.wires: list[Wire] = []
        self.server: uvicorn.Server
        self.serving: asyncio.Task[None]
        self.address: tuple[str, int]

    @contextlib.asynccontextmanager
    async def running(self, is_bare: bool = False, **options: Any) -> AsyncIterator["Side"]:
        """Run it, or plain uvicorn."""
        # asyncio sets TCP_NODELAY only on a socket whose protocol is explicitly TCP.
        with socket.socket(proto=socket.IPPROTO_TCP) as listener:
            # A small buffer, so that unread answers soon fill the server's buffers instead of the kernel's.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            self.address = listener.getsockname()
            config = uvicorn.Config(
                self._app(), http=HttpToolsProtocol if is_bare else "auto", ws="none", lifespan="on", log_config=None, date_header=False,
                server_header=False, **options,
            )  # fmt: skip
            self.server = uvicorn.Server(config) if is_bare else AcceptingServer(config)
            self.serving = asyncio.create_task(self.server.serve([listener]))
            while not getattr(self.server, "servers", None):
                await asyncio.sleep(0)
            # Otherwise a silent client would be accepted only after a second.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 0)
            try:
                yield self
            finally:
                await self._stop()

    async def _stop(self) -> None:
        for wire in self.wires:
            wire.close()
        if self.serving.done():
            return
        # The server's own way of stopping sleeps two tenths of a second.
        self.serving.cancel()
        await asyncio.wait([self.serving])
        for closing in self.server.servers:
            closing.close()
        for connection in list(self.server.server_state.connections):
            (connection if hasattr(connection, "abort") else cast(Any, connection).transport).abort()
        await turns(lambda: not self.server.server_state.connections)
        await self.server.lifespan.shutdown()
        # The server's own way closes this at the end; otherwise each test would leak a descriptor and all it refers to.
        if poller := getattr(self.server, "_poller", None):
            poller.close()

    def connections(self) -> set[Any]:
        """The server's ends of its connections."""
        return set(self.server.server_state.connections)

    def take(self, lane: Lane) -> None:
        """Use this lane for all future connections."""
        self.lane = self.server.lifespan.state["lane"] = lane
        for acceptor in self.server.servers:
            acceptor.shared.lane = lane  # type: ignore[attr-defined]

    def by_lane(self) -> int:
        """How many answers the lane has given since its counts were last taken."""
        return sum(map(sum, self.lane.counts.values()))

    def counted(self) -> dict[str, float]:
        """Everything that was counted so far, by its name in a scrape; zeros are left out."""
        self.metrics.count_lane(*self.lane.drain())
        self.metrics.flush()
        lines = self.metrics.exposition().decode().splitlines()
        # The CPU time of the process is left out: it is the same for both sides, but not at the same moment.
        samples = (line.rsplit(" ", 1) for line in lines if not line.startswith("#") and "_created" not in line)
        return {name: float(value) for name, value in samples if float(value)}

    def _app(self) -> Starlette:
        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
            yield {"lane": self._served_by, "streams": self.streams}

        parts = Parts(
            version="1.2.3",
            latest=self.prices.latest,
            clock=self.prices.clock,
            reports=lambda: (),
            standing=lambda pair: (),
            live=lambda: (),
            redis=lambda: "not_configured",
            scrape=self._scrape,
            count_request=self.metrics.count_request,
            tally=self.metrics.l1,
            patience=lambda: self.patience,
            refresh_interval=INTERVAL,
            streams=self.streams,
            recent=RecentPrices(self.prices.latest, self.prices.clock),
        )
        return make_app(parts, lifespan)

    async def _scrape(self) -> tuple[bytes, str]:
        return b"", "text/plain"


class Wire:
    """A client: it sends bytes in exactly the chunks that the server is to read, and reads every answer."""

    def __init__(self, side: Side, buffers: int = 0) -> None:
        self.side = side
        side.wires.append(self)
        self.is_open = True
        self.has_ended = False
        self.said = 0
        self._last: Any = None
        self._sock = socket.socket()
        self._sock.setblocking(False)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if buffers:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffers)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffers)

    async def connect(self, is_awaited: bool = True) -> "Wire":
        """Connect; if that is not awaited, the server may see the connection and its first bytes at the same time."""
        with contextlib.suppress(BlockingIOError):
            self._sock.connect(self.side.address)
        if is_awaited:
            await turns(lambda: self.connection is not None)
        return self

    @property
    def connection(self) -> Any:
        """The server's end as it is now, or was last; None before the server has accepted it."""
        connections: set[Any] = self.side.server.server_state.connections
        here = self._sock.getsockname() if self._sock.fileno() >= 0 else None
        for connection in connections:
            if client_of(connection) == here:
                self._last = connection
        return self._last

    @property
    def is_unread(self) -> bool:
        """Whether the server has stopped reading from this client."""
        flow = getattr(self.connection, "flow", None)
        return flow is not None and flow.read_paused

    @property
    def is_stuck(self) -> bool:
        """Whether it has stopped because the client reads nothing."""
        return self.is_unread and bool(self.connection.flow.write_paused)

    @property
    def heard(self) -> int:
        """How many of the sent bytes the server has read."""
        descriptor = self._descriptor()
        if descriptor < 0:
            return 0  # The connection is being handed over.
        if _count(self._sock.fileno(), termios.TIOCOUTQ):
            # The kernel may delay the acknowledgement of received bytes for 40 ms.
            with socket.socket(fileno=os.dup(descriptor)) as server_side:
                server_side.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return self.said - _count(self._sock.fileno(), termios.TIOCOUTQ) - _count(descriptor, termios.FIONREAD)

    def _descriptor(self) -> int:
        """The descriptor of the server's end."""
        connection = self.connection
        transport = getattr(connection, "transport", None)
        return int(transport.get_extra_info("socket").fileno() if transport else connection.descriptor)

    async def say(self, data: bytes) -> bytes:
        """Send it in one piece, and read until the server has nothing more to send, or closes."""
        heard = []
        while data and self.is_open:
            try:
                sent = self._sock.send(data)
            except BlockingIOError:
                heard.append(self.read())
                await asyncio.sleep(0)
            except ConnectionError:
                break
            else:
                data, self.said = data[sent:], self.said + sent
        return b"".join([*heard, await self.listen()])

    async def push(self, data: bytes) -> None:
        """Send it without reading, up to the point where the server stops reading because its answers are not read."""
        stuck_for = 0
        while data and stuck_for < 50:
            stuck_for = stuck_for + 1 if self.is_stuck else 0
            with contextlib.suppress(BlockingIOError):
                sent = self._sock.send(data)
                data, self.said = data[sent:], self.said + sent
            await asyncio.sleep(0)

    async def listen_in_time(self) -> bytes:
        """Read everything up to the end, however long the server takes to close."""
        heard = b""
        while self.is_open:
            await asyncio.sleep(0.005)
            heard += self.read()
        return heard

    async def listen(self, piece: int = 1 << 16) -> bytes:
        heard = [b""]

        def is_over() -> bool:
            heard.append(self.read(piece))
            return not self.is_open or not heard[-1] and self._is_quiet() and not self._grows(heard, piece)

        await turns(is_over)
        return b"".join(heard)

    def read(self, piece: int = 1 << 16) -> bytes:
        """What has arrived so far, up to some length."""
        try:
            data = self._sock.recv(piece)
        except BlockingIOError:
            return b""
        except ConnectionError:
            data = b""
        self.is_open = bool(data)
        return data

    def end(self) -> None:
        """Close the sending side; the server closes then."""
        self.has_ended = True
        self._sock.shutdown(socket.SHUT_WR)

    def close(self, abruptly: bool = False) -> None:
        if abruptly:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()

    def _grows(self, heard: list[bytes], piece: int) -> bool:
        """Whether something arrived between the last read and the check that the server is quiet."""
        heard.append(self.read(piece))
        return self.is_open and bool(heard[-1])

    def _is_quiet(self) -> bool:
        """Whether the server has read everything, is idle, and this end has received all that the server sent."""
        connection = self.connection
        if self.has_ended or connection not in self.side.server.server_state.connections:
            return False
        if getattr(connection, "_heir", None) or getattr(connection, "_inherited", None):
            return False  # The connection is being handed over.
        if transport := getattr(connection, "transport", None):
            if transport.is_closing() or transport.get_write_buffer_size():
                return False
            if connection.pipeline or not (connection.cycle is None or connection.cycle.response_complete):
                return False
        if self.heard < self.said or getattr(connection, "_unparsed", None) or getattr(connection, "is_closing", None):
            return False
        # Acknowledged data has arrived; without this option the kernel may delay the acknowledgement.
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        return not _count(self._descriptor(), termios.TIOCOUTQ)


def _count(descriptor: int, of: int) -> int:
    """How many bytes of this kind the kernel keeps for a socket."""
    (count,) = struct.unpack("i", fcntl.ioctl(descriptor, of, b"\0\0\0\0"))
    return int(count)


def client_of(connection: Any) -> Any:
    """The address of the client of one of the server's connections; None while the connection is being handed over."""
    if hasattr(connection, "client"):
        return connection.client
    if getattr(connection, "_heir", None):
        return None
    with socket.socket(fileno=os.dup(connection.descriptor)) as server_side:
        return server_side.getpeername()


async def turns(is_done: Callable[[], bool]) -> None:
    """Run the event loop until the condition holds."""
    for _ in range(MANY_TURNS):
        if is_done():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to be")


class Sides:
    """The server with the lane, the one without, and what both serve."""

    def __init__(self, prices: Prices, fast: Side, ordinary: Side) -> None:
        self.prices, self.fast, self.ordinary = prices, fast, ordinary

    async def tell(
        self, side_by_side: Iterable["Step"], *sides: Side, is_awaited: bool = True
    ) -> list[list[bytes | bool]]:
        """What each side answers to each step, and whether its connection is still open after it.

        Unless connections are awaited, the first bytes come with them.
        """
        sides = sides or (self.fast, self.ordinary)
        wires = [await Wire(side).connect(is_awaited) for side in sides]
        told: list[list[bytes | bool]] = [[] for _ in sides]
        for step in side_by_side:
            if step is RECONNECT:
                wires = [await Wire(side).connect(is_awaited) for side in sides]
            elif step is END:
                for wire in wires:
                    wire.end()
            elif callable(step):
                step(self.prices)
                continue
            for wire, answers in zip(wires, told, strict=True):
                answers += [await wire.say(step if isinstance(step, bytes) else b""), wire.is_open]
        for side in sides:
            while side.wires:
                side.wires.pop().close()
        return told


@pytest.fixture
async def sides() -> AsyncIterator[Sides]:
    prices = Prices()
    prices.give()
    fast, ordinary = Side(prices, prices.lane()), Side(prices, None)
    async with fast.running(), ordinary.running():
        yield Sides(prices, fast, ordinary)


# The same bytes to both

Step = bytes | str | Callable[[Prices], None]
# RECONNECT: go on with a new connection. END: close the sending side of this one.
RECONNECT, END = "reconnect", "end"


def request(path: bytes = PRICE, *lines: bytes, first: bytes = b"GET %s HTTP/1.1", host: bytes = b"Host: fastprice") -> bytes:
    """A request from its lines; b"" leaves a line out."""
    head = [first % path if b"%s" in first else first, host, *lines]
    return b"\r\n".join(line for line in head if line) + b"\r\n\r\n"


def every_byte(data: bytes) -> list[Step]:
    return [data[at : at + 1] for at in range(len(data))]


def split_everywhere(data: bytes) -> list[Step]:
    """The same bytes for each place where they can be cut in two, each time followed by the same bytes in one piece."""
    return [piece for at in range(1, len(data)) for piece in (data[:at], data[at:], data)]


def after(seconds: float) -> Callable[[Prices], None]:
    def wait(prices: Prices) -> None:
        prices.clock.now += seconds

    return wait


def given_price(price: str, pair: Pair = ETH) -> Callable[[Prices], None]:
    """A new price a quarter of a second later."""

    def change(prices: Prices) -> None:
        prices.clock.now += 0.25
        prices.give(price, pair)

    return change


PLAIN, SLOW = request(), request(b"/api/")
POST = b"POST %s HTTP/1.1"
KNOWN = b"If-None-Match: " + TAG
HEY = b"User-Agent: hey/0.0.1", b"Content-Type: text/html", b"Accept-Encoding: gzip"
CHUNKED = b"Transfer-Encoding: chunked"
BTC_PRICE = given_price("61000.1", BTC)
LONG = request(PRICE, b"X-A: " + b"a" * 900)
LARGE = [b"X-%d: %s" % (n, b"a" * 900) for n in range(17)]

# Each case with the number of answers that the lane must give, no fewer and no more.
TABLE: dict[str, tuple[Sequence[Step], int]] = {
    # Plain requests
    "one": ([PLAIN], 1),
    "twice the same": ([PLAIN] * 2, 2),
    "five times the same, by then learned": ([PLAIN] * 5, 5),
    "as hey asks": ([request(PRICE, *HEY)] * 4, 4),
    "as a browser asks, with cookies": ([request(PRICE, b"Cookie: a=%d" % n, b"Accept: */*") for n in range(4)], 4),
    "each learned head for its own pair": ([BTC_PRICE, *[PLAIN, request(OTHER)] * 4], 8),
    "learned on one connection, used on another": ([PLAIN, PLAIN, RECONNECT, PLAIN, RECONNECT, PLAIN], 4),
    "pair without a price": ([request(OTHER)] * 3, 0),
    "price comes after the head was seen": ([request(OTHER), request(OTHER), BTC_PRICE, *[request(OTHER)] * 3], 3),
    # Pipelined
    "two in one chunk": ([PLAIN * 2] * 4, 0),
    "ten in one chunk": ([PLAIN * 10] * 3, 0),
    "learned, then two in one chunk": ([PLAIN, PLAIN, PLAIN, PLAIN * 2, PLAIN], 4),
    "two pairs in one chunk": ([BTC_PRICE, (PLAIN + request(OTHER)) * 3], 0),
    "slow, fast": ([SLOW + PLAIN], 0),
    "fast, slow": ([PLAIN + SLOW], 0),
    "fast, slow, fast": ([PLAIN + SLOW + PLAIN], 0),
    "slow, fast, slow": ([SLOW + PLAIN + SLOW], 0),
    "slow, slow, fast, fast, then fast": ([SLOW * 2 + PLAIN * 2, PLAIN], 1),
    "fast, fast, slow, slow, fast, unknown": ([PLAIN * 2 + SLOW * 2 + PLAIN + request(b"/no")], 0),
    "learned, then fast, slow, fast": ([PLAIN, PLAIN, PLAIN, PLAIN + SLOW + PLAIN, PLAIN], 4),
    "fast, half a slow, the rest and a fast": ([PLAIN + SLOW[:20], SLOW[20:] + PLAIN, PLAIN], 1),
    # Cut
    "at every byte": (every_byte(PLAIN), 0),
    "at every byte, twice, then whole": (every_byte(PLAIN * 2) + [PLAIN] * 3, 3),
    "slow at every byte, then fast": ([*every_byte(SLOW), PLAIN], 1),
    "in two at each place": (split_everywhere(PLAIN), len(PLAIN) - 1),
    "learned, half, rest": ([PLAIN, PLAIN, PLAIN[:30], PLAIN[30:], PLAIN], 3),
    "learned, half, the whole again instead of the rest": ([PLAIN, PLAIN, PLAIN[:30], PLAIN, PLAIN], 2),
    "learned, half in its first line, the whole again": ([PLAIN, PLAIN, PLAIN[:9], PLAIN, PLAIN], 2),
    "learned, all but the last byte, the whole again": ([PLAIN, PLAIN, PLAIN[:-1], PLAIN, PLAIN], 2),
    "rest of a head that has often come as a rest": ([*[PLAIN[:40], PLAIN[40:]] * 3, PLAIN[40:]], 0),
    "learned, half on one connection, whole on another": ([PLAIN, PLAIN, PLAIN[:30], RECONNECT, PLAIN], 3),
    "one and a half, the other half and one": ([PLAIN + PLAIN[:30], PLAIN[30:] + PLAIN, PLAIN], 1),
    "half, rest with another behind": ([PLAIN[:30], PLAIN[30:] + PLAIN, PLAIN], 1),
    "cut in a head behind more than a head may have": ([LONG * 20 + PLAIN[:30], PLAIN[30:] + PLAIN], 0),
    "learned, then whatever it may be behind it": ([*[PLAIN] * 3, PLAIN + b"\r\n", PLAIN + b"\r", b"\n" + PLAIN], 6),
    # Connections that end
    "close": ([request(PRICE, b"Connection: close")], 1),
    "Close in odd case": ([request(PRICE, b"CoNNection: cLoSE")], 1),
    "close in a list": ([request(PRICE, b"Connection: foo, close")], 1),
    "close in a second line": ([request(PRICE, b"Connection: keep-alive", b"Connection: close")], 1),
    "keep-alive and close at once": ([request(PRICE, b"Connection: keep-alive, close")], 1),
    "keep-alive": ([request(PRICE, b"Connection: Keep-Alive")] * 4, 4),
    "connection with another word": ([request(PRICE, b"Connection: te, x-y", b"TE: trailers")] * 4, 4),
    "closed is not close": ([request(PRICE, b"Connection: closed")] * 4, 4),
    "close, then another in the same chunk": ([request(PRICE, b"Connection: close") + PLAIN], 0),
    "fast, close, fast": ([PLAIN + request(PRICE, b"Connection: close") + PLAIN], 0),
    "learned, then close": ([*[PLAIN] * 3, request(PRICE, b"Connection: close"), PLAIN], 4),
    "slow and close, then fast": ([request(LIVENESS, b"Connection: close") + PLAIN], 0),
    "HTTP/1.0": ([request(first=b"GET %s HTTP/1.0")], 1),
    "HTTP/1.0 with keep-alive": ([request(PRICE, b"Connection: keep-alive", first=b"GET %s HTTP/1.0"), PLAIN], 2),
    "HTTP/1.0 with keep-alive, then more in the same chunk": (
        [request(PRICE, b"Connection: keep-alive", first=b"GET %s HTTP/1.0") + PLAIN * 3, PLAIN], 1
    ),
    "HTTP/1.0, then another in the same chunk": ([request(first=b"GET %s HTTP/1.0") + PLAIN], 0),
    "client ends after its question": ([PLAIN, PLAIN, END], 2),
    "client ends in a head": ([PLAIN, PLAIN[:20], END], 1),
    # Messages that are more than a head
    "Expect": ([request(PRICE, b"Expect: 100-continue")] * 3, 0),
    "Expect with a body": ([request(PRICE, b"Expect: 100-continue", b"Content-Length: 3"), b"abc", PLAIN], 1),
    "Expect of something else": ([request(PRICE, b"Expect: wonders")] * 3, 0),
    "body on GET": ([request(PRICE, b"Content-Length: 5") + b"hello", PLAIN], 1),
    "body on GET in its own chunk": ([request(PRICE, b"Content-Length: 5"), b"hello", PLAIN], 1),
    "body on GET that is a learned head": (
        [PLAIN, PLAIN, request(PRICE, b"Content-Length: %d" % len(PLAIN)), PLAIN, PLAIN], 3
    ),
    "body of nothing": ([request(PRICE, b"Content-Length: 0")] * 3, 0),
    "chunked body": ([request(PRICE, CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n", PLAIN], 1),
    "chunked body in a learned chunk": ([PLAIN, PLAIN, request(PRICE, CHUNKED), b"%x\r\n" % len(PLAIN), PLAIN, b"\r\n0\r\n\r\n", PLAIN], 3),
    "chunked body with a trailer": ([request(PRICE, CHUNKED) + b"0\r\nHost: again\r\nExpect: x\r\n\r\n", PLAIN, PLAIN], 2),
    "chunked body with a trailer that is not allowed": ([request(PRICE, CHUNKED) + b"0\r\nContent-Length: 1\r\n\r\n", PLAIN], 0),
    "chunked body with a trailer that does not end": ([request(PRICE, CHUNKED) + b"0\r\nX: ", *[b"a" * 4096] * 5, PLAIN], 0),
    "chunked and a length": ([request(PRICE, CHUNKED, b"Content-Length: 3") + b"0\r\n\r\n", PLAIN], 0),
    "a length and chunked": ([request(PRICE, b"Content-Length: 3", CHUNKED) + b"0\r\n\r\n", PLAIN], 0),
    "bad chunk": ([request(PRICE, CHUNKED) + b"zz\r\n", PLAIN], 0),
    "bad chunk later": ([request(PRICE, CHUNKED), b"zz\r\n"], 0),
    "two lengths": ([request(PRICE, b"Content-Length: 0", b"Content-Length: 5")], 0),
    "length that is no number": ([request(PRICE, b"Content-Length: +5")], 0),
    "POST with a body": ([request(PRICE, b"Content-Length: 5", first=POST) + b"hello", PLAIN], 1),
    "POST whose body never comes": ([request(PRICE, b"Content-Length: 5", first=POST), b"he"], 0),
    "upgrade to h2c": ([request(PRICE, b"Connection: Upgrade", b"Upgrade: h2c"), PLAIN], 1),
    "upgrade with another behind": ([request(PRICE, b"Connection: Upgrade", b"Upgrade: h2c") + PLAIN, PLAIN], 1),
    "learned, upgrade to websocket, learned": (
        [PLAIN, PLAIN, request(PRICE, b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"), PLAIN, PLAIN], 4
    ),
    "Upgrade alone": ([request(PRICE, b"Upgrade: h2c"), PLAIN], 1),
    # Targets
    "absolute": ([request(b"http://fastprice" + PRICE)] * 3, 0),
    "absolute and elsewhere": ([request(b"http://elsewhere:1" + PRICE)] * 3, 0),
    "query": ([request(PRICE + b"?max_age_ms=5000")] * 3, 3),
    "query that is wrong": ([request(PRICE + b"?max_age_ms=x")] * 3, 0),
    "unknown query": ([request(PRICE + b"?x")] * 3, 0),
    "question mark alone": ([request(PRICE + b"?")] * 3, 3),
    "fragment": ([request(PRICE + b"#x")] * 3, 0),
    "pair in capitals": ([request(b"/api/v1/prices/ETH-USDT")] * 3, 0),
    "trailing slash": ([request(PRICE + b"/")] * 3, 0),
    "escaped": ([request(b"/api/v1/prices/eth%2Dusdt")] * 3, 0),
    "two slashes": ([request(b"//api/v1/prices/eth-usdt")] * 3, 0),
    "dots": ([request(b"/api/v1/./prices/eth-usdt")] * 3, 0),
    "unknown pair": ([request(b"/api/v1/prices/no-pair")] * 3, 0),
    "its sources": ([request(PRICE + b"/sources")] * 3, 0),
    "all prices": ([request(b"/api/v1/prices"), PLAIN], 2),
    "longer than the known path": ([request(PRICE + b"x"), request(PRICE[:-1])], 0),
    "bytes beyond ASCII": ([request(PRICE + b"\xff")] * 2, 0),
    "asterisk": ([request(b"*", first=b"OPTIONS %s HTTP/1.1")], 0),
    # Conditions
    "known": ([request(PRICE, KNOWN)] * 5, 5),
    "known, weakly": ([request(PRICE, b"If-None-Match: W/" + TAG)] * 4, 4),
    "known in a list": ([request(PRICE, b'If-None-Match: "a", W/%s , "b"' % TAG)] * 4, 4),
    "star": ([request(PRICE, b"If-None-Match: *")] * 4, 4),
    "known in the second of two lines": ([request(PRICE, b'If-None-Match: "a"', KNOWN)] * 4, 4),
    "known in the first of two lines": ([request(PRICE, KNOWN, b'If-None-Match: "a"')] * 4, 4),
    "empty condition": ([request(PRICE, b"If-None-Match:")] * 4, 4),
    "two empty conditions": ([request(PRICE, b"If-None-Match:", b"If-None-Match: ")] * 4, 4),
    "something else is known": ([request(PRICE, b'If-None-Match: "a"')] * 4, 4),
    "tag without quotes": ([request(PRICE, b"If-None-Match: " + TAG.strip(b'"'))] * 4, 4),
    "condition in odd case": ([request(PRICE, b"iF-NONE-match: " + TAG)] * 4, 4),
    "condition with and without, in turn": ([PLAIN, request(PRICE, KNOWN)] * 5, 10),
    "conditions pipelined": ([(PLAIN + request(PRICE, KNOWN)) * 4] * 3, 0),
    "known, then stale": ([*[request(PRICE, KNOWN)] * 3, after(6), *[request(PRICE, KNOWN)] * 3], 6),
    "stale is known": ([after(6), *[request(PRICE, b"If-None-Match: " + STALE_TAG)] * 4], 4),
    "known, then another price": ([*[request(PRICE, KNOWN)] * 3, given_price("1.5"), *[request(PRICE, KNOWN)] * 3], 6),
    "known, then expired": ([*[request(PRICE, KNOWN)] * 3, after(61), request(PRICE, KNOWN)], 3),
    "other conditions and ranges": (
        [request(PRICE, b"If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT", b"If-Match: *", b"Range: bytes=0-1")] * 4, 4
    ),
    # Sizes at which the lane reads once more, or stops reading
    **{
        f"head of {size} bytes": ([request(PRICE, b"X-A: " + b"a" * (size - len(request(PRICE, b"X-A: "))))] * 3, by_lane)
        for size, by_lane in {
            SHORT_BYTES - 1: 3, SHORT_BYTES: 3, SHORT_BYTES + 1: 3, SHORT_BYTES + LONG_BYTES: 3,
            SHORT_BYTES + LONG_BYTES + 1: 2,
        }.items()
    },
    # Everything else that is polled
    "close at once, learned": ([step for _ in range(4) for step in (request(PRICE, b"Connection: close"), RECONNECT)], 4),
    "known, and close": ([step for _ in range(4) for step in (request(PRICE, KNOWN, b"Connection: close"), RECONNECT)], 4),
    "HTTP/1.0 kept alive, learned": ([request(PRICE, b"Connection: keep-alive", first=b"GET %s HTTP/1.0")] * 4, 4),
    "HTTP/1.0 kept alive, the ordinary way": (
        [request(b"/api/", b"Connection: keep-alive", first=b"GET %s HTTP/1.0"), PLAIN] * 3, 3
    ),
    "HTTP/1.0 kept alive, pipelined": ([request(PRICE, b"Connection: keep-alive", first=b"GET %s HTTP/1.0") * 3 + PLAIN], 0),
    "HTTP/1.0, known": ([step for _ in range(3) for step in (request(PRICE, KNOWN, first=b"GET %s HTTP/1.0"), RECONNECT)], 3),
    "HEAD and close": ([request(PRICE, b"Connection: close", first=b"HEAD %s HTTP/1.1")], 1),
    "HEAD of what is slow": ([request(b"/api/", first=b"HEAD %s HTTP/1.1"), PLAIN], 1),
    "liveness": ([request(LIVENESS)] * 4, 4),
    "liveness with a condition, which it does not know": ([request(LIVENESS, b"If-None-Match: *"), request(LIVENESS, KNOWN)] * 2, 4),
    "liveness with a query": ([request(LIVENESS + b"?x=1"), PLAIN], 1),
    "HEAD of liveness": ([request(LIVENESS, first=b"HEAD %s HTTP/1.1")] * 2, 2),
    "liveness second by second": ([step for _ in range(4) for step in (request(LIVENESS), after(1))], 4),
    "all prices as they change": (
        [step for change in (after(0), BTC_PRICE, given_price("2"), after(6), after(50)) for step in (request(ALL), change, request(ALL))], 10
    ),
    "all prices, known by tags that change": (
        [request(ALL), request(ALL, b"If-None-Match: *"), BTC_PRICE, request(ALL, b'If-None-Match: "a"'), after(4), request(ALL)], 4
    ),
    "all prices until none is left": ([request(ALL), after(61), request(ALL), given_price("2"), request(ALL)], 2),
    "some prices": ([request(ALL + b"?pairs=eth-usdt")] * 3 + [BTC_PRICE] + [request(ALL + b"?pairs=btc-usdt,eth-usdt")] * 3, 6),
    "one pair twice, in capitals": ([request(ALL + b"?pairs=ETH-USDT,eth-usdt")] * 2, 2),
    "some prices that are not there": ([request(ALL + b"?pairs=btc-usdt")] * 2, 0),
    "pairs that are not served": ([request(ALL + b"?pairs=eth-usdt,no-pair")] * 2, 0),
    "no pair": ([request(ALL + b"?pairs="), request(ALL + b"?pairs=,"), request(ALL + b"?pair=eth-usdt")], 0),
    "HEAD of all prices": ([request(ALL, first=b"HEAD %s HTTP/1.1")] * 3, 3),
    "young enough": ([step for _ in range(9) for step in (request(PRICE + b"?max_age_ms=3000"), after(0.25))], 9),
    "young enough, then too old, then young again": (
        [step for change in (after(2), after(1), after(0.001), given_price("2"), after(1)) for step in (request(PRICE + b"?max_age_ms=3000"), change)]
        + [request(PRICE + b"?max_age_ms=3000")], 5
    ),
    "young enough though stale": ([after(6), request(PRICE + b"?max_age_ms=7000"), after(0.5), request(PRICE + b"?max_age_ms=7000")], 2),
    "no age at all": ([after(0.001), request(PRICE + b"?max_age_ms=0"), request(PRICE + b"?max_age_ms=1", KNOWN)], 1),
    "price and age of another pair": ([request(OTHER + b"?max_age_ms=9"), BTC_PRICE, request(OTHER + b"?max_age_ms=9")], 1),
    # Time
    "price changes": ([*[PLAIN] * 3, given_price("3121.00"), *[PLAIN] * 3], 6),
    "price changes within the second": ([after(0.1), *[PLAIN] * 3, given_price("2"), *[PLAIN] * 3, PLAIN * 2], 6),
    "price of another pair changes": ([*[PLAIN] * 3, BTC_PRICE, *[PLAIN] * 3], 6),
    "second by second": ([step for _ in range(7) for step in (PLAIN, PLAIN, after(1))], 14),
    "to the edge of each second and over": ([step for _ in range(6) for step in (PLAIN, after(0.999), PLAIN, after(0.001))], 12),
    "quarter by quarter": ([step for _ in range(30) for step in (PLAIN, after(0.25))], 30),
    "quarter by quarter to the end of use": (
        [after(57), *(step for _ in range(12) for step in (PLAIN, request(PRICE, KNOWN), after(0.25))), PLAIN], 25
    ),
    "to the end of freshness": ([PLAIN, PLAIN, after(5), PLAIN, after(0.001), PLAIN, PLAIN], 5),
    "to the end of use and back": (
        [PLAIN, PLAIN, after(60), PLAIN, after(0.001), PLAIN, PLAIN, given_price("2"), PLAIN, PLAIN], 5
    ),
    "expired, pipelined": ([PLAIN, PLAIN, after(61), PLAIN * 3, PLAIN], 2),
    "expired, split": ([PLAIN, PLAIN, after(61), PLAIN[:40], PLAIN[40:], given_price("2"), PLAIN[:40], PLAIN[40:]], 2),
    "expires between its halves": ([PLAIN, PLAIN, PLAIN[:40], after(61), PLAIN[40:], PLAIN], 2),
    "changes between its halves": ([PLAIN, PLAIN, PLAIN[:40], given_price("2"), PLAIN[40:], PLAIN], 3),
    "wall clock steps ahead": ([PLAIN, PLAIN, after(1), lambda prices: prices.clock.step_wall(3600), PLAIN], 3),
    # Methods
    "HEAD": ([request(first=b"HEAD %s HTTP/1.1")] * 3, 3),
    "HEAD, known": ([request(PRICE, KNOWN, first=b"HEAD %s HTTP/1.1")] * 3, 3),
    "OPTIONS": ([request(first=b"OPTIONS %s HTTP/1.1")] * 3, 0),
    "POST": ([request(first=POST)] * 3, 0),
    "other methods": ([request(first=method + b" %s HTTP/1.1") for method in (b"PUT", b"DELETE", b"PATCH", b"TRACE", b"PURGE")], 0),
    "CONNECT": ([request(first=b"CONNECT fastprice:443 HTTP/1.1"), PLAIN], 0),
    "get in small letters": ([request(first=b"get %s HTTP/1.1")], 0),
    "method that is none": ([request(first=b"GETT %s HTTP/1.1")], 0),
    "PRI of HTTP/2": ([b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], 0),
    # Heads that are unusual or wrong
    "same header twice": ([request(PRICE, b"X-A: 1", b"X-A: 2")] * 3, 3),
    "odd case of headers": ([request(PRICE, b"aCCEPT: */*", host=b"hOsT: fastprice")] * 3, 3),
    "spaces around values": ([request(PRICE, b"X-A:\t 1 \t", host=b"Host:fastprice")] * 3, 3),
    "header without a value": ([request(PRICE, b"X-A:")] * 3, 3),
    "folded header": ([request(PRICE, b"X-A: 1", b" 2")], 0),
    "space before the colon": ([request(PRICE, b"X-A : 1")], 0),
    "header without a colon": ([request(PRICE, b"X-A")], 0),
    "NUL in a header": ([request(PRICE, b"X-A: \0")], 0),
    "NUL in the path": ([request(PRICE + b"\0")], 0),
    "bytes beyond ASCII in a header": ([request(PRICE, b"X-A: \xff\xe9")] * 3, 3),
    "no Host": ([request(host=b"")], 0),
    "no Host behind a good one": ([PLAIN + request(host=b"")], 0),
    "no Host after a learned head": ([*[PLAIN] * 3, request(host=b"")], 3),
    "two Hosts": ([request(PRICE, b"Host: other")], 0),
    "empty Host": ([request(host=b"Host:")] * 3, 3),
    "no Host in HTTP/1.0": ([request(first=b"GET %s HTTP/1.0", host=b"")], 1),
    "two Hosts in HTTP/1.0": ([request(PRICE, b"Host: other", first=b"GET %s HTTP/1.0")], 0),
    "two spaces": ([request(first=b"GET  %s HTTP/1.1")] * 3, 3),
    "no version": ([request(first=b"GET %s")], 0),
    "HTTP/2.0": ([request(first=b"GET %s HTTP/2.0")], 0),
    "HTTP/1.2": ([request(first=b"GET %s HTTP/1.2")], 0),
    "HTTP/0.9": ([request(first=b"GET %s HTTP/0.9")], 0),
    "http in small letters": ([request(first=b"GET %s http/1.1")], 0),
    "bare LF": ([PLAIN.replace(b"\r\n", b"\n")], 0),
    "bare CR": ([PLAIN.replace(b"\r\n", b"\r")], 0),
    "empty lines first": ([b"\r\n\r\n" + PLAIN] * 3, 3),
    "empty lines after": ([PLAIN + b"\r\n"] * 3 + [b"\r\n", PLAIN], 4),
    "empty line between learned heads": ([PLAIN, PLAIN, b"\r", PLAIN, b"\n", PLAIN], 4),
    "junk": ([b"junk\r\n\r\n"], 0),
    "junk before a good one": ([b"x" + PLAIN], 0),
    "junk after a good one": ([PLAIN + b"junk\r\n\r\n"], 0),
    "junk after a slow one": ([SLOW + b"junk\r\n\r\n"], 0),
    "junk after fast and slow": ([PLAIN + SLOW + b"\0\0", PLAIN], 0),
    "junk after a learned head": ([*[PLAIN] * 3, b"junk", PLAIN], 3),
    "one byte of junk after a good one": ([PLAIN + b"\0"], 0),
    "the same junk after a good one on connection after connection": ([PLAIN + b"\0", RECONNECT] * 4, 0),
    "TLS": ([b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"], 0),
    "head of the largest size": ([request(PRICE, b"X-A: " + b"a" * (MAX_HEAD_BYTES - 200))] * 3, 2),
    "head of the largest size, cut in the middle": ((lambda head: [head[:9000], head[9000:]] * 3)(request(PRICE, *LARGE)), 0),
    "head of the largest size at its last line, byte by byte": (
        [request(PRICE, *LARGE)[:-6], *every_byte(request(PRICE, *LARGE)[-6:])], 0
    ),
    "head too large": ([request(PRICE, b"X-A: " + b"a" * MAX_HEAD_BYTES)], 0),
    "head too large behind a good one": ([PLAIN + request(PRICE, b"X-A: " + b"a" * MAX_HEAD_BYTES)], 0),
    "head too large, not finished": ([PLAIN[:-2] + b"X-A: ", *[b"a" * 4096] * 5], 0),
    "too many headers": ([request(PRICE, *[b"X-%d: 1" % n for n in range(3000)])], 0),
    "path too long": ([request(b"/" + b"a" * MAX_HEAD_BYTES)], 0),
    "path of the largest size": ([request(b"/api/v1/prices/" + b"a" * (MAX_HEAD_BYTES - 200)), PLAIN], 1),
}


# Bytes read at the accept do not depend on the loop: they are read before the loop takes part.
@pytest.mark.parametrize(
    ("anyio_backend", "is_awaited"), [(ASYNCIO, True), (UVLOOP, True), (UVLOOP, False)],
    ids=["asyncio-after", "uvloop-after", "uvloop-at-accept"], indirect=["anyio_backend"],
)  # fmt: skip
@pytest.mark.parametrize(("steps", "by_lane"), TABLE.values(), ids=TABLE)
async def test_lane_and_ordinary_way_give_the_same_bytes_in_the_same_order(
    sides: Sides, steps: Sequence[Step], by_lane: int, is_awaited: bool
) -> None:
    fast, ordinary = await sides.tell([*steps, SLOW], is_awaited=is_awaited)
    assert fast == ordinary
    assert sides.fast.by_lane() == by_lane, "the lane answers all that it may, and nothing else"
    assert sides.fast.server.server_state.total_requests == sides.ordinary.server.server_state.total_requests
    assert sides.fast.counted() == sides.ordinary.counted()


async def test_uvicorn_itself_gives_the_same_bytes_wherever_nothing_is_refused() -> None:
    refusals = [refusal(status) for status in (400, 431)]
    differing = []
    for name, (steps, _) in TABLE.items():
        prices = Prices()
        prices.give()
        ours, theirs = (Side(prices, prices.lane()) for _ in range(2))
        async with ours.running(), theirs.running(is_bare=True):
            our_answers, their_answers = await Sides(prices, ours, theirs).tell([*steps, SLOW])
        is_refused = any(isinstance(answer, bytes) and answer.endswith(tuple(refusals)) for answer in our_answers)
        if our_answers != their_answers and not is_refused:
            differing.append(name)
    kept = [name for name in TABLE if "HTTP/1.0" in name and ("with keep-alive" in name or "kept alive" in name)]
    expected = [*kept, "upgrade with another behind"]
    assert sorted(differing) == sorted(expected), "uvicorn keeps no connection of HTTP/1.0, and does not answer the last"


# Cases that nobody thought of

BLOCKS: list[bytes] = [
    PLAIN, PLAIN, PLAIN, request(OTHER), request(PRICE, KNOWN), request(PRICE, b"If-None-Match: *"), SLOW, SLOW,
    request(PRICE, b"Connection: close"), request(first=b"GET %s HTTP/1.0"), request(first=b"HEAD %s HTTP/1.1"),
    request(PRICE, b"Content-Length: 5", first=POST) + b"hello", request(PRICE, CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n",
    request(PRICE, b"Content-Length: 30"), request(PRICE, b"Expect: 100-continue"), request(PRICE + b"?max_age_ms=9"),
    request(host=b""), request(PRICE, b"Host: b"), request(b"/api/v1/prices/no-pair"), request(PRICE, *HEY),
    request(PRICE, b"Connection: Upgrade", b"Upgrade: h2c"), PLAIN[:30], PLAIN[30:], b"\r\n", b"junk", b"\0",
]  # fmt: skip
CHANGES: list[Step] = [after(0.4), after(1), after(6), after(61), given_price("2"), BTC_PRICE, RECONNECT]
PLACES = st.integers(0, 2000)


@st.composite
def conversations(draw: st.DrawFn) -> list[Step]:
    """Requests with a few bytes changed, cut anywhere, some pieces twice, and price changes in between."""
    stream = b"".join(draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=8)))
    for place, count, put in draw(st.lists(st.tuples(PLACES, st.integers(0, 2), st.binary(max_size=2)), max_size=3)):
        stream = stream[: place % len(stream)] + put + stream[place % len(stream) + count :] or b"x"
    cuts = sorted({0, len(stream), *(place % len(stream) for place in draw(st.lists(PLACES, max_size=5)))})
    steps: list[Step] = [stream[start:end] for start, end in itertools.pairwise(cuts)]
    for place in draw(st.lists(PLACES, max_size=2)):
        steps.insert(place % len(steps), steps[place % len(steps)])
    for place, change in draw(st.lists(st.tuples(PLACES, st.sampled_from(CHANGES)), max_size=2)):
        steps.insert(place % len(steps), change)
    return steps


@settings(
    max_examples=600, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip
@given(steps=conversations())
async def test_lane_and_ordinary_way_agree_on_whatever_may_come(sides: Sides, steps: list[Step]) -> None:
    sides.prices.begin_again()
    sides.fast.take(sides.prices.lane())
    fast, ordinary = await sides.tell([PLAIN, PLAIN, RECONNECT, *steps, RECONNECT, PLAIN])
    assert fast == ordinary
    assert PLAIN in sides.fast.lane.learned
    assert sides.fast.server.server_state.total_requests == sides.ordinary.server.server_state.total_requests
    assert sides.fast.counted() == sides.ordinary.counted()


# What clients do to a connection

MIXED = [PLAIN, SLOW, request(OTHER), request(PRICE, KNOWN), PLAIN, request(b"/api/v1/prices/no-pair"), request(PRICE, KNOWN)]


@pytest.mark.parametrize("asked", [[PLAIN], [PLAIN, request(PRICE, KNOWN)], MIXED], ids=["plain", "conditional", "mixed"])
async def test_10_000_pipelined_requests_get_10_000_answers_in_their_order(sides: Sides, asked: list[bytes]) -> None:
    wire = await Wire(sides.fast).connect()
    answers = {question: await wire.say(question) for question in asked}
    questions = list(itertools.islice(itertools.cycle(asked), 10_000))
    heard = await wire.say(b"".join(questions))
    assert heard.count(b"HTTP/1.1 ") == 10_000
    assert heard == b"".join(answers[question] for question in questions)
    assert await wire.say(PLAIN) == answers[PLAIN]


async def test_learned_head_waits_for_the_answer_before_it(sides: Sides) -> None:
    answers = []
    for side in sides.fast, sides.ordinary:
        side.patience = 60.0
        wire = await Wire(side).connect()
        plain = [await wire.say(PLAIN) for _ in range(3)][0]
        await wire.push(request(OTHER))  # This request waits for its first price.
        await turns(lambda side=side: bool(side.server.server_state.tasks))  # type: ignore[misc]
        for question in PLAIN, request(PRICE, KNOWN):
            await wire.push(question)
            await turns(lambda wire=wire: wire.heard == wire.said or wire.is_unread)  # type: ignore[misc]
        assert wire.read() == b""
        answers.append((wire, plain))
    BTC_PRICE(sides.prices)
    fast, ordinary = [await wire.listen() for wire, _ in answers]
    assert fast == ordinary
    first, second, third = fast.split(b"HTTP/1.1 ")[1:]
    assert b'"BTC-USDT"' in first and third.startswith(b"304 ")
    assert b"HTTP/1.1 " + second == answers[0][1]


async def never_reading(side: Side, first: bytes = b"") -> Wire:
    """A client that sends requests until the server stops reading, and has read nothing."""
    wire = await Wire(side, buffers=4096).connect()
    await wire.push(first + PLAIN * 100_000)
    return wire


@pytest.mark.parametrize("first", [b"", SLOW * 400, PLAIN + SLOW], ids=["plain", "slow first", "both"])
async def test_client_that_never_reads_is_read_no_further_and_holds_up_nobody(sides: Sides, first: bytes) -> None:
    for side in sides.fast, sides.ordinary:
        answer = await (await Wire(side).connect()).say(PLAIN)
        stuck = await never_reading(side, first)
        connection, read = stuck.connection, stuck.heard
        assert connection.flow.write_paused and connection.flow.read_paused
        assert read < 4 * ONE_READ and len(connection._unparsed) <= 2 * ONE_READ
        assert len(connection._unanswered) <= 2, "one whose answer waits, and one that was cut before its end"
        assert connection.transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + len(answer)
        other = await Wire(side).connect()
        for _ in range(50):
            assert await other.say(PLAIN) == answer
        assert stuck.heard == read
        assert connection.transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + len(answer)


async def test_client_that_asks_what_is_learned_and_never_reads_is_read_no_further(sides: Sides) -> None:
    answer = [await (await Wire(sides.fast).connect()).say(PLAIN) for _ in range(3)][0]
    stuck = await Wire(sides.fast, buffers=4096).connect()
    while not stuck.is_unread:
        await stuck.push(PLAIN)
        await turns(lambda: stuck.is_unread or stuck.heard == stuck.said)
        if transport := getattr(stuck.connection, "transport", None):
            assert transport.get_write_buffer_size() <= MAX_UNSENT_BYTES + len(answer)
    asked = stuck.said // len(PLAIN)
    assert await stuck.listen() == answer * asked
    assert 0 < sides.fast.by_lane() - 3 < asked, "for as long as all that was sent had been taken"


async def test_client_that_reads_slowly_gets_every_answer(sides: Sides) -> None:
    slow = await never_reading(sides.fast)
    heard = await slow.listen(1000)
    assert slow.is_open and slow.heard == slow.said
    rest = -slow.said % len(PLAIN)
    heard += await slow.say(PLAIN[len(PLAIN) - rest :] if rest else PLAIN)
    by_lane, asked = sides.fast.by_lane(), slow.said // len(PLAIN)
    answer = await slow.say(PLAIN)
    assert heard.count(b"HTTP/1.1 ") == asked and heard == answer * asked
    assert sides.fast.by_lane() == by_lane + 1, "the lane is taken again when all is read"


@pytest.mark.parametrize("heard_first", [True, False])
async def test_client_that_resets_half_way_is_forgotten_without_a_word(
    sides: Sides, heard_first: bool, caplog: pytest.LogCaptureFixture
) -> None:
    state = sides.fast.server.server_state
    for asked in PLAIN, PLAIN * 3000, PLAIN * 10 + SLOW * 10 + PLAIN[:20], (PLAIN + SLOW) * 1000:
        wire = await Wire(sides.fast, buffers=4096).connect()
        await wire.push(asked)
        if heard_first:
            await turns(lambda wire=wire: wire.read(10))  # type: ignore[misc]
        wire.close(abruptly=True)
        await turns(lambda: not state.connections and not state.tasks)
    other = await Wire(sides.fast).connect()
    assert (await other.say(PLAIN)).startswith(b"HTTP/1.1 200 OK\r\n")
    assert caplog.records == []


async def test_graceful_shutdown_closes_idle_connections_and_answers_what_was_asked(sides: Sides) -> None:
    side = sides.fast
    side.patience = 60.0
    idle = [await Wire(side).connect() for _ in range(3)]
    for wire in idle:
        await wire.say(PLAIN)
    asking = await Wire(side).connect()
    await asking.push(request(OTHER))  # This request waits for its first price.
    await turns(lambda: bool(side.server.server_state.tasks))
    side.server.should_exit = True
    async with asyncio.timeout(20):
        assert await asyncio.gather(*(wire.listen_in_time() for wire in idle)) == [b""] * 3
        assert asking.is_open and not side.serving.done()
        BTC_PRICE(sides.prices)
        answer = await asking.listen_in_time()
        await side.serving
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nconnection: close\r\n" in answer
    assert not side.server.server_state.connections


async def test_who_asks_all_the_time_is_told_with_the_last_answer_that_the_server_ends(sides: Sides) -> None:
    side = sides.fast
    wires = [await Wire(side).connect() for _ in range(3)]
    for wire in wires:
        await wire.say(PLAIN)
    side.server.should_exit = True
    await turns(lambda: wires[0].connection._is_told_to_leave)
    for wire in wires:
        wire._sock.send(PLAIN)
        answer = await wire.listen_in_time()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and b"\r\nconnection: close\r\n" in answer
    await side.serving


async def test_nobody_is_told_that_the_server_ends_while_another_worker_may_still_listen(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor_module, "TOGETHER_SECONDS", 3600.0)
    side = sides.fast
    wire = await Wire(side).connect()
    answer = await wire.say(PLAIN)
    side.server.should_exit = True
    await turns(lambda: not side.server.servers[0]._is_open)  # type: ignore[attr-defined]
    for _ in range(3):
        assert await wire.say(PLAIN) == answer and b"\r\nconnection: close\r\n" not in answer
    with pytest.raises(OSError):
        await asyncio.open_connection(*side.address)


async def test_answers_of_the_lane_count_towards_max_requests(sides: Sides) -> None:
    limited = Side(sides.prices, sides.prices.lane())
    async with limited.running(limit_max_requests=5):
        wire = await Wire(limited).connect()
        for _ in range(4):
            await wire.say(PLAIN)
        assert (limited.server.server_state.total_requests, limited.by_lane()) == (4, 4)
        assert not await limited.server.on_tick(1)
        await wire.say(PLAIN)
        assert await limited.server.on_tick(1)
        async with asyncio.timeout(20):
            await limited.serving
            assert await wire.listen_in_time() == b""


async def test_with_an_access_log_everything_goes_the_ordinary_way(
    sides: Sides, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "hasHandlers", lambda: True)
    caplog.set_level("INFO", "uvicorn.access")
    logged = Side(sides.prices, sides.prices.lane())
    async with logged.running():
        fast, ordinary = await sides.tell([PLAIN, PLAIN * 2, PLAIN, request(PRICE, KNOWN)], logged, sides.ordinary)
    assert fast == ordinary
    assert logged.by_lane() == 0
    assert len([record for record in caplog.records if record.name == "uvicorn.access"]) == 2 * 5


async def test_with_a_limit_of_connections_uvicorn_keeps_it(sides: Sides) -> None:
    limited = Side(sides.prices, sides.prices.lane())
    async with limited.running(limit_concurrency=2):
        first, second = await Wire(limited).connect(), await Wire(limited).connect()
        assert (await first.say(PLAIN)).startswith(b"HTTP/1.1 503 ")
        second.close()
        await turns(lambda: len(limited.server.server_state.connections) < 2)
    assert limited.by_lane() == 0


# What is learned


async def test_only_what_came_twice_whole_and_alone_is_learned(sides: Sides) -> None:
    once, pipelined, slow, odd = request(PRICE, b"X-A: 1"), PLAIN * 2, SLOW, request(PRICE, b"Expect: x")
    halves = request(PRICE, b"X-B: 1")
    big = request(PRICE, b"X-C: " + b"c" * lane_module.MAX_LEARNED_BYTES)
    known = request(PRICE, KNOWN)
    steps = [once, *[pipelined, slow, odd, halves[:40], halves[40:], big, request(OTHER)] * 4, PLAIN, known, PLAIN, known]
    await sides.tell(steps, sides.fast)
    assert list(sides.fast.lane.learned) == [request(OTHER), PLAIN, known]


async def test_heads_that_never_repeat_are_not_learned_and_push_out_nobody(sides: Sides) -> None:
    wire = await Wire(sides.fast).connect()
    for _ in range(2):
        await wire.say(PLAIN)
    for number in range(lane_module.MAX_SEEN + 200):
        await wire.say(request(PRICE, b"X-Trace: %d" % number))
    assert list(sides.fast.lane.learned) == [PLAIN]


def test_what_is_learned_is_bounded(anyio_backend: Any) -> None:
    prices = Prices()
    lane, asked = prices.lane(), (prices.latest.by_slug["eth-usdt"], None, FULL + KEPT, [0, 0, 0, 0], SENT)
    for number in range(5 * lane_module.MAX_LEARNED):
        head = request(PRICE, b"X-Trace: %d" % number)
        assert lane.read(head) == lane.read(head) == asked
        assert len(lane.learned) <= lane_module.MAX_LEARNED
    assert lane.learned[head] == asked
    head = request(PRICE, b"X-Trace: " + b"x" * lane_module.MAX_LEARNED_BYTES)
    assert lane.read(head) == lane.read(head) == asked
    assert head not in lane.learned


def test_what_is_kept_for_queries_is_bounded_and_nothing_is_kept_twice(anyio_backend: Any) -> None:
    lane, heads = Prices().lane(), {}
    for number in range(3 * lane_module.MAX_ASKED):
        target = b"%s?max_age_ms=%d" % (PRICE, number)
        for head in request(target), request(target, b"X-A: 1"):
            heads[head] = target
            lane.read(head)
            lane.read(head)
        holders: dict[bytes, set[int]] = {}
        for head, question in lane.learned.items():
            holders.setdefault(heads[head], set()).add(id(question[0]))
        assert len(holders) <= lane_module.MAX_ASKED
        assert max(map(len, holders.values())) == 1


def test_what_is_kept_for_each_pair_that_is_asked_for_is_small(anyio_backend: Any) -> None:
    names = [Pair(f"C{number}", "USDT") for number in range(500)]
    heads = [request(b"%s/%s" % (ALL, pair.slug.encode())) for pair in names]
    with open(os.devnull, "wb") as nowhere:
        tracemalloc.start()
        prices = Prices(names)
        lane = prices.lane()
        for pair, head in zip(names, heads, strict=True):
            prices.give(pair=pair)
            for _ in range(3):
                assert lane.serve(head, nowhere.fileno()) is SENT
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert kept / len(names) < 3_000


def test_target_that_is_too_long_to_be_learned_is_not_kept(anyio_backend: Any) -> None:
    find, found = Prices().lane()._find, []
    lane = Lane(lambda target: found.append(target) or find(target), FakeClock().monotonic)  # type: ignore[func-returns-value]
    for target in b"%s?pairs=eth-usdt" % ALL, ALL + b"?pairs=" + b",".join([b"eth-usdt"] * 200):
        for number in range(3):
            assert lane.read(request(target, b"X-Trace: %d" % number))
    assert len(found) == 1 + 3


async def test_long_choices_of_pairs_go_the_ordinary_way_and_get_the_same_bytes(anyio_backend: Any) -> None:
    prices = Prices([ETH, *(Pair(f"C{number}", "USDT") for number in range(MAX_CHOSEN + 2))])
    for pair in prices.latest.pairs[:-1]:
        prices.give(pair=pair)
    slugs = [slug.encode() for slug in prices.latest.by_slug]
    every, short, long = [ALL + b"?pairs=" + b",".join(slugs[:count]) for count in (None, MAX_CHOSEN, MAX_CHOSEN + 1)]
    back = ALL + b"?pairs=" + b",".join(reversed(slugs))
    fast, ordinary = Side(prices, prices.lane()), Side(prices, None)
    async with fast.running(), ordinary.running():
        sides = Sides(prices, fast, ordinary)
        for target, by_lane in {every: 3, ALL + b"?": 3, short: 3, long: 0, back: 0}.items():
            told = await sides.tell([request(target)] * 3)
            assert told[0] == told[1] and bytes(told[0][0]).startswith(b"HTTP/1.1 200 OK\r\n")
            assert fast.by_lane() == by_lane, target
            fast.counted()
    assert fast.lane.read(request(every))[0] is fast.lane.read(request(ALL))[0]  # type: ignore[index]


# What is counted


async def test_answers_are_counted_by_their_status_and_freshness(sides: Sides) -> None:
    known, stale_known = request(PRICE, KNOWN), request(PRICE, b"If-None-Match: " + STALE_TAG)
    fresh: list[Step] = [*[PLAIN] * 5, *[known] * 3, SLOW]
    steps: list[Step] = [*fresh, after(6), PLAIN, PLAIN, *[stale_known] * 4, after(60), PLAIN, known]
    await sides.tell(steps, sides.fast)
    assert sides.fast.lane.drain() == ({(PRICE_ROUTE, "GET", True): [5, 2, 3, 4]}, 0.0, [])
    assert sides.fast.lane.drain() == ({}, 0.0, [])
    assert sides.fast.server.server_state.total_requests == 5 + 2 + 3 + 4 + 1 + 2


QUICK = lane_module.QUICK_SECONDS


async def test_what_takes_longer_than_the_first_bucket_is_kept_one_by_one(sides: Sides) -> None:
    took = [0.0, QUICK / 2, QUICK, QUICK * 1.001, 0.25, 3.0]
    # With a start at zero, differences are exact.
    sides.prices.clock.wall_offset_ms += round(sides.prices.clock.now * 1000)
    sides.prices.clock.now = 0.0
    sides.prices.forget()
    sides.prices.give()
    times = itertools.chain.from_iterable((0.0, seconds) for seconds in took)
    sides.fast.take(sides.prices.lane(lambda: next(times)))
    await sides.tell([PLAIN] * len(took), sides.fast)
    counts, seconds, slow = sides.fast.lane.drain()
    assert (counts, seconds, slow) == ({(PRICE_ROUTE, "GET", True): [6, 0, 0, 0]}, sum(took), took[3:])
    assert sides.fast.lane.drain() == ({}, 0.0, [])


def test_lane_is_counted_as_the_ordinary_way_would_have_counted(anyio_backend: Any) -> None:
    lane, ordinary = Metrics("1"), Metrics("1")
    durations = [0.0, 100.0, *(edge * factor for edge in HTTP_BUCKETS for factor in (0.999, 1.0, 1.001))]
    kinds = [(200, "hit"), (200, "stale"), (304, "hit"), (304, "stale")]
    # Added one by one, as the lane does: from Python 3.12 on, sum() has smaller rounding errors.
    counts, total = [0, 0, 0, 0], 0.0
    for duration, kind in zip(durations, itertools.cycle(range(4))):  # noqa: B905
        counts[kind], total = counts[kind] + 1, total + duration
        status, result = kinds[kind]
        ordinary.count_request(PRICE_ROUTE, "GET", status, duration)
        ordinary.l1[result] += 1
    lane.count_lane({(PRICE_ROUTE, "GET", True): counts}, total, [duration for duration in durations if duration > QUICK])
    texts = []
    for metrics in lane, ordinary:
        metrics.flush()
        lines = metrics.exposition().decode().splitlines()
        texts.append([line for line in lines if "_created" not in line])
    assert texts[0] == texts[1]
    assert f'fastprice_http_request_duration_seconds_bucket{{le="+Inf"}} {float(len(durations))}' in texts[0]


def test_quick_is_the_first_bucket_of_the_histogram(anyio_backend: Any) -> None:
    assert QUICK == HTTP_BUCKETS[0]
