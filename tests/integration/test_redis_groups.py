"""Fail-overs of real Sentinel and Cluster groups under a whole service, which follows them and loses no request."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import redis

from bench.drills.wire import Wire
from fastprice.market import Market
from tests.conftest import RedisServer
from tests.integration.test_redis_failures import WORKERS, World, asking, settings
from tests.redis_groups import ClusterGroup, Group, SentinelGroup, asked, pause, resume, running_group, wait_until
from tests.service import polling, running

pytestmark = pytest.mark.anyio

# How a primary ends; None: in order, as before maintenance.
HOW = {"stopped": pause, "killed": RedisServer.stop, "asked to": None}


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """The service outlives a single test, so the event loop must too."""
    return "asyncio"


@pytest.fixture(scope="module", params=[SentinelGroup, ClusterGroup])
def group(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with running_group(request.param(tmp_path_factory.mktemp("group"))) as group:
        yield group


@pytest.fixture(scope="module")
async def world(group: Group, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    market = Market(pairs=("eth-usdt",), seed=7)
    await market.start()
    # One node of a Cluster is enough: it names the others.
    url = group.url.partition(",")[0] if isinstance(group, ClusterGroup) else group.url
    environ = settings(0) | {"REDIS_URL": url}
    async with running(market, tmp_path_factory.mktemp("service"), **environ) as service:
        on_redis = f'fastprice_workers{{store="redis"}} {WORKERS}.0'
        await service.until_answer(lambda answer: on_redis in answer.body.decode(), "/metrics")
        if isinstance(group, ClusterGroup):
            found = [asked(server, "KEYS", "fastprice:*:round").strip() for server in group.servers]
            group.key = max(found)
        yield World(service, market, Wire(0, 0), group.servers[0], redis.Redis())
    await market.stop()


@pytest.mark.parametrize("how", HOW)
async def test_a_fail_over_is_followed_by_all_workers_and_their_subscriptions(
    world: World, group: Group, how: str
) -> None:
    await world.until_redis(is_up=True)
    old = await asyncio.to_thread(group.primary)
    lost, back = world.lines("shared store lost"), world.lines("shared store back")
    async with asking(world.service) as answers:
        await asyncio.to_thread(group.fail_over, HOW[how] or group.hand_over)
        ended_at = time.monotonic()
        if how != "asked to":
            for _ in polling():
                if world.lines("shared store back") > back:
                    break
                await asyncio.sleep(0.02)
        await world.until_redis(is_up=True)
        for _ in polling():
            if (heard_by := await asyncio.to_thread(group.listeners)) >= WORKERS - 1:
                break
        followed_after = time.monotonic() - ended_at
        calls = await world.settled_calls(intervals=4)
        await asyncio.to_thread(bring_back, group, old)
    assert heard_by >= WORKERS - 1, "each that follows hears the news, and from a server that answers"
    assert {answer.status for answer in answers} == {200} and not any(answer.json["stale"] for answer in answers)
    assert 0.2 < calls < 1.6
    # A requested fail-over may be over before a worker notices it.
    lost, back = world.lines("shared store lost") - lost, world.lines("shared store back") - back
    assert lost == back and (lost == 1 or how == "asked to" and lost < 2)
    # The promise is two seconds, and the drills check it; the rest is the test's own time on a busy machine.
    assert followed_after < 10


def bring_back(group: Group, old: RedisServer) -> None:
    """Make the old primary a replica."""
    resume(old)
    if old.process is None:
        group.start_again(old)
    wait_until(lambda: asked(old, "ROLE").startswith("slave") and "connected" in asked(old, "ROLE"), "it is no replica")
