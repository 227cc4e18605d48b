"""What is seen of several replicas from outside: their own metrics, and what a real Prometheus makes of them."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fastprice.market import Market
from tests.conftest import RedisServer
from tests.service import Service, polling, running

pytestmark = pytest.mark.anyio


async def living(*services: Service) -> Counter[str]:
    """Over all replicas: the workers by store, and under `callers` those that ask the sources."""
    seen: Counter[str] = Counter()
    for service in services:
        text = (await service.get("/metrics")).body.decode()
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "fastprice_workers":
                    seen[sample.labels["store"]] += int(sample.value)
                if sample.name == "fastprice_claims":
                    seen["callers"] += int(sample.value)
    return +seen


async def until_living(wanted: dict[str, int], *services: Service) -> None:
    seen = None
    for _ in polling():
        if (seen := await living(*services)) == wanted:
            return
    raise AssertionError(f"never were there {wanted}, at last {seen}")


async def test_metrics_tell_who_lives_who_asks_and_over_which_store(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    environ = {"REDIS_URL": redis_server.url, "BREAKER_RESET": 60}
    async with running(market, tmp_path / "a", **environ) as one, running(market, tmp_path / "b", **environ) as two:
        await until_living({"redis": 4, "callers": 1}, one, two)
        redis_server.stop()
        await until_living({"embedded": 4, "callers": 2}, one, two)
        redis_server.start()
        await until_living({"redis": 4, "callers": 1}, one, two)
        for pid in (before := await one.until_workers(2)):
            os.kill(pid, signal.SIGKILL)
        await one.until_workers(2, without=frozenset(before))
        await until_living({"redis": 4, "callers": 1}, one, two)
        one.process.send_signal(signal.SIGTTOU)  # gunicorn: one worker fewer.
        await until_living({"redis": 3, "callers": 1}, one, two)
        await one.stop()
        await until_living({"redis": 2, "callers": 1}, two)
