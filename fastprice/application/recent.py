"""The last minutes of every pair as this worker has served them: one price a second, in one flat table.

A cell is 8 bytes and holds the digits of a price as a whole number, and how many of them are decimal places, so what
comes out is digit for digit what went in. All cells of one second lie side by side: a new second replaces the oldest
one with a single copy, however many pairs there are. The size is fixed at the start.
"""

from array import array
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from fastprice.application.latest_price import LatestPrice, Place, Snapshot
from fastprice.application.ports import Clock
from fastprice.domain.quote import MAX_SKEW_MS, Pair

# The table of a worker takes at most this much. With more than some 400 pairs it has less than five minutes of each.
MAX_BYTES = 1 << 20
MAX_SECONDS = 300
CELL_BYTES, BYTES_BESIDE_CELLS = 8, 128
# The lowest bits of a cell: the number of decimal places. The others hold the digits.
PLACES_BITS = 5
MAX_PLACES, MAX_DIGITS = (1 << PLACES_BITS) - 1, 17
NOTHING = 0

S = TypeVar("S", bound=Snapshot)


class Point(NamedTuple):
    """The last price that was made in the second that begins at `at_ms`, by the wall clock."""

    at_ms: int
    price: str


class RecentPrices(Generic[S]):
    """Records each new price of a pair, by the second in which it was made.

    That second is the quote's own, so all workers return the same points from the moment on at which they started.
    """

    def __init__(self, latest: LatestPrice[S], clock: Clock) -> None:
        self._clock = clock
        self._columns: dict[Pair, int] = {pair: column for column, pair in enumerate(latest.pairs)}
        self._width = len(self._columns)
        room = (MAX_BYTES // self._width - BYTES_BESIDE_CELLS) // CELL_BYTES
        self.seconds = max(1, min(MAX_SECONDS, room))
        self._nothing = array("Q", [NOTHING]) * self._width
        self._cells = self._nothing * self.seconds
        self._newest = 0
        latest.observers.append(self.record)

    def record(self, place: Place[S]) -> None:
        """Record the price that was put into a place."""
        if place.snapshot is None:
            return
        quote, now_ms = place.snapshot.quote, self._clock.wall_ms()
        second = quote.made_at_ms // 1000
        if self._newest * 1000 > now_ms + MAX_SKEW_MS:  # The clock was set back: all seconds are invalid.
            self._forget(range(self.seconds))
            self._newest = second
        if second > self._newest:
            self._forget(range(max(self._newest + 1, second - self.seconds + 1), second + 1))
            self._newest = second
        if second > self._newest - self.seconds:
            self._cells[second % self.seconds * self._width + self._columns[place.pair]] = packed(quote.price)

    def points(self, pair: Pair) -> list[Point]:
        """The known points of a pair, the oldest first; a second in which there was no newer price has none."""
        now_ms, column, points = self._clock.wall_ms(), self._columns[pair], []
        last = min(self._newest, (now_ms + MAX_SKEW_MS) // 1000)
        for second in range(max(now_ms // 1000, self._newest) - self.seconds + 1, last + 1):
            cell = self._cells[second % self.seconds * self._width + column]
            if cell != NOTHING:
                points.append(Point(second * 1000, unpacked(cell)))
        return points

    def _forget(self, seconds: Iterable[int]) -> None:
        for second in seconds:
            start = second % self.seconds * self._width
            self._cells[start : start + self._width] = self._nothing


def packed(price: str) -> int:
    """A plain decimal in 8 bytes; digits after the 17th significant one, which no exchange sends, are cut off."""
    whole, _, part = price.partition(".")
    excess = max(len((whole + part).lstrip("0")) - MAX_DIGITS, len(part) - MAX_PLACES)
    if excess > 0:
        part = part[: max(0, len(part) - excess)]
    return int(whole + part) << PLACES_BITS | len(part)


def unpacked(cell: int) -> str:
    """The decimal that `packed` was given."""
    digits, places = cell >> PLACES_BITS, cell & MAX_PLACES
    text = f"{digits:0{places + 1}d}"
    return f"{text[:-places]}.{text[-places:]}" if places else text
