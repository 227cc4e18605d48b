"""The connections to the Redis that a URL names, and a description of its failures without secrets."""

import contextlib
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping

from redis.exceptions import ConnectionError, ResponseError

from fastprice.infrastructure.redis_store.limit import limit
from fastprice.infrastructure.redis_store.servers import KINDS, ONE_SERVER, WrongKind, servers
from fastprice.infrastructure.redis_url import RedisUrl

_CLOSED = "it closed the connection"
# What a server's errors mean, found by words in their text. The text itself is never shown: it may repeat anything
# that was sent to the server, in any spelling, including the password. The first match is taken, because an error
# inside a script is quoted within the script's own error.
_ERRORS = {
    "unknown command": f"it does not know a command that is needed; {ONE_SERVER}",
    "MASTERDOWN": "it is a replica that has lost its primary (MASTERDOWN); REDIS_URL must lead to the primary",
    "READONLY": "it is a read-only replica (READONLY); REDIS_URL must lead to the primary",
    "MOVED|ASK|CLUSTERDOWN|CROSSSLOT|TRYAGAIN": KINDS[b"cluster"],
    "LOADING": "it is still loading its data (LOADING)",
    "WRONGPASS|invalid password": "it refuses the name or the password in REDIS_URL (WRONGPASS)",
    "without any password|no password is set": "it has no password, and REDIS_URL has one",
    "NOAUTH|Authentication required|already authenticated": "it wants a password, and REDIS_URL has none",
    "NOPERM|ACL failure|can.t run this command": "the user in REDIS_URL lacks permissions (NOPERM)",
    "OOM": "its memory is full (OOM)",
    "MISCONF": "it takes no writes while it cannot save them to disk (MISCONF)",
    "NOREPLICAS": "it takes no writes while it has too few replicas (NOREPLICAS)",
    "BUSY": "it is busy with a script (BUSY)",
    "DENIED": "it takes no clients from other machines (DENIED: protected mode)",
    "max number of clients": "it takes no more clients (maxclients)",
    "DB index": "it has no database of the number in REDIS_URL",
}


# What errors mean where REDIS_URL names a group of servers.
_OF_A_GROUP = {
    "redis+sentinel": {
        "unknown command": "it is no Sentinel, which REDIS_URL says",
        "AuthenticationError|WRONGPASS|NOAUTH|Authentication required": (
            "a Sentinel or the primary refuses the name or the password: those for Sentinels are the options"
            " sentinel_username and sentinel_password"
        ),
        "No master found": "none of its Sentinels answers and knows a primary of this name that is up",
    },
    "redis+cluster": {
        "cluster support disabled": "it is no node of a Cluster, which REDIS_URL says",
        "CLUSTERDOWN|not covered|MOVED|TRYAGAIN": "the Cluster is down, or fails over just now (CLUSTERDOWN)",
    },
}


class RedisLink:
    """The servers with a time limit, and `place`, their address without secrets; `key` is one of the keys in use."""

    def __init__(self, url: str, timeout_seconds: float, key: str) -> None:
        parsed = RedisUrl.parse(url)
        self.place, self.number = parsed.place, parsed.number
        self.servers = servers(parsed, timeout_seconds, key)
        self._seconds = timeout_seconds
        self._errors = _OF_A_GROUP.get(parsed.kind, {}) | _ERRORS

    async def failed(self, error: Exception) -> str:
        """Why an operation failed, in one line without secrets; the next operation reconnects."""
        with contextlib.suppress(Exception):  # The connections may be broken in any way: that is why they are dropped.
            async with limit(self._seconds):
                await self.servers.reconnect()
        return _reason(error, self._errors)


def _reason(error: Exception, errors: Mapping[str, str]) -> str:
    """Our own words for a failure."""
    causes = list(_causes(error))
    if isinstance(error, WrongKind):
        return str(error)
    if any(isinstance(cause, TimeoutError) or "Timeout" in type(cause).__name__ for cause in causes):
        return "no answer in time"
    for cause in causes:
        if isinstance(cause, OSError):
            return _system_words(cause)
    # The client removes some codes from the text.
    said = "\n".join(f"{getattr(cause, 'status_code', '')} {cause}" for cause in causes)
    for pattern, words in errors.items():
        if re.search(rf"\b(?:{pattern})\b", said):
            return words
    if isinstance(error, ResponseError):
        return "it answers with an error"
    if type(error) is ConnectionError:
        return _CLOSED
    return f"it does not answer as a Redis does; {ONE_SERVER}"


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
