"""A pair's answers: rendered when they are first read, and kept as whole HTTP messages that are right to the second."""

import math
from collections.abc import Callable
from functools import partial

from fastprice.application.latest_price import Place, Snapshot
from fastprice.application.ports import Clock
from fastprice.domain.quote import Quote
from fastprice.interface.middleware import HttpDate
from fastprice.interface.price_json import Answer, Headers, price_answer

NEVER = float("-inf")
# What an answer counts as: the status and whether the price was fresh. UNCHANGED is added for a 304.
FRESH, STALE, UNCHANGED = 0, 1, 2


class Rendering:
    """What the snapshots of all pairs share: the clock, the Date field, the longest max-age of a fresh price."""

    def __init__(self, clock: Clock, longest_max_age: int) -> None:
        self.wall_ms = clock.wall_ms
        self.date = HttpDate()
        self.longest_max_age = longest_max_age


class PriceSnapshot(Snapshot):
    """A quote with everything that is sent for it.

    `current` gives the answer that the ordinary route sends. `message` and `unchanged` are its 200 and its 304 as
    whole HTTP messages, the bytes that the ordinary route would send up to the monotonic second `valid_until`; after
    that, `renew` makes them anew: at a change of freshness, or of the second in Date or in max-age.
    """

    __slots__ = ("valid_until", "message", "unchanged", "etag", "kind", "_rendering", "_answer")

    def __init__(
        self, rendering: Rendering, quote: Quote, fetched_at: float, fresh_until: float, usable_until: float
    ) -> None:
        super().__init__(quote, fetched_at, fresh_until, usable_until)
        self.valid_until = NEVER
        self.message = self.unchanged = self.etag = b""
        self.kind = FRESH
        self._rendering = rendering
        self._answer: tuple[Answer, bool] | None = None

    def current(self, now: float) -> tuple[Answer, int, bool] | None:
        """What is served at the monotonic second `now`: the answer, its max-age, whether it is fresh; None if expired.

        A cache may keep a fresh answer for the whole seconds of freshness left, but about as long as there is no newer
        price at most; and a stale answer for a second, but never past the end of its use.
        """
        if now <= self.fresh_until:
            return self._rendered(True), min(int(self.fresh_until - now), self._rendering.longest_max_age), True
        if now <= self.usable_until:
            return self._rendered(False), min(int(self.usable_until - now), 1), False
        return None

    def renew(self, now: float) -> bool:
        """Prepare the messages for the monotonic second `now`; False where the price may not be served any more."""
        served = self.current(now)
        if served is None:
            return False
        answer, max_age, fresh = served
        # Read once: of two readings the second may be in the next second, and then Date would lag until that one ends.
        wall_ms = self._rendering.wall_ms()
        date = self._rendering.date(wall_ms)
        full, unchanged = answer.headers(max_age)
        self.message = message(b"200 OK", date, full, answer.body)
        self.unchanged = message(b"304 Not Modified", date, unchanged, b"")
        self.etag, self.kind = answer.etag, FRESH if fresh else STALE
        same_until = (self.fresh_until if fresh else self.usable_until) - max_age
        # The wall clock tells milliseconds begun, so its second may end that much sooner than it seems.
        self.valid_until = min(same_until, now + (999 - wall_ms % 1000) / 1000)
        return True

    def _rendered(self, fresh: bool) -> Answer:
        if self._answer is None or self._answer[1] is not fresh:
            self._answer = price_answer(self.quote, stale=not fresh), fresh
        return self._answer[0]


PricePlace = Place[PriceSnapshot]


def price_snapshots(clock: Clock, refresh_interval: float) -> Callable[[Quote, float, float, float], PriceSnapshot]:
    """What makes the snapshots of one worker; `refresh_interval` is in seconds."""
    return partial(PriceSnapshot, Rendering(clock, math.ceil(refresh_interval)))


def message(status: bytes, date: bytes, headers: Headers, body: bytes) -> bytes:
    """A whole HTTP/1.1 message, laid out as uvicorn does it."""
    lines = [b"HTTP/1.1 ", status, b"\r\n"]
    for name, value in ((b"date", date), *headers):
        lines += (name, b": ", value, b"\r\n")
    return b"".join((*lines, b"\r\n", body))
