"""What is counted, under which labels, and that the sums are right while workers start and end."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.parser import text_string_to_metric_families

from fastprice.application.events import (
    BreakerMoved, CacheRead, CoordinationBack, CoordinationLost, Event, LeaderMoved, Refreshed, SourceAsked,
    SourceSkipped, StoreAsked, StoreBack, StoreLost
)
from fastprice.application.live_events import StreamHeard, StreamReconnected
from fastprice.application.live_ports import StreamReport
from fastprice.application.ports import Held, PairReport, SourceReport
from fastprice.domain.quote import AgeLimits, Agreement, Quote
from fastprice.infrastructure.prometheus import Metrics
from fastprice.infrastructure.prometheus.definitions import HTTP_BUCKETS
from fastprice.infrastructure.prometheus.process import memory_bytes, usable_cores
from tests.fakes import BTC, ETH, START_MS, a_quote

DOCUMENTED = {
    "http_requests_total": {"route", "method", "status"},
    "http_request_duration_seconds": set(),
    "cache_requests_total": {"tier", "result"},
    "stale_responses_total": set(),
    "stream_subscribers": set(),
    "stream_subscribers_limit": set(),
    "worker_starts_total": set(),
    "cpu_seconds_total": set(),
    "cpu_cores": set(),
    "time_seconds": set(),
    "memory_bytes": set(),
    "stream_events_total": set(),
    "stream_dropped_events_total": set(),
    "stream_closed_slow_total": set(),
    "push_duration_seconds": set(),
    "price": {"symbol"},
    "price_age_seconds": {"symbol"},
    "price_fetched_timestamp_seconds": {"symbol"},
    "upstream_requests_total": {"source", "outcome"},
    "upstream_request_duration_seconds": {"source"},
    "breaker_state": {"source"},
    "price_deviation": {"source"},
    "source_distrusted": {"source"},
    "stream_state": {"source"},
    "stream_messages_total": {"source", "kind"},
    "stream_reconnects_total": {"source", "reason"},
    "stream_lag_seconds": {"source"},
    "sources_agreeing": set(),
    "sources_wanted": set(),
    "first_source_share": set(),
    "source_cooldown_until_timestamp_seconds": {"source"},
    "redis_operations_total": {"op", "result"},
    "redis_operation_duration_seconds": set(),
    "refreshes_total": {"result"},
    "price_age_limit_seconds": {"freshness"},
    "leaders": set(),
    "workers": {"store"},
    "simulated": set(),
    "build_info": {"version", "python"},
}

LIMITS = AgeLimits(fresh_ms=5_000, stale_ms=60_000)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


def held(quote: Quote, age_seconds: float = 0.5, usable: bool = True) -> Held:
    return Held(quote, usable, age_seconds, quote.fetched_at_ms)


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    """Every sample of an exposition except creation times, by name without prefix and sorted labels."""
    return {
        (sample.name.removeprefix("fastprice_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def value(of: Metrics | Samples, name: str, **labels: str) -> float | None:
    shown = samples(of.exposition().decode()) if isinstance(of, Metrics) else of
    return shown.get((name, tuple(sorted(labels.items()))))


# An event, and the sample that it sets to one.
COUNTED: list[tuple[Event, str, dict[str, str]]] = [
    *(
        (SourceAsked("okx", outcome, 0.2), "upstream_requests_total", {"source": "okx", "outcome": outcome})
        for outcome in ("ok", "timeout", "rate_limited", "banned", "blocked", "http_error", "invalid", "local", "rejected")
    ),
    (SourceAsked("okx", "ok", 0.2), "upstream_request_duration_seconds_count", {"source": "okx"}),
    (SourceAsked("okx", "ok", 1.0), "upstream_request_duration_seconds_sum", {"source": "okx"}),
    (SourceSkipped("okx"), "upstream_requests_total", {"source": "okx", "outcome": "rejected"}),
    *((Refreshed(result, 1), "refreshes_total", {"result": result}) for result in ("fetched", "streamed", "adopted", "failed")),
    (StreamHeard("okx", {"data": 1}, None), "stream_messages_total", {"source": "okx", "kind": "data"}),
    (StreamHeard("okx", {}, 1.0), "stream_lag_seconds_sum", {"source": "okx"}),
    (StreamReconnected("okx", "lost"), "stream_reconnects_total", {"source": "okx", "reason": "lost"}),
    (LeaderMoved(True), "leaders", {}),
    (CacheRead("l2", "hit"), "cache_requests_total", {"tier": "l2", "result": "hit"}),
    (CacheRead("l2", "miss"), "cache_requests_total", {"tier": "l2", "result": "miss"}),
    (StoreAsked("get", "ok", 1.0), "redis_operations_total", {"op": "get", "result": "ok"}),
    (StoreAsked("put", "error", 1.0), "redis_operations_total", {"op": "put", "result": "error"}),
    (StoreAsked("put", "error", 1.0), "redis_operation_duration_seconds_count", {}),
    (StoreAsked("put", "error", 1.0), "redis_operation_duration_seconds_sum", {}),
]


@pytest.mark.parametrize(("event", "name", "labels"), COUNTED, ids=lambda item: str(item)[:60])
def test_an_event_is_counted_once_under_its_labels(
    metrics: Metrics, event: Event, name: str, labels: dict[str, str]
) -> None:
    assert value(metrics, name, **labels) in (None, 0)
    metrics(event)
    assert value(metrics, name, **labels) == 1
    family = [key for key, number in samples(metrics.exposition().decode()).items() if key[0] == name and number]
    assert len(family) == 1


def test_an_event_that_is_only_for_the_log_changes_no_metric(metrics: Metrics) -> None:
    before = metrics.exposition()
    metrics(BreakerMoved("okx", "closed", "open"))
    assert metrics.exposition() == before


def test_the_documented_metrics_are_there_with_their_labels_and_no_others(metrics: Metrics) -> None:
    metrics.begin([ETH], LIMITS, ("redis", "embedded"))
    for event, _, _ in COUNTED:
        metrics(event)
    metrics.count_request("/", "GET", 200, 0.001)
    metrics.flush()
    metrics.show([held(a_quote())], [SourceReport("okx", "closed", deviation=0.01)], [StreamReport("okx")], START_MS)
    families = list(text_string_to_metric_families(metrics.exposition().decode()))
    shown: dict[str, set[str]] = {}
    for family in families:
        assert family.name.startswith("fastprice_") and family.documentation
        if family.name.endswith("_created"):
            continue
        name = family.name.removeprefix("fastprice_") + ("_total" if family.type == "counter" else "")
        shown[name] = {label for sample in family.samples for label in sample.labels} - {"le"}
    assert shown == DOCUMENTED


def test_cpu_time_is_never_counted_twice(metrics: Metrics) -> None:
    for seconds in (0.5, 2.0, 2.0):
        metrics.count_cpu(seconds)
        assert value(metrics, "cpu_seconds_total") == seconds


@pytest.mark.parametrize(("text", "share"), [("50000 100000", 0.5), ("max 100000", None), ("?", None), (None, None)])
def test_a_containers_limit_of_cpu_time_counts_where_there_is_one(
    tmp_path: Path, text: str | None, share: float | None
) -> None:
    if text is not None:
        (tmp_path / "cpu.max").write_text(text)
    assert usable_cores(tmp_path / "cpu.max") == (share or len(os.sched_getaffinity(0)))


def test_memory_is_what_linux_calls_the_proportional_share(tmp_path: Path) -> None:
    assert memory_bytes() > 1 << 20
    (tmp_path / "smaps_rollup").write_text("0-1 ---p 00000000 00:00 0 [rollup]\nRss: 90 kB\nPss: 40 kB\nPss_Dirty: 7 kB\n")
    assert memory_bytes(tmp_path / "smaps_rollup") == 40 * 1024
    assert memory_bytes(tmp_path / "missing") == 0


def test_flush_moves_what_was_counted_once_and_exactly(metrics: Metrics) -> None:
    for status, times in (200, 3), (304, 2):
        for _ in range(times):
            metrics.count_request("/p", "GET", status, 0.25)
    metrics.l1.update(hit=4, stale=2, miss=1)
    assert value(metrics, "http_requests_total", route="/p", method="GET", status="200") is None
    for _ in range(3):
        metrics.flush()
    shown = samples(metrics.exposition().decode())
    counts = {status: value(shown, "http_requests_total", route="/p", method="GET", status=status) for status in ("200", "304")}
    assert counts == {"200": 3, "304": 2}
    assert [value(shown, "cache_requests_total", tier="l1", result=each) for each in ("hit", "stale", "miss")] == [4, 2, 1]
    assert value(shown, "stale_responses_total") == 2
    assert value(shown, "http_request_duration_seconds_count") == 5
    assert value(shown, "http_request_duration_seconds_sum") == 1.25
    metrics.count_request("/p", "GET", 200, 0.25)
    metrics.flush()
    assert value(metrics, "http_requests_total", route="/p", method="GET", status="200") == 4


def test_the_lane_shows_the_statuses_that_it_has_answered_and_no_others(metrics: Metrics) -> None:
    metrics.count_lane({("/asked", "GET", True): [1, 1, 0, 0], ("/known", "GET", True): [0, 0, 0, 1]}, 0.0, [])
    metrics.flush()
    shown = samples(metrics.exposition().decode())
    statuses = [(dict(labels)["route"], dict(labels)["status"]) for name, labels in shown if name == "http_requests_total"]
    assert sorted(statuses) == [("/asked", "200"), ("/known", "304")]


def test_the_histogram_of_requests_equals_what_the_library_itself_makes_of_them(metrics: Metrics) -> None:
    seconds = [0.0, *HTTP_BUCKETS, *(edge * 1.001 for edge in HTTP_BUCKETS), *(edge * 0.999 for edge in HTTP_BUCKETS), 99.0]
    registry = CollectorRegistry()
    reference = Histogram("reference", "x", buckets=HTTP_BUCKETS, registry=registry)
    for turn, each in enumerate(seconds):
        reference.observe(each)
        metrics.count_request("/p", "GET", 200, each)
        if turn % 10 == 0:
            metrics.flush()
    metrics.flush()

    def of(source: CollectorRegistry, name: str) -> dict[Any, float]:
        family, = (family for family in source.collect() if family.name == name)
        return {
            (sample.name.removeprefix(name), *sample.labels.values()): round(sample.value, 9)
            for sample in family.samples if not sample.name.endswith("_created")
        }

    assert of(metrics.registry, "fastprice_http_request_duration_seconds") == of(registry, "reference")


def test_a_refresh_counts_its_pairs(metrics: Metrics) -> None:
    for pairs in 499, 1:
        metrics(Refreshed("fetched", pairs))
    assert value(metrics, "refreshes_total", result="fetched") == 500


def test_gauges_show_the_prices_served_and_how_each_source_stands(metrics: Metrics) -> None:
    unlisted = {ETH: PairReport(unlisted_until_ms=START_MS + 500)}
    reports = [
        SourceReport("a", "open", cooldown_until_ms=START_MS + 500), SourceReport("b", "half_open", pairs=unlisted),
        SourceReport("c", "closed"),
    ]
    metrics.show([held(a_quote("3120.45")), held(a_quote("60000.1", START_MS + 1_500, pair=BTC), 1.25)], reports, (), START_MS)
    shown = samples(metrics.exposition().decode())
    assert value(shown, "price", symbol="ETH-USDT") == 3120.45
    assert value(shown, "price_fetched_timestamp_seconds", symbol="BTC-USDT") == START_MS / 1000 + 1.5
    assert [value(shown, "price_age_seconds", symbol=symbol) for symbol in ("ETH-USDT", "BTC-USDT")] == [0.5, 1.25]
    assert [value(shown, "breaker_state", source=source) for source in "abc"] == [2, 1, 0]
    until = [value(shown, "source_cooldown_until_timestamp_seconds", source=source) for source in "ab"]
    assert until == [START_MS / 1000 + 0.5, 0]
    assert value(shown, "time_seconds") == START_MS / 1000
    metrics.show([], [SourceReport("a", "closed")], (), START_MS + 1_500)
    assert value(metrics, "time_seconds") == START_MS / 1000 + 1.5, "a replica without a price tells its clock too"
    assert value(metrics, "breaker_state", source="a") == 0
    assert value(metrics, "source_cooldown_until_timestamp_seconds", source="a") == 0


def test_gauges_show_how_well_the_sources_agree(metrics: Metrics) -> None:
    metrics.begin([ETH, BTC], LIMITS, ("embedded",), sources_wanted=3)
    said = {ETH: PairReport(deviation=-0.02, distrusted="frozen"), BTC: PairReport(deviation=0.001)}
    all_wrong = {pair: PairReport(distrusted="far") for pair in (ETH, BTC)}
    reports = [
        SourceReport("a", "closed", deviation=-0.02, distrusted=1, pairs=said), SourceReport("b", "half_open"),
        SourceReport("c", "open"), SourceReport("d", "closed", cooldown_until_ms=START_MS + 1),
        SourceReport("e", "closed", distrusted=2, pairs=all_wrong), SourceReport("f", "closed", cooldown_until_ms=START_MS),
    ]
    prices = [held(a_quote(source="a")), held(a_quote(pair=BTC, source="b"))]
    metrics.show(prices, reports, (), START_MS)
    assert value(metrics, "price_deviation", source="a") == -0.02
    assert value(metrics, "price_deviation", source="b") is None, "it was never compared"
    assert [value(metrics, "source_distrusted", source=source) for source in "abe"] == [1, 0, 2]
    assert (value(metrics, "sources_agreeing"), value(metrics, "sources_wanted")) == (2, 3), "a and f"
    assert value(metrics, "first_source_share") == 0.5
    metrics.show([held(a_quote(source="a"), usable=False)], reports, (), START_MS)
    assert value(metrics, "first_source_share") is None, "nothing is served"
    metrics.show([held(a_quote(source="median", agreement=Agreement(("a", "b"), "0", START_MS)))], reports, (), START_MS)
    assert value(metrics, "first_source_share") is None, "nor is there a first source of a median"
    metrics.show(prices, [], (), START_MS)
    assert value(metrics, "sources_agreeing") is None, "a worker that has just started does not know"


def test_streams_are_counted_and_their_states_shown(metrics: Metrics) -> None:
    metrics(StreamHeard("okx", {"data": 7, "ack": 1}, 0.02))
    metrics(StreamHeard("okx", {"data": 3}, None))
    metrics(StreamReconnected("okx", "lost"))
    metrics.show([], [], [StreamReport("okx", "live"), StreamReport("gate", "given_up")], START_MS)
    assert value(metrics, "stream_messages_total", source="okx", kind="data") == 10
    assert value(metrics, "stream_reconnects_total", source="okx", reason="lost") == 1
    assert value(metrics, "stream_lag_seconds_count", source="okx") == 1
    assert [value(metrics, "stream_state", source=source) for source in ("okx", "gate")] == [2, 3]


def test_a_pair_that_has_no_price_is_seen_to_have_none_whoever_shows_it(metrics: Metrics) -> None:
    metrics.begin([ETH, BTC], LIMITS, ("embedded",))
    metrics.show([held(a_quote("3120.45"))], [], (), START_MS)
    assert value(metrics, "price", symbol="ETH-USDT") == 3120.45
    assert math.isnan(value(metrics, "price", symbol="BTC-USDT") or 0)
    assert value(metrics, "price_fetched_timestamp_seconds", symbol="BTC-USDT") is None
    assert value(metrics, "price_age_seconds", symbol="BTC-USDT") is None


def test_a_price_too_old_to_be_served_is_none_and_its_age_is_told(metrics: Metrics) -> None:
    metrics.begin([ETH], LIMITS, ("embedded",))
    metrics.show([held(a_quote("3120.45"), 61.5, usable=False)], [], (), START_MS)
    assert math.isnan(value(metrics, "price", symbol="ETH-USDT") or 0)
    assert value(metrics, "price_age_seconds", symbol="ETH-USDT") == 61.5


def test_what_alerts_are_built_on_is_counted_from_none_so_that_the_first_one_is_seen_to_be_one(metrics: Metrics) -> None:
    metrics.begin([ETH], LIMITS, ("embedded",), ["/p"])
    for result in "fetched", "adopted", "failed":
        assert value(metrics, "refreshes_total", result=result) == 0
    for status in "500", "503":
        assert value(metrics, "http_requests_total", route="/p", method="GET", status=status) == 0


def test_the_limits_of_age_are_shown_so_that_alerts_need_not_know_the_settings(metrics: Metrics) -> None:
    metrics.begin([ETH], LIMITS, ("embedded",))
    assert value(metrics, "price_age_limit_seconds", freshness="fresh") == 5
    assert value(metrics, "price_age_limit_seconds", freshness="stale") == 60


def test_a_worker_counts_as_a_leader_for_as_long_as_it_leads(metrics: Metrics) -> None:
    metrics.begin([ETH, BTC], LIMITS, ("embedded",))
    assert value(metrics, "leaders") == 0
    for leads in True, False, True:
        metrics(LeaderMoved(leads))
        assert value(metrics, "leaders") == leads


# What happens to a worker's stores, and the store under which the worker is counted then.
STORES: list[tuple[tuple[str, ...], list[tuple[Event, str]]]] = [
    (("embedded",), [(CoordinationLost("x"), "none"), (CoordinationBack(), "embedded")]),
    (("redis", "embedded"), [
        (StoreLost("x", announce=False), "embedded"), (StoreBack(announce=False), "redis"),
        (StoreLost("x", announce=True), "embedded"), (CoordinationLost("x"), "none"), (StoreBack(announce=True), "redis"),
        (CoordinationBack(), "redis"),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(("stores", "story"), STORES, ids=["embedded", "redis"])
def test_a_worker_counts_under_the_store_that_works_for_it_and_no_other(
    metrics: Metrics, stores: tuple[str, ...], story: list[tuple[Event, str]]
) -> None:
    metrics.begin([ETH], LIMITS, stores)

    def used() -> dict[str, float]:
        shown = samples(metrics.exposition().decode()).items()
        return {dict(labels)["store"]: number for (name, labels), number in shown if name == "workers"}

    every = {*stores, "none"}
    assert used() == {store: store == stores[0] for store in every}
    for event, store in story:
        metrics(event)
        assert used() == {each: each == store for each in every}, event


# ---- across processes: the library's kind of value is set per process, so each test runs processes of its own ----

WORKER = """
import logging, os, signal, sys
from pathlib import Path
from fastprice.application.events import LeaderMoved
from fastprice.application.ports import Held, SourceReport
from fastprice.domain.quote import AgeLimits, Quote
from fastprice.infrastructure.prometheus import Metrics
from fastprice.infrastructure.prometheus.value_files import forget_worker, share_between_workers
from tests.fakes import ETH, a_quote

logging.basicConfig(format="%(message)s")
directory = Path(sys.argv[1])

def worker(slot, requests=0, price=None):
    share_between_workers(directory, slot)
    metrics = Metrics("1.2.3")
    for _ in range(requests):
        metrics.count_request("/p", "GET", 200, 0.5)
    metrics.flush()
    if price:
        metrics.show([Held(a_quote(price), True, 0.5, 0)], [SourceReport("a", "open")], (), 0)
    return metrics

"""


def run(directory: Path, script: str, code: int = 0) -> tuple[Samples, str]:
    """The samples that the script printed, and what it logged."""
    words = [sys.executable, "-c", WORKER + script, str(directory)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return samples(done.stdout), done.stderr


def requests(shown: Samples) -> tuple[float | None, ...]:
    """The number of requests by the counter and by the histogram, and the histogram's sum."""
    return (
        value(shown, "http_requests_total", route="/p", method="GET", status="200"),
        value(shown, "http_request_duration_seconds_count"),
        value(shown, "http_request_duration_seconds_sum"),
    )


SCRAPE = "\nprint(worker(9).exposition().decode())"


def test_the_counts_of_all_workers_add_up_and_the_gauges_are_those_of_the_worker_that_answers(tmp_path: Path) -> None:
    # A second worker shows another price later; the one that answers ignores it like one from before a clock step.
    shown, log = run(tmp_path, """
mine = worker(0, 3, "100.5")
another = worker(1, 4, "101.5")
another.show([Held(a_quote("101.5"), True, 0.5, 0)], [SourceReport("a", "closed"), SourceReport("b", "closed")], (), 3_000)
print(mine.exposition().decode())
""")
    assert requests(shown) == (7, 7, 3.5)
    assert value(shown, "price", symbol="ETH-USDT") == 100.5
    assert value(shown, "time_seconds") == 0
    assert [value(shown, "breaker_state", source=source) for source in "ab"] == [2, None]
    assert [number for (name, _), number in shown.items() if name == "build_info"] == [1]
    assert log == ""


def test_a_successor_in_the_slot_of_a_killed_worker_goes_on_counting(tmp_path: Path) -> None:
    run(tmp_path, "worker(0, 3); os.kill(os.getpid(), signal.SIGKILL)", code=-9)
    run(tmp_path, "worker(0, 4)")
    shown, _ = run(tmp_path, SCRAPE)
    assert requests(shown) == (7, 7, 3.5)


def test_cpu_time_falls_neither_when_a_worker_dies_nor_when_another_takes_its_slot(tmp_path: Path) -> None:
    # A fall would tell the alerts that the whole replica has restarted.
    counted = "(metrics := worker({0})).count_cpu({1}); metrics.flush(); "
    run(tmp_path, counted.format(0, 5.0) + "os.kill(os.getpid(), signal.SIGKILL)", code=-9)
    run(tmp_path, counted.format(1, 2.0))
    for story, seconds in ("forget_worker(directory, 0)", 7), (counted.format(0, 0.5), 7.5):
        shown, _ = run(tmp_path, story + SCRAPE)
        assert value(shown, "cpu_seconds_total") == seconds


def test_generations_of_workers_leave_no_more_files_than_one(tmp_path: Path) -> None:
    counts = []
    for _ in range(5):
        run(tmp_path, "worker(0, 1)\nworker(1, 1)")
        counts.append(len(list(tmp_path.iterdir())))
    shown, _ = run(tmp_path, "print(worker(0).exposition().decode())")
    assert len(set(counts)) == 1 and requests(shown) == (10, 10, 5.0)


def test_a_dead_worker_is_no_longer_among_the_living_and_its_counts_stay(tmp_path: Path) -> None:
    living = "worker({0}, 3).begin([ETH], AgeLimits(5_000, 60_000), ['embedded'])"
    leading = "; (metrics := Metrics('1'))(LeaderMoved(True)); metrics.flush()"

    def alive(shown: Samples) -> list[float | None]:
        return [value(shown, "workers", store="embedded"), value(shown, "leaders")]

    run(tmp_path, living.format(0) + leading)
    run(tmp_path, living.format(1))
    shown, _ = run(tmp_path, SCRAPE)
    assert alive(shown) == [2, 1] and requests(shown) == (6, 6, 3.0)
    run(tmp_path, "forget_worker(directory, 0)")
    shown, _ = run(tmp_path, SCRAPE)
    assert alive(shown) == [1, 0] and requests(shown) == (6, 6, 3.0)
    run(tmp_path, living.format(0))
    shown, _ = run(tmp_path, SCRAPE)
    assert alive(shown) == [2, 0] and requests(shown) == (9, 9, 4.5)


DAMAGE: dict[str, Any] = {
    "empty": lambda file: file.write_bytes(b""),
    "cut short": lambda file: file.write_bytes(file.read_bytes()[:100]),
    "cut to a few bytes": lambda file: file.write_bytes(file.read_bytes()[:3]),
    "garbage": lambda file: file.write_bytes(b"\xff" * 4_096),
    "zeros after its length": lambda file: file.write_bytes(file.read_bytes()[:8].ljust(1 << 16, b"\0")),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_costs_its_own_counts_and_no_scrape_and_is_replaced_by_its_worker(
    tmp_path: Path, damage: Any
) -> None:
    run(tmp_path, "worker(0, 3)\nworker(1, 4)")
    for file in tmp_path.glob("*_1.db"):
        damage(file)
    shown, _ = run(tmp_path, SCRAPE)
    assert requests(shown) == (3, 3, 1.5)
    shown, log = run(tmp_path, "print(worker(1, 5).exposition().decode())")
    assert requests(shown) == (8, 8, 4.0)
    assert sorted(log.splitlines()) == sorted(
        f"metrics file {file.name} is damaged: it starts again from zero" for file in tmp_path.glob("*_1.db")
    )
