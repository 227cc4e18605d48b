"""What is promised of every quote that is served while streams are at fault, held against what was truly said."""

import asyncio
import time
from collections import Counter, deque
from decimal import Decimal
from typing import Any

from bench.streamfaults.said import PARTS, NotingMarket
from fastprice.application.judgement import OFF
from fastprice.application.latest_price import LatestPrice, Place
from fastprice.application.merged import SAME_MS
from fastprice.domain.quote import Pair, Quote
from fastprice.market.floor import wall_ms
from fastprice.market.walk import STEP_MS

# How far a median may be off: of two of whom one lies too little to be found out, it is off by a half of that.
MEDIAN_OFF = 0.003
# The clock of the oracle beats so often; where a beat is late, nobody in this process had a turn.
BEAT_SECONDS, BEATS = 0.02, 100
# From what is said to its being read: two event loop turns and a socket, but for a loop that stood still.
ROUNDING_MS = 60
# The slowest channel that is listened to, where it is not ten times a second.
CADENCE_MS, SLOW_MS = 100, {"binance": 1000, "gate": 1000}
MOST_FINDINGS = 20


# A lie may be served until a poll that was asked after it is answered: the poll under way does not see it, the next one
# finds it out, and what was on its way then is served yet. A stream that is opened anew is believed anew.
MOST_POLLS = 2
# What polls do not find: it may be off by twice what they take for the movement of the market.
OFF_UNSEEN = 2 * OFF


class Oracle:
    """Judges every quote that LatestPrice takes; `found` counts what is not as it is promised, by kind."""

    def __init__(self, market: NotingMarket, latest: LatestPrice[Any], interval: float) -> None:
        self.found: Counter[str] = Counter()
        self.details: list[str] = []
        self.judged = self.oldest_ms = 0
        # The sources whose streams lie, or tell what was true once.
        self.liars: set[str] = set()
        # How old a price may become, while there is a source to be asked; 0 before the first one.
        self.most_age_ms = 0
        self._market, self._latest = market, latest
        self._interval_ms = round(interval * 1000)
        self._newest: dict[Pair, int] = {}
        # How many polls of each source were answered, and at which of them a pair's first lie was served since when.
        self._polls: Counter[str] = Counter()
        self._first_lie: dict[tuple[str, Pair, int], int] = {}
        self._delays_ms: deque[int] = deque([0], maxlen=BEATS)
        latest.observers.append(self.judge)

    async def watch(self) -> None:
        """Look at ages for ever, and at how late we are."""
        while True:
            due = time.monotonic() + BEAT_SECONDS
            await asyncio.sleep(BEAT_SECONDS)
            self._delays_ms.append(round((time.monotonic() - due) * 1000))
            for pair in self._latest.pairs:
                age_ms = self._latest.age_ms(pair) or 0
                self.oldest_ms = max(self.oldest_ms, age_ms)
                if self.most_age_ms and age_ms > self.most_age_ms + self._late_ms + ROUNDING_MS:
                    self._find("too old", f"{pair.symbol} {age_ms} ms")

    def polled(self, source: str) -> None:
        """A poll of a source was answered."""
        self._polls[source] += 1

    def judge(self, place: Place[Any]) -> None:
        """Hold what a place has taken against what was said."""
        assert place.snapshot
        quote, now_ms = place.snapshot.quote, wall_ms()
        self.judged += 1
        # What is read in the same millisecond as something served counts as read in the next one.
        if quote.fetched_at_ms > now_ms + SAME_MS:
            self._find("fetched in the future", f"{quote.fetched_at_ms - now_ms} ms {quote}")
        # A median is as old as the oldest price in it, so it is when it was made that must not go back.
        if quote.made_at_ms < self._newest.get(quote.pair, 0):
            self._find("went back in time", str(quote))
        self._newest[quote.pair] = quote.made_at_ms
        if quote.agreement:
            self._judge_median(quote, now_ms)
        elif not self._is_allowed_lie(quote, now_ms):
            for part in PARTS:
                self._judge_part(quote, part, getattr(quote, part))

    def _judge_part(self, quote: Quote, part: str, value: str | None) -> None:
        if value is None:
            return
        at_ms = self._market.said_at_ms(quote.source, quote.pair.slug, part, value)
        if at_ms is None:
            return self._find(f"{part} never said", str(quote))
        # A poll says it again where it has not changed, or something newer.
        before_ms, limit_ms = quote.fetched_at_ms - at_ms, self._cadence_ms(quote) + 2 * self._interval_ms + ROUNDING_MS
        limit_ms += 2 * self._late_ms
        if before_ms > limit_ms and not self._was_true(quote, part, value, limit_ms):
            self._find(f"{part} older than it says", f"{before_ms} ms, may be {limit_ms}: {quote}")

    def _judge_median(self, quote: Quote, now_ms: int) -> None:
        """All exchanges go by one truth, so the middle of what they say is not far from it, whoever lies."""
        truth = float(self._market.walks[quote.pair].price(now_ms))
        if abs(float(quote.price) / truth - 1) > MEDIAN_OFF:
            self._find("median off", f"the truth is {truth}: {quote}")

    def _was_true(self, quote: Quote, part: str, value: str, limit_ms: int) -> bool:
        """Whether a source would have said this at some moment of so many before the quote's: nobody says it twice."""
        source, end_ms = self._market.sources[quote.source], quote.fetched_at_ms
        moments = range(end_ms - limit_ms, end_ms + STEP_MS, STEP_MS)
        return any(getattr(source.tick(quote.pair, at_ms), part) == value for at_ms in moments)

    def _is_allowed_lie(self, quote: Quote, now_ms: int) -> bool:
        if quote.source not in self.liars:
            return False
        truth = Decimal(self._market.sources[quote.source].tick(quote.pair, now_ms).price)
        if abs(float(Decimal(quote.price) / truth) - 1) <= OFF_UNSEEN:
            return True
        opened, polls = self._market.streams.feeds[quote.source].opened, self._polls[quote.source]
        return polls - self._first_lie.setdefault((quote.source, quote.pair, opened), polls) <= MOST_POLLS

    def _cadence_ms(self, quote: Quote) -> int:
        every_ms = self._market.every_ms
        return max(CADENCE_MS, SLOW_MS.get(quote.source, 0) if every_ms is None else every_ms)

    @property
    def _late_ms(self) -> int:
        return max(self._delays_ms)

    def _find(self, kind: str, detail: str) -> None:
        self.found[kind] += 1
        if len(self.details) < MOST_FINDINGS:
            faults = {name: fault for name, fault in self._market.stream_faults().items() if fault}
            self.details.append(f"{kind}: {detail} (late {self._late_ms} ms) | on: {faults}")
