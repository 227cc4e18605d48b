"""Several replicas as real processes with one Redis: one caller, bans known to all, holders that die or are paused."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from fastprice.market import Market
from tests.conftest import RedisServer
from tests.service import PRICE, Answer, Service, polling, running

pytestmark = pytest.mark.anyio

INTERVAL = 0.5
CLAIM_KEYS = "fastprice:*:v3:claim:leader"


@contextlib.asynccontextmanager
async def replicas(
    count: int, market: Market, directory: Path, redis_server: RedisServer, **environ: Any
) -> AsyncIterator[list[Service]]:
    """Services that share only one Redis, each with an embedded store of its own; they start at the same time."""
    settings: dict[str, Any] = {
        "WORKERS": 3, "REFRESH_INTERVAL": INTERVAL, "CACHE_TTL": 5, "MAX_STALE": 60, "COLD_WAIT": 30,
        "REDIS_URL": redis_server.url, "REDIS_TIMEOUT": 1,
    }  # fmt: skip
    async with contextlib.AsyncExitStack() as stack:
        starts = [running(market, directory / f"{number}", **settings | environ) for number in range(count)]
        yield list(await asyncio.gather(*map(stack.enter_async_context, starts)))


def moments(market: Market) -> list[int]:
    """When the first source gave a price, in wall milliseconds."""
    return [time_ms for time_ms, _ in market.served["binance"]]


def together(times: list[int], seconds: float) -> list[tuple[int, int]]:
    """Pairs of calls that are less than `seconds` apart: more than one caller."""
    return [pair for pair in zip(times, times[1:], strict=False) if pair[1] - pair[0] < seconds * 1000]


def lines(services: list[Service], text: str) -> list[str]:
    """The lines of all their logs that contain a text."""
    return [line for service in services for line in service.log if text in line]


async def until_told(market: Market, count: int) -> int:
    """Wait for `count` more prices of the first source; returns how many it had given before."""
    told = len(moments(market))
    await until(lambda: len(moments(market)) >= told + count)
    return told


async def until(holds: Callable[[], bool]) -> None:
    for _ in polling():
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came to be")


class Claim:
    """The claim that is in Redis."""

    def __init__(self, server: RedisServer) -> None:
        self._client = redis.Redis(port=server.port)

    @property
    def holder(self) -> int | None:
        """The process that holds the claim, if any."""
        keys = self._client.keys(CLAIM_KEYS)
        name = self._client.get(keys[0]) if keys else None
        return int(name.decode().split(":")[1]) if isinstance(name, bytes) else None

    async def held_by_another_than(self, pid: int | None) -> int:
        await until(lambda: self.holder not in (None, pid))
        assert self.holder is not None
        return self.holder

    def close(self) -> None:
        self._client.close()


@pytest.fixture
def claim(redis_server: RedisServer) -> Any:
    made = Claim(redis_server)
    yield made
    made.close()


async def test_every_replica_says_once_that_its_prices_are_too_old(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    async with replicas(2, market, tmp_path, redis_server, CACHE_TTL=1, MAX_STALE=2) as services:
        for service in services:
            await service.until(200)
        market.set_fault("all", "error")
        for service in services:
            await service.until(503)
            await service.until_logged("price expired: ETH-USDT")
            assert sum("price expired" in line for line in service.log) == 1


async def test_three_replicas_are_one_caller_from_the_first_request_on(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    market.latency = 0.1
    async with replicas(3, market, tmp_path, redis_server) as services:
        cold = await asyncio.gather(*(service.get() for service in services for _ in range(50)))
        assert {answer.status for answer in cold} == {200}
        await until(lambda: len(moments(market)) >= 12)
        assert together(moments(market), INTERVAL / 2) == []
        assert sum(market.calls.values()) == market.calls["binance"], "no other source was asked"
        for service in services:
            newest = moments(market)[-1]
            await service.until_answer(lambda answer, than=newest: answer.json["fetched_at_ms"] >= than)


async def test_a_ban_is_obeyed_by_every_worker_of_every_replica_and_by_a_restarted_one(
    market: Market, tmp_path: Path, redis_server: RedisServer
) -> None:
    pairs = {"PAIRS": "eth-usdt,btc-usdt"}
    async with replicas(2, market, tmp_path, redis_server, **pairs) as services:
        for service in services:
            await service.until(200)
        market.set_fault("binance", "rate_limited", 300)
        await until(lambda: bool(lines(services, "source cooling down: binance")))
        await asyncio.sleep(2 * INTERVAL)  # A call of a replaced leader may have been under way.
        market.clear_calls()
        before = await services[0].until_workers(3)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        await services[0].until_workers(3, without=frozenset(before))
        async with replicas(1, market, tmp_path / "late", redis_server, **pairs) as (late,):
            for service in (*services, late):
                await service.until_answer(lambda answer: answer.status == 200 and answer.json["source"] == "okx")
            await until(lambda: market.calls["okx"] >= 20)
            told = len(lines([*services, late], "source cooling down: binance"))
            assert told <= 2, "by the leader that was told by the source itself, and by one that replaced it at most"
        assert market.calls["binance"] == 0


async def test_a_holder_that_sleeps_is_replaced_and_asks_nobody_when_it_wakes(
    market: Market, tmp_path: Path, redis_server: RedisServer, claim: Claim
) -> None:
    market.latency = INTERVAL / 2  # So the holder is mostly paused in the middle of a call.
    async with replicas(2, market, tmp_path, redis_server) as services:
        await services[0].until(200)
        for _ in range(3):
            asleep = await claim.held_by_another_than(None)
            os.kill(asleep, signal.SIGSTOP)
            try:
                await claim.held_by_another_than(asleep)
                await until_told(market, 3)
            finally:
                os.kill(asleep, signal.SIGCONT)
            told = await until_told(market, 4)
            assert together(moments(market)[told - 1:], INTERVAL / 2) == []
            assert claim.holder != asleep
            stamps = [answer.json["fetched_at_ms"] for answer in await services[1].from_many_workers(9)]
            assert min(stamps) >= moments(market)[told]


async def test_whoever_holds_the_claim_may_be_killed_again_and_again(
    market: Market, tmp_path: Path, redis_server: RedisServer, claim: Claim
) -> None:
    async with replicas(2, market, tmp_path, redis_server) as services:
        await services[0].until(200)
        answers: list[Answer] = []
        asking = asyncio.create_task(ask_on(services, answers))
        for _ in range(6):
            dead = await claim.held_by_another_than(None)
            os.kill(dead, signal.SIGKILL)
            await claim.held_by_another_than(dead)
            told = await until_told(market, 3)
            assert together(moments(market)[told:], INTERVAL / 2) == []
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert len(answers) > 50 and {answer.status for answer in answers} == {200}
        assert not any(answer.json["stale"] for answer in answers)


async def ask_on(services: list[Service], answers: list[Answer]) -> None:
    """Send requests forever; one that fails because its worker died is retried once, as a proxy would do."""
    while True:
        for service in services:
            try:
                answers.append(await service.get(PRICE))
            except OSError:
                answers.append(await service.get(PRICE))
        await asyncio.sleep(0.01)
