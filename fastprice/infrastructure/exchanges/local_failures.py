"""Telling what this machine lacks from what a source does wrong."""

import errno
import socket
import ssl

from aiohttp.abc import AbstractResolver, ResolveResult

# What the system says when it lacks something of its own, knows no way to an address, or does not let us out. A host
# that is down can show as "no route" too; that is not told apart, because the next source is asked at once anyway.
LOCAL_ERRORS = frozenset(
    {
        errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EAGAIN, errno.EADDRNOTAVAIL, errno.EADDRINUSE,
        errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EAFNOSUPPORT, errno.EACCES, errno.EPERM,
    }
)  # fmt: skip


class Names(AbstractResolver):
    """Another resolver, and whose fault it is when a name is not found: the name's, or this machine's.

    It is the name's once another name was found after this one was first looked for in vain. While the name service
    fails for everybody no name is found, so none is to blame; a single name that is wrong is blamed from the second
    time on, when the next source in order has been asked in between.
    """

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver
        self._found = 0
        # How many had been found when these names were first looked for in vain.
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
        """Whether the last look for this name failed, or goes on."""
        return host in self._sought

    def is_to_blame(self, host: str) -> bool:
        """Whether other names have been found since."""
        return self._sought.get(host, self._found) < self._found


def is_local(error: OSError) -> bool:
    """Whether the system says that it is this machine which fails; TLS and name resolution count in other numbers."""
    return error.errno in LOCAL_ERRORS and not isinstance(error, ssl.SSLError | socket.gaierror)
