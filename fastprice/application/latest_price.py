"""L1: the current snapshot of each pair in this worker; it never goes back in time."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastprice.application.ports import Clock, Held
from fastprice.domain.quote import MAX_SKEW_MS, AgeLimits, Freshness, Pair, Quote

logger = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class Snapshot:
    """A quote as this worker serves it; the times are monotonic seconds.

    A subclass holds the answers that are rendered from it. It renders them when they are first read, not when the quote
    arrives: with many pairs, most quotes are replaced before any client has asked for them.
    """

    quote: Quote
    fetched_at: float
    fresh_until: float
    usable_until: float

    def freshness(self, now: float) -> Freshness:
        if now <= self.fresh_until:
            return Freshness.FRESH
        return Freshness.STALE if now <= self.usable_until else Freshness.EXPIRED

    def age_ms(self, now: float) -> int:
        return max(0, round((now - self.fetched_at) * 1000))


S = TypeVar("S", bound=Snapshot)


@dataclass(slots=True, eq=False)
class Place(Generic[S]):
    """Holds the current snapshot of a pair, None before the first one: every request reads it from here.

    `last` is the newest quote that was offered, even one that is too old to be served.
    """

    pair: Pair
    snapshot: S | None = None
    last: Quote | None = None
    # Created by the first waiter: most pairs have their first price before any request, and an Event takes 750 bytes.
    _arrived: asyncio.Event | None = None

    async def first(self) -> None:
        """Wait until there is a snapshot."""
        if self.snapshot is None:
            self._arrived = self._arrived or asyncio.Event()
            await self._arrived.wait()

    def put(self, snapshot: S) -> None:
        """Serve this snapshot from now on."""
        self.snapshot = snapshot
        if self._arrived:
            self._arrived.set()
            self._arrived = None


class LatestPrice(Generic[S]):
    """The places that requests read: `by_slug` finds one with a single dict look-up.

    `make` makes a snapshot from the four fields of Snapshot.
    """

    def __init__(
        self, pairs: Iterable[Pair], limits: AgeLimits, make: Callable[[Quote, float, float, float], S], clock: Clock
    ) -> None:
        self.pairs = tuple(pairs)
        self.by_slug: dict[str, Place[S]] = {pair.slug: Place(pair) for pair in self.pairs}
        self._places = {place.pair: place for place in self.by_slug.values()}
        self.limits = limits
        self._make = make
        self._clock = clock
        # How often any snapshot was replaced.
        self.changes = 0
        # Called with every place whose snapshot was replaced.
        self.observers: list[Callable[[Place[S]], None]] = []

    def offer(self, quote: Quote) -> bool:
        """Take a quote of our pairs unless it is expired, from the future or not newer; return whether it was taken."""
        # In this order: if the process is paused between the readings, the price seems older, never younger.
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        place = self._places.get(quote.pair)
        if place is None or quote.is_from_future(now_ms):
            return False
        if quote.replaces(place.last, now_ms):
            place.last = quote
        age_ms, held = quote.age_ms(now_ms), place.snapshot
        if age_ms > self.limits.stale_ms or not quote.replaces(held.quote if held else None, now_ms):
            return False
        # Here, once, the age moves to the monotonic clock: a later step of the wall clock changes no deadline.
        at = now - age_ms / 1000
        place.put(self._make(quote, at, at + self.limits.fresh_ms / 1000, at + self.limits.stale_ms / 1000))
        self.changes += 1
        for observer in self.observers:
            try:
                observer(place)
            except Exception:
                logger.exception("an observer fails over a new price of %s", place.pair.symbol)
        return True

    def held(self, pair: Pair) -> Quote | None:
        """The quote that may still be served, or None."""
        snapshot = self._places[pair].snapshot
        return snapshot.quote if snapshot and self._clock.monotonic() <= snapshot.usable_until else None

    def all_held(self) -> dict[Pair, Quote]:
        """The quotes of all pairs that may still be served."""
        now, places = self._clock.monotonic(), self._places.items()
        return {pair: held.quote for pair, place in places if (held := place.snapshot) and now <= held.usable_until}

    def everything_held(self) -> list[Held]:
        """The newest quote of every pair that ever had one."""
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        return [_held(place.snapshot, now, now_ms) for place in self._places.values() if place.snapshot]

    def freshness(self, pair: Pair) -> Freshness | None:
        """The freshness of the held price; None before the first one."""
        snapshot = self._places[pair].snapshot
        return snapshot.freshness(self._clock.monotonic()) if snapshot else None

    def age_ms(self, pair: Pair) -> int | None:
        """The age of the held price by the monotonic clock; None before the first one."""
        snapshot = self._places[pair].snapshot
        return snapshot.age_ms(self._clock.monotonic()) if snapshot else None


def _held(snapshot: Snapshot, now: float, now_ms: int) -> Held:
    quote, age = snapshot.quote, now - snapshot.fetched_at
    fetched_at_ms = now_ms - round(age * 1000)
    if abs(fetched_at_ms - quote.fetched_at_ms) <= MAX_SKEW_MS:
        fetched_at_ms = quote.fetched_at_ms
    return Held(quote, now <= snapshot.usable_until, age, fetched_at_ms)
