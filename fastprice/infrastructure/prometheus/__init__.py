"""Metrics with prometheus-client, right across the workers of one service and cheap on the request path."""

import math
import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily

from fastprice.application.events import (
    CacheRead, ClaimMoved, CoordinationBack, CoordinationLost, Event, Refreshed, SourceAsked, SourceSkipped, StoreAsked,
    StoreBack, StoreLost
)
from fastprice.application.ports import Held, SourceReport
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.infrastructure.prometheus.value_files import ValueFiles

HTTP_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
UPSTREAM_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
STORE_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25)
BREAKER_VALUES = {"closed": 0, "half_open": 1, "open": 2}
HttpKey = tuple[str, str, int]


def share_between_workers(directory: Path, slot: int) -> None:
    """Have this process's values saved in files that every worker can read; call before the first metric is made."""
    values.ValueClass = ValueFiles(directory, slot)


def forget_worker(directory: Path, slot: int) -> None:
    """Count a dead worker no longer among the living; what it counted stays."""
    for name in directory.glob(f"gauge_live*_{slot}.db"):
        name.unlink(missing_ok=True)


class _OwnGauge:
    """A gauge that tells what the worker that answers the scrape knows, and nothing of the others.

    Such a value needs no shared file: there the newest one by the wall clock would count, so after a backward step of
    that clock every worker would go on showing old values until the clock had caught up.
    """

    def __init__(self, registry: CollectorRegistry, name: str, text: str, *labels: str) -> None:
        self._name, self._text, self._labelnames = f"fastprice_{name}", text, labels
        self._samples: list[tuple[list[str], float]] = []
        registry.register(self)

    def show(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Show these rows and no others; each is the labels and, last, the value."""
        self._samples = [(labels, value) for *labels, value in rows]

    def collect(self) -> list[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._text, labels=self._labelnames)
        for labels, value in self._samples:
            family.add_metric(labels, value)
        return [family]

    describe = collect


class Metrics:
    """Every metric of the service; call it with an event, or count a request in its plain ints.

    The ints reach Prometheus at `flush`: an increment here costs 0.1 µs, one of a metric 1 to 2.
    """

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._own: list[_OwnGauge] = []
        self._shared = values.ValueClass if isinstance(values.ValueClass, ValueFiles) else None
        self.l1 = {"hit": 0, "stale": 0, "miss": 0}
        self._http: defaultdict[HttpKey, int] = defaultdict(int)
        self._http_buckets = [0] * (len(HTTP_BUCKETS) + 1)
        self._http_seconds = 0.0
        self._symbols: set[str] = set()
        self._works: dict[str, bool] = {}
        self._children: dict[tuple[Any, ...], Any] = {}
        self._make_request_metrics()
        self._make_upstream_metrics()
        self._make_store_metrics()
        info = self._own_gauge("build_info", "What runs here.", "version", "python")
        info.show([(version, platform.python_version(), 1)])

    def _make_request_metrics(self) -> None:
        self.http_requests = self._counter("http_requests", "Answers sent.", "route", "method", "status")
        self.http_duration = self._histogram("http_request_duration_seconds", "Time to an answer.", HTTP_BUCKETS)
        self.cache_requests = self._counter("cache_requests", "Look-ups in a cache tier.", "tier", "result")
        self.stale_responses = self._counter("stale_responses", "Prices served past CACHE_TTL.")
        self.price = self._own_gauge("price", "The price served now.", "symbol")
        self.price_age = self._own_gauge("price_age_seconds", "Age of the newest price, at the scrape.", "symbol")
        self.price_fetched = self._own_gauge(
            "price_fetched_timestamp_seconds", "When the exchange gave the newest price, by the clock as it is now.",
            "symbol",
        )
        self.age_limit = self._own_gauge(
            "price_age_limit_seconds", "Up to which age a price is fresh, and up to which it is served.", "freshness"
        )

    def _make_upstream_metrics(self) -> None:
        self.upstream_requests = self._counter("upstream_requests", "Calls to sources.", "source", "outcome")
        self.upstream_duration = self._histogram(
            "upstream_request_duration_seconds", "Time of a call to a source.", UPSTREAM_BUCKETS, "source"
        )
        self.breaker_state = self._own_gauge("breaker_state", "0 closed, 1 half-open, 2 open.", "source")
        self.cooldown_until = self._own_gauge(
            "source_cooldown_until_timestamp_seconds", "Until when a source is left alone; 0 is not at all.", "source"
        )
        self.simulated = self._own_gauge("simulated", "1 while prices are simulated, if only those of one source.")
        self.refreshes = self._counter("refreshes", "Refreshes by result.", "result")
        self.claims = self._gauge("claims", "Living workers that ask the sources.", "symbol")

    def _make_store_metrics(self) -> None:
        self.redis_operations = self._counter("redis_operations", "Operations on Redis.", "op", "result")
        self.redis_duration = self._histogram(
            "redis_operation_duration_seconds", "Time of an operation on Redis.", STORE_BUCKETS
        )
        self.workers = self._gauge("workers", "Living workers, by the store in use.", "store")

    def begin(self, pairs: Iterable[Pair], limits: AgeLimits, stores: Sequence[str]) -> None:
        """Show what is known before anything happens, `stores` being those of this worker, the preferred one first.

        A pair that never gets a price is then seen to have none; and who reads the metrics need not know the settings.
        """
        self._symbols = {pair.symbol for pair in pairs}
        for symbol in self._symbols:
            self._child(self.claims, symbol).set(0)
        self.age_limit.show([("fresh", limits.fresh_ms / 1000), ("stale", limits.stale_ms / 1000)])
        for result in "fetched", "adopted", "failed":
            self._child(self.refreshes, result).inc(0)
        self._works = dict.fromkeys(stores, True)
        self._show_store()
        self._save()

    def expect(self, routes: Iterable[str]) -> None:
        """Show that no request to these routes has failed yet: no rate can tell from what a series starts with that it
        had just been none, so the first failures would never be seen."""
        for route, status in product(routes, (500, 503)):
            self._child(self.http_requests, route, "GET", status).inc(0)

    def __call__(self, event: Event) -> None:
        """Count an event; those that are only for the log pass."""
        count = _COUNTED.get(type(event))
        if count is not None:
            count(self, event)

    def count_request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answer in plain ints."""
        self._http[route, method, status] += 1
        self._http_buckets[bisect_left(HTTP_BUCKETS, seconds)] += 1
        self._http_seconds += seconds

    def count_lane(self, route: str, counts: list[int], seconds: float, slow: list[float]) -> None:
        """Count what was answered before ASGI: fresh and stale 200s, fresh and stale 304s; all but `slow` were within
        the first bucket."""
        fresh, stale, fresh_unchanged, stale_unchanged = counts
        self._http[route, "GET", 200] += fresh + stale
        self._http[route, "GET", 304] += fresh_unchanged + stale_unchanged
        self.l1["hit"] += fresh + fresh_unchanged
        self.l1["stale"] += stale + stale_unchanged
        self._http_buckets[0] += sum(counts) - len(slow)
        for duration in slow:
            self._http_buckets[bisect_left(HTTP_BUCKETS, duration)] += 1
        self._http_seconds += seconds

    def flush(self) -> None:
        """Move the ints into the metrics, and let all workers see these."""
        for key, count in self._http.items():
            self._child(self.http_requests, *key).inc(count)
        self._http.clear()
        for result, count in self.l1.items():
            self._child(self.cache_requests, "l1", result).inc(count)
        self.stale_responses.inc(self.l1["stale"])
        self.l1.update(hit=0, stale=0, miss=0)
        self._flush_histogram()
        self._save()

    def _flush_histogram(self) -> None:
        # The library has no public way to add many observations at once; a test holds it to these two attributes.
        for bucket, count in zip(self.http_duration._buckets, self._http_buckets, strict=True):
            bucket.inc(count)
        self.http_duration._sum.inc(self._http_seconds)
        self._http_buckets = [0] * len(self._http_buckets)
        self._http_seconds = 0.0

    def show(self, held: Iterable[Held], reports: Iterable[SourceReport]) -> None:
        """Set the gauges to what this worker knows."""
        newest = {each.quote.pair.symbol: each for each in held}
        prices = {symbol: float(each.quote.price) for symbol, each in newest.items() if each.usable}
        self.price.show((dict.fromkeys(self._symbols, math.nan) | prices).items())
        self.price_age.show((symbol, each.age_seconds) for symbol, each in newest.items())
        self.price_fetched.show((symbol, each.fetched_at_ms / 1000) for symbol, each in newest.items())
        worst = _worst(reports)
        self.breaker_state.show((source, breaker) for source, (breaker, _) in worst.items())
        self.cooldown_until.show((source, until_ms / 1000) for source, (_, until_ms) in worst.items())

    def exposition(self) -> bytes:
        """The text that Prometheus scrapes; some ten milliseconds of work, so not for the event loop."""
        if self._shared is None:
            return generate_latest(self.registry)
        everything = CollectorRegistry()
        everything.register(self._shared)
        for gauge in self._own:
            everything.register(gauge)
        return generate_latest(everything)

    def _save(self) -> None:
        if self._shared:
            self._shared.save()

    def _child(self, metric: Any, *labels: Any) -> Any:
        """The bound child: binding costs more than counting, so it is done once."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"fastprice_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(f"fastprice_{name}", text, labels, buckets=buckets, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        """A gauge that is the sum over the living workers."""
        return Gauge(f"fastprice_{name}", text, labels, registry=self.registry, multiprocess_mode="livesum")

    def _own_gauge(self, name: str, text: str, *labels: str) -> _OwnGauge:
        gauge = _OwnGauge(self.registry, name, text, *labels)
        self._own.append(gauge)
        return gauge

    def _source_asked(self, event: SourceAsked) -> None:
        self._child(self.upstream_requests, event.source, event.outcome).inc()
        self._child(self.upstream_duration, event.source).observe(event.seconds)

    def _source_skipped(self, event: SourceSkipped) -> None:
        self._child(self.upstream_requests, event.source, "rejected").inc()

    def _refreshed(self, event: Refreshed) -> None:
        self._child(self.refreshes, event.result).inc()

    def _cache_read(self, event: CacheRead) -> None:
        self._child(self.cache_requests, event.tier, event.result).inc()

    def _claim_moved(self, event: ClaimMoved) -> None:
        self._child(self.claims, event.pair.symbol).set(event.held)

    def _show_store(self) -> None:
        """Count this worker under the first store that works, and under no other."""
        used = next((store for store, works in self._works.items() if works), "none")
        for store in (*self._works, "none"):
            self._child(self.workers, store).set(store == used)

    def _store_moved(self, store: str, works: bool) -> None:
        self._works[store] = works
        self._show_store()

    def _store_asked(self, event: StoreAsked) -> None:
        self._child(self.redis_operations, event.op, event.result).inc()
        self.redis_duration.observe(event.seconds)


_COUNTED: dict[type, Callable[[Metrics, Any], None]] = {
    SourceAsked: Metrics._source_asked,
    SourceSkipped: Metrics._source_skipped,
    Refreshed: Metrics._refreshed,
    CacheRead: Metrics._cache_read,
    StoreAsked: Metrics._store_asked,
    ClaimMoved: Metrics._claim_moved,
    StoreLost: lambda metrics, event: metrics._store_moved("redis", False),
    StoreBack: lambda metrics, event: metrics._store_moved("redis", True),
    CoordinationLost: lambda metrics, event: metrics._store_moved("embedded", False),
    CoordinationBack: lambda metrics, event: metrics._store_moved("embedded", True),
}


def _worst(reports: Iterable[SourceReport]) -> dict[str, tuple[int, int]]:
    """Per source the most open breaker and the longest cool-down of its own: (BREAKER_VALUES, milliseconds)."""
    worst: dict[str, tuple[int, int]] = {}
    for report in reports:
        breaker, until = worst.get(report.source, (0, 0))
        cooling = report.cooldown_until_ms if report.cooldown_scope != "pair" else None
        worst[report.source] = (
            max(breaker, BREAKER_VALUES.get(report.breaker, 0)),
            max(until, cooling or 0),
        )
    return worst
