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

# Most heads are short, and Python keeps objects of up to 512 bytes cheaply. The rest of a very long head is read on the
# ordinary way.
SHORT_BYTES, LONG_BYTES = 512 - bytes().__sizeof__(), 4096


@dataclass(slots=True)
class Shared:
    """What the connections of one server share.

    `protocol` makes what takes one over, `keep_alive` is in seconds, `highest` is the last descriptor for clients.
    `subscribe` takes connections that ask for a stream.
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
    """What has come, nothing at its end; raises BlockingIOError where nothing has come yet."""
    try:
        data = os.read(descriptor, SHORT_BYTES)
    except BlockingIOError:
        raise
    except OSError:
        return b""
    if len(data) == SHORT_BYTES:
        with contextlib.suppress(OSError):  # There may be nothing more, and an error is found at the next reading.
            data += os.read(descriptor, LONG_BYTES)
    return data
