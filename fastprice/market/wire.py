"""The faults in how an answer is sent: late, in pieces, cut off, with an extra one, or not at all.

The function's name is the fault's name, and its docstring is the fault's meaning.
"""

import asyncio
import socket
import struct
from dataclasses import replace

from aiohttp import web

from fastprice.market.call import POISON, Call
from fastprice.market.exchange import Answer

DRIP_SECONDS = 0.1
EXTRA_SECONDS = 0.03
MISSING_BYTES = 100
RESET = struct.pack("ii", 1, 0)


def response_to(answer: Answer) -> web.Response:
    return web.Response(body=answer.body, status=answer.status, headers=answer.headers)


async def hang(request: web.Request, call: Call) -> web.StreamResponse:
    """Never answers; the connection ends when the client or the market gives up."""
    forever: asyncio.Future[web.StreamResponse] = asyncio.get_running_loop().create_future()
    return await forever


async def drip(request: web.Request, call: Call) -> web.StreamResponse:
    """The truth, one byte every 100 ms."""
    answer = call.truth()
    response = await _begin(request, answer, len(answer.body))
    for byte in answer.body:
        await response.write(bytes((byte,)))
        await asyncio.sleep(DRIP_SECONDS)
    return response


async def slow(request: web.Request, call: Call) -> web.StreamResponse:
    """The truth after `seconds` (default 1)."""
    await asyncio.sleep(call.switch.seconds)
    return response_to(call.truth())


async def truncated(request: web.Request, call: Call) -> web.StreamResponse:
    """The truth, but 100 bytes more are promised than sent before the connection is closed."""
    answer = call.truth()
    response = await _begin(request, answer, len(answer.body) + MISSING_BYTES)
    await response.write(answer.body)
    _transport(request).close()
    return response


async def extra(request: web.Request, call: Call) -> web.StreamResponse:
    """The truth, and 30 ms later on the same connection an answer nobody asked for, at 6666.66."""
    response = response_to(call.truth())
    await response.prepare(request)
    await response.write_eof()
    poison = call.lie(lambda tick: replace(tick, price=POISON, bid="6666.65", ask="6666.67")).body
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(poison)}\r\n\r\n"
    asyncio.get_running_loop().call_later(EXTRA_SECONDS, _write, _transport(request), head.encode() + poison)
    return response


async def refuse(request: web.Request, call: Call) -> web.StreamResponse:
    """The connection is reset at once, without a reply."""
    transport = _transport(request)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()
    return web.Response()


async def _begin(request: web.Request, answer: Answer, length: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={**answer.headers, "Content-Length": str(length)})
    await response.prepare(request)
    return response


def _transport(request: web.Request) -> asyncio.Transport:
    if request.transport is None:
        raise ConnectionResetError("the client has gone")
    return request.transport


def _write(transport: asyncio.Transport, data: bytes) -> None:
    if not transport.is_closing():
        transport.write(data)


WIRE = {fault.__name__: fault for fault in (hang, drip, slow, truncated, extra, refuse)}
# These send the truth in the end.
TRUTHFUL = {"drip", "slow", "extra"}
