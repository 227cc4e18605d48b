"""How a WebSocket connection is made, and what its end means; no exception of aiohttp leaves this module."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import aiohttp
from yarl import URL

from fastprice.domain.errors import CoolDown, RateLimited, SourceDown, SourceError, SourceRefused
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.reply import one_line
from fastprice.infrastructure.exchanges.stream import MAX_FRAME_BYTES, Address, Stream

HANDSHAKE_SECONDS, CLOSE_SECONDS = 10.0, 1.0
# The pause after the exchange has cut a connection because of what we did.
CUT_SECONDS = 60.0


# Finds out where to connect; raises SourceError.
FindAddress = Callable[[], Awaitable[Address]]


class Ended(Exception):
    """Why a connection ended: `reason` is one of STREAM_REASONS, and `error` says what that means for the source."""

    def __init__(self, reason: str, error: SourceError) -> None:
        super().__init__(reason, error)
        self.reason, self.error = reason, error

    def __str__(self) -> str:
        return str(self.error)


async def connected(session: Session, find: FindAddress) -> tuple[Address, aiohttp.ClientWebSocketResponse[Any]]:
    """The address that was found, and a connection to it; raises Ended."""
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            address = await find()
            return address, await _connect(session, address.url)
    except TimeoutError:
        raise Ended("refused", SourceDown(f"no stream within {HANDSHAKE_SECONDS:g} s")) from None
    except SourceError as error:
        raise Ended("refused", error) from None


async def _connect(session: Session, url: str) -> aiohttp.ClientWebSocketResponse[Any]:
    """A WebSocket connection; raises SourceError, also if the exchange refuses it."""
    proxy = URL(found) if (found := session.find_proxy(url)) else None
    try:
        # Pings are not answered automatically: they must be seen here, because they count as signs of life.
        return await session.client().ws_connect(
            url, autoping=False, max_msg_size=MAX_FRAME_BYTES, proxy=proxy, decode_text=False,
            timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_SECONDS),
        )  # fmt: skip
    except aiohttp.InvalidURL:
        raise SourceRefused("the address of its stream is not a URL to connect to") from None
    except aiohttp.WSServerHandshakeError as error:
        raise SourceDown(f"its stream: {one_line(error.message)} in the handshake") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise session.failure(error, proxy) from None


def ended_by(stream: Stream, socket: aiohttp.ClientWebSocketResponse[Any], message: aiohttp.WSMessage) -> Ended:
    """Why a connection ended, by its last message, which is not a frame."""
    if isinstance(message.data, aiohttp.WebSocketError):
        large = message.data.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        words = one_line(f"its stream sent what cannot be read: {message.data}")
        return Ended("too_large" if large else "lost", SourceDown(words))
    code = socket.close_code or aiohttp.WSCloseCode.ABNORMAL_CLOSURE
    words = one_line(f"the stream was closed with {code:d} {message.extra or ''}")
    kind = stream.closes.get(code, RateLimited if code == aiohttp.WSCloseCode.POLICY_VIOLATION else SourceDown)
    if issubclass(kind, CoolDown):
        return Ended("refused", kind(words, CUT_SECONDS))
    return Ended("lost", kind(words))


def failure_in(ends: Sequence[BaseException | None]) -> str:
    """One line about the first failure among the results of tasks."""
    failure = next((end for end in ends if isinstance(end, Exception)), None)
    return f"the stream broke off ({one_line(str(failure) or type(failure).__name__)})"
