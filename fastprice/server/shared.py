"""What the light connections of one server share, and how they are read."""

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

from uvicorn.server import ServerState

from fastprice.server.lane import Lane
from fastprice.server.lane_http import LaneProtocol
from fastprice.server.poller import Poller

# Most heads are short, and Python keeps objects of up to 512 bytes cheaply. The rest of a very long head is read by the
# ordinary way.
SHORT_BYTES, LONG_BYTES = 512 - bytes().__sizeof__(), 4096


@dataclass(slots=True)
class Shared:
    """What the connections of one server share.

    `protocol` makes the protocol that takes a connection over, `keep_alive` is in seconds, `highest` is the highest
    descriptor for clients. `subscribe` takes connections that request a stream.
    """

    lane: Lane
    state: ServerState
    loop: asyncio.AbstractEventLoop
    poller: Poller
    protocol: Callable[[], LaneProtocol]
    keep_alive: float
    highest: float
    subscribe: Callable[[bytes, int], bool]


def read(descriptor: int) -> bytes:
    """The bytes that have arrived, empty at the connection's end; raises BlockingIOError if there are none yet."""
    try:
        data = os.read(descriptor, SHORT_BYTES)
    except BlockingIOError:
        raise
    except OSError:
        return b""
    if len(data) == SHORT_BYTES:
        with contextlib.suppress(OSError):  # There may be nothing more, and the next read will meet any error.
            data += os.read(descriptor, LONG_BYTES)
    return data
