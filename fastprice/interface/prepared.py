"""Answers as complete HTTP messages, each rendered at the first request for it, and correct to the second."""

from typing import NamedTuple

from fastprice.application.ports import Clock
from fastprice.interface.middleware import HttpDate
from fastprice.interface.price_json import Answer, Headers

NEVER = float("-inf")
# The form of a message is its kind plus what happens to its connection.
FULL, UNCHANGED, BARE = 0, 3, 6
KEPT, CLOSED, KEPT_BY_WISH = 0, 1, 2
FORMS = 9
# The Connection field before the other fields of the head, and after them, in the places that uvicorn uses.
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
    """What may be served now, how many seconds caches may keep it, until when that holds, and whether it is stale."""

    answer: Answer
    max_age: int
    same_until: float
    is_stale: bool


class Prepared:
    """What is sent for one resource up to the monotonic second `valid_until`; after that, `renew` prepares it again.

    `messages` has a place for every form: the 200 (FULL), the 304 for clients that know `etag` (UNCHANGED), the answer
    to HEAD (BARE); each for a connection that is kept, one that is closed, and one that an HTTP/1.0 client wants
    to keep. A form that has not been requested yet is empty, and `render` makes it.
    """

    valid_until = NEVER
    messages: list[bytes]
    etag: bytes
    is_stale: bool
    _date: bytes
    _answer: Answer
    _max_age: int

    def renew(self, now: float) -> bool:
        """Prepare for the monotonic second `now`; False if nothing may be served, and the ordinary way says why."""
        raise NotImplementedError

    def prepare(self, rendering: Rendering, served: Served, now: float) -> None:
        """Send this answer until it changes, or until the second in its Date ends."""
        # Read once: a second reading might fall in the next second, and then Date would be late until that second ends.
        wall_ms = rendering.wall_ms()
        self._date = rendering.date(wall_ms)
        self._answer, self._max_age, same_until, self.is_stale = served
        self.etag = self._answer.etag
        self.messages = [b""] * FORMS
        # The wall clock is rounded down to a millisecond, so its second may end up to a millisecond sooner.
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
