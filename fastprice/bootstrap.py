"""The composition root: builds everything from the settings, leaves first, and wires it by hand."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import logging
import os
import random
import socket
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette

from fastprice import __version__
from fastprice.application.ask_each import Asked, ask_each
from fastprice.application.belief import MAX_TRADE_LAG_MS
from fastprice.application.events import Event
from fastprice.application.fallback_store import FallbackStore
from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Clock, Events, PriceSource, PriceStore
from fastprice.application.recent import RecentPrices
from fastprice.application.rounds import Rounds
from fastprice.application.streamed import Streamed
from fastprice.domain.quote import MAX_SKEW_MS, Pair
from fastprice.engine import engine
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.live import LiveStream
from fastprice.infrastructure.exchanges.source import ExchangeSource
from fastprice.infrastructure.prometheus import Metrics
from fastprice.infrastructure.prometheus.process import memory_bytes, usable_cores
from fastprice.infrastructure.records import Records
from fastprice.infrastructure.redis_store import RedisStore
from fastprice.infrastructure.sqlite_store import SqliteStore
from fastprice.infrastructure.state_log import StateLog
from fastprice.interface.app import make_app
from fastprice.interface.middleware import PRICE_ROUTE, PRICES, SOURCES_ROUTE
from fastprice.interface.parts import Parts
from fastprice.interface.polled import Polled
from fastprice.interface.price_snapshot import PriceSnapshot, price_snapshots
from fastprice.interface.streams import Streams
from fastprice.server.descriptors import highest_of_clients
from fastprice.server.lane import Lane
from fastprice.settings import Settings

# What runs beside the requests until the worker ends.
Loop = Callable[[], Coroutine[Any, Any, None]]
logger = logging.getLogger("fastprice")

USER_AGENT = f"fastprice/{__version__}"
FLUSH_SECONDS = 1.0
# After how many flushes the memory is measured again.
MEMORY_FLUSHES = 10
# How long a thread that reads an exchange's whole market, 15 ms for a megabyte, may keep the event loop waiting each
# time the loop has something to do. Every client would notice Python's default of 5 ms.
SWITCH_SECONDS = 0.0005
# The share of the clients' file descriptors that subscribers may have at most: clients that poll need some too.
SUBSCRIBERS_SHARE = 0.8
# Room for the embedded store and the metrics of some dozens of workers.
NEEDED_BYTES = 4 << 20


def build(settings: Settings, memory: Path, slot: int = 0, service: str = "") -> Starlette:
    """One worker's whole service; what needs an event loop or a network is opened in the application's lifespan.

    `memory` is the directory that the master found for all workers: if each searched on its own, they could find two.
    `service` names the processes that write one log together; of these, the one in slot 0 logs how prices age.
    """
    clock = SystemClock()
    metrics = _metrics(settings)
    events = tell_all([metrics, StateLog(tells_freshness=slot == 0)])
    # Host and process id tell an operator who looks at a claim which process holds it; the rest makes the name unique.
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"
    session = opened_session(settings)
    store, redis_state = _store(settings, memory, holder, service, clock, events)
    sources = live_sources(settings, session, clock, events)
    made = engine(settings, sources, store, price_snapshots(clock, settings.refresh_interval), holder, clock, events)
    latest, rounds = made.latest, made.rounds
    streams = Streams(latest, clock, settings.push_interval, _most_subscribers(settings))
    polled = Polled(latest, clock, settings.refresh_interval)
    lane = Lane(polled.find, clock.monotonic) if settings.fast_lane else None
    flush, patient_until = partial(_flush, metrics, lane, streams), clock.monotonic() + settings.cold_wait
    parts = Parts(
        version=__version__,
        latest=latest,
        clock=clock,
        reports=lambda: rounds.reports,
        standing=rounds.standing,
        live=lambda: rounds.streams,
        redis=redis_state,
        scrape=partial(_scrape, metrics, flush, latest, rounds, clock),
        count_request=metrics.count_request, tally=metrics.l1,
        patience=lambda: patient_until - clock.monotonic(),
        refresh_interval=settings.refresh_interval, simulated=settings.simulated,
        streams=streams, recent=RecentPrices(latest, clock), metrics_port=settings.metrics_port,
    )
    polled.answer_moments(parts)
    loops: list[Loop] = [made.leader.run, partial(made.feed.run, rounds.renew)]
    loops += [partial(_flush_forever, metrics, flush, clock)]
    loops += [store.keep] if isinstance(store, FallbackStore) else []
    state = {"lane": lane, "streams": streams, "metrics_port": settings.metrics_port}
    return make_app(parts, partial(_lifespan, session, store, state, flush, loops))


def _most_subscribers(settings: Settings) -> int:
    return int(min(settings.max_subscribers, highest_of_clients() * SUBSCRIBERS_SHARE))


def _metrics(settings: Settings) -> Metrics:
    """The metrics, with the values that are known at the start."""
    metrics = Metrics(__version__)
    wanted = min(settings.min_sources, len(settings.sources))
    stores = ("redis", "embedded") if settings.redis_url else ("embedded",)
    metrics.begin(settings.pairs, settings.age_limits, stores, (PRICE_ROUTE, PRICES, SOURCES_ROUTE), wanted)
    metrics.simulated.show([(bool(settings.simulated),)])
    metrics.subscribers_limit.set(_most_subscribers(settings))
    metrics.cpu_cores.show([(min(settings.workers, usable_cores()),)])
    return metrics


@contextlib.asynccontextmanager
async def _lifespan(
    session: Session,
    store: PriceStore,
    state: Mapping[str, Any],
    flush: Callable[[], None],
    loops: Iterable[Loop],
    app: Starlette,
) -> AsyncIterator[Mapping[str, Any]]:
    """The lifespan of a worker; the server finds the lane, the streams and the port for metrics in its state.

    Nothing in here waits for Redis or an exchange: a worker that cannot start would take its siblings down with it.
    """
    sys.setswitchinterval(SWITCH_SECONDS)
    async with session:
        running = [asyncio.create_task(loop()) for loop in loops]
        try:
            yield state
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            flush()
            await store.close()


def _flush(metrics: Metrics, lane: Lane | None, streams: Streams) -> None:
    if lane:
        metrics.count_lane(*lane.drain())
    metrics.count_streams(streams.subscribers, streams.drain_counts())
    metrics.count_cpu(time.process_time())
    metrics.flush()


async def _flush_forever(metrics: Metrics, flush: Callable[[], None], clock: Clock) -> None:
    for turn in itertools.count():
        await clock.sleep(FLUSH_SECONDS)
        try:
            if turn % MEMORY_FLUSHES == 0:
                metrics.memory.set(await asyncio.to_thread(memory_bytes))
            flush()
        except Exception:
            logger.exception("the counts of the last second could not be written down")


async def _scrape(
    metrics: Metrics, flush: Callable[[], None], latest: LatestPrice[PriceSnapshot], rounds: Rounds, clock: Clock
) -> tuple[bytes, str]:
    """The metrics as text, with the gauges as this worker knows them now."""
    flush()
    metrics.show(latest.everything_held(), rounds.reports, rounds.streams, clock.wall_ms())
    return await asyncio.to_thread(metrics.exposition), CONTENT_TYPE_LATEST


def opened_session(settings: Settings) -> Session:
    """The connections to exchanges, through the proxies that are set."""
    return Session(USER_AGENT, settings.proxies.find)


async def ask_everyone(settings: Settings, pairs: Sequence[Pair]) -> dict[Pair, list[Asked]]:
    """What each source says now, for `fastprice quote`."""
    clock = SystemClock()
    async with opened_session(settings) as session:
        return await ask_each(_sources(settings, session, clock, lambda event: None), pairs, clock)


def _sources(settings: Settings, session: Session, clock: Clock, events: Events) -> list[ExchangeSource]:
    """The exchanges without streams: each at its own address, or at that of `<SOURCE>_URL`."""
    urls = {name: settings.source_urls.get(name, EXCHANGES[name].base_url) for name in settings.sources}
    common = settings.fetch_timeout, session, clock, events
    return [ExchangeSource(EXCHANGES[name], url, *common) for name, url in urls.items()]


def _live_url(url: str) -> str:
    """The WebSocket URL of the same address."""
    return f"ws{url.removeprefix('http')}"


def live_sources(settings: Settings, session: Session, clock: Clock, events: Events) -> list[PriceSource]:
    """The exchanges, each with its live feed if it has one and streams are not switched off."""
    sources: list[PriceSource] = []
    lag_ms = settings.age_limits.fresh_ms + MAX_SKEW_MS
    for source in _sources(settings, session, clock, events):
        exchange = EXCHANGES[source.name]
        if settings.streams and exchange.stream:
            rest = settings.source_urls.get(source.name)
            host = settings.stream_urls.get(source.name) or (rest and _live_url(rest)) or exchange.stream.host
            base = rest or exchange.base_url
            stream = LiveStream(exchange, exchange.stream, host, base, session, clock, events, random.random)
            sources.append(Streamed(source, stream, clock, lag_ms, MAX_TRADE_LAG_MS))
        else:
            sources.append(source)
    return sources


def _store(
    settings: Settings, memory: Path, holder: str, service: str, clock: Clock, events: Events
) -> tuple[PriceStore, Callable[[], str]]:
    """The embedded store, or Redis with the embedded store to fall back on; and a function that returns Redis's state.

    The workers of this machine share the embedded store: there is one per user and per way of making prices.
    """
    way, place = _way_of_prices(settings), Path(settings.store_dir or memory / f"fastprice-{os.getuid()}")
    path = place / f"{settings.cache_prefix}-{way}" / "store.db"
    embedded = SqliteStore(path, Records(settings.pairs, settings.sources), clock)
    if not settings.redis_url:
        return embedded, lambda: "not_configured"
    prefix, records = f"{settings.cache_prefix}:{{{way}}}", Records(settings.pairs, settings.sources)
    url, seconds = settings.redis_url, settings.redis_timeout
    redis = RedisStore(url, prefix, records, seconds, settings.max_stale, clock, events)
    store = FallbackStore(redis, embedded, holder, service, clock, events)
    return store, lambda: f"down: {store.lost}" if store.lost else "up"


def _way_of_prices(settings: Settings) -> str:
    """A hash of everything that decides which prices are served.

    Two services that differ in it, such as a demo and a real one, must never share a price; and a leader replaces
    everything that was stored before with the pairs that it knows.
    """
    pairs = sorted(pair.slug for pair in settings.pairs)
    belief = [settings.max_deviation, settings.price_mode, settings.cross_check_deviation]
    belief.append(settings.min_sources if settings.price_mode == "median" else settings.cross_check_interval)
    way = [pairs, settings.sources, sorted(settings.source_urls.items()), belief, sorted(settings.stream_urls.items())]
    return hashlib.sha256(json.dumps(way).encode()).hexdigest()[:12]


def memory_directory() -> Path:
    """A directory with room, in memory if there is one; raises OSError with the reason if none can be written to."""
    shm = Path("/dev/shm")
    try:
        return _with_room(shm)
    except OSError as error:
        temporary = _with_room(Path(tempfile.gettempdir()))
        if not isinstance(error, FileNotFoundError):  # As on macOS.
            logger.warning("%s cannot be used (%s): store and metrics are kept in %s", shm, error.strerror, temporary)
        return temporary


def _with_room(directory: Path) -> Path:
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(NEEDED_BYTES))
    return directory


def tell_all(observers: list[Events]) -> Events:
    """Calls every observer with every event; an observer's exception never reaches the work that it observes.

    Only an observer's first failure with each kind of event is logged: events come many times a second.
    """
    failed: set[tuple[Events, type[Event]]] = set()

    def tell(event: Event) -> None:
        for observer in observers:
            try:
                observer(event)
            except Exception:
                if (failure := (observer, type(event))) not in failed:
                    failed.add(failure)
                    logger.exception("an observer fails over %s, and counts or logs none", type(event).__name__)

    return tell
