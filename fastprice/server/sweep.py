"""One look per second at all connections of a server: those that have waited for their clients too long are closed."""

import asyncio
import time
from weakref import WeakSet

from uvicorn.server import ServerState

SWEEP_SECONDS = 1.0

_swept: WeakSet[ServerState] = WeakSet()


def watch_over(server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
    """Start to sweep a server when it has its first connection."""
    if server_state not in _swept:
        _swept.add(server_state)
        loop.call_later(SWEEP_SECONDS, sweep, server_state, loop)


def sweep(server_state: ServerState, loop: asyncio.AbstractEventLoop) -> None:
    """Look at every connection of a server, once a second for as long as it has any."""
    now = time.monotonic()
    for connection in list(server_state.connections):
        connection.close_if_overdue(now)  # type: ignore[union-attr]
    if server_state.connections:
        loop.call_later(SWEEP_SECONDS, sweep, server_state, loop)
    else:
        _swept.discard(server_state)
