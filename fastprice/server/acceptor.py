"""The first request of a connection: accepted, read, answered, and in most cases closed, without a transport.

A connection is only a descriptor with a callback until it needs more. Plain requests are answered from prepared bytes;
at any other request, the socket and the bytes already read go to uvicorn's protocol for good.
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

# How many connections are accepted before the existing connections get their turn.
ACCEPTS_PER_TURN = 64
# How many more connections than a sibling a worker may have before it lets the sibling go first, and for how long.
AHEAD, AHEAD_SHARE, STAND_BACK_SECONDS = 8, 1.25, 0.002
# How long a worker that cannot take a connection waits, so that a sibling can take it.
FULL_SECONDS = 0.05
FULL = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
BEAT_SECONDS = 1.0
# The share of the time for a graceful shutdown over which the subscribers are disconnected.
DRAIN_SHARE = 0.6
# The longest time that the workers of a service need until all have noticed that it shuts down.
TOGETHER_SECONDS = 0.2
# `accept` returns a connection when its first bytes have arrived; a silent one, after about this many seconds.
DEFER_SECONDS = 1


class AcceptingServer(Server):
    """uvicorn's server, but with an Acceptor for each of its listening sockets wherever there is a lane."""

    def __init__(self, config: Config, slot: int = 0, siblings: Siblings | None = None) -> None:
        super().__init__(config)
        self.slot, self.siblings = slot, siblings or Siblings(1)
        self._poller: Poller | None = None  # None on macOS, which has no epoll: every connection goes the ordinary way.

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([])
        state, loop = self.lifespan.state, asyncio.get_running_loop()
        # If each request must be logged, or counted against a limit, every request goes the ordinary way.
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
        """Stop listening, and end client connections only once no worker listens any more.

        Without the pause: 1. All workers are told to stop. 2. The first one ends its connections; clients reconnect at
        once. 3. Another worker still listens, then stops: the kernel resets connections that it has not accepted yet.
        With the pause, such a client is refused instead, and knows that its request was not processed.
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
        """The protocol that serves a connection the ordinary way."""
        return LaneProtocol(self.config, self.server_state, self.lifespan.state)

    def without_lane(self) -> LaneProtocol:
        """The same for the monitoring port: the lane's prepared answers are not served there."""
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
        """Accept the connections that are already waiting, and no more after that."""
        if self._is_open:
            self._is_open = False
            self.shared.poller.remove(self._listener.fileno())
            self._take(self._server.config.backlog)

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""

    def _take_some(self) -> None:
        """Accept connections, unless a sibling should go first.

        The sibling may be stopped or busy, so the worker stands back only once, and then accepts the connections that
        are still there.
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
        # The public `accept` creates a Python object for each connection, which costs as much as the answer itself.
        accept = self._listener._accept  # type: ignore[attr-defined]
        for _ in range(most):
            try:
                descriptor, _ = accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno not in FULL:
                    continue  # This client has already disconnected.
                if not make_room(self._connections, 1):
                    self._stand_back(FULL_SECONDS)
                return
            self._taken += 1
            if not begin(self.shared, descriptor):
                self._stand_back(FULL_SECONDS)
                return

    def _stand_back(self, seconds: float) -> None:
        """Leave new connections to the siblings for a moment."""
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
