"""The first request of a connection: accepted, read, answered, and in most cases closed, without a transport.

A connection is a descriptor with a callback until it needs more. What is plain is answered from prepared bytes; with
anything else, the socket and the bytes already read go to uvicorn's protocol, for good.
"""

import asyncio
import errno
import logging
import select
import socket
import time

from uvicorn.config import Config
from uvicorn.server import Server

from fastprice.server.descriptors import grow_table, highest_of_clients, make_room
from fastprice.server.lane_http import LaneProtocol
from fastprice.server.light_connection import begin
from fastprice.server.poller import Poller
from fastprice.server.push import Push
from fastprice.server.shared import Shared
from fastprice.server.siblings import WINDOW_SECONDS, Siblings

# How many connections are taken before those that are here already get their turn.
ACCEPTS_PER_TURN = 64
# By how much a worker may have more connections than a sibling before that goes first, and how long it waits then.
AHEAD, AHEAD_SHARE, STAND_BACK_SECONDS = 8, 1.25, 0.002
# How long a worker that cannot take a connection waits, so that a sibling may take it.
FULL_SECONDS = 0.05
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
BEAT_SECONDS = 1.0
# Over how much of the time for a graceful end the subscribers are let go.
DRAIN_SHARE = 0.6
# How long all workers of a service take at most to notice that it ends.
TOGETHER_SECONDS = 0.2
# Accept gives a connection when its first bytes are here; one that says nothing, after about so many seconds.
DEFER_SECONDS = 1


class AcceptingServer(Server):
    """uvicorn's server, with acceptors of ours for its listening sockets wherever there is a lane."""

    def __init__(self, config: Config, slot: int = 0, siblings: Siblings | None = None) -> None:
        super().__init__(config)
        self.slot, self.siblings = slot, siblings or Siblings(1)
        self._poller: Poller | None = None  # There is none on macOS: what is plain is answered on the ordinary way.

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        state, loop = self.lifespan.state, asyncio.get_running_loop()
        # Where each request must be logged, or counted against a limit, all of them go the ordinary way.
        if logging.getLogger("uvicorn.access").hasHandlers() or self.config.limit_concurrency is not None:
            state["lane"] = None
        if state["lane"] is not None and hasattr(select, "epoll"):
            self._poller = Poller(loop)
            self.push = Push(state["streams"], state["lane"], self._poller, self.server_state, loop)
            grow_table()
        for listener in sockets or []:
            is_for_monitoring = listener.getsockname()[1:2] == (state.get("metrics_port"),)
            if self._poller and not is_for_monitoring:
                self.servers.append(Acceptor(self, listener, loop, self._poller))  # type: ignore[arg-type]
            else:
                protocol = self.without_lane if is_for_monitoring else self.protocol
                self.servers.append(await loop.create_server(protocol, sock=listener, backlog=self.config.backlog))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen no more, and tell clients so only when no worker does.

        1. All workers are told to end, and each notices within a tenth of a second. 2. The first one tells its clients,
        who connect anew at once. 3. Another one still listens, and ends: the kernel resets whoever it has not handed
        over yet. With a pause between the two that client is refused, and knows that nothing became of its request.
        """
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        await asyncio.sleep(TOGETHER_SECONDS)
        if streams := self.lifespan.state.get("streams"):
            streams.drain((self.config.timeout_graceful_shutdown or 0) * DRAIN_SHARE)
        await super().shutdown(sockets)
        if self._poller:
            self._poller.close()

    def protocol(self) -> LaneProtocol:
        """What takes a connection the ordinary way."""
        return LaneProtocol(self.config, self.server_state, self.lifespan.state)

    def without_lane(self) -> LaneProtocol:
        """The same for those who scrape and probe: what the lane has prepared is not for them."""
        return LaneProtocol(self.config, self.server_state, self.lifespan.state | {"lane": None})


class Acceptor:
    """Takes connections from one listening socket, and leaves some of them to the siblings of this worker."""

    def __init__(
        self, server: AcceptingServer, listener: socket.socket, loop: asyncio.AbstractEventLoop, poller: Poller
    ) -> None:
        lane, keep_alive = server.lifespan.state["lane"], server.config.timeout_keep_alive
        highest = highest_of_clients()
        self.shared = Shared(
            lane, server.server_state, loop, poller, server.protocol, keep_alive, highest, server.push.take
        )
        self._server, self._listener, self._loop = server, listener, loop
        self._connections = server.server_state.connections
        self._taken, self._window = 0, 0.0
        self._is_waiting = False
        listener.setblocking(False)
        if hasattr(socket, "TCP_DEFER_ACCEPT") and listener.family in (socket.AF_INET, socket.AF_INET6):
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, DEFER_SECONDS)
        self._is_open = True
        self._beat()
        poller.add(listener.fileno(), self._take_some)

    def close(self) -> None:
        """Take what has come already, and nothing more."""
        if self._is_open:
            self._is_open = False
            self.shared.poller.remove(self._listener.fileno())
            self._take(self._server.config.backlog)

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""

    def _take_some(self) -> None:
        """Take connections, unless a sibling should go first.

        A sibling that cannot, because it is stopped or busy, must not be waited for: whoever has stood back once takes
        what is still there.
        """
        now = time.monotonic()
        if now // WINDOW_SECONDS != self._window:
            self._taken, self._window = 0, now // WINDOW_SECONDS
        server = self._server
        load = len(self._connections) + self._taken
        ahead = server.siblings.fewest(server.slot, now) * AHEAD_SHARE + AHEAD - load
        if ahead < 1 and not self._is_waiting:
            self._stand_back(STAND_BACK_SECONDS)
            return
        self._is_waiting = False
        self._take(int(min(max(ahead, AHEAD), ACCEPTS_PER_TURN)))
        server.siblings.tell(server.slot, len(self._connections), self._taken, now)

    def _take(self, most: int) -> None:
        # The public `accept` makes an object in Python for each connection, which costs as much as its answer does.
        accept = self._listener._accept  # type: ignore[attr-defined]
        for _ in range(most):
            try:
                descriptor, _ = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in FULL:
                    continue  # This client has gone away again.
                if not make_room(self._connections, 1):
                    self._stand_back(FULL_SECONDS)
                return
            self._taken += 1
            if not begin(self.shared, descriptor):
                self._stand_back(FULL_SECONDS)
                return

    def _stand_back(self, seconds: float) -> None:
        """Leave what comes to the siblings for a moment."""
        self._is_waiting = True
        self.shared.poller.remove(self._listener.fileno())
        self._loop.call_later(seconds, self._come_back)

    def _come_back(self) -> None:
        if self._is_open:
            self.shared.poller.add(self._listener.fileno(), self._take_some)

    def _beat(self) -> None:
        """Tell the siblings once a second that this worker takes connections."""
        if self._is_open:
            server = self._server
            server.siblings.tell(server.slot, len(self._connections), self._taken, time.monotonic())
            self._loop.call_later(BEAT_SECONDS, self._beat)
