"""Every metric of the service: its name, its text, its labels, and how the values of several workers become one."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.core import GaugeMetricFamily

from fastprice.infrastructure.prometheus.value_files import ValueFiles

HTTP_BUCKETS = (5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
UPSTREAM_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
PUSH_BUCKETS = (1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)
LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
STORE_BUCKETS = (1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25)


class _OwnGauge:
    """A gauge that shows only what the worker that answers the scrape knows.

    It is not in a shared file. From those the library takes the newest value by the wall clock: after that clock is set
    back, every worker would show old values until the clock had caught up.
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


class Definitions:
    """The metrics, in the registry of this process; `scraped` has the sums over all workers, if they share values."""

    def __init__(self) -> None:
        self.registry = self.scraped = CollectorRegistry()
        self.shared = values.ValueClass if isinstance(values.ValueClass, ValueFiles) else None
        if self.shared:  # It has the sums over all workers of everything except each worker's own gauges.
            self.scraped = CollectorRegistry()
            self.scraped.register(self.shared)
        self._define()
        self._define_sources()

    def _define(self) -> None:
        counter = partial(Counter, namespace="fastprice", registry=self.registry)
        histogram = partial(Histogram, namespace="fastprice", registry=self.registry)
        living = partial(Gauge, namespace="fastprice", registry=self.registry, multiprocess_mode="livesum")
        own = partial(_OwnGauge, {self.registry, self.scraped})
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
        own = partial(_OwnGauge, {self.registry, self.scraped})
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
