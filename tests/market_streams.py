"""A client of the simulated exchanges' streams, which speaks the dialect of each exchange."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import aiohttp

from fastprice.market import Market
from tests.market import NOW_MS

PATHS = {
    "binance": "/ws", "okx": "/ws/v5/public", "coinbase": "/", "kraken": "/v2", "bybit": "/v5/public/spot",
    "kucoin": "/endpoint", "gate": "/ws/v4/", "bitstamp": "/", "bitget": "/v2/ws/public",
}  # fmt: skip
# These send a message on every new connection.
GREETERS = {"kraken", "kucoin"}
# Channels whose answer to a subscribe is two messages: an acknowledgement, and the present state.
SNAPSHOTS = {
    ("okx", "tickers"), ("okx", "bbo-tbt"), ("coinbase", "ticker"), ("coinbase", "ticker_batch"),
    ("coinbase", "matches"), ("kraken", "ticker"), ("bybit", "tickers"), ("bybit", "orderbook.1"),
    ("bitget", "ticker"), ("bitget", "books1"), ("bitget", "trade"),
}  # fmt: skip


def say_subscribe(name: str, channel: str, pairs: list[str] | None = None, undo: bool = False) -> Any:
    """The message that subscribes to a channel of pairs like ETH/USDT, or unsubscribes from it."""
    names = [pair.split("/") for pair in pairs or ["ETH/USDT"]]
    dashed, joined, verb = ["-".join(two) for two in names], ["".join(two) for two in names], "un" * undo + "subscribe"
    match name:
        case "binance":
            return {"method": verb.upper(), "params": [f"{one.lower()}@{channel}" for one in joined], "id": 1}
        case "okx":
            return {"id": "1", "op": verb, "args": [{"channel": channel, "instId": one} for one in dashed]}
        case "coinbase":
            return {"type": verb, "product_ids": dashed, "channels": [channel]}
        case "kraken":
            trigger = {"event_trigger": "bbo"} if channel == "ticker" else {}
            symbols = ["/".join(two) for two in names]
            return {"method": verb, "params": {"channel": channel, "symbol": symbols, **trigger}, "req_id": 1}
        case "bybit":
            return {"req_id": "1", "op": verb, "args": [f"{channel}.{one}" for one in joined]}
        case "kucoin":
            topic = "/market/ticker:all" if channel == "all" else f"/market/{channel}:{','.join(dashed)}"
            return {"id": "1", "type": verb, "topic": topic, "response": True}
        case "gate":
            payload = ["_".join(two) for two in names]
            return {"time": NOW_MS // 1000, "id": 1, "channel": channel, "event": verb, "payload": payload}
        case "bitstamp":
            return {"event": f"bts:{verb}", "data": {"channel": f"{channel}_{joined[0].lower()}"}}
        case _:
            return {"op": verb, "args": [{"instType": "SPOT", "channel": channel, "instId": one} for one in joined]}


class Talk:
    """One connection to a source."""

    def __init__(self, name: str, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.name, self.socket = name, socket

    async def send(self, body: Any) -> None:
        await self.socket.send_str(body if isinstance(body, str) else json.dumps(body))

    async def read(self, seconds: float = 5) -> Any:
        """The next message; JSON numbers keep every digit."""
        message = await self.socket.receive(seconds)
        assert message.type in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY), message
        return message.data if message.data == "pong" else json.loads(message.data, parse_float=Decimal)


async def subscribe(talk: Talk, channel: str, pairs: list[str] | None = None) -> None:
    """Subscribe, wait for the confirmation, and read the present state if the channel sends it."""
    await talk.send(say_subscribe(talk.name, channel, pairs))
    await talk.read()
    if (talk.name, channel) in SNAPSHOTS:
        await talk.read()


class Talks:
    """Connections to a market; a test can set the market's clock through `now`."""

    def __init__(self, market: Market, session: aiohttp.ClientSession) -> None:
        self.market, self.session = market, session
        self.now = market.streams.pace.clock()
        self._ids = itertools.count()

    @asynccontextmanager
    async def open(
        self, name: str, path: str = "", greeted: bool = True, autoping: bool = True
    ) -> AsyncIterator[Talk]:
        if name == "kucoin" and not path:
            async with self.session.post(f"{self.market.url}/kucoin/api/v1/bullet-public") as reply:
                data = (await reply.json())["data"]
            url = f"{data['instanceServers'][0]['endpoint']}?token={data['token']}&connectId={next(self._ids)}"
        else:
            url = f"{self.market.url}/{name}{path or PATHS[name]}"
        async with self.session.ws_connect(url, autoping=autoping, max_msg_size=32 << 20) as socket:
            talk = Talk(name, socket)
            if greeted and name in GREETERS:
                await talk.read()
            yield talk

    def move(self, price: str, slug: str = "eth-usdt") -> None:
        self.market.set_truth(slug, Decimal(price))

    def topics(self, name: str) -> int:
        return sum(len(connection.topics) for connection in self.market.streams.feeds[name].connections)

    async def until(self, is_so: Callable[[], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not is_so():
                await asyncio.sleep(0.01)
