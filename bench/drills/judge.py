"""The oracle of the drills: it extends that of chaos with what exchanges push, and judges what the service pushes."""

import time
from collections.abc import Sequence
from typing import Any

import orjson

from bench.chaos.exchange import NotingExchange
from bench.chaos.ledger import Ledger
from bench.chaos.oracle import CACHE_TTL, FETCH_TIMEOUT, MAX_STALE, ROUNDING_MS, Oracle, Standing
from bench.chaos.wire import Answer, Ask, Line, wall_ms
from bench.drills.drill import Notes
from fastprice.domain.quote import MAX_SKEW_MS
from fastprice.market.feed import Pushed

# How long ages are not judged after a step of the wall clock: until every worker holds a price of the new time.
STEP_SECONDS = 2.0
# A pushed price is as old as its frame, plus what a busy machine adds.
PUSH_MS = FETCH_TIMEOUT * 1000
# A subscriber may get an event this late because this machine was busy.
LATE_MS = 1000


class Judge(Oracle):
    """Judges answers as chaos does; `notes` keeps the age of the oldest price that any client received."""

    def __init__(self, exchange: NotingExchange, ledger: Ledger, notes: Notes) -> None:
        super().__init__(exchange, ledger)
        self._notes, self._stepped_at = notes, -STEP_SECONDS
        self._said: dict[tuple[str, int, bool], bytes] = {}
        self._truths: dict[bytes, list[str]] = {}

    def stepped(self) -> None:
        """The wall clock has just been set."""
        self._stepped_at = time.monotonic()
        self._said.clear()

    @property
    def is_excused(self) -> bool:
        return time.monotonic() - self._stepped_at < STEP_SECONDS

    def judge_event(self, service: Standing, event: dict[str, bytes], newest_ms: int) -> int:
        """Check an event `price` against what is promised; returns when its price was fetched."""
        received_ms, data = wall_ms(), event["data"]
        price = orjson.loads(data)
        fetched_ms, age_ms = price["fetched_at_ms"], received_ms - price["fetched_at_ms"]
        self._notes.events += 1
        if not self.is_excused:
            self._notes.oldest_ms = max(self._notes.oldest_ms, age_ms)
            broken = {
                "pushed past MAX_STALE": age_ms > MAX_STALE * 1000 + LATE_MS,
                "pushed as fresh and is stale": age_ms > CACHE_TTL * 1000 + LATE_MS and not price["stale"],
                "pushed from the future": age_ms < -ROUNDING_MS,
                "pushed an older price": fetched_ms < newest_ms,
                "id is not fetched_at_ms": event.get("id") != str(fetched_ms).encode(),
            }
            faults = [kind for kind, is_broken in broken.items() if is_broken]
            faults += [*self._bytes_differ(price, data), *self._of_truth(service, price)]
            for kind in faults:
                self._ledger.find(service.name, kind, f"{data!r} at {received_ms}, before {newest_ms}")
        return int(fetched_ms)

    def _of_price(self, line: Line, ask: Ask, answer: Answer, price: dict[str, Any]) -> list[str]:
        if self.is_excused:
            line.newest.clear()
            return []
        return super()._of_price(line, ask, answer, price)

    def _of_prices(self, service: Standing, line: Line, ask: Ask, answer: Answer) -> list[str]:
        faults = super()._of_prices(service, line, ask, answer)
        if answer.body and ask.pair:
            faults += self._bytes_differ(orjson.loads(answer.body), answer.body)
        return faults

    def _bytes_differ(self, price: dict[str, Any], data: bytes) -> Sequence[str]:
        """Check that the same price always has exactly the same bytes, in streams and in answers."""
        key = f"{price['symbol']} {price['price']} {price['source_time_ms']}", price["fetched_at_ms"], price["stale"]
        known = self._said.setdefault(key, data)
        return [] if known == data else [f"one price in two different bodies, also {known!r}"]

    def _of_truth(self, service: Standing, price: dict[str, Any]) -> list[str]:
        """The same price comes in many answers, so the findings about it are cached."""
        key = orjson.dumps(price)
        if key not in self._truths:
            faults = super()._of_truth(service, price)
            self._truths[key] = [] if faults and (self._was_pushed(price) or self._was_merged(price)) else faults
        return self._truths[key]

    def _was_pushed(self, price: dict[str, Any]) -> bool:
        """Whether the source's stream pushed this price at about that time."""
        return any(push.price == price["price"] for push in self._pushes(price))

    def _was_merged(self, price: dict[str, Any]) -> bool:
        """Whether it is the price of a poll, of a source that is streamed as well.

        Its time stamp may be that of a push: newer than the poll's own, and no further ahead than clocks differ. Its
        bid and ask are those of the poll, or of a push at about that time. A jump never counts.
        """
        if not self._exchange.pushed.get(price["source"]):
            return False
        book, fetched_ms = (price["bid"], price["ask"]), price["fetched_at_ms"]
        books = {(push.bid, push.ask) for push in self._pushes(price)}
        return any(
            abs(said.at_ms - fetched_ms) <= PUSH_MS
            and not said.jumped
            and book in books | {(said.bid, said.ask)}
            and said.time_ms <= price["source_time_ms"] <= fetched_ms + MAX_SKEW_MS
            for said in self._exchange.said(price["source"], price["symbol"], price["price"])
        )

    def _pushes(self, price: dict[str, Any]) -> list[Pushed]:
        """The true prices that its source's stream pushed for its pair at about the time when it was fetched."""
        pair, fetched_ms = price["symbol"].lower(), price["fetched_at_ms"]
        pushed = self._exchange.pushed.get(price["source"], ())
        return [push for push in pushed if push.pair == pair and abs(push.at_ns / 1e6 - fetched_ms) <= PUSH_MS]

    def _of_dates(self, answer: Answer, fetched_ms: int) -> list[str]:
        return [] if self.is_excused else super()._of_dates(answer, fetched_ms)
