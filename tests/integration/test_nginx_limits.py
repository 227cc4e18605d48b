"""How many requests nginx accepts from one client address, and which address it counts as the client."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.declared import undeclared
from tests.nginx import PRICE, Reply, fronted, readable
from tests.service import polling

pytestmark = pytest.mark.anyio


def assert_refused(reply: Reply, code: str) -> None:
    told = json.loads(reply.body)
    assert (reply.status, told["status"], told["code"]) == (429, 429, code)
    assert reply.headers["content-type"] == "application/problem+json" and reply.headers["retry-after"] == "1"
    assert readable("retry-after", reply)
    assert not undeclared(429, reply.headers)
    assert reply.headers["cache-control"] == "no-store"


async def test_requests_of_each_address_that_a_trusted_proxy_names_are_limited(tmp_path: Path) -> None:
    async with fronted(tmp_path, REQUESTS_PER_ADDRESS="5", TRUSTED_PROXIES="127.0.0.1,10.0.0.0/8") as front:
        # The first address is the client's own claim, the last one that of another trusted proxy.
        greedy = {"X_Forwarded_For": "192.0.2.9, 192.0.2.1, 10.1.1.1"}
        refused = [reply for _ in range(100) if (reply := await front.ask(**greedy)).status != 200]
        assert refused
        assert_refused(refused[0], "too_many_requests")
        assert (await front.ask(X_Forwarded_For="192.0.2.2", X_Request_ID="other")).status == 200
        assert (await front.logged("other"))["client"] == "192.0.2.2"
        for _ in polling():
            if (await front.ask(**greedy)).status == 200:
                break


async def test_a_network_of_ipv6_is_one_client_and_an_address_of_ipv4_always_one_of_its_own(tmp_path: Path) -> None:
    async with fronted(tmp_path, REQUESTS_PER_ADDRESS="5", TRUSTED_PROXIES="127.0.0.1") as front:
        async def statuses(*addresses: str) -> set[int]:
            return {(await front.ask(X_Forwarded_For=address)).status for address in addresses}

        assert await statuses(*(f"2001:db8:0:1:{number:x}::7" for number in range(100))) == {200, 429}
        assert await statuses(*(f"2001:db8:0:{number:x}::7" for number in range(2, 60))) == {200}
        assert await statuses(*(f"::ffff:192.0.2.{number}" for number in range(60))) == {200}
        assert await statuses(*(f"192.0.2.{number}" for number in range(60, 120))) == {200}
        assert await statuses(*(f"{mapped}192.0.2.200" for mapped in ["", "::ffff:"] * 50)) == {200, 429}


async def test_nobody_else_can_say_who_asks_and_without_limits_nothing_is_refused(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        assert {(await front.ask(X_Forwarded_For="192.0.2.1", X_Request_ID=f"n{n}")).status for n in range(100)} == {200}
        assert (await front.logged("n99"))["client"] == "127.0.0.1"


async def test_requests_of_one_address_that_are_under_way_at_once_are_limited_after_a_reload(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        assert await front.reload(CONNECTIONS_PER_ADDRESS="1", TRUSTED_PROXIES="127.0.0.1") == (0, "")
        # A request whose body never comes stays under way.
        head = f"POST {PRICE} HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\nContent-Length: 9\r\n\r\n"
        for _ in polling():
            writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
            writer.write(head.encode())
            await writer.drain()
            if (reply := await front.ask(X_Forwarded_For="192.0.2.1")).status == 429:
                break
        assert_refused(reply, "too_many_connections")
        assert (await front.ask(X_Forwarded_For="192.0.2.2")).status == 200
        writer.close()


async def test_streams_without_a_limit_are_not_counted_among_the_requests_under_way_either(tmp_path: Path) -> None:
    async with fronted(tmp_path, STREAMS_PER_ADDRESS="0", CONNECTIONS_PER_ADDRESS="1") as front:
        replica = front.replicas["127.0.0.2"]
        replica.says = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1000\n\n"
        streams = [await asyncio.open_connection("127.0.0.1", front.port) for _ in range(3)]
        for reader, writer in streams:
            replica.silent = 1  # A stream that nginx has to request a second time is not counted either.
            writer.write(f"GET {PRICE}/stream HTTP/1.1\r\nHost: front\r\n\r\n".encode())
            assert (await reader.readuntil(b"\r\n")).split()[1] == b"200"
        for _, writer in streams:
            writer.close()


@pytest.mark.parametrize(("name", "value"), [("REQUESTS_PER_ADDRESS", "-1"), ("TRUSTED_PROXIES", "all; hosts")])
async def test_a_setting_that_cannot_be_used_is_told_in_one_line(tmp_path: Path, name: str, value: str) -> None:
    async with fronted(tmp_path) as front:
        code, told = await front.reload(**{name: value})
        assert code == 2 and told.startswith(f"{name} is '{value}', but must be ") and told.count("\n") == 1
