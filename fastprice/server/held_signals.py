"""Signals that arrive before a process can handle them wait until it can.

A process that starts, or has just been forked, has no signal handlers yet, or still has those of its parent: SIGTERM
would be lost, or would end the start half-way; SIGTTOU would stop the process. The kernel keeps blocked signals, also
for the first process of a container, which otherwise ignores SIGTERM when it has no handler.
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
    """Deliver the held signals: the handlers are ready."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)
