"""What is promised of every quote that is served while streams have faults, checked against what was truly said."""

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

# How far a median may be off: if one of two sources lies too little to be detected, it is off by half of that.
MEDIAN_OFF = 0.003
# How often the oracle's clock beats; if a beat is late, no task in this process had a turn.
BEAT_SECONDS, BEATS = 0.02, 100
# From sending to reading: two event loop turns and a socket, not counting a loop that was blocked.
ROUNDING_MS = 60
# The interval of the slowest channel that is used, for exchanges where it is not ten times a second.
CADENCE_MS, SLOW_MS = 100, {"binance": 1000, "gate": 1000}
MOST_FINDINGS = 20


# A lie may be served until a poll that started after it is answered: the poll in progress does not see the lie, the
# next one detects it, and what was already on its way is still served. A stream that is reopened is believed again.
MOST_POLLS = 2
# What polls do not detect: a price may be off by twice the limit up to which they assume a move of the market.
OFF_UNSEEN = 2 * OFF


class Oracle:
    """Judges every quote that LatestPrice takes; `found` counts broken promises by kind."""

    def __init__(self, market: NotingMarket, latest: LatestPrice[Any], interval: float) -> None:
        self.found: Counter[str] = Counter()
        self.details: list[str] = []
        self.judged = self.oldest_ms = 0
        # The sources whose streams lie, or repeat what was true earlier.
        self.liars: set[str] = set()
        # How old a price may become while a source can be called; 0 before the first price.
        self.most_age_ms = 0
        self._market, self._latest = market, latest
        self._interval_ms = round(interval * 1000)
        self._newest: dict[Pair, int] = {}
        # How many polls of each source were answered, and that count at a connection's first served lie for a pair.
        self._polls: Counter[str] = Counter()
        self._first_lie: dict[tuple[str, Pair, int], int] = {}
        self._delays_ms: deque[int] = deque([0], maxlen=BEATS)
        latest.observers.append(self.judge)

    async def watch(self) -> None:
        """Check ages forever, and how late this event loop is."""
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
        """Count an answered poll of a source."""
        self._polls[source] += 1

    def judge(self, place: Place[Any]) -> None:
        """Check what a place has taken against what was said."""
        assert place.snapshot
        quote, now_ms = place.snapshot.quote, wall_ms()
        self.judged += 1
        # A quote read in the same millisecond as one that is served counts as read in the next millisecond.
        if quote.fetched_at_ms > now_ms + SAME_MS:
            self._find("fetched in the future", f"{quote.fetched_at_ms - now_ms} ms {quote}")
        # A median is as old as the oldest price in it, so only the time when it was made must not go back.
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
        # A poll repeats a value that has not changed, or brings a newer one.
        before_ms, limit_ms = quote.fetched_at_ms - at_ms, self._cadence_ms(quote) + 2 * self._interval_ms + ROUNDING_MS
        limit_ms += 2 * self._late_ms
        if before_ms > limit_ms and not self._was_true(quote, part, value, limit_ms):
            self._find(f"{part} older than it says", f"{before_ms} ms, may be {limit_ms}: {quote}")

    def _judge_median(self, quote: Quote, now_ms: int) -> None:
        """All exchanges follow one true price, so the median is close to it, whichever source lies."""
        truth = float(self._market.walks[quote.pair].price(now_ms))
        if abs(float(quote.price) / truth - 1) > MEDIAN_OFF:
            self._find("median off", f"the truth is {truth}: {quote}")

    def _was_true(self, quote: Quote, part: str, value: str, limit_ms: int) -> bool:
        """Whether this was true within `limit_ms` before the quote: an unchanged value is not said again."""
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
