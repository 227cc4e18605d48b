"""A pair's answers as whole HTTP messages, ready to be written, and right to the second."""

from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Clock
from fastprice.interface.middleware import HttpDate
from fastprice.interface.price_json import Headers, PriceAnswers, current, matches

NEVER = float("-inf")
# What an answer counts as: the status, and whether the price was fresh.
FRESH, STALE, FRESH_UNCHANGED, STALE_UNCHANGED = range(4)


class PreparedPrice:
    """The 200 and the 304 of one pair, as they are to be sent until `valid_until`.

    `renew` makes them anew when that has passed: at a change of the price, of its freshness, of the second in Date or
    in max-age. The bytes are those that the ordinary route would send.
    """

    def __init__(self, slug: str, latest: LatestPrice[PriceAnswers], clock: Clock, longest_max_age: int) -> None:
        self.valid_until = NEVER
        self.message = self.unchanged = self.etag = b""
        self.kind = FRESH
        self._slug = slug
        self._latest = latest
        self._clock = clock
        self._longest_max_age = longest_max_age
        self._date = HttpDate()

    def renew(self, now: float) -> bool:
        """Prepare for the monotonic second `now`; False where no price may be served."""
        snapshot = self._latest.by_slug.get(self._slug)
        served = current(snapshot, now, self._longest_max_age) if snapshot else None
        if snapshot is None or served is None:
            self.valid_until = NEVER
            return False
        answer, max_age, fresh = served
        full, bare = answer.headers(max_age)
        # Read once: of two readings the second may be in the next second, and then Date would lag until that one ends.
        wall_ms = self._clock.wall_ms()
        date = self._date(wall_ms)
        self.message = message(b"200 OK", date, full, answer.body)
        self.unchanged = message(b"304 Not Modified", date, bare, b"")
        self.etag, self.kind = answer.etag, FRESH if fresh else STALE
        same_until = (snapshot.fresh_until if fresh else snapshot.usable_until) - max_age
        # The wall clock tells milliseconds begun, so its second may end that much sooner than it seems.
        self.valid_until = min(same_until, now + (999 - wall_ms % 1000) / 1000)
        return True

    def forget(self) -> None:
        """There is a newer price: what is prepared must not be sent again."""
        self.valid_until = NEVER

    def given(self, if_none_match: bytes) -> "PreparedPrice | PreparedCondition":
        """What answers a request with this condition."""
        return PreparedCondition(self, if_none_match) if if_none_match else self


class PreparedCondition:
    """What answers a conditional request: the 304 while the condition names what is current, else the 200."""

    def __init__(self, price: PreparedPrice, if_none_match: bytes) -> None:
        self._price = price
        self._if_none_match = if_none_match
        self._judged = b""
        self._unchanged = False

    @property
    def valid_until(self) -> float:
        return self._price.valid_until

    @property
    def message(self) -> bytes:
        return self._price.unchanged if self._holds() else self._price.message

    @property
    def kind(self) -> int:
        return self._price.kind + 2 if self._holds() else self._price.kind

    def renew(self, now: float) -> bool:
        return self._price.renew(now)

    def _holds(self) -> bool:
        if self._judged is not self._price.etag:
            self._judged = self._price.etag
            self._unchanged = matches(self._if_none_match, self._judged)
        return self._unchanged


def message(status: bytes, date: bytes, headers: Headers, body: bytes) -> bytes:
    """A whole HTTP/1.1 message, laid out as uvicorn does it."""
    lines = [b"HTTP/1.1 ", status, b"\r\n"]
    for name, value in ((b"date", date), *headers):
        lines += (name, b": ", value, b"\r\n")
    return b"".join((*lines, b"\r\n", body))
