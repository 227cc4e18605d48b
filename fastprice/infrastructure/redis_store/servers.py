"""The kinds of Redis, each with redis-py's own client: how a server is checked, and how it is reconnected."""

import contextlib
from collections.abc import Mapping
from typing import Any

from redis.asyncio import BlockingConnectionPool, Connection, Redis, RedisCluster, SSLConnection
from redis.asyncio.client import PubSub
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import UnixDomainSocketConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from fastprice.infrastructure.redis_store.limit import limit
from fastprice.infrastructure.redis_url import RedisUrl

MAX_CONNECTIONS = 8

ONE_SERVER = "REDIS_URL must name one Redis server"
KINDS = {
    b"sentinel": "it is a Sentinel, which keeps no prices; REDIS_URL must be redis+sentinel://HOST:PORT/PRIMARY",
    b"cluster": "it is a node of a Redis Cluster; REDIS_URL must be redis+cluster://HOST:PORT",
}


class WrongKind(RedisError):
    """The server is a Redis, but not of the kind that REDIS_URL names; the text says what to do."""


class OneServer:
    """The server at one address, which may later lead to another server; `redis` is its client."""

    redis: Any

    def __init__(self, url: RedisUrl, seconds: float) -> None:
        self._url = url
        self.redis = Redis.from_pool(self._new_pool())
        self._checked = False

    async def check(self) -> None:
        """Ask once, and again after every failure, what kind of server this is; raises WrongKind."""
        if self._checked:
            return
        try:
            told = await self.redis.execute_command("HELLO")
        except ResponseError as error:
            # HELLO is not permitted, or the server is older than 6.0, or something in between does not know HELLO.
            if not isinstance(error, NoPermissionError) and "unknown command" not in str(error):
                raise
            told = None
        for kind, words in KINDS.items():
            if isinstance(told, list) and kind in told:
                raise WrongKind(words)
        self._checked = True

    def pubsub(self) -> PubSub:
        pubsub: PubSub = self.redis.pubsub()
        return pubsub

    async def reconnect(self) -> None:
        """Drop all connections after a failure: those in use end when they are returned to the pool.

        The address may lead to another server by now, while the old server still runs, demoted.
        """
        self._checked = False
        left, self.redis.connection_pool = self.redis.connection_pool, self._new_pool()
        await left.update_active_connections_for_reconnect()
        await left.disconnect(inuse_connections=False)

    async def close(self) -> None:
        await self.redis.aclose()
        await self.redis.connection_pool.disconnect()

    def _new_pool(self) -> BlockingConnectionPool:
        (kind, place) = (UnixDomainSocketConnection, {"path": self._url.path}) if self._url.kind == "unix" else (
            SSLConnection if self._url.tls else Connection, dict(zip(("host", "port"), self._url.hosts[0], strict=True))
        )  # fmt: skip
        options = _options(self._url) | _of_pool(self._url) | place
        return BlockingConnectionPool(connection_class=kind, **options)


class Sentinels(OneServer):
    """The server that the Sentinels name as the primary; they are asked again before each connection."""

    def __init__(self, url: RedisUrl, seconds: float) -> None:
        options = {name: word for name, word in _options(url).items() if not name.endswith(("username", "password"))}
        for name in ("username", "password"):
            options[name] = url.options.get(f"sentinel_{name}")
        options["ssl"] = url.tls
        self._sentinels = _Sentinels(url.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
        for each in self._sentinels.sentinels:
            each.connection_pool.connection_class = _giving_up(url.tls, seconds)
        super().__init__(url, seconds)

    async def close(self) -> None:
        await super().close()
        await self._sentinels.aclose()

    def _new_pool(self) -> BlockingConnectionPool:
        options = _options(self._url) | _of_pool(self._url) | {"ssl": self._url.tls}
        return _PrimaryPool(self._url.primary, self._sentinels, **options)  # type: ignore[no-untyped-call]


class _PrimaryPool(SentinelConnectionPool, BlockingConnectionPool):
    """Both: connections to the primary, and a caller waits while all of them are in use."""


class _Sentinels(Sentinel):
    async def discover_master(self, service_name: str) -> Any:
        """As in the library, but a Sentinel that does not answer within our time limit is asked last the next time."""
        first = self.sentinels[0]
        try:
            return await super().discover_master(service_name)
        except BaseException:
            self.sentinels = [*(each for each in self.sentinels if each is not first), first]
            raise


class Cluster:
    """The nodes of a Cluster, one of which has all our keys; `key` is one of these keys."""

    def __init__(self, url: RedisUrl, seconds: float, key: str) -> None:
        self._key = key
        self._failed: str | None = None
        nodes = [ClusterNode(host, port) for host, port in url.hosts]
        most = 8 * MAX_CONNECTIONS
        self.redis: Any = RedisCluster(startup_nodes=nodes, max_connections=most, ssl=url.tls, **_options(url))
        kind = _giving_up(url.tls, seconds)
        self.redis.get_connection_kwargs()["connection_class"] = kind  # For the nodes that are found later.
        for node in self.redis.startup_nodes:
            node.connection_class = kind

    async def check(self) -> None:
        """Find out, at the start and after each failure, which node has our keys; the failed node is asked last."""
        await self.redis.initialize(last_failed_node_name=self._failed)

    def pubsub(self) -> PubSub:
        """Every node passes on all messages: we subscribe at the node with our keys, to notice its end at once."""
        pubsub: PubSub = self.redis.pubsub()
        return pubsub

    async def reconnect(self) -> None:
        """Drop all connections, and everything known about the nodes except their addresses."""
        with contextlib.suppress(RedisError):
            self._failed = self.redis.get_node_from_key(self._key).name
        await self.redis.aclose()

    async def close(self) -> None:
        await self.redis.aclose()


def _giving_up(tls: bool, seconds: float) -> type[Connection]:
    kind: type[Connection] = SSLConnection if tls else Connection

    class GivingUp(kind):  # type: ignore[valid-type, misc]
        """A connection with half of the time to connect, so that another server can be tried if this one is gone.

        The client's own limit would also count the time in which this worker did not run: see limit.
        """

        async def _connect(self) -> None:
            async with limit(seconds / 2):
                await super()._connect()

    return GivingUp


def servers(url: RedisUrl, seconds: float, key: str) -> OneServer | Sentinels | Cluster:
    """The servers of the kind that a URL names; `seconds` is the time limit of one operation."""
    if url.kind == "redis+cluster":
        return Cluster(url, seconds, key)
    return (Sentinels if url.kind == "redis+sentinel" else OneServer)(url, seconds)


def _options(url: RedisUrl) -> dict[str, Any]:
    """What every connection needs."""
    own: Mapping[str, Any] = {name: word for name, word in url.options.items() if not name.startswith("sentinel_")}
    return dict(own) | {
        # By default the client would wait 5 s, eleven times (redis-py 8). Protocol 2 keeps the client's check for
        # connections that died while idle, which protocol 3's maintenance notifications switch off.
        "protocol": 2,
        "retry": Retry(NoBackoff(), 0),
        # Every operation here has its own limit. With a limit for each write, the client uses wait_for, which on
        # Python 3.11 loses a cancellation that comes as the write ends: a worker would go on instead of stopping.
        "socket_timeout": None,
        "socket_connect_timeout": None,
        # Shown in CLIENT LIST. By default the client parses its own package metadata: 3 MB in every worker.
        "driver_info": DriverInfo(name="fastprice", lib_version=None),
    }


def _of_pool(url: RedisUrl) -> dict[str, Any]:
    return {"db": url.number, "max_connections": MAX_CONNECTIONS, "timeout": None}
