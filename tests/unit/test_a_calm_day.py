"""A day of normal operation in virtual time: nobody is told of anything, though much happens.

Scrapes come every 15 s and evaluations every 17 s, so that in the course of the day they meet in every phase.
"""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.unit.test_alerts_in_time import (
    CONNECTING, FRESH, GONE, LIVE, OFF, Series, always, answers, asked, document, fired, of, placed, play, reconnects,
    spelled, streams, up
)

MINUTE, HOUR = 60, 3600
DAY = 24 * HOUR
SCRAPE, EVALUATION = 15, 17
MISSED_SCRAPE, UNSEEN, KILLED = HOUR, 2 * HOUR, 4 * HOUR
UPGRADE = 9 * HOUR
OUTAGE, REDIS, RELOAD, RECONNECT = 13 * HOUR, 16 * HOUR, 18 * HOUR, 21 * HOUR
# An exchange is away for eight minutes, Redis for twenty seconds.
AWAY, REDIS_AWAY = 8 * MINUTE, 20


def load(second: float) -> float:
    """Requests per second: as many as a day has, few at night."""
    return 500 + 450 * math.sin(2 * math.pi * (second / DAY - 0.3))


def served(second: int) -> float:
    """All requests until then, the integral of the load."""
    turn = 2 * math.pi / DAY
    return 500 * second + 450 / turn * (math.cos(0.6 * math.pi) - math.cos(turn * second - 0.6 * math.pi))


def during(start: int, length: int, then: float, else_: float) -> Series:
    return lambda second: then if start <= second < start + length else else_


def living(begin: int, end: int, seen: Callable[[int], float | None]) -> Series:
    """What a replica tells that lives from one time to another: the first by its own time; nothing before, gone after."""
    return lambda second: None if second < begin else seen(second - begin) if second < end else GONE


def steps(*times: int) -> Callable[[int], int]:
    return lambda second: sum(second >= time for time in times)


def replica(name: str, begin: int, end: int, leads: Series, share: float) -> dict[str, Series]:
    """One with eight workers, which is seen to start, and for one scrape to end; `share` is its part of the load."""
    lived: Callable[[Callable[[int], float | None]], Series] = lambda seen: living(begin, end, seen)
    killed = steps(*(time - begin for time in (KILLED,) if name == "a"))
    reloaded = steps(*(time - begin for time in (RELOAD,) if begin))
    lost = during(REDIS - begin, REDIS_AWAY, 1, 0)
    refreshed = of(name, "fastprice_refreshes_total", result="fetched")
    return {
        **up(name, lambda second: 0 if end <= second < end + SCRAPE else living(begin, end + SCRAPE, always(1))(second)),
        of(name, "fastprice_price", symbol="ETH-USDT"): lived(always(3120)),
        of(name, "fastprice_price_age_seconds", symbol="ETH-USDT"):
            lived(lambda second: FRESH + 2 if second == OUTAGE - begin else second % 12 / 10),
        of(name, "fastprice_price_fetched_timestamp_seconds", symbol="ETH-USDT"):
            living(begin, end, lambda second: second + begin - second % 12 / 10 + math.sin(second / HOUR)),
        of(name, "fastprice_time_seconds"): living(begin, end, lambda second: second + begin + math.sin(second / HOUR)),
        of(name, "fastprice_price_age_limit_seconds", freshness="fresh"): lived(always(FRESH)),
        of(name, "fastprice_price_age_limit_seconds", freshness="stale"): lived(always(60)),
        of(name, "fastprice_worker_starts_total"):
            lived(lambda second: (3 if begin and second < SCRAPE else 8) + killed(second) + 8 * reloaded(second)),
        of(name, "fastprice_cpu_seconds_total"): lived(lambda second: (served(second + begin) - served(begin)) / 1000),
        of(name, "fastprice_cpu_cores"): lived(always(2)),
        of(name, "fastprice_stream_subscribers"): lived(lambda second: load(second + begin) // 2),
        of(name, "fastprice_stream_subscribers_limit"): lived(always(80_000)),
        of(name, "fastprice_workers", store="redis"): lived(lambda second: 8 - 8 * (lost(second) or 0)),
        of(name, "fastprice_workers", store="embedded"): lived(lambda second: 8 * (lost(second) or 0)),
        of(name, "fastprice_leaders"):
            living(begin, end, lambda second: max(leads(second + begin) or 0, lost(second) or 0)),
        refreshed: lived(lambda second: second),
        of(name, "fastprice_refreshes_total", result="failed"): lived(lambda second: second // HOUR),
        of(name, "fastprice_simulated"): lived(always(0)),
        asked(name, "200"): lived(lambda second: (served(second + begin) - served(begin)) * share),
        asked(name, "503"): lived(lambda second: 3.0 * (second >= 5) + second // HOUR),
    }  # fmt: skip


def fleet(busy: float) -> dict[str, Series]:
    """Two replicas, and from the upgrade on two others, each of which comes before an old one goes.

    `busy` is how much of the load this fleet has.
    """
    first, second = UPGRADE + MINUTE, UPGRADE + 3 * MINUTE
    return {
        **replica("a", 0, first, during(0, first, 1, 0), 0.4 * busy),
        **replica("b", 0, second, during(first, 2 * MINUTE, 1, 0), 0.6 * busy),
        **replica("c", UPGRADE, DAY + 1, during(second, DAY, 1, 0), 0.4 * busy),
        **replica("d", UPGRADE + 2 * MINUTE, DAY + 1, always(0), 0.6 * busy),
    }


def exchanges() -> dict[str, Series]:
    """What all replicas know alike, told by one; okx, the first, is away for some minutes."""
    planned, lost = steps(*range(HOUR, DAY, 4 * HOUR)), steps(OUTAGE, OUTAGE + MINUTE, OUTAGE + 3 * MINUTE)
    return {
        **streams(during(OUTAGE, AWAY, CONNECTING, LIVE), during(OUTAGE + MINUTE, AWAY, LIVE, OFF)),
        **reconnects(planned=planned, lost=lambda second: lost(second) + 40 * (second >= RECONNECT)),
        **answers(lambda second: served(second) * 0.999, lambda second: served(second) * 0.001),
        of("a", "fastprice_sources_agreeing"): during(OUTAGE, AWAY, 8, 9), of("a", "fastprice_sources_wanted"): always(3),
        of("a", "fastprice_first_source_share"): during(OUTAGE, AWAY, 0, 1),
        of("a", "fastprice_source_distrusted", source="kraken"): during(OUTAGE, 2 * MINUTE, 1, 0),
        of("a", "fastprice_price_deviation", source="kraken"): lambda second: 0.004 * math.sin(second),
        of("a", "fastprice_source_cooldown_until_timestamp_seconds", source="okx"):
            during(OUTAGE, AWAY, OUTAGE + MINUTE, 0),
        of("a", "fastprice_breaker_state", source="okx"): during(OUTAGE, AWAY, 2, 0),
    }  # fmt: skip


def others() -> dict[str, Series]:
    """nginx, which fails one scrape while replicas change, and the exporters."""
    return {
        'up{job="edge", instance="nginx"}': during(UPGRADE + MINUTE, SCRAPE, 0, 1),
        'nginx_up{job="nginx", instance="e"}': always(1), 'up{job="nginx", instance="e"}': always(1),
        'up{job="redis", instance="r"}': during(REDIS, REDIS_AWAY, 0, 1),
    }


def scraped(seen: Series) -> Iterator[float | None]:
    """What Prometheus gets: nothing in one scrape, nothing for a minute, and staleness only once."""
    was_gone = False
    for second in range(0, DAY + 1, SCRAPE):
        missed = second == MISSED_SCRAPE or UNSEEN <= second < UNSEEN + MINUTE
        value = None if missed else seen(second)
        yield None if was_gone and value == GONE else value
        was_gone = was_gone or value == GONE


def test_a_day_of_normal_operation_fires_no_alert(tmp_path: Path) -> None:
    seen: dict[str, Series] = {}
    for cluster, busy in (("500 requests a second", 1.0), ("a request a minute", 1 / 30_000)):
        seen |= placed(fleet(busy) | exchanges() | others(), {"cluster": cluster})
    play(tmp_path, document(EVALUATION, [{
        "interval": f"{SCRAPE}s",
        "input_series": [{"series": name, "values": " ".join(spelled(scraped(series)))} for name, series in seen.items()],
        "promql_expr_test": [fired(DAY, (), {})],
    }]))  # fmt: skip
