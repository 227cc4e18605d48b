"""The composition root: builds everything from the settings, leaves first, and wires it by hand."""

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import random
import socket
import tempfile
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST
from starlette.applications import Starlette

from fastprice import __version__
from fastprice.application.ask_each import Asked, ask_each
from fastprice.application.bans import Bans
from fastprice.application.events import Event, QuoteTaken
from fastprice.application.failover import Failover, FailoverLimits
from fastprice.application.fallback_store import FallbackStore
from fastprice.application.latest_price import LatestPrice
from fastprice.application.leases import LeasedSource, Leases
from fastprice.application.ports import Clock, Events, QuoteStore
from fastprice.application.refresh_loop import Pace, RefreshLoop
from fastprice.application.refresh_price import RefreshPrice
from fastprice.application.retry import RetryingSource
from fastprice.domain.quote import MAX_SKEW_MS, Pair
from fastprice.infrastructure.circuit_breaker import GuardedSource
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.client import ExchangeSource, Session
from fastprice.infrastructure.prometheus import Metrics
from fastprice.infrastructure.redis_store import RedisStore
from fastprice.infrastructure.sqlite_store import SqliteStore
from fastprice.infrastructure.state_log import log_event
from fastprice.interface.app import make_app
from fastprice.interface.middleware import PRICE_ROUTE, PRICES, SOURCES_ROUTE
from fastprice.interface.parts import Parts
from fastprice.interface.prepared import PreparedPrice
from fastprice.interface.price_json import PriceAnswers, longest_max_age, render
from fastprice.server.fast_lane import Lane
from fastprice.settings import Settings

logger = logging.getLogger("fastprice")

USER_AGENT = f"fastprice/{__version__}"
FLUSH_SECONDS = 1.0
# Room for the embedded store and the metrics of some dozens of workers.
NEEDED_BYTES = 4 << 20


def build(settings: Settings, memory: Path, clock: Clock | None = None, service: str = "") -> Starlette:
    """One worker's whole service; what needs an event loop or a network is opened in the application's lifespan.

    `memory` is the directory that the master found for all workers: if each looked for itself, they could find two.
    `service` names the processes that write one log together, and no others.
    """
    clock = clock or SystemClock()
    metrics = _metrics(settings)
    observers: list[Events] = [metrics, log_event]
    events = tell_all(observers)
    # The name says to an operator who looks at a claim which process it is; the rest makes it unlike any other.
    holder = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex}"

    latest = LatestPrice(settings.pairs, settings.age_limits, render, clock, events)
    session = Session(USER_AGENT, settings.proxies.find)
    store, redis_state = _store(settings, memory, holder, service, clock, events)
    bans, leases = Bans(store, settings.refresh_interval, clock, events), Leases(clock)
    failover = _failover(settings, latest, session, bans, leases, clock, events)
    refresh = RefreshPrice(failover, bans, store, latest, settings.refresh_interval, clock, events)
    pace = Pace(holder, settings.refresh_interval, random.random)
    loop = RefreshLoop(refresh, store, latest, pace, leases, clock, events)

    lane = _lane(settings, latest, clock, observers)
    flush = partial(_flush, metrics, lane)
    patient_until = clock.monotonic() + settings.cold_wait
    parts = Parts(
        version=__version__,
        latest=latest,
        clock=clock,
        reports=lambda pair: refresh.reports.get(pair, ()),
        redis=redis_state,
        scrape=_scraper(metrics, flush, latest, refresh),
        count_request=metrics.count_request,
        tally=metrics.l1,
        patience=lambda: patient_until - clock.monotonic(),
        refresh_interval=settings.refresh_interval,
        simulated=settings.simulated,
    )
    return make_app(parts, _lifespan(session, loop, store, lane, flush, clock))


def _metrics(settings: Settings) -> Metrics:
    """The metrics, with what is known before anything has happened."""
    metrics = Metrics(__version__)
    metrics.begin(settings.pairs, settings.age_limits, ("redis", "embedded") if settings.redis_url else ("embedded",))
    metrics.simulated.show([(bool(settings.simulated),)])
    metrics.expect((PRICE_ROUTE, PRICES.rstrip("/"), SOURCES_ROUTE))
    return metrics


def _lifespan(
    session: Session,
    loop: RefreshLoop,
    store: QuoteStore,
    lane: Lane,
    flush: Callable[[], None],
    clock: Clock,
) -> Callable[[Starlette], AbstractAsyncContextManager[Mapping[str, Any]]]:
    """What runs beside the requests, from a worker's start to its end; the protocol finds the lane in its state."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[Mapping[str, Any]]:
        # Nothing in here waits for Redis or an exchange: a worker that cannot start would take its siblings along.
        async with session:
            running = [asyncio.create_task(loop.run()), asyncio.create_task(_flush_forever(flush, clock))]
            try:
                yield {"lane": lane}
            finally:
                for task in running:
                    task.cancel()
                await asyncio.gather(*running, return_exceptions=True)
                flush()
                await store.close()

    return lifespan


def _lane(settings: Settings, latest: LatestPrice[PriceAnswers], clock: Clock, observers: list[Events]) -> Lane:
    """The prices that are answered before ASGI, each forgotten as soon as there is a newer one."""
    longest = longest_max_age(settings.refresh_interval)
    pairs = latest.pairs if settings.fast_lane else ()
    prepared = {pair: PreparedPrice(pair.slug, latest, clock, longest) for pair in pairs}

    def forget(event: Event) -> None:
        if isinstance(event, QuoteTaken) and event.quote.pair in prepared:
            prepared[event.quote.pair].forget()

    observers.append(forget)
    return Lane({f"{PRICES}{pair.slug}".encode(): price for pair, price in prepared.items()}, clock.monotonic)


def _flush(metrics: Metrics, lane: Lane) -> None:
    metrics.count_lane(PRICE_ROUTE, *lane.drain())
    metrics.flush()


def _scraper(
    metrics: Metrics, flush: Callable[[], None], latest: LatestPrice[PriceAnswers], refresh: RefreshPrice
) -> Callable[[], Awaitable[tuple[bytes, str]]]:
    """The metrics as text, with the gauges as this worker knows them now."""

    async def scrape() -> tuple[bytes, str]:
        flush()
        reports = [report for pair in latest.pairs for report in refresh.reports.get(pair, ())]
        metrics.show(latest.everything_held(), reports)
        return await asyncio.to_thread(metrics.exposition), CONTENT_TYPE_LATEST

    return scrape


async def ask_everyone(settings: Settings, pair: Pair) -> list[Asked]:
    """What each source says now, for `fastprice quote`."""
    clock, session = SystemClock(), Session(USER_AGENT, settings.proxies.find)
    async with session:
        sources = [_exchange_source(name, settings, session, clock, lambda event: None) for name in settings.sources]
        return await ask_each(sources, pair, clock)


def _exchange_source(
    name: str, settings: Settings, session: Session, clock: Clock, events: Events
) -> ExchangeSource:
    """One exchange, bare: at its own address, or where `<SOURCE>_URL` says."""
    exchange = EXCHANGES[name]
    url = settings.source_urls.get(name, exchange.base_url)
    return ExchangeSource(exchange, url, settings.fetch_timeout, session, clock, events)


def _failover(
    settings: Settings,
    latest: LatestPrice[PriceAnswers],
    session: Session,
    bans: Bans,
    leases: Leases,
    clock: Clock,
    events: Events,
) -> Failover:
    """Every source, from the inside out: the exchange, the claim, retries, the breaker; then all of them in order."""
    guarded = {}
    for name in settings.sources:
        exchange = _exchange_source(name, settings, session, clock, events)
        leased = LeasedSource(exchange, leases)
        retrying = RetryingSource(leased, settings.retry_attempts, settings.retry_base, clock, random.random)
        guarded[name] = GuardedSource(retrying, settings.breaker_fail_max, settings.breaker_reset, clock, events)
    fresh_lag_ms = settings.age_limits.fresh_ms + MAX_SKEW_MS
    limits = FailoverLimits(
        round_seconds=settings.round_timeout,
        attempt_seconds=settings.fetch_timeout,
        stall_seconds=settings.breaker_reset,
        fresh_lag_ms=fresh_lag_ms,
        max_lag_ms=max(settings.age_limits.stale_ms, fresh_lag_ms),
        max_deviation=settings.max_deviation,
    )
    return Failover(list(guarded.values()), limits, latest.held, lambda name: guarded[name].state, bans, clock, events)


def _store(
    settings: Settings, memory: Path, holder: str, service: str, clock: Clock, events: Events
) -> tuple[QuoteStore, Callable[[], str]]:
    """The embedded store, or Redis with the embedded store to fall back on; and how Redis is."""
    embedded = SqliteStore(store_directory(settings, memory) / "store-2.db", clock)
    if not settings.redis_url:
        return embedded, lambda: "not_configured"
    redis = RedisStore(
        settings.redis_url, settings.cache_prefix, settings.redis_timeout, settings.max_stale, clock, events
    )
    store = FallbackStore(redis, embedded, holder, service, clock, events)
    return store, lambda: f"down: {store.lost}" if store.lost else "up"


def store_directory(settings: Settings, memory: Path) -> Path:
    """Where the workers of this machine meet: one place per user and per way of getting prices.

    Two services that ask different places, as a demo and the real thing do, must never share a price.
    """
    if settings.store_dir:
        return Path(settings.store_dir)
    way = json.dumps([settings.cache_prefix, settings.sources, sorted(settings.source_urls.items())])
    name = f"fastprice-{os.getuid()}-{hashlib.sha256(way.encode()).hexdigest()[:12]}"
    return memory / name


def memory_directory() -> Path:
    """A directory with room, in memory where there is one; OSError says why nothing can be written anywhere."""
    shm = Path("/dev/shm")
    try:
        return _with_room(shm)
    except FileNotFoundError:  # As on macOS.
        return _with_room(Path(tempfile.gettempdir()))
    except OSError as error:
        temporary = _with_room(Path(tempfile.gettempdir()))
        logger.warning("%s cannot be used (%s): store and metrics are kept in %s", shm, error.strerror, temporary)
        return temporary


def _with_room(directory: Path) -> Path:
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(bytes(NEEDED_BYTES))
    return directory


def tell_all(observers: list[Events]) -> Events:
    """Tells every observer of every event; one that raises never surfaces in the work that it observes.

    The first failure of an observer over a kind of event is logged, and no other: events come many times a second.
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


async def _flush_forever(flush: Callable[[], None], clock: Clock) -> None:
    while True:
        await clock.sleep(FLUSH_SECONDS)
        try:
            flush()
        except Exception:
            logger.exception("the counts of the last second could not be written down")
