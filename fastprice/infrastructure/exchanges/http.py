"""The connections to exchanges, with aiohttp: one request under one deadline, never on a connection used before.

No exception of aiohttp leaves this module.
"""

import os
import ssl
from collections.abc import Callable
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver
from yarl import URL

from fastprice.domain.errors import InvalidReply, LocalFailure, SourceDown, SourceError, SourceRefused, SourceTimeout
from fastprice.infrastructure.exchanges.body import Size, inflated, read_body
from fastprice.infrastructure.exchanges.handshake import refused_upgrade
from fastprice.infrastructure.exchanges.local_failures import Names, is_local
from fastprice.infrastructure.exchanges.reply import Reply
from fastprice.infrastructure.exchanges.watch import Watch

MAX_HEADER_BYTES = 8 * 1024
# Waiting for a free connection would count against the deadline of the answer.
MAX_CONNECTIONS = 1024
# How a reason begins that is not the fault of a source.
CANNOT_ASK = "this machine cannot ask it"

# The proxy for a URL; None where there is no proxy.
FindProxy = Callable[[str], str | None]


class Session:
    """The HTTP connections of one event loop, between `async with` and its end.

    No connection is used twice: a second answer that a server pushes into an idle connection would be taken for the
    answer to our next request. Compared with that, one new connection a second costs nothing.
    """

    def __init__(
        self, user_agent: str, find_proxy: FindProxy = lambda url: None, resolver: AbstractResolver | None = None
    ) -> None:
        self.find_proxy = find_proxy
        self._headers = {"User-Agent": user_agent, "Accept": "application/json"}
        self._resolver = resolver
        self._names: Names
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Session":
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.close()
            await self._names.close()

    def client(self) -> aiohttp.ClientSession:
        """The client, made when it is first needed: it takes half a megabyte, and followers never need it."""
        if self._client is None:
            self._names = Names(self._resolver or DefaultResolver())
            self._client = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True, limit=MAX_CONNECTIONS, resolver=self._names),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                middlewares=(self._ask_once,),
                headers=self._headers,
                max_line_size=MAX_HEADER_BYTES,
                max_field_size=MAX_HEADER_BYTES,
            )
        return self._client

    async def get(self, url: str, seconds: float, size: Size, watch: Watch, method: str = "GET") -> Reply:
        """The answer to one request within `seconds`, without following redirects; raises SourceError."""
        headers, timeout = {"Accept-Encoding": size.encoding}, aiohttp.ClientTimeout(total=seconds)
        proxy = URL(found) if (found := self.find_proxy(url)) else None
        try:
            asked = self.client().request(
                method, url, timeout=timeout, headers=headers, allow_redirects=False, proxy=proxy
            )
            async with asked as response:
                return await _reply(response, size, watch, proxy)
        except TimeoutError:
            raise self._out_of_time(url, seconds, proxy) from None
        except aiohttp.ClientPayloadError:
            raise InvalidReply("the answer broke off") from None
        except aiohttp.InvalidURL:
            # The URL is not shown, because it may contain a password.
            raise SourceRefused("its address is not a URL to ask") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self.failure(error, proxy) from None

    def _out_of_time(self, url: str, seconds: float, proxy: URL | None) -> SourceError:
        """The error for an answer that did not come in time: a local one if the name was still being looked up."""
        host = (proxy.host if proxy else urlsplit(url).hostname) or ""
        if self._names.is_unknown(host) and not self._names.is_to_blame(host):
            return LocalFailure(f"{CANNOT_ASK}: cannot find {host} within {seconds:g} s")
        return SourceTimeout(_by_way_of(proxy, f"no answer within {seconds:g} s"))

    def failure(self, error: Exception, proxy: URL | None = None) -> SourceError:
        """What an error of the connection says about the source, the proxy or this machine."""
        if isinstance(error, aiohttp.ClientHttpProxyError):
            return _refused_by_proxy(proxy, error.status)
        system = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        local = isinstance(system, OSError) and is_local(system)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            local = local or not self._names.is_to_blame(error.host)
        reason = _by_way_of(proxy, _reason(error))
        return LocalFailure(f"{CANNOT_ASK}: {reason}") if local else SourceDown(reason)

    async def _ask_once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """By default aiohttp repeats a request if its connection breaks; here the rounds decide how often to call."""
        try:
            response = await handler(request)
            # aiohttp itself would only report that the status is not the right one, and would follow redirects.
            if request.headers.get("Upgrade") and response.status != HTTPStatus.SWITCHING_PROTOCOLS:
                raise await refused_upgrade(response)
            return response
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise self.failure(error, request.proxy) from None


async def _reply(response: aiohttp.ClientResponse, size: Size, watch: Watch, proxy: URL | None) -> Reply:
    if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        raise _refused_by_proxy(proxy, response.status)
    if 300 <= response.status < 400:
        raise SourceRefused(f"HTTP {response.status}: redirects are not followed")
    try:
        body, gzip = await read_body(response, size)
        if gzip and response.status >= 400:
            body, gzip = inflated(body), False
    except (InvalidReply, aiohttp.ClientPayloadError):
        if response.status < 400:
            raise
        body, gzip = b"", False  # A ban counts even if its page cannot be read.
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Reply(response.status, headers, body, watch.answered_at_ms(), gzip=gzip)


def _refused_by_proxy(proxy: URL | None, status: int) -> SourceRefused:
    wrong_key = status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED
    words = "it wants another name and password" if wrong_key else "it does not connect us"
    return SourceRefused(_by_way_of(proxy, f"HTTP {status}: {words}"))


def _by_way_of(proxy: URL | None, reason: str) -> str:
    """The reason, naming the proxy as the possible cause; never with the proxy's password."""
    return f"through the proxy {proxy.host}:{proxy.port}: {reason}" if proxy else reason


def _reason(error: Exception) -> str:
    """One line for a person: what could not be done, without the library's decoration."""
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"cannot find {error.host} (no network, or no such host)"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect to {error.host}:{error.port} ({_system_words(error.os_error)})"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the connection was closed without an answer"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is not HTTP"
    if isinstance(error, OSError):
        return _system_words(error)
    return (str(error) or type(error).__name__).splitlines()[0][:160]


def _system_words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {getattr(error, 'verify_message', '') or error.reason}"
    # asyncio replaces the system's text with its own.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)[:160]
