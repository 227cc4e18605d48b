"""File descriptors are limited: the service takes as many as the system allows, and reserves some for itself."""

import contextlib
import fcntl
import logging
import math
import os
import resource
import select
import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

logger = logging.getLogger("fastprice")

# A descriptor that the kernel refuses to write to.
NO_SOCKET = -1
# Not available to clients: a quarter of all descriptors, but at most this many. The worker that calls the exchanges
# needs one for each pair, and every worker needs some for its store and for scrapes.
MAX_RESERVE = 1280
# The limit to request where the system refuses the whole hard limit, as macOS does.
MODEST_LIMIT = 10_240
# A table for this many descriptors takes 128 KB of the kernel's memory.
LARGE_TABLE = 16_384
# A client that connected less than this long ago counts as about to send a request.
ABOUT_TO_ASK_SECONDS = 0.02
# A worker logs at most once in this time that it closes idle clients.
TELL_SECONDS = 60.0

_told_at = -TELL_SECONDS


def raise_limit() -> None:
    """Allow this process, and those that it will start, as many descriptors as the system lets it have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for wanted in (hard, MODEST_LIMIT):
        if soft == resource.RLIM_INFINITY or soft >= wanted >= 0:
            continue
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return


def grow_table() -> None:
    """Make the kernel enlarge this process's descriptor table now.

    Otherwise it doubles the table in the middle of a burst of connections, and in a process with threads each doubling
    waits for every processor: a burst of 10,000 connections stopped the worker for 80 ms.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = LARGE_TABLE if limit == resource.RLIM_INFINITY else min(limit, LARGE_TABLE)
    with open(os.devnull) as file, contextlib.suppress(OSError):
        os.close(fcntl.fcntl(file, fcntl.F_DUPFD, highest - 1))


def highest_of_clients() -> float:
    """The highest descriptor that a client may have; infinite where there is no limit.

    The system hands out the lowest free number, so all lower numbers are taken, and nothing has to be counted.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if limit == resource.RLIM_INFINITY else limit - min(limit // 4, MAX_RESERVE) - 1


def make_room(connections: Iterable[Any], over: int) -> bool:
    """Close the connections that have waited for their clients the longest, to free `over` descriptors.

    Those that have never sent a request go first. At least a sixteenth of those that wait is closed, because finding
    them costs a look at each. One whose client waits for us stays. Returns whether `over` are, or will be, closed.
    """
    waiting, closing, now = [], 0, time.monotonic()
    for connection in connections:
        if connection.is_closing:
            closing += 1
        elif (since := connection.waits_since) is not None:
            is_welcome = connection.has_asked or now - since < ABOUT_TO_ASK_SECONDS
            waiting.append((is_welcome, since, id(connection), connection))
    if over <= closing:
        return True
    _tell(len(waiting))
    wanted = max(over - closing, len(waiting) // 16)
    longest = [connection for *_, connection in sorted(waiting)]
    # A connection with an unread request would lose its answer, so it is spared, unless all of them have one.
    silent = list(islice((each for each in longest if _is_silent(each.descriptor)), wanted))
    for connection in silent or longest[:wanted]:
        connection.abort()
    return closing + len(silent or longest[:wanted]) >= over


def _is_silent(descriptor: int) -> bool:
    """Whether there is nothing unread from this client."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return not poll.poll(0)


def _tell(idle: int) -> None:
    global _told_at
    if time.monotonic() - _told_at >= TELL_SECONDS:
        _told_at = time.monotonic()
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        logger.warning(
            "too many clients for the limit of %d open files: of %d idle ones, those that were idle for the longest "
            "are closed. Raise the limit (ulimit -n), or lower KEEP_ALIVE",
            limit,
            idle,
        )
