"""The stream faults that keep a connection from being opened.

The function's name is the fault's name, and its docstring is the fault's meaning.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable

from aiohttp import web

from fastprice.market.connection import RESET
from fastprice.market.refusals import CLOUDFRONT, ELIGIBILITY, HTML

Refusal = Callable[[web.Request, float], Awaitable[web.StreamResponse]]


async def handshake_429(request: web.Request, seconds: float) -> web.StreamResponse:
    """429 with Retry-After `seconds` (default 5)."""
    return web.Response(status=429, headers={"Retry-After": str(round(seconds))})


async def handshake_451(request: web.Request, seconds: float) -> web.StreamResponse:
    """451, not served in this country."""
    return web.Response(body=ELIGIBILITY, status=451)


async def handshake_403(request: web.Request, seconds: float) -> web.StreamResponse:
    """403 with a CloudFront page."""
    return web.Response(body=CLOUDFRONT, status=403, headers=HTML)


async def handshake_503(request: web.Request, seconds: float) -> web.StreamResponse:
    """503."""
    return web.Response(status=503)


async def handshake_301(request: web.Request, seconds: float) -> web.StreamResponse:
    """301 to a place that does not speak WebSocket."""
    return web.Response(status=301, headers={"Location": "/"})


async def handshake_hang(request: web.Request, seconds: float) -> web.StreamResponse:
    """Never answered; the connection ends when the client or the market gives up."""
    forever: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await forever


async def handshake_reset(request: web.Request, seconds: float) -> web.StreamResponse:
    """TCP is reset in place of an answer, as when TLS fails."""
    if request.transport:
        request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        request.transport.abort()
    return web.Response()


async def token_500(request: web.Request, seconds: float) -> web.StreamResponse:
    """Where a token is needed first (kucoin), asking for it is answered with 500; connections go on."""
    return web.Response(status=500)


HANDSHAKES: dict[str, Refusal] = {
    fault.__name__: fault
    for fault in (
        handshake_429, handshake_451, handshake_403, handshake_503, handshake_301, handshake_hang, handshake_reset,
        token_500,
    )
}  # fmt: skip
