"""Every alert in every phase: how long after a scrape an evaluation comes may neither raise an alert nor hold it back.

A world says what a scrape at a given second sees. promtool plays it in several phases between scrapes and evaluations; the
second replica is scraped two seconds after the first. At the interval of our own Prometheus all worlds are played side by
side, each as the fleet of another cluster or namespace, so that no fleet may be taken for another. At the longer one each
is alone, and has no such label.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_monitoring_files import ALERTS, ROOT, RULES, promtool

# When what a world is about begins, in seconds after the start of its clock and of its first scrape.
CHANGE = 60
# What a scrape sees of a series whose target has been removed; None is nothing, but for a while more may come.
GONE = math.inf
Series = Callable[[int], float | None]
# The interval of our own Prometheus, and one that is usual elsewhere.
OURS, RARER = 5, 15
FRESH, STALE = 5, 60


@dataclass(frozen=True)
class World:
    """What is seen, and which alerts have fired once `by` seconds and three intervals have passed since the change: one
    to be scraped, one to be evaluated, and one because `for` is counted in whole ones.

    None fires before the change, nor within `silent` seconds after it.
    """

    seen: Mapping[str, Series]
    alerts: tuple[str, ...] = ()
    by: int = 120
    silent: int = 0


def before_and_after(before: float, after: float | None) -> Series:
    return lambda second: before if second < CHANGE else after


def always(value: float) -> Series:
    return lambda second: value


def counting(before: float, after: float) -> Series:
    """A counter with these rates per second."""
    return lambda second: min(second, CHANGE) * before + max(second - CHANGE, 0) * after


def of(instance: str, name: str, **labels: str) -> str:
    told = {"job": "fastprice", "instance": instance, **labels}
    return f"{name}{{{', '.join(f'{key}={json.dumps(value)}' for key, value in told.items())}}}"


def asked(instance: str, status: str) -> str:
    return of(instance, "fastprice_http_requests_total", route="/api/v1/prices/{pair}", method="GET", status=status)


def clock(ahead: float) -> Series:
    return lambda second: second + ahead


def aged(age: Series, ahead: int = 0, old: bool = False) -> dict[str, Series]:
    """How old a price is, told by a replica whose clock is so far ahead; `old` replicas do not tell the age itself."""
    return {
        of("a", "fastprice_price_age_seconds", symbol="ETH-USDT"): (lambda second: None) if old else age,
        of("a", "fastprice_price_age_limit_seconds", freshness="fresh"): always(FRESH),
        of("a", "fastprice_price_age_limit_seconds", freshness="stale"): always(STALE),
        of("a", "fastprice_price_fetched_timestamp_seconds", symbol="ETH-USDT"):
            lambda second: second + ahead - (age(second) or 0),
        of("a", "fastprice_time_seconds"): (lambda second: None) if old else clock(ahead),
    }  # fmt: skip


def growing(from_age: float) -> Series:
    """The age of a price that is not renewed after the change."""
    return lambda second: from_age + max(second - CHANGE, 0)


def workers(instance: str, redis: Series, embedded: Series, leaders: Series) -> dict[str, Series]:
    return {
        of(instance, "fastprice_workers", store="redis"): redis,
        of(instance, "fastprice_workers", store="embedded"): embedded,
        of(instance, "fastprice_leaders"): leaders,
    }


def up(instance: str, seen: Series) -> dict[str, Series]:
    return {of(instance, "up"): seen, of(instance, "fastprice_build_info"): lambda second: 1 if seen(second) == 1 else None}


def refreshes(fetched: Series, failed: Series) -> dict[str, Series]:
    return {
        of("a", "fastprice_refreshes_total", result="fetched"): fetched,
        of("a", "fastprice_refreshes_total", result="failed"): failed,
    }


OFF, CONNECTING, LIVE, GIVEN_UP = range(4)


def later(seen: Series) -> Series:
    """As it was two seconds ago."""
    return lambda second: seen(max(second - 2, 0))


def streams(okx: Series, kraken: Series = lambda second: OFF) -> dict[str, Series]:
    """How the streams of two sources stand; replica b follows, and hears of it later."""
    name = "fastprice_stream_state"
    return {
        of("a", name, source="okx"): okx, of("b", name, source="okx"): later(okx),
        of("a", name, source="kraken"): kraken, of("b", name, source="kraken"): later(kraken),
    }  # fmt: skip


def reconnects(**lost: Series) -> dict[str, Series]:
    """How often connections of okx's stream have ended, by reason."""
    name = "fastprice_stream_reconnects_total"
    return {of("a", name, source="okx", reason=reason): count for reason, count in lost.items()}


def lags(within: Series, beyond: Series) -> dict[str, Series]:
    """How many messages of okx's stream were read within 2 s of their stamp, and how many later."""
    all_of_them: Series = lambda second: (within(second) or 0) + (beyond(second) or 0)
    name = "fastprice_stream_lag_seconds_bucket"
    return {
        of("a", name, source="okx", le="0.1"): within, of("a", name, source="okx", le="2.0"): within,
        of("a", name, source="okx", le="5.0"): all_of_them, of("a", name, source="okx", le="+Inf"): all_of_them,
    }  # fmt: skip


def found_out(second: int) -> float:
    """A stream that is given up, each time for twice as long, and is live for ten seconds in between."""
    since, pause = second - CHANGE, 60
    while since >= pause + 10:
        since, pause = since - pause - 10, 2 * pause
    return GIVEN_UP if 0 <= since < pause else LIVE


NONE, CLOSE, ALL_NINE, WHOLE = always(0), always(0.001), always(9), always(1)


def agreement(
    distrusted: Series = NONE, deviation: Series = CLOSE, agreeing: Series = ALL_NINE, share: Series = WHOLE
) -> dict[str, Series]:
    """How many pairs okx is distrusted for and how far off it is, how many sources are well, what the first one gives."""
    return {
        of("a", "fastprice_source_distrusted", source="okx"): distrusted,
        of("a", "fastprice_price_deviation", source="okx"): deviation,
        of("a", "fastprice_sources_agreeing"): agreeing,
        of("a", "fastprice_sources_wanted"): always(3),
        of("a", "fastprice_first_source_share"): share,
    }


def starts(seen: Series) -> dict[str, Series]:
    """How often workers of the first replica have been started."""
    return {of("a", "fastprice_worker_starts_total"): seen}


def cores(used: Series) -> dict[str, Series]:
    """CPU time of a replica that could use eight cores."""
    return {of("a", "fastprice_cpu_seconds_total"): used, of("a", "fastprice_cpu_cores"): always(8)}


def answers(quick: Series, slow: Series) -> dict[str, Series]:
    """How many answers took less than a quarter of a second, and how many up to half of one."""
    name = "fastprice_http_request_duration_seconds_bucket"
    every: Series = lambda second: (quick(second) or 0) + (slow(second) or 0)
    return {of("a", name, le="0.25"): quick, of("a", name, le="0.5"): every, of("a", name, le="+Inf"): every}


def sometimes(ordinary: float, seldom: float) -> Series:
    """Another value in one scrape of twelve."""
    return lambda second: seldom if second % 60 < 5 else ordinary


HEALTHY: dict[str, Series] = {
    **up("a", always(1)), **up("b", always(1)),
    **workers("a", always(8), always(0), always(1)), **workers("b", always(8), always(0), always(0)),
    **aged(always(1.2)), **refreshes(counting(1, 1), counting(0.1, 0.1)),
    of("a", "fastprice_price", symbol="ETH-USDT"): always(3120),
    of("a", "fastprice_simulated"): always(0),
    of("a", "fastprice_source_cooldown_until_timestamp_seconds", source="okx"): lambda second: second + 100,
    **agreement(), **streams(always(LIVE)), **reconnects(planned=counting(0.1, 0.1), lost=counting(0.005, 0.005)),
    **lags(counting(1, 1), counting(0.009, 0.009)),
    **starts(always(8)), **cores(counting(2, 2)), **answers(counting(100, 100), counting(0.5, 0.5)),
    of("a", "fastprice_stream_subscribers"): always(500), of("a", "fastprice_stream_subscribers_limit"): always(80_000),
    asked("a", "200"): counting(1000, 1000), asked("a", "503"): counting(0.5, 0.5),
    'up{job="edge", instance="nginx"}': always(1), 'nginx_up{job="nginx", instance="e"}': always(1),
    'up{job="nginx", instance="e"}': always(1), 'up{job="redis", instance="r"}': always(1),
}  # fmt: skip

WORLDS = {
    "all is well": World(HEALTHY),
    "a price as old as a fresh one may be": World(HEALTHY | aged(always(FRESH - 0.1))),
    "the same, told by an old replica": World(HEALTHY | aged(always(FRESH - 0.1), old=True)),
    "a clock that is ahead by less than clocks may differ": World(HEALTHY | aged(always(0.5), ahead=2)),
    "a price that is stale in one scrape of twelve": World(HEALTHY | aged(sometimes(1, FRESH + 1))),
    "one scrape of twelve fails": World(HEALTHY | up("a", sometimes(1, 0)) | {'up{job="edge", instance="nginx"}': sometimes(1, 0)}),
    "a price that is not renewed": World(
        HEALTHY | aged(growing(1)), ("PriceStale",), by=FRESH + 20, silent=FRESH + 10,
    ),
    "a price that is not renewed for longer": World(HEALTHY | aged(growing(1)), ("PriceStale", "PriceGone"), by=STALE + 20),
    "the same where the clock is an hour ahead": World(
        HEALTHY | aged(growing(1), ahead=3600), ("ClockWrong", "PriceStale", "PriceGone"), by=STALE + 20, silent=-CHANGE,
    ),
    "the same where the clock is an hour behind": World(
        HEALTHY | aged(growing(1), ahead=-3600), ("ClockWrong", "PriceStale", "PriceGone"), by=STALE + 20, silent=-CHANGE,
    ),
    "a clock that was ahead by three seconds from the start, so that no price of others is believed": World({
        **up("a", always(1)), of("a", "fastprice_price", symbol="ETH-USDT"): always(math.nan),
        of("a", "fastprice_time_seconds"): clock(3),
    }, ("ClockWrong", "PriceGone"), by=120 - CHANGE, silent=-CHANGE),
    "a clock that is ahead by a second and a half": World(HEALTHY | {of("a", "fastprice_time_seconds"): clock(1.5)}, by=200),
    "the same, told by an old replica whose clock is a minute ahead": World(
        HEALTHY | aged(growing(1), ahead=61, old=True), ("PriceStale",), by=0, silent=-CHANGE,
    ),
    "a pair that has no price any more": World(
        HEALTHY | {of("a", "fastprice_price", symbol="BTC-USDT"): before_and_after(60_000, math.nan)}, ("PriceGone",), by=20,
    ),
    "no exchange answers": World(
        HEALTHY | refreshes(counting(1, 0), counting(0, 1)), ("AllSourcesDown",), by=60 + 20, silent=30,
    ),
    "two failures before the first price": World({
        **up("a", always(1)),
        **refreshes(lambda second: max(second - 10, 0), lambda second: min(second / 5, 2)),
    }),
    "a prank of the market": World(HEALTHY | {of("a", "fastprice_simulated"): before_and_after(0, 1)}, ("SimulatedPrices",), by=0),
    "a ban for ten minutes": World(HEALTHY | {
        of("a", "fastprice_source_cooldown_until_timestamp_seconds", source="okx"): before_and_after(0, CHANGE + 600)
    }, ("SourceBanned",), by=0),
    "one error where somebody asks once a minute": World(HEALTHY | {
        asked("a", "200"): lambda second: second // 60, asked("a", "503"): before_and_after(0, 1),
    }, by=900),
    "errors alone where somebody asks every ten seconds": World(HEALTHY | {
        asked("a", "200"): lambda second: min(second, CHANGE) // 10,
        asked("a", "503"): lambda second: max(second - CHANGE, 0) // 10,
    }, ("ErrorBudgetBurn",), by=60 + 180),
    "one error in ten": World(HEALTHY | {asked("a", "503"): counting(0, 100)}, ("ErrorBudgetBurn",), by=60 + 60),
    "a replica that hangs": World(HEALTHY | up("b", before_and_after(1, 0)), ("ReplicaDown",), by=120, silent=100),
    "a replica that was removed": World(
        HEALTHY | up("b", lambda second: 1 if second < CHANGE + 240 else GONE), ("ReplicaDown",), by=240 + 120, silent=240 + 100,
    ),
    "a replica that is missing from the first": World(
        HEALTHY | {'kube_deployment_spec_replicas{job="kube", deployment="fastprice"}': before_and_after(2, 3)},
        ("ReplicaDown",), by=120, silent=100,
    ),
    "replicas that were removed on purpose": World(HEALTHY | up("b", before_and_after(1, GONE)) | {
        'kube_deployment_spec_replicas{job="kube", deployment="fastprice"}': before_and_after(2, 1),
    }, by=200),
    "a replica that is replaced": World(HEALTHY | up("b", lambda second: 0 if CHANGE <= second < CHANGE + 75 else 1), by=200),
    "no replica answers": World(
        HEALTHY | up("a", before_and_after(1, 0)) | up("b", before_and_after(1, 0)), ("NoReplica", "ReplicaDown"), by=120, silent=15,
    ),
    "every replica was removed": World(
        HEALTHY | up("a", before_and_after(1, GONE)) | up("b", before_and_after(1, GONE)), ("NoReplica",), by=10, silent=15,
    ),
    "workers that end every minute": World(
        HEALTHY | starts(lambda second: 8 + max(second - CHANGE, 0) // 60), ("WorkersRestarting",), by=300 + 600, silent=600,
    ),
    "workers that are replaced at once, and one that was killed": World(
        HEALTHY | starts(lambda second: 8 + 8 * (second >= CHANGE) + (second >= CHANGE + 240)), by=660,
    ),
    "a container that ends every three minutes": World(
        HEALTHY | cores(lambda second: second % 180), ("WorkersRestarting",), by=3 * 180 + 600, silent=600,
    ),
    "a replica that is started anew twice": World(
        HEALTHY | cores(lambda second: second % 240 if second < 480 else second - 480), by=1200,
    ),
    "answers that become slow": World(
        HEALTHY | answers(counting(100, 98), counting(0, 2)), ("SlowAnswers",), by=300 + 60, silent=300,
    ),
    "cores that are used up": World(HEALTHY | cores(counting(2, 7.2)), ("Saturated",), by=300 + 600, silent=600),
    "a rush of five minutes": World(HEALTHY | cores(lambda second: second + 7 * min(max(second - CHANGE, 0), 300)), by=900),
    "as many subscribers as there may be": World(
        HEALTHY | {of("a", "fastprice_stream_subscribers"): before_and_after(500, 79_000)}, ("Saturated",), by=600, silent=580,
    ),
    "Redis is lost to one replica": World(
        HEALTHY | workers("b", before_and_after(8, 0), before_and_after(0, 8), before_and_after(0, 1)), ("RedisDown",),
        by=120, silent=20,
    ),
    "replicas that share nothing": World(
        HEALTHY | workers("b", always(8), always(0), before_and_after(0, 1)), ("SeveralCallers",), by=120, silent=100,
    ),
    "a lead that moves to and fro": World(
        HEALTHY | workers("a", always(8), always(0), lambda second: second // 30 % 2)
        | workers("b", always(8), always(0), lambda second: 1 - second // 30 % 2),
    ),
    "a source that is distrusted": World(
        HEALTHY | agreement(distrusted=before_and_after(0, 1)), ("SourceDisagrees",), by=300, silent=280,
    ),
    "a source that is distrusted in one scrape of twelve": World(HEALTHY | agreement(distrusted=sometimes(0, 1)), by=400),
    "a source that is off by more and more, and nobody can say who is right": World(
        HEALTHY | agreement(deviation=lambda second: -0.001 if second < CHANGE else -0.015 - second / 1e6),
        ("SourceDisagrees",), by=300, silent=280,
    ),
    "a source that was far off when it was last compared, long ago": World(HEALTHY | agreement(deviation=always(0.04)), by=600),
    "as few sources as are wanted": World(HEALTHY | agreement(agreeing=before_and_after(9, 3)), by=400),
    "fewer sources than are wanted": World(
        HEALTHY | agreement(agreeing=before_and_after(9, 2)), ("FewSources",), by=300, silent=280,
    ),
    "a first source that fails": World(
        HEALTHY | agreement(share=before_and_after(1, 0)), ("NotFirstSource",), by=900, silent=880,
    ),
    "a first source that gives half of the prices": World(HEALTHY | agreement(share=before_and_after(1, 0.5)), by=1000),
    "median mode, which knows no first source": World(HEALTHY | agreement(share=lambda second: None), by=1000),
    "no stream is live": World(
        HEALTHY | streams(before_and_after(LIVE, CONNECTING), before_and_after(OFF, GIVEN_UP)),
        ("StreamDown", "StreamGivenUp"), by=900, silent=580,
    ),
    "the only stream connects and connects": World(
        HEALTHY | streams(before_and_after(LIVE, CONNECTING)), ("StreamDown",), by=600, silent=580,
    ),
    "a stream that is live now and then": World(
        HEALTHY | streams(lambda second: LIVE if second % 120 < 20 else CONNECTING), by=700,
    ),
    "streams that were switched off": World(
        HEALTHY | streams(before_and_after(LIVE, GONE), before_and_after(OFF, GONE)), by=700,
    ),
    "the stream moves to another source": World(
        HEALTHY | streams(before_and_after(LIVE, OFF), before_and_after(OFF, LIVE)), by=700,
    ),
    "a stream that is given up again and again": World(
        HEALTHY | streams(found_out, always(LIVE)), ("StreamGivenUp",), by=900, silent=880,
    ),
    "a stream that was given up twice, and is well since": World(
        HEALTHY | streams(lambda second: found_out(second) if second < CHANGE + 190 else LIVE), by=1000,
    ),
    "a stream that is lost every half minute": World(
        HEALTHY | reconnects(lost=counting(0, 1 / 30)), ("StreamFlapping",), by=6 * 30 + 360 + 30, silent=360,
    ),
    "forty connections that an exchange ends at once": World(
        HEALTHY | reconnects(lost=before_and_after(2, 42)), by=1000,
    ),
    "a stream that is lost every three minutes, and changed often on purpose": World(
        HEALTHY | reconnects(lost=counting(0, 1 / 180), planned=counting(0, 1), asked=counting(0, 1)), by=1300,
    ),
    "a stream that lags": World(
        HEALTHY | lags(counting(1, 0.9), counting(0, 0.1)), ("StreamLagging",), by=600 + 60, silent=600,
    ),
    "a stream that lags for five minutes": World(
        HEALTHY | lags(counting(1, 1), lambda second: min(max(second - CHANGE, 0), 240) / 10), by=1000,
    ),
    "pushes that become slow": World(HEALTHY | {
        of("a", "fastprice_push_duration_seconds_bucket", le="0.5"): counting(10, 0),
        of("a", "fastprice_push_duration_seconds_bucket", le="1.0"): counting(10, 10),
        of("a", "fastprice_push_duration_seconds_bucket", le="+Inf"): counting(10, 10),
    }, ("PushSlow",), by=180 + 60, silent=170),
    "nginx is stopped": World(HEALTHY | {
        'up{job="edge", instance="nginx"}': before_and_after(1, 0), 'nginx_up{job="nginx", instance="e"}': before_and_after(1, 0),
    }, ("NginxDown",), by=20, silent=10),
    "nginx reaches no replica": World(
        HEALTHY | {'up{job="edge", instance="nginx"}': before_and_after(1, 0)}, ("NginxDown",), by=20, silent=10,
    ),
    "nginx is stopped, and only its exporter can tell": World({
        **up("a", always(1)), 'nginx_up{job="nginx", instance="e"}': before_and_after(1, 0),
    }, ("NginxDown",), by=20, silent=10),
    "an exporter that nginx does not answer, though it answers those who ask for prices": World(
        HEALTHY | {'nginx_up{job="nginx", instance="e"}': before_and_after(1, 0)}, by=120,
    ),
    "an exporter is gone": World(
        HEALTHY | {'up{job="redis", instance="r"}': before_and_after(1, 0)}, ("ScrapeBroken",), by=60, silent=45,
    ),
}  # fmt: skip


def document(evaluation: int, tests: list[dict[str, Any]]) -> dict[str, Any]:
    """A file for `promtool test rules`, with so many seconds between evaluations."""
    return {
        "rule_files": [str(RULES / name) for name in ("recording.yml", "alerts.yml")],
        "evaluation_interval": f"{evaluation}s",
        "group_eval_order": [f"fastprice-{group}" for group in ("price", "requests", "streams", "sources", "fleet", "alerts")],
        "tests": tests,
    }


def played(places: Mapping[str, Mapping[str, str]], interval: int, phase: int) -> dict[str, Any]:
    """Worlds side by side, each with the labels of its place."""
    plays = [(WORLDS[name], place, CHANGE + WORLDS[name].by + 3 * interval) for name, place in places.items()]
    return {
        "name": f"scraped every {interval} s, {phase} s after an evaluation",
        "interval": "1s",
        "input_series": [
            {"series": name, "values": " ".join(samples(series, interval, (phase + 2 * ('"b"' in name)) % interval, end))}
            for world, place, end in plays for name, series in placed(world.seen, place).items()
        ],
        "promql_expr_test": [
            fired(second, alerts, place)
            for world, place, end in plays for second, alerts in ((CHANGE + world.silent - 1, ()), (end, world.alerts))
            if second >= 0
        ],
    }  # fmt: skip


def placed(seen: Mapping[str, Series], place: Mapping[str, str]) -> dict[str, Series]:
    """The same series with these labels more."""
    more = "".join(f"{key}={json.dumps(value)}, " for key, value in place.items())
    return {name.replace("{", f"{{{more}", 1): series for name, series in seen.items()}


def fired(second: int, alerts: tuple[str, ...], place: Mapping[str, str]) -> dict[str, Any]:
    """That these alerts have fired by then, there, and no others."""
    where = "".join(f", {key}={json.dumps(value)}" for key, value in place.items())
    return {
        "expr": "group by (alertname, cluster, namespace)"
                f' (count_over_time(ALERTS{{alertstate="firing"{where}}}[{second + 1}s]))',
        "eval_time": f"{second}s",
        "exp_samples": [{"labels": f'{{alertname="{alert}"{where}}}', "value": 1} for alert in sorted(alerts)],
    }  # fmt: skip


def samples(seen: Series, interval: int, phase: int, end: int) -> Iterator[str]:
    return spelled(seen(second) if second % interval == phase else None for second in range(end + 1))


def spelled(values: Iterable[float | None]) -> Iterator[str]:
    """In promtool's words, equal values as one."""
    for value, run in groupby(values):
        count = len(list(run))
        if value is None:
            yield f"_x{count}"
        elif value == GONE:
            yield from ["stale"] * count
        else:
            yield f"{number(value)}x{count - 1}" if count > 1 else number(value)


def number(value: float) -> str:
    return f"{value:f}".replace("nan", "NaN")


def play(tmp_path: Path, *documents: Mapping[str, Any]) -> None:
    files = [tmp_path / f"{index}.yml" for index in range(len(documents))]
    for file, content in zip(files, documents, strict=True):
        file.write_text(json.dumps(content))
    assert promtool("test", "rules", *files).count("SUCCESS") == len(files)


@pytest.mark.parametrize("phase", range(OURS))
def test_alerts_fire_in_time_for_their_fleet_and_no_others_in_whichever_phase_it_is_scraped(tmp_path: Path, phase: int) -> None:
    told_by = ("cluster", "namespace")[phase % 2]
    places = {name: {"cluster": "k", "namespace": "n", told_by: name} for name in WORLDS}
    play(tmp_path, document(OURS, [played(places, OURS, phase)]))


@pytest.mark.parametrize("name", WORLDS)
def test_alerts_fire_in_time_where_scrapes_are_rarer_and_nothing_tells_one_fleet_from_another(tmp_path: Path, name: str) -> None:
    play(tmp_path, document(RARER, [played({name: {}}, RARER, phase) for phase in range(0, RARER, RARER // 3)]))


def test_every_alert_has_a_world() -> None:
    assert {alert for world in WORLDS.values() for alert in world.alerts} == {alert["alert"] for alert in ALERTS}


def test_the_interval_of_our_prometheus_is_among_those_played() -> None:
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())["global"]
    assert {config["scrape_interval"], config["evaluation_interval"]} == {f"{OURS}s"}
