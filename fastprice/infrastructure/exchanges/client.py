"""Asking an exchange over HTTP with aiohttp: one deadline, a size cap, and nothing believed that was not asked for."""

import base64
import os
import ssl
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import DefaultResolver
from yarl import URL

from fastprice.application.events import SourceAsked
from fastprice.application.ports import Clock, Events
from fastprice.domain.errors import InvalidReply, LocalFailure, SourceDown, SourceError, SourceRefused, SourceTimeout
from fastprice.domain.quote import Pair, Quote
from fastprice.infrastructure.exchanges.local_failures import Names, is_local
from fastprice.infrastructure.exchanges.reply import Exchange, Reply
from fastprice.infrastructure.exchanges.watch import Watch

MAX_BODY_BYTES = 64 * 1024
MAX_HEADER_BYTES = 8 * 1024
# One per pair is asked for at most; waiting for a free one would count against the deadline of the answer.
MAX_CONNECTIONS = 1024
# A shorter part of a path guards nothing.
MIN_TOKEN = 8
# How a reason begins that is no source's fault.
CANNOT_ASK = "this machine cannot ask it"


# Which proxy leads to a URL; None where it is asked directly.
FindProxy = Callable[[str], str | None]


def no_proxy(url: str) -> str | None:
    return None


class Session:
    """The HTTP connections of one event loop, between `async with` and its end.

    None is used twice: a server that pushes a second answer into an idle one would otherwise answer our next request
    with it. One connection a second costs nothing against that.
    """

    def __init__(
        self, user_agent: str, find_proxy: FindProxy = no_proxy, resolver: AbstractResolver | None = None
    ) -> None:
        self._find_proxy = find_proxy
        self._headers = {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "identity"}
        self._client: aiohttp.ClientSession | None = None
        self._resolver = resolver
        self._names: Names

    async def __aenter__(self) -> "Session":
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
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.close()
            await self._names.close()

    def get(self, url: str, timeout: aiohttp.ClientTimeout) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """One GET, redirects not followed."""
        if self._client is None:
            raise RuntimeError("no source may be asked before the session is open")
        return self._client.get(url, timeout=timeout, allow_redirects=False, proxy=self.find_proxy(url))

    def find_proxy(self, url: str) -> URL | None:
        proxy = self._find_proxy(url)
        return URL(proxy) if proxy else None

    def out_of_time(self, url: str, seconds: float) -> SourceError:
        """What to say of a source that has not answered in time: nothing, where its name was still being looked up."""
        proxy, host = self.find_proxy(url), urlsplit(url).hostname or ""
        if self._names.is_unknown(host) and not self._names.is_to_blame(host):
            return LocalFailure(f"{CANNOT_ASK}: cannot find {host} within {seconds:g} s")
        return SourceTimeout(_by_way_of(proxy, f"no answer within {seconds:g} s"))

    def failure(self, error: Exception, proxy: URL | None = None) -> SourceError:
        """What an error of the connection says, of the source or of this machine."""
        system = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        local = isinstance(system, OSError) and is_local(system)
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            local = local or not self._names.is_to_blame(error.host)
        reason = _by_way_of(proxy, _reason(error))
        return LocalFailure(f"{CANNOT_ASK}: {reason}") if local else SourceDown(reason)

    async def _ask_once(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """Left to itself aiohttp asks again where a connection breaks; how often to ask is RetryingSource's."""
        try:
            return await handler(request)
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            raise self.failure(error, request.proxy) from None


class ExchangeSource:
    """A PriceSource over one exchange; the session must be open when it is asked."""

    def __init__(
        self,
        exchange: Exchange,
        base_url: str,
        timeout_seconds: float,
        session: Session,
        clock: Clock,
        events: Events,
    ) -> None:
        self.name, self.source_time = exchange.name, exchange.source_time
        self._exchange = exchange
        self._base_url = base_url.rstrip("/")
        self._secrets = _secrets(base_url) - {exchange.name}
        self._timeout_seconds = timeout_seconds
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session = session
        self._clock = clock
        self._events = events

    async def fetch(self, pair: Pair) -> Quote:
        started = self._clock.monotonic()
        outcome = "timeout"  # A cancelled call ran out of its caller's time.
        try:
            async with Watch(self._clock) as watch:
                reply = await self._get(self._exchange.target(pair), watch)
            quote = self._exchange.parse(pair, reply)
            if self._clock.monotonic() - started > self._timeout_seconds:
                # It came in time but was read later: this process, or its machine, was asleep meanwhile.
                raise SourceTimeout(f"its answer was read more than {self._timeout_seconds:g} s after the question")
            outcome = "ok"
            return quote
        except SourceError as error:
            outcome = error.outcome
            said = unquote(str(error)).casefold()
            if any(secret in said for secret in self._secrets):
                error.args = "its words are not shown, because they repeat a part of its URL", *error.args[1:]
            raise
        finally:
            self._events(SourceAsked(self.name, outcome, self._clock.monotonic() - started))

    async def _get(self, target: str, watch: Watch) -> Reply:
        url = self._base_url + target
        try:
            async with self._session.get(url, self._timeout) as response:
                return await self._read(response, watch)
        except TimeoutError:
            raise self._session.out_of_time(url, self._timeout_seconds) from None
        except aiohttp.ClientHttpProxyError as error:
            raise SourceRefused(_by_way_of(self._session.find_proxy(url), _proxy_words(error.status))) from None
        except aiohttp.ClientPayloadError:
            raise InvalidReply("the answer broke off") from None
        except aiohttp.InvalidURL:
            # Not shown, because it may carry a password.
            raise SourceRefused("its address is not a URL to ask") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._session.failure(error, self._session.find_proxy(url)) from None

    async def _read(self, response: aiohttp.ClientResponse, watch: Watch) -> Reply:
        if response.status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
            raise SourceRefused(_by_way_of(self._session.find_proxy(str(response.url)), _proxy_words(response.status)))
        if 300 <= response.status < 400:
            raise SourceRefused(f"HTTP {response.status}: redirects are not followed")
        try:
            body = await _body(response)
        except (InvalidReply, aiohttp.ClientPayloadError):
            if response.status < 400:
                raise
            body = b""  # A ban is a ban, however odd the page that comes with it.
        answered_at_ms = watch.answered_at_ms()
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, headers, body, answered_at_ms)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise InvalidReply("the body is compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise InvalidReply(f"the body is longer than {MAX_BODY_BYTES} bytes")
    return bytes(body)


def _by_way_of(proxy: URL | None, reason: str) -> str:
    """The reason, and that the proxy may be it; never with the proxy's password."""
    return f"through the proxy {proxy.host}:{proxy.port}: {reason}" if proxy else reason


def _proxy_words(status: int) -> str:
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        return "HTTP 407: it wants another name and password"
    return f"HTTP {status}: it does not connect us"


def _secrets(url: str) -> set[str]:
    """What a mirror may repeat of its URL and nobody else should read: name, password, and what may be a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()  # It is no URL, so nobody is told of it.
    whole = unquote(parts.netloc.rpartition("@")[0])
    tokens = (step for step in unquote(parts.path).split("/") if len(step) >= MIN_TOKEN)
    words = {whole, *whole.split(":", 1), base64.b64encode(whole.encode()).decode(), *tokens}
    return {word.casefold() for word in words} - {""}


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
    # asyncio puts words of its own in place of the system's.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)[:160]
