"""The whole service as real processes over real sockets: what its users and operators are promised."""

import asyncio
import os
import re
import resource
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.market import Market
from fastprice.market.floor import MEANINGS
from tests.conftest import RedisServer, free_port
from tests.service import PATIENCE, PRICE, Answer, Service, polling, running

pytestmark = pytest.mark.anyio

# With these faults the answer is still correct: they must have no effect at all.
HARMLESS = {"extra", "odd_extras"}
# With these faults the first source may still be served, because its price is true: only late, or not moving.
BEARABLE = {"slow", "frozen", "old", "ahead", "drip"}


def true_prices(market: Market) -> set[str]:
    return {price for served in market.served.values() for _, price in served}


def metric(text: bytes, name: str) -> float:
    """The sum over all samples whose name and labels start with `name`."""
    rows = [line.rsplit(" ", 1) for line in text.decode().splitlines() if line.startswith(name)]
    return sum(float(value) for _, value in rows)


async def until(happened: Callable[[], bool]) -> None:
    for _ in polling():
        if happened():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never happened")


async def held_for(seconds: float, service: Service) -> list[Answer]:
    """Answers requested one after the other for a while."""
    end, answers = time.monotonic() + seconds, []
    while time.monotonic() < end:
        answers.append(await service.get())
    return answers


@pytest.mark.parametrize("shared", ["embedded", "redis"])
async def test_eight_workers_are_one_caller_and_agree(
    market: Market, tmp_path: Path, shared: str, redis_server: RedisServer
) -> None:
    redis_url = redis_server.url if shared == "redis" else ""
    environ: dict[str, Any] = {"WORKERS": 8, "REFRESH_INTERVAL": 0.25, "CACHE_TTL": 5, "MAX_STALE": 60, "REDIS_URL": redis_url}
    async with running(market, tmp_path, **environ) as service:
        await service.until_workers(8)
        for answer in await service.from_many_workers():
            assert answer.status == 200
        market.clear_calls()
        began, stale, seen = time.monotonic(), 0, []
        for _ in range(20):
            answers = await service.from_many_workers(16)
            stale += sum(answer.json["stale"] for answer in answers)
            seen.append({answer.json["fetched_at_ms"] for answer in answers})
        intervals = (time.monotonic() - began) / 0.25
        assert intervals * 0.5 - 1 <= market.total_calls <= intervals + 1
        assert stale == 0
        # A burst within the milliseconds of a change may see the quote before and after it, but never a third one.
        assert max(map(len, seen)) <= 2
        assert sum(len(stamps) == 1 for stamps in seen) >= len(seen) / 2


async def test_five_hundred_pairs_are_one_or_two_calls_an_interval_and_stay_within_every_limit(tmp_path: Path) -> None:
    pairs = tuple(f"c{number:03}-usdt" for number in range(500))
    market = Market(pairs=pairs, seed=7)
    await market.start()
    market.limits = True
    try:
        # The default timing.
        environ: dict[str, Any] = {"REFRESH_INTERVAL": 1, "CACHE_TTL": 5, "MAX_STALE": 60, "FETCH_TIMEOUT": 2}
        async with running(market, tmp_path, PAIRS=",".join(pairs), **environ) as service:
            every = await service.until_answer(lambda got: len(got.json.get("prices", ())) == len(pairs), "/api/v1/prices")
            market.clear_calls()
            began = time.monotonic()
            await asyncio.sleep(3)
            every = await service.get("/api/v1/prices")
            most = 2 * ((time.monotonic() - began) + 1)
        assert not any(price["stale"] for price in every.json["prices"])
        assert 1 <= market.total_calls <= most
        assert not any(market.limits_exceeded.values())
    finally:
        await market.stop()


async def test_served_prices_are_the_markets_own(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        answers = await held_for(1, service)
        assert {answer.json["price"] for answer in answers} <= true_prices(market)
        stamps = [answer.json["fetched_at_ms"] for answer in answers]
        assert len(set(stamps)) > 1


@pytest.mark.parametrize("fault", sorted(MEANINGS))
async def test_a_fault_of_the_first_source_is_survived(market: Market, tmp_path: Path, fault: str) -> None:
    # Slow enough that the documented limit of the second source allows a call in every round.
    environ: dict[str, Any] = {"REFRESH_INTERVAL": 0.25, "CACHE_TTL": 2, "MAX_STALE": 30, "BREAKER_RESET": 0.5}
    async with running(market, tmp_path, **environ) as service:
        await service.until(200)
        market.set_fault("binance", fault, seconds=1.0)
        market.clear_calls()
        # A frozen source repeats the price that was true when it froze, which it may never have given before.
        at_that_moment = {tick.price for tick in market.switches["binance"].held.values()}
        answers = await held_for(1.2, service)
        assert {answer.status for answer in answers} == {200}
        assert {answer.json["price"] for answer in answers} <= true_prices(market) | at_that_moment
        assert not any(answer.json["stale"] for answer in answers)
        sources = {answer.json["source"] for answer in answers}
        if fault in HARMLESS:
            assert sources == {"binance"}
        elif fault not in BEARABLE:
            assert answers[-1].json["source"] != "binance", "failed over within the time of one attempt"
            # On a busy machine the next source may be late as well.
            assert market.calls["okx"] >= 1
        market.clear_fault("all")
        if fault not in ("unknown_symbol", "wrong_symbol", "blocked", "geo", "banned"):
            await service.until_answer(lambda answer: answer.json["source"] == "binance")


async def test_what_a_source_writes_oddly_beside_the_price_is_null_and_costs_nothing_else(
    market: Market, tmp_path: Path
) -> None:
    market.set_fault("binance", "odd_extras")
    async with running(market, tmp_path, SOURCES="binance") as service:
        answer = (await service.until(200)).json
        assert (answer["bid"], answer["ask"], answer["volume_24h"]) == (None, None, None)
        assert answer["price"] in true_prices(market) and answer["source_time_ms"]


TEN = [f"{base}-usdt" for base in ("eth", "btc", "sol", "xrp", "ada", "ltc", "dot", "bnb", "trx", "uni")]


@pytest.mark.parametrize("fault", ["halted", "zero", "nan", "old"])
async def test_pairs_without_a_price_at_their_only_source_cost_the_other_pairs_nothing(
    tmp_path: Path, fault: str
) -> None:
    market = Market(pairs=TEN)
    await market.start()
    # A call may take the whole time of a round, so that none fails only because the machine is busy.
    environ: dict[str, Any] = {
        "SOURCES": "binance", "PAIRS": ",".join(TEN), "BREAKER_RESET": 600, "FETCH_TIMEOUT": 5, "ROUND_TIMEOUT": 5,
        "MAX_STALE": 60,
    }  # fmt: skip
    try:
        market.set_fault("binance", fault, pairs=TEN[:5])
        async with running(market, tmp_path, **environ) as service:
            healthy = [f"/api/v1/prices/{pair}" for pair in TEN[5:]]
            stamps = {path: (await service.until(200, path)).json["fetched_at_ms"] for path in healthy}
            # This is ten refreshes later: five failures in a row would have opened a breaker by now.
            for path, stamp in stamps.items():
                await service.until_answer(
                    lambda answer, than=stamp + 1000: answer.json.get("fetched_at_ms", 0) > than, path
                )
            assert {(await service.get(f"/api/v1/prices/{pair}")).status for pair in TEN[:5]} == {503}
            readiness = (await service.get("/health/readiness")).json
            assert readiness["sources"]["binance"]["breaker"] == "closed"
    finally:
        await market.stop()


@pytest.mark.parametrize("fault", ["html", "cut_json", "error", "refuse"])
async def test_a_source_whose_calls_fail_is_left_alone(market: Market, tmp_path: Path, fault: str) -> None:
    market.set_fault("binance", fault)
    async with running(market, tmp_path, BREAKER_RESET=60, RETRY_ATTEMPTS=1) as service:
        await service.until_answer(
            lambda answer: answer.json["sources"].get("binance", {}).get("breaker") == "open", "/health/readiness"
        )
        assert (await service.get()).json["source"] == "okx"


async def test_one_stamp_ahead_of_the_clock_does_not_make_its_only_source_useless(
    market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, SOURCES="binance", MAX_STALE=120, CACHE_TTL=60) as service:
        await service.until(200)
        market.set_fault("binance", "ahead", seconds=50)
        ahead = await service.until_answer(
            lambda answer: answer.json["source_time_ms"] > answer.json["fetched_at_ms"] + 10_000
        )
        market.clear_fault()
        than = ahead.json["fetched_at_ms"]
        after = await service.until_answer(
            lambda answer: answer.json["fetched_at_ms"] > than
            and answer.json["source_time_ms"] < answer.json["fetched_at_ms"] + 10_000
        )
        assert after.json["fetched_at_ms"] < than + 40_000, "long before the time that the stamp told"


@pytest.mark.parametrize(("max_stale", "status"), [(120, 200), (20, 503)])
async def test_max_stale_bounds_how_far_a_stamp_may_be_off(
    market: Market, tmp_path: Path, max_stale: int, status: int
) -> None:
    for fault in "old", "ahead":
        market.set_fault("binance", fault, seconds=90 if max_stale == 120 else 30)
        async with running(
            market, tmp_path / fault, SOURCES="binance", MAX_STALE=max_stale, COLD_WAIT=0.1
        ) as service:
            await service.until_answer(lambda answer: answer.json["sources"], "/health/readiness")
            assert (await service.until(status)).status == status


@pytest.mark.parametrize("source", ["binance", "coinbase"])
async def test_a_source_that_denies_a_pair_it_has_priced_is_asked_again_soon_and_after_a_restart(
    market: Market, tmp_path: Path, source: str
) -> None:
    async with running(market, tmp_path, SOURCES=source) as service:
        await service.until(200)
        market.set_fault(source, "unknown_symbol")
        denied = await service.until_answer(
            lambda answer: answer.json["sources"] and answer.json["sources"][0]["cooldown_until_ms"], f"{PRICE}/sources"
        )
        row = denied.json["sources"][0]
        assert row["cooldown_until_ms"] - row["last_error_at_ms"] in range(29_000, 31_000)
        assert row["cooldown_reason"] == row["last_error"] and row["last_quote"]
        gone = await service.until(503)
        assert gone.json["code"] == "price_too_old"
        readiness = (await service.get("/health/readiness")).json
        assert readiness["pairs"]["eth-usdt"]["state"] == "expired"
        assert source in readiness["pairs"]["eth-usdt"]["unlisted"]
    market.clear_fault()
    async with running(market, tmp_path, SOURCES=source) as service:
        await service.until(200)


async def read_late(service: Service, market: Market) -> tuple[int, Answer]:
    """When the market answered a stopped worker, which reads the answer a second later, and what is served then."""
    calls, answers = market.calls["binance"], len(market.served["binance"])
    await until(lambda: market.calls["binance"] > calls)
    worker, = await service.until_workers(1)
    os.kill(worker, signal.SIGSTOP)
    await until(lambda: len(market.served["binance"]) > answers)
    came_ms, _ = market.served["binance"][-1]
    await until(lambda: time.time() * 1000 > came_ms + 1000)
    os.kill(worker, signal.SIGCONT)
    return came_ms, await service.until_answer(lambda answer: answer.json["source_time_ms"] >= came_ms)


async def test_a_price_that_waited_while_its_worker_was_stopped_is_not_told_younger_than_it_is(
    market: Market, tmp_path: Path
) -> None:
    environ: dict[str, Any] = {"SOURCES": "binance", "WORKERS": 1, "FETCH_TIMEOUT": 4, "MAX_STALE": 60}
    async with running(market, tmp_path, **environ) as service:
        await service.until(200)
        market.latency = 0.3
        for _ in range(5):
            came_ms, told = await read_late(service, market)
            if told.json["source_time_ms"] == came_ms:
                assert told.json["fetched_at_ms"] <= came_ms
                break
        else:
            raise AssertionError("none of five answers that were read late was seen served")


async def test_with_every_source_down_the_price_turns_stale_then_gone_then_comes_back(
    market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, BREAKER_RESET=0.5) as service:
        first = await service.until(200)
        market.set_fault("all", "error")
        stale = await service.until_answer(lambda answer: answer.status == 200 and answer.json["stale"])
        assert stale.headers["cache-control"] == "public, max-age=1"
        assert stale.json["fetched_at_ms"] >= first.json["fetched_at_ms"]
        gone = await service.until(503)
        assert gone.json["code"] == "price_too_old"
        assert int(gone.headers["retry-after"]) >= 1
        assert (await service.get("/health/readiness")).status == 503
        assert (await service.get("/health/liveness")).status == 200
        await service.until_logged("price expired")
        market.clear_fault("all")
        await service.until(200)
        await service.until(200, "/health/readiness")
        answer = await service.until_answer(lambda answer: answer.status == 200 and not answer.json["stale"])
        assert answer.json["fetched_at_ms"] > stale.json["fetched_at_ms"]
        log = "".join(service.log)
        for line in ("price stale", "price expired", "no source gives a price", "priced again"):
            assert log.count(line) == 1, f"{line!r} is told once:\n{log}"
        assert "Traceback" not in log


async def test_starts_and_stays_up_with_redis_and_every_exchange_down(market: Market, tmp_path: Path) -> None:
    market.set_fault("all", "refuse")
    redis_url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    async with running(market, tmp_path, WORKERS=3, COLD_WAIT=0.2, REDIS_URL=redis_url) as service:
        answer = await service.until(503)
        assert answer.json["code"] == "price_unavailable"
        assert answer.headers["content-type"] == "application/problem+json"
        await service.until_logged("make demo")
        await service.until_logged("shared store lost")
        before = await service.until_workers(3)
        os.kill(before[0], signal.SIGKILL)
        await service.until_workers(3, without=frozenset(before[:1]))
        ready = await service.until_answer(lambda answer: "down" in answer.json["redis"], "/health/readiness")
        assert ready.status == 503
        market.clear_fault("all")
        await service.until(200)
        log = "".join(service.log)
        assert log.count("shared store lost") == 1
        assert "secret" not in log + ready.body.decode()
        assert "Traceback" not in log


async def test_redis_killed_paused_and_emptied_is_no_failure_of_the_service(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    async with running(market, tmp_path, REDIS_URL=redis_server.url) as service:
        await service.until(200)
        await service.until_answer(lambda answer: answer.json["redis"] == "up", "/health/readiness")
        assert redis_server.process is not None
        redis_server.process.send_signal(signal.SIGSTOP)
        answers = await held_for(1.5, service)
        await service.until_answer(lambda answer: answer.json["redis"] != "up", "/health/readiness")
        redis_server.process.send_signal(signal.SIGCONT)
        await service.until_answer(lambda answer: answer.json["redis"] == "up", "/health/readiness")
        redis_server.stop()
        answers += await held_for(1.5, service)
        redis_server.start()  # It is empty, as after FLUSHALL.
        await service.until_answer(lambda answer: answer.json["redis"] == "up", "/health/readiness")
        answers += await held_for(0.5, service)
        assert {answer.status for answer in answers} == {200}
        assert not any(answer.json["stale"] for answer in answers)
        log = "".join(service.log)
        assert log.count("shared store lost") == log.count("shared store back") == 2


async def test_killed_workers_are_replaced_and_counters_never_fall(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        metrics = service.metrics_directory()
        counted = 0.0
        for generation in range(4):
            await service.from_many_workers(20)
            for pid in (before := await service.until_workers(2)):
                os.kill(pid, signal.SIGKILL)
            await service.until_workers(2, without=frozenset(before))
            await service.until(200)
            (metrics / f"counter_{90 + generation}.db").touch()  # As left by a worker that dies right after its start.
            answer = await service.until(200, "/metrics")
            now = metric(answer.body, "fastprice_refreshes_total")
            assert now >= counted
            counted = now
            files = [file.stem for file in metrics.glob("*_?.db")]
            assert {name.rsplit("_", 1)[1] for name in files} == {"0", "1"}, "a successor goes on in its slot's files"
            assert len(files) <= 2 * len({name.rsplit("_", 1)[0] for name in files})


async def test_workers_leave_when_their_master_is_killed(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        workers = await service.until_workers(2)
        service.process.kill()
        await service.process.wait()
        for _ in polling():
            if not any(Path(f"/proc/{pid}").exists() for pid in workers):
                break
            await asyncio.sleep(0.05)
        assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
async def test_any_polite_signal_ends_it_cleanly(market: Market, tmp_path: Path, sent: signal.Signals) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        service.process.send_signal(sent)
        assert await asyncio.wait_for(service.process.wait(), PATIENCE) == 0
        assert not [line for line in service.log if "SIGKILL" in line or "Traceback" in line]


async def test_price_stays_fresh_while_the_claimant_is_killed_again_and_again(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, WORKERS=3, CACHE_TTL=5, MAX_STALE=60) as service:
        await service.until(200)
        for _ in range(5):
            before = await service.until_workers(3)
            stamp = (await service.until(200)).json["fetched_at_ms"]
            os.kill(before[0], signal.SIGKILL)
            await service.until_workers(3, without=frozenset(before[:1]))
            newer = await service.until_answer(
                lambda answer, than=stamp: answer.status == 200 and answer.json["fetched_at_ms"] > than
            )
            assert newer.json["stale"] is False


async def test_sigterm_finishes_what_was_asked_and_leaves_with_zero(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        asked = [asyncio.create_task(service.get()) for _ in range(50)]
        await asyncio.gather(*asked)
        assert await service.stop() == 0
        assert all(task.result().status == 200 for task in asked)


async def test_warm_restart_serves_the_last_price_at_once(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, MAX_STALE=60) as service:
        last = (await service.until(200)).json["fetched_at_ms"]
    market.set_fault("all", "error")
    async with running(market, tmp_path, MAX_STALE=60) as service:
        answer = await service.until(200)
        assert answer.json["fetched_at_ms"] >= last


async def test_requests_are_counted_whichever_worker_answers(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        before = metric((await service.get("/metrics")).body, _PRICE_OK)
        await service.from_many_workers(40)

        def counted(answer: Answer) -> bool:
            return metric(answer.body, _PRICE_OK) >= before + 40

        await service.until_answer(counted, "/metrics")


_PRICE_OK = 'fastprice_http_requests_total{method="GET",route="/api/v1/prices/{pair}",status="200"}'


async def test_json_log_is_one_object_per_line(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, LOG_FORMAT="json") as service:
        await service.until(200)
        await service.stop()
        assert service.log
        assert all(re.fullmatch(r'\{"time":.*\}\n', line) for line in service.log), "".join(service.log)


async def test_access_log_has_a_line_per_request_only_when_asked(market: Market, tmp_path: Path) -> None:
    for asked in (0, 1):
        async with running(market, tmp_path, ACCESS_LOG=asked) as service:
            await service.until(200)
            await service.stop()
            assert any(f"GET {PRICE}" in line for line in service.log) is bool(asked)


@pytest.mark.parametrize(
    ("environ", "simulated", "whose"),
    [({}, ["binance", "okx"], "all prices come"), ({"OKX_URL": "https://mirror.example"}, ["binance"], "the prices of binance come")],
)
async def test_simulated_prices_are_told_once_at_the_start_and_wherever_the_service_is_watched(
    market: Market, tmp_path: Path, environ: dict[str, Any], simulated: list[str], whose: str
) -> None:
    proxy = "http://me:hunter2@proxy.example:3128"
    async with running(market, tmp_path, SOURCES="binance,okx", WORKERS=3, HTTPS_PROXY=proxy, **environ) as service:
        await service.until(200)
        await service.until_workers(3)
        for path in "/health/readiness", "/api/":
            answer = await service.get(path)
            assert (answer.json["simulated"], answer.json["simulated_sources"]) == (True, simulated)
        assert metric((await service.get("/metrics")).body, "fastprice_simulated") == 1
        log = "".join(service.log)
        assert log.count("SIMULATED") == 1 and f"WARNING SIMULATED: {whose}" in log, log
        assert ("okx are the exchanges' own" in log) is bool(environ)
        assert "through the proxy proxy.example:3128" in log and "hunter2" not in log


async def test_start_names_a_few_pairs_and_counts_the_others(market: Market, tmp_path: Path) -> None:
    pairs = ",".join(["eth-usdt", "btc-usdt", *(f"c{number}-usdt" for number in range(498))])
    async with running(market, tmp_path, PAIRS=pairs, WORKERS=1) as service:
        await service.until(200)
        assert " serving ETH-USDT, BTC-USDT, C0-USDT and 497 more at http://" in "".join(service.log)


async def test_prices_of_exchanges_are_not_called_simulated(market: Market, tmp_path: Path) -> None:
    public = {f"{source.upper()}_URL": f"https://{source}.invalid" for source in EXCHANGES}
    async with running(market, tmp_path, **public) as service:
        answer = await service.get("/health/readiness")
        assert (answer.json["simulated"], answer.json["simulated_sources"]) == (False, [])
        assert b"\nfastprice_simulated 0.0\n" in (await service.get("/metrics")).body
        assert "SIMULATED" not in "".join(service.log)


async def test_idle_clients_that_take_every_descriptor_cost_no_price_and_no_source(
    market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, WORKERS=1) as service:
        (worker,) = service.workers()
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (128, 128))
        idle = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(400)]
        calls = market.total_calls
        for _ in range(3):
            answer = await service.until(200)
            assert not answer.json["stale"]
        for _ in polling():
            if market.total_calls > calls + 10:
                break
            await asyncio.sleep(0.01)
        sources = (await service.get(f"{PRICE}/sources")).json["sources"]
        assert all(source["breaker"] == "closed" and source["last_error"] is None for source in sources)
        assert await service.until_logged("too many clients for the limit of 128 open files")
        for _, writer in idle:
            writer.close()


async def test_it_takes_all_descriptors_that_the_system_grants(market: Market, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 1024), hard))
    try:
        async with running(market, tmp_path, WORKERS=1) as service:
            (worker,) = service.workers()
            assert resource.prlimit(worker, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
