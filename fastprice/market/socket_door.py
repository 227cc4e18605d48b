"""How a new WebSocket is handled: refused, or served until it ends."""

import asyncio

from aiohttp import WSMsgType, web

from fastprice.market.connection import Connection
from fastprice.market.deeds import Deed
from fastprice.market.feed import Feed
from fastprice.market.handshakes import HANDSHAKES
from fastprice.market.streams import Streams

CLOSE_SECONDS = 0.2
MAX_MESSAGE_BYTES = 1 << 20
# How often to check whether the client has left a dead connection.
LOOK_SECONDS = 0.05
ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


def is_upgrade(request: web.Request) -> bool:
    return request.headers.get("Upgrade", "").lower() == "websocket"


async def open_socket(request: web.Request, feed: Feed, path: str, streams: Streams) -> web.StreamResponse:
    """One connection from its handshake to its end."""
    fault = HANDSHAKES.get(feed.switch.fault)
    if fault and feed.switch.fault != "token_500":
        return await fault(request, feed.switch.seconds)
    if feed.attempts_too_often():
        return web.Response(status=feed.dialect.refused, headers={"Retry-After": "60"})
    socket = web.WebSocketResponse(
        autoclose=False, autoping=False, compress=False, timeout=CLOSE_SECONDS, max_msg_size=MAX_MESSAGE_BYTES
    )
    await socket.prepare(request)
    if request.transport is None:
        return socket
    connection = Connection(feed, request.transport, path, request.query)
    try:
        feed.enter(connection)
        streams.act(connection)
        await _listen(socket, connection)
    finally:
        feed.leave(connection)
    return socket


async def _listen(socket: web.WebSocketResponse, connection: Connection) -> None:
    while (message := await socket.receive()).type not in ENDS:
        connection.heard(message)
    while not connection.feed.permits(Deed.HEAR) and not connection.is_gone:
        await asyncio.sleep(LOOK_SECONDS)
    if connection.is_closing:
        # Its closing frame has been answered; aiohttp would send another one.
        connection.hang_up()


async def give_token(request: web.Request, feed: Feed) -> web.StreamResponse:
    """The token that a client must request before it connects, if the exchange requires one."""
    if fault := HANDSHAKES.get(feed.switch.fault):
        return await fault(request, feed.switch.seconds)
    return web.json_response(feed.dialect.token(feed, f"ws://{request.host}/{feed.dialect.name}"))
