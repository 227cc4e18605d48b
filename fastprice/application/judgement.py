"""Whether the polls of a pair see what its stream sends: plain state, with the times passed in."""

# The slowest streams send once a second; what they send this long before or after a poll may be what the poll sees.
WINDOW_MS = 2_000
# The share by which a poll may lie outside of what the stream sent; a market can move this far between two messages.
OFF = 0.0005
# A poll may be a moment older than the stream's last price; a market seldom moves farther than this in that time.
FAR = 0.0025
# A stream is wrong when polls have contradicted it for this long, or by more than VERY_OFF for the shorter time.
WRONG_MS, VERY_WRONG_MS, VERY_OFF = 10_000, 3_000, 0.005


class _Range:
    """The lowest and highest price that a stream sent since `turn`, and between that turn and the one before it."""

    __slots__ = ("_before", "_now", "last")

    def __init__(self, first: float) -> None:
        self.last = first
        self._before = self._now = (first, first)

    def add(self, price: float) -> None:
        self._now, self.last = (min(self._now[0], price), max(self._now[1], price)), price

    def turn(self) -> None:
        # The last price remains valid until the next message comes.
        self._before, self._now = self._now, (self.last, self.last)

    def distance(self, price: float) -> float:
        """The share by which a price lies outside the range; 0 inside."""
        low, high = min(self._before[0], self._now[0]), max(self._before[1], self._now[1])
        return max(0.0, low / price - 1, 1 - high / price)


class Judgement:
    """Judges whether the polls of a pair see what its stream sends.

    A stream that sends once a second may not yet have sent what a poll sees. So a poll is judged by what was sent from
    two seconds before it to two seconds after it.
    """

    __slots__ = ("_doubted", "_range", "_sample", "_sampled_ms", "_told", "_wrong_at_ms")

    def __init__(self, first: float, now_ms: int) -> None:
        self._range = _Range(first)
        self._sample, self._sampled_ms = 0.0, now_ms
        self._told = self._doubted = False
        self._wrong_at_ms = 0

    def hear(self, price: float) -> None:
        self._range.add(price)
        self._told = True

    def doubts(self, price: float) -> bool:
        """Whether a poll gives reason to doubt the stream until the next one."""
        is_off = self._range.distance(price) > OFF or abs(self._range.last / price - 1) > FAR
        # That it has sent nothing since is no reason to start doubting it, and none to believe it again.
        self._doubted = is_off and (self._told or self._doubted)
        return self._doubted

    def is_wrong(self, price: float, now_ms: int) -> bool:
        """Whether polls, including the one that saw this price, show that the stream is wrong."""
        if now_ms - self._sampled_ms < WINDOW_MS:
            return False
        off = self._range.distance(self._sample) if self._told and self._sample else 0.0
        self._wrong_at_ms = (self._wrong_at_ms or self._sampled_ms) if off > OFF else 0
        is_wrong = off > OFF and now_ms - self._wrong_at_ms >= (VERY_WRONG_MS if off > VERY_OFF else WRONG_MS)
        self._range.turn()
        self._sample, self._sampled_ms, self._told = price, now_ms, False
        return is_wrong
