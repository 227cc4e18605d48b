"""Metrics with prometheus-client: the sums over all workers of a service are right, and counting a request is cheap."""

import collections
import math
import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import Protocol

from prometheus_client import Histogram, generate_latest

from fastprice.application.events import (
    CacheRead, CoordinationBack, CoordinationLost, Event, LeaderMoved, Refreshed, SourceAsked, SourceSkipped,
    StoreAsked, StoreBack, StoreLost
)
from fastprice.application.live_events import StreamHeard, StreamReconnected
from fastprice.application.live_ports import STREAM_STATES, StreamReport
from fastprice.application.ports import BREAKER_STATES, Held, SourceReport
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.infrastructure.prometheus.definitions import HTTP_BUCKETS, PUSH_BUCKETS, Definitions


def _observe(histogram: Histogram, buckets: Sequence[int], seconds: float) -> None:
    """Add many observations at once; the library has no public way to do so, so a test checks these attributes."""
    for bucket, count in zip(histogram._buckets, buckets, strict=True):
        bucket.inc(count)
    histogram._sum.inc(seconds)


class StreamCounts(Protocol):
    """Events sent, events left out for slow subscribers, streams closed for slowness, seconds of each push."""

    events: int
    dropped: int
    closed: int
    seconds: list[float]


class Metrics(Definitions):
    """Counts and shows everything. It is called with each event; requests are counted in plain ints.

    `flush` moves the ints into the metrics: adding to an int costs 0.1 µs, adding to a metric 1 to 2 µs.
    """

    def __init__(self, version: str) -> None:
        super().__init__()
        self.l1 = {"hit": 0, "stale": 0, "miss": 0}
        self._http: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._http_buckets = [0] * (len(HTTP_BUCKETS) + 1)
        self._http_seconds = 0.0
        self._symbols: set[str] = set()
        self._works: dict[str, bool] = {}
        self._cpu_counted = 0.0
        self.build_info.show([(version, platform.python_version(), 1)])

    def begin(
        self, pairs: Iterable[Pair], limits: AgeLimits, stores: Sequence[str], routes: Iterable[str] = (),
        sources_wanted: int = 1,
    ) -> None:
        """Show what is known from the start. `stores` are those of this worker, the preferred one first.

        So a pair that never gets a price is shown without one, and alerts need not know the settings. Counters of
        failures start at zero, also for requests to `routes`: a rate needs two values, so if a series began with the
        first failures, no rate would ever show them.
        """
        self._symbols = {pair.symbol for pair in pairs}
        self.leaders.set(0)
        self.worker_starts.inc()
        self.sources_wanted.show([(sources_wanted,)])
        self.age_limit.show([("fresh", limits.fresh_ms / 1000), ("stale", limits.stale_ms / 1000)])
        for result in "fetched", "streamed", "adopted", "failed":
            self.refreshes.labels(result).inc(0)
        for route, status in product(routes, (500, 503)):
            self.http_requests.labels(route, "GET", status).inc(0)
        self._works = dict.fromkeys(stores, True)
        self._show_store()
        self.flush()

    def __call__(self, event: Event) -> None:
        """Count an event; those that are only for the log change nothing."""
        match event:
            case SourceAsked(source, outcome, seconds):
                self.upstream_requests.labels(source, outcome).inc()
                self.upstream_duration.labels(source).observe(seconds)
            case SourceSkipped(source):
                self.upstream_requests.labels(source, "rejected").inc()
            case Refreshed(result, pairs):
                self.refreshes.labels(result).inc(pairs)
            case StreamHeard(source, counts, lag_seconds):
                for kind, count in counts.items():
                    self.stream_messages.labels(source, kind).inc(count)
                if lag_seconds is not None:
                    self.stream_lag.labels(source).observe(max(0.0, lag_seconds))
            case StreamReconnected(source, reason):
                self.stream_reconnects.labels(source, reason).inc()
            case LeaderMoved(leads):
                self.leaders.set(leads)
            case CacheRead(tier, result):
                self.cache_requests.labels(tier, result).inc()
            case StoreAsked(op, result, seconds):
                self.redis_operations.labels(op, result).inc()
                self.redis_duration.observe(seconds)
            case StoreLost() | StoreBack():
                self._show_store(redis=isinstance(event, StoreBack))
            case CoordinationLost() | CoordinationBack():
                self._show_store(embedded=isinstance(event, CoordinationBack))

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer in plain ints."""
        self._http[route, method, status] += 1
        self._http_buckets[bisect_left(HTTP_BUCKETS, seconds)] += 1
        self._http_seconds += seconds

    def count_lane(
        self, counts: Mapping[tuple[str, str, bool], Sequence[int]], seconds: float, slow: Sequence[float]
    ) -> None:
        """Count what the lane answered: fresh and stale 200s, fresh and stale 304s.

        The keys are route, method, and whether the answer had prices. `slow` are the durations beyond the first bucket.
        """
        for (route, method, is_price), (fresh, stale, fresh_unchanged, stale_unchanged) in counts.items():
            for status, count in (200, fresh + stale), (304, fresh_unchanged + stale_unchanged):
                if count:  # Otherwise the scrape would show series of requests that nobody made.
                    self._http[route, method, status] += count
            if is_price:
                self.l1["hit"] += fresh + fresh_unchanged
                self.l1["stale"] += stale + stale_unchanged
        self._http_buckets[0] += sum(map(sum, counts.values())) - len(slow)
        for duration in slow:
            self._http_buckets[bisect_left(HTTP_BUCKETS, duration)] += 1
        self._http_seconds += seconds

    def count_streams(self, subscribers: int, counts: StreamCounts) -> None:
        """Count what the streams have sent since the last call."""
        self.subscribers.set(subscribers)
        self.stream_events.inc(counts.events)
        self.stream_dropped.inc(counts.dropped)
        self.stream_closed.inc(counts.closed)
        buckets = collections.Counter(bisect_left(PUSH_BUCKETS, seconds) for seconds in counts.seconds)
        _observe(self.push_duration, [buckets[each] for each in range(len(PUSH_BUCKETS) + 1)], sum(counts.seconds))

    def count_cpu(self, seconds: float) -> None:
        """Count the CPU time that this process has used since the last call; `seconds` is its total."""
        self.cpu_seconds.inc(seconds - self._cpu_counted)
        self._cpu_counted = seconds

    def flush(self) -> None:
        """Move the ints into the metrics, and make the metrics visible to all workers."""
        for key, count in self._http.items():
            self.http_requests.labels(*key).inc(count)
        self._http.clear()
        for result, count in self.l1.items():
            self.cache_requests.labels("l1", result).inc(count)
        self.stale_responses.inc(self.l1["stale"])
        self.l1.update(hit=0, stale=0, miss=0)
        _observe(self.http_duration, self._http_buckets, self._http_seconds)
        self._http_buckets, self._http_seconds = [0] * len(self._http_buckets), 0.0
        if self.shared:
            self.shared.save()

    def show(
        self, held: Iterable[Held], reports: Sequence[SourceReport], streams: Iterable[StreamReport], now_ms: int
    ) -> None:
        """Set the gauges to what this worker knows at a wall time."""
        self.time.show([(now_ms / 1000,)])
        newest = {each.quote.pair.symbol: each for each in held}
        prices = {symbol: float(each.quote.price) for symbol, each in newest.items() if each.usable}
        self.price.show((dict.fromkeys(self._symbols, math.nan) | prices).items())
        self.price_age.show((symbol, each.age_seconds) for symbol, each in newest.items())
        self.price_fetched.show((symbol, each.fetched_at_ms / 1000) for symbol, each in newest.items())
        self.breaker_state.show((report.source, BREAKER_STATES.index(report.breaker)) for report in reports)
        self.stream_state.show((report.source, STREAM_STATES.index(report.state)) for report in streams)
        self.cooldown_until.show((report.source, (report.cooldown_until_ms or 0) / 1000) for report in reports)
        compared = [(report.source, report.deviation) for report in reports if report.deviation is not None]
        self.price_deviation.show(compared)
        self.source_distrusted.show((report.source, report.distrusted) for report in reports)
        self.sources_agreeing.show([(sum(report.is_well(now_ms) for report in reports),)] if reports else [])
        sources = [each.quote.source for each in newest.values() if each.usable and each.quote.agreement is None]
        first = reports[0].source if reports else None
        self.first_source_share.show([(sources.count(first) / len(sources),)] if first and sources else [])

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes: about ten milliseconds of work, so it is not for the event loop."""
        return generate_latest(self.scraped)

    def _show_store(self, **works: bool) -> None:
        """Count this worker under the first store that works, and under no other."""
        self._works |= works
        used = next((store for store, is_well in self._works.items() if is_well), "none")
        for store in (*self._works, "none"):
            self.workers.labels(store).set(store == used)
