"""What a connection does for its client, and the faults that keep it from doing so.

The function's name is the fault's name, and its docstring is the fault's meaning; it returns whether a deed is done.
"""

from collections.abc import Callable
from enum import Enum, auto


class Deed(Enum):
    """One thing that a healthy exchange does."""

    FIND = auto()
    ACK = auto()
    LISTEN = auto()
    PONG = auto()
    HEAR = auto()
    WRITE = auto()


def half_open(deed: Deed) -> bool:
    """TCP stays up, but nothing is read, written or answered."""
    return False


def no_pong(deed: Deed) -> bool:
    """No ping is answered, neither a frame nor one of the exchange's own kind; data goes on."""
    return deed is not Deed.PONG


def no_ack(deed: Deed) -> bool:
    """A subscribe works, but is not confirmed."""
    return deed is not Deed.ACK


def ack_then_silence(deed: Deed) -> bool:
    """A subscribe is confirmed, and then nothing comes of it; older subscriptions go on."""
    return deed is not Deed.LISTEN


def refused(deed: Deed) -> bool:
    """Every symbol in a subscribe is unknown: refused, or acked and silent, as the exchange does."""
    return deed is not Deed.FIND


DEEDS: dict[str, Callable[[Deed], bool]] = {
    fault.__name__: fault for fault in (half_open, no_pong, no_ack, ack_then_silence, refused)
}
