"""Every way to name a Redis, with a real one behind it: by address, over TLS, by socket, with a name, in a database."""

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import redis

from fastprice.application.ports import Stored
from fastprice.domain.errors import StoreUnavailable
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.records import Records
from fastprice.infrastructure.redis_store import RedisStore
from tests.conftest import RedisServer, free_port
from tests.fakes import ETH, RecordingEvents, a_quote

pytestmark = pytest.mark.anyio

CLOCK = SystemClock()
# Enough time for a handshake on the busiest machine.
SECONDS = 5.0
NAME, SECRET = "pri ce@s", "hun:ter/2?#%@é"
WRONG = "it refuses the name or the password in REDIS_URL (WRONGPASS)"
CLUSTER = "it is a node of a Redis Cluster; REDIS_URL must be redis+cluster://HOST:PORT"


@contextlib.asynccontextmanager
async def store_at(url: str, seconds: float = SECONDS) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, "test:{way}", Records((ETH,), ("binance",)), seconds, 60.0, CLOCK, RecordingEvents())
    try:
        yield store
    finally:
        await store.close()


def a_round(price: str = "3120.45", after_ms: int = 0) -> Stored:
    at_ms = CLOCK.wall_ms() + after_ms
    return Stored(at_ms, (a_quote(price, at_ms),))


async def works(url: str) -> None:
    """Check that every operation of a store works with the Redis that the URL names."""
    async with store_at(url) as one, store_at(url) as two:
        await two.news(0.01)
        heard = asyncio.create_task(two.news(60))
        try:
            assert (await one.claim("a", 60), await two.claim("b", 60)) == (True, False)
            assert await one.write("a", held := a_round()) is True
            assert await two.read() == ("a", held)
            await one.release("a")
            async with asyncio.timeout(60):
                assert await heard is True
        finally:
            heard.cancel()
            await asyncio.wait([heard])


async def refused(url: str) -> str:
    """The one line with which it fails, the same for every operation."""
    async with store_at(url) as store:
        lines = set()
        for operation in (store.read(), store.write("a", a_round()), store.claim("a", 60), store.holder("a right")):
            with pytest.raises(StoreUnavailable) as caught:
                await operation
            lines.add(str(caught.value))
    assert len(lines) == 1, lines
    line = lines.pop()
    assert line.isprintable() and len(line) < 250
    for secret in (NAME, SECRET, quote(NAME, safe=""), quote(SECRET, safe="")):
        assert secret not in line
    return line


def with_name(url: str, name: str = NAME, password: str = SECRET) -> str:
    """The URL with a name and a password in it, encoded."""
    return url.replace("://", f"://{quote(name, safe='')}:{quote(password, safe='')}@")


def allow(server: RedisServer, *rights: str, name: str = "prices") -> None:
    with redis.Redis(port=server.port) as client:
        client.execute_command("ACL", "SETUSER", name, "reset", "on", f">{SECRET}", *rights)


@pytest.fixture
def bare_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server that the test starts with its own options."""
    server = RedisServer(tmp_path, free_port())
    yield server
    server.stop()


async def test_by_address(redis_server: RedisServer) -> None:
    await works(redis_server.url)
    await works(redis_server.url.replace("127.0.0.1", "localhost"))


async def test_by_socket(bare_server: RedisServer, tmp_path: Path) -> None:
    path = tmp_path / "r.sock"
    bare_server.start("--unixsocket", str(path))
    await works(f"unix://{path}")
    allow(bare_server, "~test:*", "&test:*", "+@all")
    await works(with_name(f"unix://{path}?db=5", "prices"))
    assert await refused(f"unix://{path}.gone") == (
        f"Redis at unix://{path}.gone: No such file or directory"
    )


async def test_with_a_password_alone(bare_server: RedisServer) -> None:
    bare_server.start("--requirepass", SECRET)
    await works(bare_server.url.replace("://", f"://:{quote(SECRET, safe='')}@"))
    await works(f"{bare_server.url}?password={quote(SECRET, safe='')}")
    assert (await refused(bare_server.url)).endswith(": it wants a password, and REDIS_URL has none")
    assert WRONG in await refused(with_name(bare_server.url, "default", "wrong"))


async def test_with_a_name_and_a_password_that_need_encoding(bare_server: RedisServer, tmp_path: Path) -> None:
    # Redis itself forbids blanks in names. Passwords may be anything.
    name = "pri@ce:s/%"
    (tmp_path / "users.acl").write_text(f"user {name} on >{SECRET} ~test:* &test:* +@all\nuser default off\n")
    bare_server.start("--aclfile", str(tmp_path / "users.acl"))
    await works(with_name(bare_server.url, name))
    assert WRONG in await refused(with_name(bare_server.url, name, "wrong"))
    assert (await refused(bare_server.url)).endswith(": it wants a password, and REDIS_URL has none")


async def test_without_a_right_to_the_channel_only_instant_notifications_are_lost(redis_server: RedisServer) -> None:
    allow(redis_server, "~test:*", "resetchannels", "+@all")
    async with store_at(with_name(redis_server.url, "prices")) as store:
        assert await store.news(0.01) is False
        assert await store.write("a", held := a_round()) is True
        assert await store.read() == (None, held)


async def test_without_a_right_to_the_keys_it_says_so(redis_server: RedisServer) -> None:
    allow(redis_server, "~other:*", "+@all", "-hello")
    async with store_at(with_name(redis_server.url, "prices")) as store:
        with pytest.raises(StoreUnavailable, match="permissions"):
            await store.read()


async def test_databases_of_different_numbers_share_nothing(redis_server: RedisServer) -> None:
    urls = [redis_server.url, redis_server.url.removesuffix("0") + "3", redis_server.url.removesuffix("/0") + "?db=5"]
    for url in urls:
        await works(url)
    async with contextlib.AsyncExitStack() as opened:
        one, two, three = [await opened.enter_async_context(store_at(url)) for url in urls]
        for store in (two, three):
            await store.news(0.01)
        await one.write("a", newer := a_round("777", 60))
        for store in (two, three):
            assert await store.read() != (None, newer)
            assert await store.news(0.01) is False
            await store.write("a", a_round("888", 70))
            assert await store.news(SECONDS) is True


# ---- TLS ----


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca.pem`, and two certificates for 127.0.0.1 signed by it: `server.pem` with `server.key`, and `client.*`."""
    place = tmp_path_factory.mktemp("tls")
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl(place, "req", "-x509", *key, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test authority")
    (place / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for who in ("server", "client"):
        openssl(place, "req", *key, "-keyout", f"{who}.key", "-out", f"{who}.csr", "-subj", f"/CN={who}")
        openssl(place, "x509", "-req", "-in", f"{who}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-extfile", "names", "-out", f"{who}.pem")  # fmt: skip
    return place


def openssl(place: Path, *words: str) -> None:
    assert shutil.which("openssl"), "openssl is missing: install it with your system's package manager"
    subprocess.run(["openssl", *words], cwd=place, check=True, capture_output=True, timeout=60)


@pytest.fixture
def tls_server(bare_server: RedisServer, certificates: Path) -> RedisServer:
    start_with_tls(bare_server, certificates)
    return bare_server


def start_with_tls(server: RedisServer, certificates: Path, clients: str = "no", *more: str) -> None:
    server.start("--port", "0", "--tls-port", str(server.port), *tls_options(certificates, clients), *more)


def tls_options(certificates: Path, clients: str) -> list[str]:
    files = {"cert": "server.pem", "key": "server.key", "ca-cert": "ca.pem"}
    options = [word for name, file in files.items() for word in (f"--tls-{name}-file", str(certificates / file))]
    return [*options, "--tls-auth-clients", clients]


def tls_url(server: RedisServer, **options: object) -> str:
    query = "&".join(f"ssl_{name}={quote(str(value), safe='')}" for name, value in options.items())
    return server.url.replace("redis://", "rediss://") + (f"?{query}" if query else "")


async def test_over_tls_with_an_authority_of_ones_own(tls_server: RedisServer, certificates: Path) -> None:
    await works(tls_url(tls_server, ca_certs=certificates / "ca.pem"))


async def test_over_tls_a_certificate_that_nobody_vouches_for_is_refused(tls_server: RedisServer) -> None:
    line = await refused(tls_url(tls_server))
    assert line.startswith(f"Redis at 127.0.0.1:{tls_server.port}/0: its certificate is not trusted: ")
    await works(tls_url(tls_server, cert_reqs="none"))


async def test_over_tls_a_certificate_for_another_name_is_refused(tls_server: RedisServer, certificates: Path) -> None:
    url = tls_url(tls_server, ca_certs=certificates / "ca.pem").replace("127.0.0.1", "localhost")
    line = await refused(url)
    assert "its certificate is not trusted: " in line and "localhost" in line


async def test_over_tls_with_a_certificate_of_the_client(bare_server: RedisServer, certificates: Path) -> None:
    start_with_tls(bare_server, certificates, clients="yes")
    files = {name: certificates / f"client.{end}" for name, end in (("certfile", "pem"), ("keyfile", "key"))}
    await works(tls_url(bare_server, ca_certs=certificates / "ca.pem", **files))
    async with store_at(tls_url(bare_server, ca_certs=certificates / "ca.pem")) as store:
        with pytest.raises(StoreUnavailable):
            await store.read()


async def test_over_tls_a_cluster_is_found(bare_server: RedisServer, certificates: Path) -> None:
    bare_server.port = node_port()
    start_with_tls(bare_server, certificates, "no", "--cluster-enabled", "yes", "--tls-cluster", "yes")
    with redis.Redis("127.0.0.1", bare_server.port, ssl=True, ssl_ca_certs=str(certificates / "ca.pem")) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    url = f"rediss+cluster://127.0.0.1:{bare_server.port}?ssl_ca_certs={certificates / 'ca.pem'}"
    await until_it_works(url)
    assert "its certificate is not trusted: " in await refused(url.partition("?")[0])


async def test_over_tls_sentinels_are_asked(tls_server: RedisServer, certificates: Path, tmp_path: Path) -> None:
    watch = f"sentinel monitor prices 127.0.0.1 {tls_server.port} 1\n"
    with sentinel(tmp_path, watch, *tls_options(certificates, "no"), "--tls-replication", "yes", tls=True) as port:
        url = f"rediss+sentinel://127.0.0.1:{port}/prices?ssl_ca_certs={certificates / 'ca.pem'}"
        await until_it_works(url)
        assert "none of its Sentinels answers" in await refused(url.replace("/prices", "/other"))


async def until_it_works(url: str) -> None:
    """Sentinels and nodes of a Cluster need a moment to find out which servers are up."""
    async with asyncio.timeout(60):
        while True:
            with contextlib.suppress(StoreUnavailable):
                return await works(url)
            await asyncio.sleep(0.05)


# ---- servers that are not a single Redis server ----


@contextlib.contextmanager
def sentinel(directory: Path, watches: str = "", *options: str, tls: bool = False) -> Iterator[int]:
    """A Sentinel that watches nothing by default; yields its port."""
    server = RedisServer(directory, free_port())
    file = directory / "sentinel.conf"
    file.write_text(watches)
    try:
        server.start(*(("--port", "0", "--tls-port", str(server.port)) if tls else ()), *options, file=file)
        yield server.port
    finally:
        server.stop()


async def test_a_sentinel_is_told_from_a_server(tmp_path: Path) -> None:
    with sentinel(tmp_path) as port:
        for url in (f"redis://127.0.0.1:{port}", f"redis://127.0.0.1:{port}/0"):
            line = await refused(url)
            assert line.endswith(
                ": it is a Sentinel, which keeps no prices; REDIS_URL must be redis+sentinel://HOST:PORT/PRIMARY"
            )
        assert "REDIS_URL must name one Redis server" in await refused(f"redis://127.0.0.1:{port}/2")


def start_as_node(server: RedisServer) -> None:
    # A node also listens on a port 10,000 higher, which must lie outside the system's range for outgoing connections.
    server.port = node_port()
    server.start("--cluster-enabled", "yes")


def node_port() -> int:
    return next(port for port in iter(free_port, None) if port < 22_000)


@pytest.mark.parametrize("slots", ["0", "16383"], ids=["one slot", "every slot"])
async def test_a_node_of_a_cluster_is_told_from_a_server_whatever_it_could_hold(
    bare_server: RedisServer, slots: str
) -> None:
    start_as_node(bare_server)
    with redis.Redis(port=bare_server.port) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", slots)
    assert (await refused(bare_server.url)).startswith(f"Redis at 127.0.0.1:{bare_server.port}/0: {CLUSTER}")


async def test_a_server_that_takes_the_place_of_another_kind_is_taken(bare_server: RedisServer) -> None:
    start_as_node(bare_server)
    async with store_at(bare_server.url) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="Cluster"):
                await store.claim("a", 60)
        bare_server.stop()
        bare_server.start()
        with contextlib.suppress(StoreUnavailable):  # The store may first have to notice that its connection is dead.
            await store.claim("a", 60)
        assert await store.claim("a", 60) is True
        bare_server.stop()
        bare_server.start("--cluster-enabled", "yes")
        with pytest.raises(StoreUnavailable):
            await store.claim("a", 60)
        with pytest.raises(StoreUnavailable, match="Cluster"):
            await store.claim("a", 60)


# Answers that a server, or something in between, may give, some repeating what was sent; and our message for each.
ANSWERS: dict[str, tuple[bytes, str]] = {
    "moved": (b"-MOVED 3999 10.0.0.9:6381\r\n", CLUSTER),
    "ask": (b"-ASK 3999 10.0.0.9:6381\r\n", CLUSTER),
    "slots": (b"-CROSSSLOT Keys in request don't hash to the same slot\r\n", CLUSTER),
    "cluster down": (b"-CLUSTERDOWN Hash slot not served\r\n", CLUSTER),
    "knows nothing": (
        b"-ERR unknown command 'x', with args beginning with: '" + SECRET.encode() + b"'\r\n",
        "it does not know a command that is needed; REDIS_URL must name one Redis server",
    ),
    "master down": (b"-MASTERDOWN Link with MASTER is down\r\n", "a replica that has lost its primary (MASTERDOWN)"),
    "replica": (b"-READONLY You can't write against a read only replica.\r\n", "a read-only replica (READONLY)"),
    "replica, in a script": (
        b"-ERR Error running script (call to f_1): @user_script:5: -READONLY You can't write.\r\n", "(READONLY)"
    ),
    "loading": (b"-LOADING Redis is loading the dataset in memory\r\n", "it is still loading its data (LOADING)"),
    "full": (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", "its memory is full (OOM)"),
    "cannot save": (b"-MISCONF Redis is configured to save RDB snapshots\r\n", "(MISCONF)"),
    "too many": (b"-ERR max number of clients reached\r\n", "it takes no more clients (maxclients)"),
    "protected": (b"-DENIED Redis is running in protected mode because\r\n", "protected mode"),
    "no password": (b"-ERR Client sent AUTH, but no password is set\r\n", "it has no password, and REDIS_URL has one"),
    "no such database": (b"-ERR DB index is out of range\r\n", "it has no database of the number in REDIS_URL"),
    "no Redis": (b"HTTP/1.1 400 Bad Request\r\n\r\n", "it does not answer as a Redis does"),
    "no text": (b"-ERR \xff\xfe\xed\xa0\x80\r\n", "it "),
    "a torn redirection": (b"-MOVED\r\n", "it "),
    "hangs up": (b"", "it closed the connection"),
} | {
    f"repeats {how}": (b"-" + code + b" " + words.encode() + b"\r\n", "it answers with an error")
    for how, words in {
        "as it is": SECRET, "encoded": quote(SECRET, safe=""), "encoded twice": quote(quote(SECRET, safe=""), safe=""),
        "in capitals": SECRET.upper(), "in small letters": SECRET.lower(), "as JSON": json.dumps(SECRET),
        "in base64": base64.b64encode(SECRET.encode()).decode(), "in hex": SECRET.encode().hex(), "backwards": SECRET[::-1],
    }.items()
    for code in (b"ERR", b"STRANGE")
}
# In every type of answer that a server can give, a value of another type than expected.
STRANGE = (
    b":5\r\n", b"*0\r\n", b"*-1\r\n", b"$-1\r\n", b"+OK\r\n", b"$2\r\n\xff\xfe\r\n", b"*1\r\n*1\r\n:1\r\n", b"*2\r\n*0\r\n*0\r\n",
    b"*3\r\n+a\r\n+b\r\n+c\r\n", b"%1\r\n+a\r\n+b\r\n", b"*2\r\n$-1\r\n-ERR x\r\n", b"-\r\n", b"\r\n", b"*" + b"9" * 30 + b"\r\n",
    b"*1\r\n" * 2_000 + b":1\r\n",
)  # fmt: skip


@pytest.mark.parametrize(("answer", "line"), ANSWERS.values(), ids=ANSWERS)
async def test_what_a_server_says_is_told_in_words_that_help_and_without_secrets(answer: bytes, line: str) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while answer and await reader.read(1 << 16):
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        # An error is also the answer to the first command, which is AUTH if there is a password.
        assert line in await refused(f"redis://127.0.0.1:{port}?password={quote(SECRET, safe='')}")


@pytest.mark.parametrize("answer", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize("before", [0, 1], ids=["from the start", "after the first command"])
async def test_no_answer_makes_an_operation_raise_what_is_no_failure_of_a_store(answer: bytes, before: int) -> None:
    async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers = before
        while await reader.read(1 << 16):
            writer.write(b"*2\r\n+mode\r\n+standalone\r\n" if answers > 0 else answer)
            answers -= 1
        writer.close()

    async with await asyncio.start_server(reply, "127.0.0.1", 0) as server:
        async with store_at(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}", seconds=0.3) as store:
            for operation in (
                store.read(), store.write("a", a_round()), store.claim("a", 60), store.holder("a right"),
                store.release("a"), store.news(0.01),
            ):  # fmt: skip
                with contextlib.suppress(StoreUnavailable):
                    result: Any = await operation
                    # The name of a leader or of a holder of a right may be any text.
                    assert result in (None, True, False) or isinstance(result, str) or result[1] == Stored()


async def test_a_server_without_auth_does_not_make_us_tell_the_password(bare_server: RedisServer) -> None:
    bare_server.start("--rename-command", "AUTH", "")
    line = await refused(with_name(bare_server.url))
    assert line.endswith("it does not know a command that is needed; REDIS_URL must name one Redis server")


async def test_a_server_without_hello_is_taken_for_what_it_can(bare_server: RedisServer) -> None:
    bare_server.start("--rename-command", "HELLO", "")
    await works(bare_server.url)
