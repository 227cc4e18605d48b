"""A pair's price as this worker serves it, with the answers that are rendered from it when they are first read."""

import math
from collections.abc import Callable
from functools import partial

from fastprice.application.latest_price import Place, Snapshot
from fastprice.application.ports import Clock
from fastprice.domain.quote import Quote
from fastprice.interface.prepared import Prepared, Rendering, Served
from fastprice.interface.price_json import Answer, price_answer


class PriceSnapshot(Prepared, Snapshot):
    """A quote with everything that is sent for it."""

    def __init__(
        self, rendering: Rendering, quote: Quote, fetched_at: float, fresh_until: float, usable_until: float
    ) -> None:
        Snapshot.__init__(self, quote, fetched_at, fresh_until, usable_until)
        self._rendering = rendering
        self._rendered: tuple[Answer, bool] | None = None

    def current(self, now: float, most_seconds: float = math.inf) -> Served | None:
        """What is served at the monotonic second `now` if this age is accepted; None if expired, or older than that.

        A cache may keep a fresh answer for the whole seconds of freshness left, but at most for about one refresh
        interval, and a stale answer for one second; never past the end of its use, or past the accepted age.
        """
        is_stale = now > self.fresh_until
        until = self.usable_until if is_stale else self.fresh_until
        accepted_until = self.fetched_at + most_seconds
        if now > until or now > accepted_until:
            return None
        max_age = min(int(until - now), 1 if is_stale else self._rendering.longest_max_age)
        if accepted_until < until:
            max_age = min(max_age, int(accepted_until - now))
        if self._rendered is None or self._rendered[1] is not is_stale:
            self._rendered = price_answer(self.quote, is_stale), is_stale
        return Served(self._rendered[0], max_age, min(until, accepted_until) - max_age, is_stale)

    def renew(self, now: float) -> bool:
        if served := self.current(now):
            self.prepare(self._rendering, served, now)
        return served is not None


PricePlace = Place[PriceSnapshot]


def price_snapshots(clock: Clock, refresh_interval: float) -> Callable[[Quote, float, float, float], PriceSnapshot]:
    """A function that makes the snapshots of one worker; `refresh_interval` is in seconds."""
    return partial(PriceSnapshot, Rendering(clock, math.ceil(refresh_interval)))
