"""An exchange made up for tests: its declaration, and a scripted server that speaks its stream."""

import asyncio
import json
import socket as sockets
import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from aiohttp import WSMessage, WSMsgType, web

from fastprice.application.ports import Limit
from fastprice.domain.errors import RateLimited, UnknownSymbol
from fastprice.domain.quote import SourceTime
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.stream import Channel, KeepAlive, Limits, Patience, Stream
from fastprice.infrastructure.exchanges.stream_messages import (
    Ack, Alive, Notice, Op, Reject, Request, Row, Said, Topic, in_groups
)
from fastprice.infrastructure.exchanges.ticker import Ticker

RESET = struct.pack("ii", 1, 0)


def requests(op: Op, topics: Sequence[Topic], number: int, wall_ms: int) -> list[Request]:
    found = []
    for at, group in enumerate(in_groups(topics, 2)):
        frame = {"op": op, "topics": [":".join(topic) for topic in group], "id": str(number + at)}
        found.append(Request(json.dumps(frame), group, str(number + at)))
    return found


def read(message: Any) -> Iterable[Said]:
    match message:
        case "pong":
            yield Alive("pong")
        case {"ack": id_}:
            yield Ack(request=id_)
        case {"reject": id_, "symbol": symbol}:
            yield Reject(UnknownSymbol("not listed"), (Topic("ticker", symbol),), id_, others_too=True)
        case {"too_many": _}:
            yield Reject(RateLimited("too many requests", 30.0))
        case {"notice": _}:
            yield Notice()
        case {"welcome": _}:
            yield Alive("welcome")
        case {"channel": str(channel), "symbol": str(symbol)}:
            yield Row(channel, symbol, message)
        case {"defect": _}:
            raise ZeroDivisionError


STREAM = Stream(
    host="ws://toy.test",
    path="/live",
    channels={"ticker": Channel(Ticker(price="price", bid="bid", ask="ask", time="time"), order="order", restart=1)},
    symbol=lambda pair: pair.base + pair.quote,
    requests=requests,
    read=read,
    limits=Limits(pairs=2, topics=2, pause_seconds=0.0, connects=Limit(100.0, 100.0)),
    patience=Patience(any_frame=30.0),
    source_time=SourceTime.PRICE,
    keep_alive=KeepAlive(lambda number, wall_ms: "ping", 20.0),
    closes={4008: RateLimited},
)
TOY = replace(EXCHANGES["okx"], name="okx", stream=STREAM)


class ToyServer:
    """Serves the toy's stream on a free port; `connections` are the open ones, `frames` are all that clients sent."""

    def __init__(self) -> None:
        self.connections: list[web.WebSocketResponse] = []
        self.frames: list[Any] = []
        self.attempts = 0
        self.refusal: Callable[[], Any] | None = None
        self.answers = True
        self.came, self.heard = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/live", self._live)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.host = f"ws://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def say(self, symbol: str, price: str, order: int, **other: Any) -> None:
        """Send a price on the newest connection."""
        message = {"channel": "ticker", "symbol": symbol, "price": price, "order": order} | other
        await self.connections[-1].send_json(message)

    def asked(self, op: str) -> list[str]:
        """The topics of all requests of this kind, in order."""
        return [topic for frame in self.frames if isinstance(frame, dict) and frame["op"] == op for topic in frame["topics"]]

    def reset(self) -> None:
        """Reset the newest connection."""
        transport = self.connections[-1]._req.transport  # type: ignore[union-attr]
        assert transport
        transport.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, RESET)
        transport.abort()

    async def _live(self, request: web.Request) -> Any:
        self.attempts += 1
        if self.refusal:
            return await self.refusal() if asyncio.iscoroutinefunction(self.refusal) else self.refusal()
        socket = web.WebSocketResponse(autoping=False, max_msg_size=1 << 22)
        await socket.prepare(request)
        self.connections.append(socket)
        self.came.set()
        async for message in socket:
            await self._answer(socket, message)
        self.connections.remove(socket)
        return socket

    async def _answer(self, socket: web.WebSocketResponse, message: WSMessage) -> None:
        if message.type is not WSMsgType.TEXT:
            self.frames.append(message.type)
        elif message.data == "ping":
            self.frames.append("ping")
            await socket.send_str("pong")
        else:
            self.frames.append(frame := json.loads(message.data))
            if self.answers and frame["op"] == "subscribe":
                await socket.send_json({"ack": frame["id"]})
        self.heard.set()
