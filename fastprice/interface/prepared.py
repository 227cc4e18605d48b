"""Answers as whole HTTP messages, each rendered when it is first asked for, and right to the second."""

from typing import NamedTuple

from fastprice.application.ports import Clock
from fastprice.interface.middleware import HttpDate
from fastprice.interface.price_json import Answer, Headers

NEVER = float("-inf")
# The form of a message is what it says plus what becomes of its connection.
FULL, UNCHANGED, BARE = 0, 3, 6
KEPT, CLOSED, KEPT_BY_WISH = 0, 1, 2
FORMS = 9
# Where the head says what becomes of the connection: before its other fields and behind them, as uvicorn does it.
CONNECTION: tuple[tuple[Headers, Headers], ...] = (
    ([], []),
    ([], [(b"connection", b"close")]),
    ([(b"connection", b"keep-alive")], []),
)


class Rendering:
    """What the answers of one worker share: the clock, the Date field, the longest max-age of a fresh price."""

    def __init__(self, clock: Clock, longest_max_age: int) -> None:
        self.wall_ms = clock.wall_ms
        self.date = HttpDate()
        self.longest_max_age = longest_max_age


class Served(NamedTuple):
    """What may be served now: how many seconds caches may keep it, up to when that is so, and whether it is stale."""

    answer: Answer
    max_age: int
    same_until: float
    is_stale: bool


class Prepared:
    """What is sent for one resource up to the monotonic second `valid_until`; after that, `renew` prepares it anew.

    `messages` has a place for every form: the 200 (FULL), the 304 for who knows `etag` (UNCHANGED), the answer to HEAD
    (BARE); each for a connection that is kept, that is closed, and that a client of HTTP/1.0 wishes to be kept. A form
    that nobody has asked for yet is empty, and `render` gives it.
    """

    valid_until = NEVER
    messages: list[bytes]
    etag: bytes
    is_stale: bool
    _date: bytes
    _answer: Answer
    _max_age: int

    def renew(self, now: float) -> bool:
        """Prepare for the monotonic second `now`; False where nothing may be served, and the ordinary way says why."""
        raise NotImplementedError

    def prepare(self, rendering: Rendering, served: Served, now: float) -> None:
        """Send this for as long as it stays the same, and the second in Date lasts."""
        # Read once: of two readings the second may be in the next second, and then Date would lag until that one ends.
        wall_ms = rendering.wall_ms()
        self._date = rendering.date(wall_ms)
        self._answer, self._max_age, same_until, self.is_stale = served
        self.etag = self._answer.etag
        self.messages = [b""] * FORMS
        # The wall clock tells milliseconds begun, so its second may end that much sooner than it seems.
        self.valid_until = min(same_until, now + (999 - wall_ms % 1000) / 1000)

    def render(self, form: int) -> bytes:
        """The message of this form, laid out as uvicorn does it."""
        full, unchanged = self._answer.headers(self._max_age)
        before, behind = CONNECTION[form % 3]
        is_unchanged = UNCHANGED <= form < BARE
        lines = [b"HTTP/1.1 304 Not Modified\r\n" if is_unchanged else b"HTTP/1.1 200 OK\r\n"]
        for name, value in (*before, (b"date", self._date), *(unchanged if is_unchanged else full), *behind):
            lines += (name, b": ", value, b"\r\n")
        message = self.messages[form] = b"".join((*lines, b"\r\n", self._answer.body if form < UNCHANGED else b""))
        return message
