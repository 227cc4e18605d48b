"""The stream faults that act on a whole connection, when the fault is set or when the connection is opened.

The function's name is the fault's name, and its docstring is the fault's meaning.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from fastprice.market.connection import Connection
from fastprice.market.dialect import Push
from fastprice.market.frames import frame

BURST_FRAMES, HUGE_BYTES = 20_000, 20 << 20
FLOOD_FRAMES, FLOOD_SECONDS = 100, 0.1


def close_1000(connection: Connection) -> None:
    """Closed with code 1000, `seconds` (default 0.5) after it was opened or the fault was set."""
    _close(connection, 1000, "Bye")


def close_1001(connection: Connection) -> None:
    """Closed with code 1001, `seconds` (default 0.5) after it was opened or the fault was set."""
    _close(connection, 1001, "Going away")


def close_1006(connection: Connection) -> None:
    """TCP is closed without a closing frame, `seconds` (default 0.5) after it was opened or the fault was set."""
    _close(connection, 1006, "")


def close_1008(connection: Connection) -> None:
    """Closed with code 1008, `seconds` (default 0.5) after it was opened or the fault was set."""
    _close(connection, 1008, "Too many requests")


def close_1009(connection: Connection) -> None:
    """Closed with code 1009, `seconds` (default 0.5) after it was opened or the fault was set."""
    _close(connection, 1009, "Message too long")


def close_1011(connection: Connection) -> None:
    """Closed with code 1011, `seconds` (default 0.5) after it was opened or the fault was set."""
    _close(connection, 1011, "Internal error")


def close_4004(connection: Connection) -> None:
    """Closed with code 4004, `seconds` (default 0.5) after it was opened or the fault was set."""
    _close(connection, 4004, "No data received in 30s.")


def reset(connection: Connection) -> None:
    """TCP is reset, `seconds` (default 0.5) after it was opened or the fault was set."""
    connection.later(connection.feed.switch.seconds, connection.reset)


def cut_off(connection: Connection) -> None:
    """TCP is closed in the middle of a frame, `seconds` (default 0.5) after it was opened or the fault was set."""
    connection.later(connection.feed.switch.seconds, partial(_cut_off, connection))


def planned_cut(connection: Connection) -> None:
    """Older connections get the documented notice, if there is one, and are cut `seconds` (default 5) later."""
    notice = connection.feed.dialect.notice
    if connection.opened_at > connection.feed.switch.set_at:
        return
    if notice:
        connection.say(notice(connection))
    _close(connection, 1001, "Service restart")


def lifetime(connection: Connection) -> None:
    """A connection is cut, without notice, when it is `seconds` old (default 24, for the 24 hours of some)."""
    age = connection.feed.pace.clock() - connection.opened_at
    connection.later(max(0.0, connection.feed.switch.seconds - age), partial(connection.close, 1001))


def ping_flood(connection: Connection) -> None:
    """1000 ping frames a second."""
    for _ in range(FLOOD_FRAMES):
        connection.ping()
    connection.later(FLOOD_SECONDS, partial(ping_flood, connection))


def drip(connection: Connection) -> None:
    """One byte every `seconds` (default 1); what was held back follows when the fault is cleared."""
    if connection.slow is None:
        connection.slow = bytearray()
    if connection.slow:
        connection.write(bytes((connection.slow.pop(0),)))
    connection.later(connection.feed.switch.seconds, partial(drip, connection))


def burst(connection: Connection) -> None:
    """20000 pushes at once, with growing keys, `seconds` (default 0.5) after it was opened or the fault was set."""
    connection.later(connection.feed.switch.seconds, partial(_burst, connection))


def huge_frame(connection: Connection) -> None:
    """A frame of 20 MiB, valid JSON, `seconds` (default 0.5) after it was opened or the fault was set."""
    connection.later(connection.feed.switch.seconds, partial(_huge, connection))


def _close(connection: Connection, code: int, reason: str) -> None:
    connection.later(connection.feed.switch.seconds, partial(connection.close, code, reason))


def _cut_off(connection: Connection) -> None:
    whole = frame(b'{"channel":"ticker","data":[{"price":"3000.00"}]}')
    connection.write(whole[: len(whole) // 2])
    connection.close(1006)


def _pushes(connection: Connection) -> list[Push]:
    found = [connection.feed.line(topic) for topic in connection.topics]
    return [line.last for line in found if line]


def _burst(connection: Connection) -> None:
    pushes = _pushes(connection)
    for number in range(BURST_FRAMES if pushes else 0):
        push = pushes[number % len(pushes)]
        connection.put(replace(push, key=connection.feed.next_key(push.tick.pair)).frame)
    connection.flush()


def _huge(connection: Connection) -> None:
    for push in _pushes(connection)[:1]:
        connection.put(frame(push.body + b" " * HUGE_BYTES))
    connection.flush()


ACTS: dict[str, Callable[[Connection], None]] = {
    fault.__name__: fault
    for fault in (
        close_1000, close_1001, close_1006, close_1008, close_1009, close_1011, close_4004, reset, cut_off,
        planned_cut, lifetime, ping_flood, drip, burst, huge_frame,
    )
}  # fmt: skip
