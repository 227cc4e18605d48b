"""What keeps prices fresh, built from the settings: in the service, in tests and in the simulator."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from fastprice.application.ask import RoundLimits
from fastprice.application.belief import Tolerance
from fastprice.application.cross_checks import CrossChecks
from fastprice.application.failover import FailoverRound
from fastprice.application.feed import Feed
from fastprice.application.latest_price import LatestPrice, Snapshot
from fastprice.application.leader import Leader, Pace
from fastprice.application.live_belief import LiveBelief, OfAll, OfOneSource
from fastprice.application.median import MedianRound, Quorum
from fastprice.application.ports import Clock, Events, PriceSource, PriceStore
from fastprice.application.rounds import MakeRound, Rounds
from fastprice.application.source_health import Patience, SourceHealth
from fastprice.application.streamed import Streamed
from fastprice.domain.quote import MAX_SKEW_MS, Quote
from fastprice.infrastructure.circuit_breaker import SourceBreaker
from fastprice.settings import Settings

S = TypeVar("S", bound=Snapshot)


@dataclass(frozen=True, slots=True)
class Engine(Generic[S]):
    """What keeps prices fresh: the latest ones, and the beat that renews them."""

    latest: LatestPrice[S]
    rounds: Rounds
    feed: Feed
    leader: Leader


def engine(
    settings: Settings, sources: Iterable[PriceSource], store: PriceStore,
    make: Callable[[Quote, float, float, float], S], holder: str, clock: Clock, events: Events,
    share: Callable[[], float] = random.random,
) -> Engine[S]:
    """One worker's engine over the given sources and store: in the service, in tests and in the simulator.

    `make` makes the snapshots of LatestPrice, `holder` is this worker's name in claims, `share` returns random numbers
    from 0 to 1.
    """
    latest = LatestPrice(settings.pairs, settings.age_limits, make, clock)
    patience = Patience(settings.retry_attempts, settings.retry_base, settings.breaker_reset)
    healths = []
    sources = list(sources)
    for source in sources:
        breaker = SourceBreaker(source.name, settings.breaker_fail_max, settings.breaker_reset, events)
        healths.append(SourceHealth(source, breaker, patience, share, clock.monotonic()))
    pace = Pace(holder, settings.refresh_interval, share)
    streamed = [source for source in sources if isinstance(source, Streamed)]
    make_round, belief = _way_of_rounds(settings, healths)
    feed = Feed(streamed, healths, latest, belief, settings.stream_interval, clock, events)
    rounds = Rounds(make_round, healths, store, latest, feed.reports, holder, clock, events)
    return Engine(latest, rounds, feed, Leader(rounds, feed, store, latest, pace, clock, events))


def _way_of_rounds(settings: Settings, healths: Sequence[SourceHealth]) -> tuple[MakeRound, LiveBelief]:
    """What PRICE_MODE decides: how a round is made, and what is done with the quotes of streams between rounds."""
    # The age of a fresh price, and as much more as clocks may differ.
    current_ms = settings.age_limits.fresh_ms + MAX_SKEW_MS
    stamp_ms = max(settings.age_limits.stale_ms, current_ms)
    limits = RoundLimits(settings.round_timeout, settings.fetch_timeout)
    # A source that is farther from another one than a price may jump cannot confirm a jump.
    agreeing = min(settings.cross_check_deviation, settings.max_deviation)
    if settings.price_mode == "median":
        tolerance = Tolerance(stamp_ms, current_ms, settings.max_deviation, agreeing)
        # The oldest quote that counts sets the age of the median, which must stay fresh until the next one is made.
        counts_ms = settings.age_limits.fresh_ms - round(settings.refresh_interval * 1000)
        quorum = Quorum(settings.min_sources, counts_ms)
        of_all = partial(MedianRound, settings.pairs, healths, tolerance, limits, quorum)
        return of_all, OfAll(healths, quorum, settings.max_deviation)
    if not settings.cross_check_interval:
        agreeing = settings.max_deviation
    tolerance = Tolerance(stamp_ms, current_ms, settings.max_deviation, agreeing)
    checks = CrossChecks(settings.cross_check_interval, agreeing)
    of_one = partial(FailoverRound, settings.pairs, healths, tolerance, limits, checks)
    return of_one, OfOneSource(agreeing)
