"""Metrics with prometheus-client: the sums over all workers of a service are right, and counting a request is cheap."""

import collections
import math
import platform
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.core import GaugeMetricFamily

from fastprice.application.events import (
    CacheRead, CoordinationBack, CoordinationLost, Event, LeaderMoved, Refreshed, SourceAsked, SourceSkipped,
    StoreAsked, StoreBack, StoreLost
)
from fastprice.application.live_events import StreamHeard, StreamReconnected
from fastprice.application.live_ports import STREAM_STATES, StreamReport
from fastprice.application.ports import BREAKER_STATES, Held, SourceReport
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.infrastructure.prometheus.value_files import ValueFiles

HTTP_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
UPSTREAM_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
PUSH_BUCKETS = (1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
STORE_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25)


def _observe(histogram: Histogram, buckets: Sequence[int], seconds: float) -> None:
    """Add many observations at once, for which the library has no public way; a test holds it to these attributes."""
    for bucket, count in zip(histogram._buckets, buckets, strict=True):
        bucket.inc(count)
    histogram._sum.inc(seconds)


class StreamCounts(Protocol):
    """Events sent, events left out for slow subscribers, streams closed for slowness, seconds of each push."""

    events: int
    dropped: int
    closed: int
    seconds: list[float]


def share_between_workers(directory: Path, slot: int) -> None:
    """Save this process's values in files that every worker can read; to be called before the first metric is made."""
    values.ValueClass = ValueFiles(directory, slot)


def forget_worker(directory: Path, slot: int) -> None:
    """Stop counting a dead worker among the living; what it counted stays."""
    for name in directory.glob(f"gauge_live*_{slot}.db"):
        name.unlink(missing_ok=True)


class _OwnGauge:
    """A gauge that shows what the worker that answers the scrape knows, and nothing of the others.

    It is in no shared file. There the library takes the newest value by the wall clock: after that clock is set back,
    every worker would show old values until the clock had caught up.
    """

    def __init__(self, registries: Iterable[CollectorRegistry], name: str, text: str, *labels: str) -> None:
        self._name, self._text, self._labelnames = f"fastprice_{name}", text, labels
        self.show(())
        for registry in registries:
            registry.register(self)

    def show(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Show these rows and no others; each has the labels and then the value."""
        family = GaugeMetricFamily(self._name, self._text, labels=self._labelnames)
        for *labels, value in rows:
            family.add_metric(labels, value)
        self._families = [family]

    def collect(self) -> list[GaugeMetricFamily]:
        return self._families

    describe = collect


class Metrics:
    """Every metric of the service. It is called with each event; requests are counted in plain ints.

    `flush` moves the ints into the metrics: adding to an int costs 0.1 µs, adding to a metric 1 to 2 µs.
    """

    def __init__(self, version: str) -> None:
        self.registry = self._scraped = CollectorRegistry()
        self._shared = values.ValueClass if isinstance(values.ValueClass, ValueFiles) else None
        if self._shared:  # It has the sums over all workers, of everything but the gauges of this one.
            self._scraped = CollectorRegistry()
            self._scraped.register(self._shared)
        self.l1 = {"hit": 0, "stale": 0, "miss": 0}
        self._http: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        self._http_buckets = [0] * (len(HTTP_BUCKETS) + 1)
        self._http_seconds = 0.0
        self._symbols: set[str] = set()
        self._works: dict[str, bool] = {}
        self._cpu_counted = 0.0
        self._define()
        self._define_sources()
        self.build_info.show([(version, platform.python_version(), 1)])

    def _define(self) -> None:
        counter = partial(Counter, namespace="fastprice", registry=self.registry)
        histogram = partial(Histogram, namespace="fastprice", registry=self.registry)
        living = partial(Gauge, namespace="fastprice", registry=self.registry, multiprocess_mode="livesum")
        own = partial(_OwnGauge, {self.registry, self._scraped})
        self.http_requests = counter("http_requests", "Answers sent.", ("route", "method", "status"))
        self.http_duration = histogram("http_request_duration_seconds", "Time to an answer.", buckets=HTTP_BUCKETS)
        self.cache_requests = counter("cache_requests", "Look-ups in a cache tier.", ("tier", "result"))
        self.stale_responses = counter("stale_responses", "Prices served past CACHE_TTL.")
        self.price = own("price", "The price served now.", "symbol")
        self.price_age = own("price_age_seconds", "Age of the newest price, at the scrape.", "symbol")
        fetched = "When the exchange gave the newest price, by the clock as it is now."
        self.price_fetched = own("price_fetched_timestamp_seconds", fetched, "symbol")
        limits = "Up to which age a price is fresh, and up to which it is served."
        self.age_limit = own("price_age_limit_seconds", limits, "freshness")

        self.subscribers = living("stream_subscribers", "Clients that are subscribed to streams now.")
        limit = "How many clients may be subscribed, as far as the living workers allow."
        self.subscribers_limit = living("stream_subscribers_limit", limit)
        self.stream_events = counter("stream_events", "Events sent to subscribers.")
        self.stream_dropped = counter("stream_dropped_events", "Events left out for subscribers that were behind.")
        self.stream_closed = counter("stream_closed_slow", "Streams closed because their clients read nothing.")
        pushes = "Time from a change to its last subscriber, but for what PUSH_INTERVAL makes it wait."
        self.push_duration = histogram("push_duration_seconds", pushes, buckets=PUSH_BUCKETS)

        self.redis_operations = counter("redis_operations", "Operations on Redis.", ("op", "result"))
        self.redis_duration = histogram(
            "redis_operation_duration_seconds", "Time of an operation on Redis.", buckets=STORE_BUCKETS
        )
        self.leaders = living("leaders", "Living workers that lead: they ask the sources for all others.")
        self.workers = living("workers", "Living workers, by the store in use.", ("store",))
        self.worker_starts = counter("worker_starts", "Workers that have started.")
        self.cpu_seconds = counter("cpu_seconds", "CPU time of all workers.")
        self.cpu_cores = own("cpu_cores", "How many cores the workers can keep busy.")
        self.memory = living("memory_bytes", "Memory of the living workers, shared pages counted once.")
        self.time = own("time_seconds", "The clock of this machine, at the scrape.")
        self.build_info = own("build_info", "What runs here.", "version", "python")

    def _define_sources(self) -> None:
        counter = partial(Counter, namespace="fastprice", registry=self.registry)
        own = partial(_OwnGauge, {self.registry, self._scraped})
        self.upstream_requests = counter("upstream_requests", "Calls to sources.", ("source", "outcome"))
        self.upstream_duration = Histogram(
            "upstream_request_duration_seconds", "Time of a call to a source.", ("source",), buckets=UPSTREAM_BUCKETS,
            namespace="fastprice", registry=self.registry,
        )
        self.breaker_state = own("breaker_state", "0 closed, 1 half-open, 2 open.", "source")
        cooldown = "Until when a source is not asked; 0 where it is asked."
        self.cooldown_until = own("source_cooldown_until_timestamp_seconds", cooldown, "source")
        deviation = "By how large a share a source was above the price served when they were last compared, at most."
        self.price_deviation = own("price_deviation", deviation, "source")
        self.source_distrusted = own("source_distrusted", "Pairs for which a source is distrusted.", "source")
        agreeing = "Sources that may be asked and are not distrusted."
        self.sources_agreeing = own("sources_agreeing", agreeing)
        self.sources_wanted = own("sources_wanted", "How many of them there should be at least.")
        first = "Share of the prices that come from the first of SOURCES, in failover mode."
        self.first_source_share = own("first_source_share", first)
        self.stream_state = own("stream_state", "A source's stream: 0 off, 1 connecting, 2 live, 3 given up.", "source")
        self.stream_messages = counter("stream_messages", "Messages of sources' streams, by kind.", ("source", "kind"))
        ends = "Connections of sources' streams that ended, by reason."
        self.stream_reconnects = counter("stream_reconnects", ends, ("source", "reason"))
        lag = "Largest time in each second from a message's own stamp to its reading."
        self.stream_lag = Histogram(
            "stream_lag_seconds", lag, ("source",), buckets=LAG_BUCKETS, namespace="fastprice", registry=self.registry
        )
        self.simulated = own("simulated", "1 while prices are simulated, even if only those of one source.")
        self.refreshes = counter("refreshes", "Pairs refreshed, by result.", ("result",))

    def begin(
        self, pairs: Iterable[Pair], limits: AgeLimits, stores: Sequence[str], routes: Iterable[str] = (),
        sources_wanted: int = 1,
    ) -> None:
        """Show what is known from the start. `stores` are those of this worker, the preferred one first.

        So a pair that never gets a price is seen to have none, and alerts need not know the settings. Failures are
        counted from none, those of requests to `routes` too: a rate needs two values, and in a series that begins with
        the first failures these would never be seen.
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

        They come by route, method, and whether prices were answered. `slow` are the durations beyond the first bucket.
        """
        for (route, method, is_price), (fresh, stale, fresh_unchanged, stale_unchanged) in counts.items():
            for status, count in (200, fresh + stale), (304, fresh_unchanged + stale_unchanged):
                if count:  # Or the scrape would show a series of what nobody has asked for.
                    self._http[route, method, status] += count
            if is_price:
                self.l1["hit"] += fresh + fresh_unchanged
                self.l1["stale"] += stale + stale_unchanged
        self._http_buckets[0] += sum(map(sum, counts.values())) - len(slow)
        for duration in slow:
            self._http_buckets[bisect_left(HTTP_BUCKETS, duration)] += 1
        self._http_seconds += seconds

    def count_streams(self, subscribers: int, counts: StreamCounts) -> None:
        """Count what the streams have sent since the last time."""
        self.subscribers.set(subscribers)
        self.stream_events.inc(counts.events)
        self.stream_dropped.inc(counts.dropped)
        self.stream_closed.inc(counts.closed)
        buckets = collections.Counter(bisect_left(PUSH_BUCKETS, seconds) for seconds in counts.seconds)
        _observe(self.push_duration, [buckets[each] for each in range(len(PUSH_BUCKETS) + 1)], sum(counts.seconds))

    def count_cpu(self, seconds: float) -> None:
        """Count what this process has used of CPU time since the last time; `seconds` is all of it."""
        self.cpu_seconds.inc(seconds - self._cpu_counted)
        self._cpu_counted = seconds

    def flush(self) -> None:
        """Move the ints into the metrics, and show these to all workers."""
        for key, count in self._http.items():
            self.http_requests.labels(*key).inc(count)
        self._http.clear()
        for result, count in self.l1.items():
            self.cache_requests.labels("l1", result).inc(count)
        self.stale_responses.inc(self.l1["stale"])
        self.l1.update(hit=0, stale=0, miss=0)
        _observe(self.http_duration, self._http_buckets, self._http_seconds)
        self._http_buckets, self._http_seconds = [0] * len(self._http_buckets), 0.0
        if self._shared:
            self._shared.save()

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
        return generate_latest(self._scraped)

    def _show_store(self, **works: bool) -> None:
        """Count this worker under the first store that works, and under no other."""
        self._works |= works
        used = next((store for store, is_well in self._works.items() if is_well), "none")
        for store in (*self._works, "none"):
            self.workers.labels(store).set(store == used)
