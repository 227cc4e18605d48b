"""The way to the Redis that a URL names: short limits on time, one plain server, and no word of its secrets."""

import contextlib
import os
import re
import socket
import ssl
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import ConnectionError, NoPermissionError, RedisError, ResponseError

MAX_CONNECTIONS = 8

_CLOSED = "it closed the connection"
_ONE_SERVER = "REDIS_URL must name one Redis server"
_KINDS = {
    b"sentinel": f"it is a Sentinel, which keeps no prices; {_ONE_SERVER}, the primary it watches",
    b"cluster": f"it is a node of a Redis Cluster, which is not supported; {_ONE_SERVER} that is in no cluster",
}
# What a server's errors mean, found by what stands in them. Their own text is never shown: it may repeat whatever the
# server was told, in any spelling, and that includes the password. The first that fits is taken, because an error that
# a script meets is quoted within the script's own.
_ERRORS = {
    "unknown command": f"it does not know a command that is needed; {_ONE_SERVER}",
    "MASTERDOWN": "it is a replica that has lost its primary (MASTERDOWN); REDIS_URL must lead to the primary",
    "READONLY": "it is a read-only replica (READONLY); REDIS_URL must lead to the primary",
    "MOVED|ASK|CLUSTERDOWN|CROSSSLOT|TRYAGAIN": _KINDS[b"cluster"],
    "LOADING": "it is still loading its data (LOADING)",
    "WRONGPASS|invalid password": "it refuses the name or the password in REDIS_URL (WRONGPASS)",
    "without any password|no password is set": "it has no password, and REDIS_URL has one",
    "NOAUTH|Authentication required|already authenticated": "it wants a password, and REDIS_URL has none",
    "NOPERM": "the user in REDIS_URL lacks permissions (NOPERM)",
    "OOM": "its memory is full (OOM)",
    "MISCONF": "it takes no writes while it cannot save them to disk (MISCONF)",
    "NOREPLICAS": "it takes no writes while it has too few replicas (NOREPLICAS)",
    "BUSY": "it is busy with a script (BUSY)",
    "DENIED": "it takes no clients from other machines (DENIED: protected mode)",
    "max number of clients": "it takes no more clients (maxclients)",
    "DB index": "it has no database of the number in REDIS_URL",
}


class WrongKind(RedisError):
    """What answers is a Redis, but none that can be a store; the text says what to do."""


class RedisLink:
    """A client with its limits, `place` to speak of it in public, and its failures in words that anybody may read."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.place = place(url)
        self._new_pool = partial(_pool, url, timeout_seconds)
        self.redis = Redis.from_pool(self._new_pool())
        self._checked = False

    async def check(self) -> None:
        """Ask once, and again after every failure, what kind of server this is; raises WrongKind."""
        if self._checked:
            return
        try:
            told = await self.redis.execute_command("HELLO")  # type: ignore[no-untyped-call]
        except ResponseError as error:
            # Not permitted; or older than 6.0, or something in between that does not know it.
            if not isinstance(error, NoPermissionError) and "unknown command" not in str(error):
                raise
            told = None
        for kind, words in _KINDS.items():
            if isinstance(told, list) and kind in told:
                raise WrongKind(words)
        self._checked = True

    async def failed(self, error: Exception) -> str:
        """Why an operation failed, in a line without secrets; the next one connects anew.

        The address may lead to another server by now, while the one that it led to lives on, demoted.
        """
        self._checked = False
        left, self.redis.connection_pool = self.redis.connection_pool, self._new_pool()
        # Those in use now end when they are given back.
        await left.update_active_connections_for_reconnect()  # type: ignore[no-untyped-call]
        with contextlib.suppress(RedisError, OSError):
            await left.disconnect(inuse_connections=False)
        return _reason(error)


def place(url: str) -> str:
    """Where a Redis URL leads, without the secrets it may carry; the URL is one that the settings let through."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or 6379}{parts.path.rstrip('/')}"


def _pool(url: str, timeout_seconds: float) -> BlockingConnectionPool:
    # Left to itself the client would wait 5 s, eleven times over (redis-py 8 defaults). Protocol 2 keeps its check
    # for connections that died while idle, which protocol 3's maintenance notifications switch off.
    return BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=MAX_CONNECTIONS,
        timeout=None,
        # Every operation here has a limit of its own. Given one for each write, the client uses wait_for, which on
        # Python 3.11 drops a cancellation that comes as the write ends: a worker would go on instead of stopping.
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        # Shown in CLIENT LIST. Left to itself the client parses its own package metadata: 3 MB in every worker.
        driver_info=DriverInfo(name="fastprice", lib_version=None),
    )


def _reason(error: Exception) -> str:
    """Our own words for a failure."""
    causes = list(_causes(error))
    if isinstance(error, WrongKind):
        return str(error)
    if any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in causes):
        return "no answer in time"
    for cause in causes:
        if isinstance(cause, OSError):
            return _system_words(cause)
    # The client takes some codes out of the text.
    said = f"{getattr(error, 'status_code', '')} {error}"
    for pattern, words in _ERRORS.items():
        if re.search(rf"\b(?:{pattern})\b", said):
            return words
    if isinstance(error, ResponseError):
        return "it answers with an error"
    if type(error) is ConnectionError:
        return _CLOSED
    return f"it does not answer as a Redis does; {_ONE_SERVER}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _system_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"no TLS connection ({error.reason})"
    if isinstance(error, socket.gaierror):
        return "its name cannot be resolved"
    if isinstance(error, ConnectionResetError | BrokenPipeError):
        return _CLOSED
    return os.strerror(error.errno) if error.errno else "it cannot be connected to"
