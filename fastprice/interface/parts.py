"""What the interface is given by those who build the service: the latest prices, and callables across the layers."""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Clock, SourceReport
from fastprice.domain.quote import Pair, Quote
from fastprice.interface.price_json import PriceAnswers, longest_max_age


@dataclass(frozen=True, slots=True)
class Parts:
    """`reports` tells how the sources stand for a pair; `redis` is `up`, `not_configured`, or `down: why`.

    `scrape` gives the metrics as text, `count_request` takes route, method, status and seconds of every answer,
    `tally` counts look-ups of L1, `patience` is how long a request may still wait for the first price, in seconds.
    `refresh_interval` is in seconds: when there is a newer price to come back for, and so how long caches may keep one.
    `simulated` are the sources whose prices are no exchange's.
    """

    version: str
    latest: LatestPrice[PriceAnswers]
    clock: Clock
    reports: Callable[[Pair], tuple[SourceReport, ...]]
    redis: Callable[[], str]
    scrape: Callable[[], Awaitable[tuple[bytes, str]]]
    count_request: Callable[[str, str, int, float], None]
    tally: dict[str, int]
    patience: Callable[[], float]
    refresh_interval: float
    simulated: tuple[str, ...] = ()

    @property
    def simulation(self) -> dict[str, Any]:
        """Whether prices are simulated, and which sources' they are."""
        return {"simulated": bool(self.simulated), "simulated_sources": self.simulated}

    def last_quote(self, pair: Pair) -> Quote | None:
        """The newest quote that is known to have been, too old to be served or not, of whatever worker."""
        reported = [report.quote for report in self.reports(pair) if report.quote]
        last = self.latest.last.get(pair)
        return max([*reported, last] if last else reported, key=lambda quote: quote.fetched_at_ms, default=None)

    @property
    def retry_after(self) -> str:
        return str(math.ceil(self.refresh_interval))

    @property
    def longest_max_age(self) -> int:
        return longest_max_age(self.refresh_interval)
