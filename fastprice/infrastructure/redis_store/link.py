"""The way to the Redis that a URL names: short limits on time, one plain server, and no word of its secrets."""

import re
import ssl
from collections.abc import Iterator
from urllib.parse import unquote, unquote_plus, urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.driver_info import DriverInfo
from redis.exceptions import (
    AskError, ClusterCrossSlotError, ClusterDownError, MovedError, NoPermissionError, RedisError, ResponseError
)

MAX_CONNECTIONS = 8
# Longer than any of our own words for a failure; a server's may be of any length.
MAX_WORDS = 160

_ONE_SERVER = "REDIS_URL must name one Redis server"
_KINDS = {
    b"sentinel": f"it is a Sentinel, which keeps no prices; {_ONE_SERVER}, the primary it watches",
    b"cluster": f"it is a node of a Redis Cluster, which is not supported; {_ONE_SERVER} that is in no cluster",
}
_CLUSTER_ERRORS = (AskError, ClusterCrossSlotError, ClusterDownError, MovedError)


class WrongKind(RedisError):
    """What answers is a Redis, but none that can be a store; the text says what to do."""


class RedisLink:
    """A client with its limits, `place` to speak of it in public, and its failures in words that anybody may read."""

    def __init__(self, url: str, timeout_seconds: float) -> None:
        self.place = place(url)
        self.redis = _client(url, timeout_seconds)
        self._secrets = _secrets(url)
        self._checked = False

    @property
    def db(self) -> int:
        return int(self.redis.connection_pool.connection_kwargs.get("db") or 0)

    async def check(self) -> None:
        """Ask once, and again after every failure, what kind of server this is; raises WrongKind."""
        if self._checked:
            return
        try:
            told = await self.redis.execute_command("HELLO")  # type: ignore[no-untyped-call]
        except NoPermissionError:
            told = None
        except ResponseError as error:
            # Older than 6.0, or something in between that does not know it.
            if not _unknown_command(error):
                raise
            told = None
        kind = dict(zip(told[::2], told[1::2], strict=False)).get(b"mode") if isinstance(told, list) else None
        if kind in _KINDS:
            raise WrongKind(_KINDS[kind])
        self._checked = True

    def failed(self, error: Exception) -> str:
        """Why an operation failed, in a line without secrets; whoever answers next may be another server."""
        self._checked = False
        words = _reason(error)
        for secret in self._secrets:
            words = words.replace(secret, "***")
        return (words.splitlines() or [""])[0][:MAX_WORDS].rstrip(". ")


def place(url: str) -> str:
    """Where a Redis URL leads, without the secrets it may carry."""
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return f"unix://{parts.path}"
    return f"{parts.hostname}:{parts.port or 6379}{parts.path.rstrip('/')}"


def _client(url: str, timeout_seconds: float) -> Redis:
    # Left to itself the client would wait 5 s, eleven times over (redis-py 8 defaults). Protocol 2 keeps its check
    # for connections that died while idle, which protocol 3's maintenance notifications switch off.
    pool = BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout_seconds,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        # Shown in CLIENT LIST. Left to itself the client parses its own package metadata: 3 MB in every worker.
        driver_info=DriverInfo(name="fastprice", lib_version=None),
    )
    return Redis.from_pool(pool)


def _secrets(url: str) -> list[str]:
    """The password, in its place or in an option, as it is written and as it is meant; the longest first.

    The name too where there is no password: who forgets the colon has written the password there.
    """
    parts = urlsplit(url)
    options = [part.removeprefix("password=") for part in parts.query.split("&") if part.startswith("password=")]
    written = [word for word in (parts.password, *options) if word] or [word for word in [parts.username] if word]
    meant = {unquote(word) for word in written} | {unquote_plus(word) for word in options}
    return sorted({*written, *meant}, key=len, reverse=True)


def _reason(error: Exception) -> str:
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(error, TimeoutError) or "Timeout" in type(error).__name__:
        return "no answer in time"
    if isinstance(error, _CLUSTER_ERRORS):
        return _KINDS[b"cluster"]
    if re.search("Authentication required|already authenticated", str(error)):
        return "it wants a password, and REDIS_URL has none"
    if command := _unknown_command(error):
        # The server's own words repeat what it was told, which for AUTH is the password.
        return f"it does not know {command}; {_ONE_SERVER}"
    return str(error) or type(error).__name__


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unknown_command(error: Exception) -> str | None:
    """The command that a server said it does not know."""
    found = re.match(r"(?:ERR )?unknown command ['`]?(\w+)", str(error), re.IGNORECASE)
    return found[1].upper() if found else None
