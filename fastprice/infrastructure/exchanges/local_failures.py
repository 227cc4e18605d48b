"""Distinguishing failures of this machine from failures of a source."""

import errno
import socket
import ssl

from aiohttp.abc import AbstractResolver, ResolveResult

# The system's errors if it lacks resources, knows no route to an address, or does not allow the connection. A host that
# is down can also show as "no route"; this is not distinguished, because the next source is called at once anyway.
LOCAL_ERRORS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL, errno.EADDRINUSE,
        errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM,
    }
)  # fmt: skip


class Names(AbstractResolver):
    """Wraps another resolver, and tells whose fault it is when a name is not found: the name's, or this machine's.

    It is the name's once another name was found after the first failed lookup of this one. While the name service
    fails for all names, none is found, so none is to blame; a single wrong name is blamed from its second failure on,
    when the next source in order has been called in between.
    """

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver
        self._found = 0
        # By name: how many names had been found when it was first looked up without success.
        self._sought: dict[str, int] = {}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        self._sought.setdefault(host, self._found)
        try:
            found = await self._resolver.resolve(host, port, family)
        except RuntimeError as error:  # No thread could be started for it.
            raise OSError(errno.EAGAIN, str(error)) from None
        self._found += 1
        self._sought.pop(host, None)
        return found

    async def close(self) -> None:
        await self._resolver.close()

    def is_unknown(self, host: str) -> bool:
        """Whether the last lookup of this name failed, or is still running."""
        return host in self._sought

    def is_to_blame(self, host: str) -> bool:
        """Whether other names have been found since."""
        return self._sought.get(host, self._found) < self._found


def is_local(error: OSError) -> bool:
    """Whether an error is a failure of this machine; TLS and name resolution have other error numbers."""
    return error.errno in LOCAL_ERRORS and not isinstance(error, ssl.SSLError | socket.gaierror)
