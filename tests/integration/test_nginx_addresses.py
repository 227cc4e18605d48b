"""On which addresses nginx listens, and which client address it sees behind a load balancer."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.nginx import SOURCE, fronted
from tests.service import polling

pytestmark = pytest.mark.anyio

INTERFACES = Path("/proc/net/if_inet6")
HAS_IPV6 = INTERFACES.exists() and bool(INTERFACES.read_text())
# In a network namespace of its own, without IPv6.
ALONE = "ip link set lo up && echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6 && exec sh \"$0\""


@pytest.mark.skipif(not HAS_IPV6, reason="this machine has no IPv6")
async def test_nginx_is_reached_by_ipv6_where_there_is_any(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for port in front.port, front.status_port:
            reader, writer = await asyncio.open_connection("::1", port)
            writer.write(b"GET /health/liveness HTTP/1.1\r\nHost: a\r\nX-Request-ID: six\r\nConnection: close\r\n\r\n")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 ")
            writer.close()
        assert (await front.logged("six"))["client"] == "::1"


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare") or not shutil.which("ip"), reason="takes root")
async def test_nginx_starts_and_listens_on_ipv4_alone_where_there_is_no_ipv6(tmp_path: Path) -> None:
    environ = os.environ | {
        "NGINX_RUN": str(tmp_path), "RESOLVER": "127.0.0.1", "NGINX_PORT": str(free_port()), "PATH": f"{os.environ['PATH']}:/usr/sbin",
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec("unshare", "--net", "sh", "-c", ALONE, str(SOURCE / "start.sh"), env=environ)
    for _ in polling():
        if (tmp_path / "nginx.pid").exists():
            break
        assert process.returncode is None
        await asyncio.sleep(0.02)
    assert "[::]" not in (tmp_path / "conf/listen.conf").read_text() + (tmp_path / "conf/listen_status.conf").read_text()
    process.terminate()
    await process.wait()


@pytest.mark.parametrize(("trusted", "client"), [("127.0.0.1", "192.0.2.7"), ("10.0.0.0/8", "127.0.0.1")])
async def test_by_the_proxy_protocol_a_trusted_load_balancer_says_who_asks_and_nobody_else(
    tmp_path: Path, trusted: str, client: str
) -> None:
    async with fronted(tmp_path, PROXY_PROTOCOL="1", TRUSTED_PROXIES=trusted) as front:
        asks = "GET / HTTP/1.1\r\nHost: a\r\nX-Request-ID: passed-on\r\nX-Forwarded-For: 203.0.113.1\r\nConnection: close\r\n\r\n"
        said = await front.send(f"PROXY TCP4 192.0.2.7 198.51.100.1 4000 8000\r\n{asks}".encode())
        assert said.startswith(b"HTTP/1.1 200 ")
        [head] = front.replicas["127.0.0.2"].heads
        assert f"\r\nX-Forwarded-For: {client}\r\n".encode() in head
        assert (await front.logged("passed-on"))["client"] == client
        assert await front.send(asks.encode()) == b"", "who does not speak it is not heard"
        assert (await front.ask_at(front.status_port, "/health/liveness")).status == 200, "but on the port of operators"


async def test_the_proxy_protocol_is_refused_where_nobody_is_trusted(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        code, told = await front.reload(PROXY_PROTOCOL="1")
        assert code == 2 and told.startswith("TRUSTED_PROXIES is '', but must name ") and told.count("\n") == 1
