"""L1: the current snapshot of each pair in this worker; it never goes back in time."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from fastprice.application.events import QuoteTaken
from fastprice.application.ports import Clock, Events, Held
from fastprice.domain.quote import MAX_SKEW_MS, AgeLimits, Freshness, Pair, Quote

Rendered = TypeVar("Rendered")


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[Rendered]):
    """A quote with its rendered answer; monotonic seconds of its fetch, and up to which it is fresh, and usable."""

    quote: Quote
    rendered: Rendered
    fetched_at: float
    fresh_until: float
    usable_until: float

    def freshness(self, now: float) -> Freshness:
        if now <= self.fresh_until:
            return Freshness.FRESH
        return Freshness.STALE if now <= self.usable_until else Freshness.EXPIRED


class LatestPrice(Generic[Rendered]):
    """The snapshots that requests read: `by_slug` is one dict look-up away from an answer.

    `last` is the newest quote of each pair that was offered, also one that is too old to be served.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        limits: AgeLimits,
        render: Callable[[Quote], Rendered],
        clock: Clock,
        events: Events,
    ) -> None:
        self.pairs = tuple(pairs)
        self.by_slug: dict[str, Snapshot[Rendered]] = {}
        self.last: dict[Pair, Quote] = {}
        self._limits = limits
        self._render = render
        self._clock = clock
        self._events = events
        self._arrived = {pair: asyncio.Event() for pair in self.pairs}

    def offer(self, quote: Quote) -> bool:
        """Take a quote of our pairs unless expired, from the future, or not newer than the one held; say whether."""
        # In this order: were the process stopped between the readings, the price would seem older, never younger.
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        # The store may be shared with a service of other pairs.
        if quote.pair not in self._arrived or quote.is_from_future(now_ms):
            return False
        if quote.replaces(self.last.get(quote.pair), now_ms):
            self.last[quote.pair] = quote
        age_ms = quote.age_ms(now_ms)
        held = self.by_slug.get(quote.pair.slug)
        if self._limits.judge(age_ms) is Freshness.EXPIRED or not quote.replaces(held.quote if held else None, now_ms):
            return False
        # Age crosses over to the monotonic clock here, once: a step of the wall clock moves no deadline after this.
        fetched_at = now - age_ms / 1000
        self.by_slug[quote.pair.slug] = Snapshot(
            quote,
            self._render(quote),
            fetched_at,
            fresh_until=fetched_at + self._limits.fresh_ms / 1000,
            usable_until=fetched_at + self._limits.stale_ms / 1000,
        )
        self._arrived[quote.pair].set()
        self._events(QuoteTaken(quote))
        return True

    def held(self, pair: Pair) -> Quote | None:
        """The quote that may still be served, or None."""
        snapshot = self.by_slug.get(pair.slug)
        if snapshot is None or self._clock.monotonic() > snapshot.usable_until:
            return None
        return snapshot.quote

    def everything_held(self) -> list[Held]:
        """The newest quote of every pair that ever had one."""
        now, now_ms = self._clock.monotonic(), self._clock.wall_ms()
        return [_held(snapshot, now, now_ms) for snapshot in self.by_slug.values()]

    def freshness(self, pair: Pair) -> Freshness | None:
        """None before the first price."""
        snapshot = self.by_slug.get(pair.slug)
        return snapshot.freshness(self._clock.monotonic()) if snapshot else None

    async def first(self, pair: Pair) -> None:
        """Wait for the first price of a pair; every waiter waits on the same refresh."""
        await self._arrived[pair].wait()


def _held(snapshot: Snapshot[Rendered], now: float, now_ms: int) -> Held:
    quote, age = snapshot.quote, now - snapshot.fetched_at
    fetched_at_ms = now_ms - round(age * 1000)
    if abs(fetched_at_ms - quote.fetched_at_ms) <= MAX_SKEW_MS:
        fetched_at_ms = quote.fetched_at_ms
    return Held(quote, now <= snapshot.usable_until, age, fetched_at_ms)
