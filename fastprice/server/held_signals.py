"""Signals that arrive while nobody can act on them wait until somebody can.

A process that starts, or has just been forked, has no signal handlers yet or those of its parent: SIGTERM would be
lost, or would end a start half-way; SIGTTOU would stop the process. The kernel keeps signals that are blocked, for the
first process of a container too, which otherwise ignores SIGTERM without a handler.
"""

import contextlib
import signal
from collections.abc import Iterator

# Everything that an operator, a terminal or the master sends.
HELD = frozenset({
    signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR1,
    signal.SIGUSR2, signal.SIGWINCH,
})


@contextlib.contextmanager
def held_signals() -> Iterator[None]:
    """Hold signals until the end of the block, or until `release_signals` within it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield
    finally:
        release_signals()


def release_signals() -> None:
    """Deliver what has been held: handlers are ready."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
