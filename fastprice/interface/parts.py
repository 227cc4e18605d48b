"""What the interface gets from the code that builds the service: the latest prices, and callables across layers."""

import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastprice.application.latest_price import LatestPrice
from fastprice.application.live_ports import StreamReport
from fastprice.application.ports import Clock, PairReport, SourceReport
from fastprice.application.recent import RecentPrices
from fastprice.domain.quote import Pair, Quote
from fastprice.interface.price_snapshot import PricePlace, PriceSnapshot
from fastprice.interface.streams import Streams


@dataclass(frozen=True, slots=True)
class Parts:
    """`reports` gives the state of the sources, `standing` also what each last said of one pair, `live` their streams.

    `redis` is `up`, `not_configured`, or `down: why`. `scrape` gives the metrics as text, `count_request` takes route,
    method, status and seconds of every answer, `tally` counts look-ups of L1, `patience` is how long a request may
    still wait for the first price, in seconds. `refresh_interval` is in seconds: a newer price may come once in it.
    `recent` has the prices of the last minutes. `simulated` are the sources whose prices are simulated. `metrics_port`
    is the only port that answers monitoring requests; with 0, every port does.
    """

    version: str
    latest: LatestPrice[PriceSnapshot]
    clock: Clock
    reports: Callable[[], Sequence[SourceReport]]
    standing: Callable[[Pair], Sequence[tuple[SourceReport, PairReport]]]
    live: Callable[[], Sequence[StreamReport]]
    redis: Callable[[], str]
    scrape: Callable[[], Awaitable[tuple[bytes, str]]]
    count_request: Callable[[str, str, int, float], None]
    tally: dict[str, int]
    patience: Callable[[], float]
    refresh_interval: float
    streams: Streams
    recent: RecentPrices[PriceSnapshot]
    simulated: tuple[str, ...] = ()
    metrics_port: int = 0

    @property
    def simulation(self) -> dict[str, Any]:
        """Whether prices are simulated, and which sources' prices are."""
        return {"simulated": bool(self.simulated), "simulated_sources": self.simulated}

    @property
    def retry_after(self) -> dict[str, str]:
        """The header that says when there may be a newer price."""
        return {"Retry-After": str(math.ceil(self.refresh_interval))}

    def live_by_source(self) -> dict[str, StreamReport]:
        """The states of the streams by source; sources without a stream are left out, and all if streams are off."""
        return {report.source: report for report in self.live()}

    def last_quote(self, place: PricePlace) -> Quote | None:
        """The newest quote that any worker is known to have had and that is too old to be served, None without one.

        What a source said a moment ago is no last price: it is not believed, or not served yet. 1. After an outage a
        round accepts the price of one source; the report has the quote of another one, which was asked to check it.
        2. The store takes its time to accept the price. 3. Only then the price is served.
        """
        now_ms, stale_ms = self.clock.wall_ms(), self.latest.limits.stale_ms
        known = [place.last, *(report.of(place.pair).quote for report in self.reports())]
        too_old = [quote for quote in known if quote and quote.age_ms(now_ms) > stale_ms]
        return max(too_old, key=lambda quote: quote.made_at_ms, default=None)
