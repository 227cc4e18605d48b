"""The market on one port: every source under its own name, its calls and its streams."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

from aiohttp import web

from fastprice.market import lies, wire
from fastprice.market.call import Call
from fastprice.market.control import Control
from fastprice.market.exchange import Answer
from fastprice.market.lies import LIES, OF_PAIRS, SIZES
from fastprice.market.refusals import REFUSALS
from fastprice.market.socket_door import give_token, is_upgrade, open_socket
from fastprice.market.stream_control import StreamControl
from fastprice.market.stream_floor import StreamFloor
from fastprice.market.wire import WIRE, response_to

# How long an answer in progress, or one that hangs, may still take when the market stops.
STOP_SECONDS = 0.2
# Load tests open hundreds of connections at once; the usual 128 would make some wait a second for the next try.
BACKLOG = 1024
# An answer that fits into one packet is not worth compressing.
PACKED_FROM_BYTES = 1400
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
ANSWERS = {"": Call.truth} | REFUSALS | LIES
TRUTHFUL = lies.TRUTHFUL | wire.TRUTHFUL


class Market(StreamFloor):
    """All simulated exchanges on one port, from `start` to `stop`."""

    _runner: web.AppRunner | None = None
    url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises OSError if the address is not available."""
        app = web.Application()
        app.add_routes(Control(self).routes())
        app.add_routes(StreamControl(self).routes())
        for path in "/{source}", "/{source}/{path:.*}":
            app.router.add_get(path, self._answer)
            app.router.add_post(path, self._token)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError:
            await self.stop()
            raise
        self.streams.start()
        reached = ANYWHERE.get(host, host)
        self.url = f"http://{f'[{reached}]' if ':' in reached else reached}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the port and cut every connection, including those that wait for a hanging answer."""
        await self.streams.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        source = self.sources.get(request.match_info["source"])
        if source is None:
            return _not_found(f"there is no {request.path}; the sources are {', '.join(self.sources)}")
        path = request.path.removeprefix(f"/{source.exchange.name}") or "/"
        feed = self.streams.feeds.get(source.exchange.name)
        if feed and is_upgrade(request) and feed.dialect.serves(path):
            await asyncio.sleep(self.latency)
            return await open_socket(request, feed, path, self.streams)
        choice = source.read(path, request.query)
        if choice is None:
            return _not_found(f"the simulated {source.exchange.name} has only {', '.join(source.exchange.paths)}")
        spent = source.pay(path, choice, self.limits)
        await asyncio.sleep(self.latency)
        reply = source.exchange.over_limit(spent) if spent.wait_ms and self.limits else source.reply(choice)
        headers = source.exchange.limit_headers(spent) if self.limits else {}
        return await self._tell(request, reply, headers) if isinstance(reply, Call) else _sent(request, reply, headers)

    async def _token(self, request: web.Request) -> web.StreamResponse:
        feed = self.streams.feeds.get(request.match_info["source"])
        if feed is None or request.path != f"/{feed.dialect.name}{feed.dialect.bullet}":
            raise web.HTTPMethodNotAllowed(request.method, ["GET"])
        await asyncio.sleep(self.latency)
        return await give_token(request, feed)

    async def _tell(self, request: web.Request, call: Call, headers: Mapping[str, str]) -> web.StreamResponse:
        """Answer as the fault requires, and record the prices that are true."""
        fault = call.fault
        if fault in WIRE:
            if fault in TRUTHFUL:
                self.record(call)
            return await WIRE[fault](request, call)
        answer = ANSWERS[fault](call)
        if not fault or fault in TRUTHFUL or answer == call.truth():
            self.record(call)
        elif fault in OF_PAIRS and (spared := call.spared()).ticks:
            self.record(spared)
        return _sent(request, answer, headers, may_be_packed=fault not in SIZES)


def _sent(
    request: web.Request, answer: Answer, headers: Mapping[str, str], may_be_packed: bool = True
) -> web.StreamResponse:
    """The answer, compressed with gzip if the client accepts that and it is worth it."""
    response = response_to(replace(answer, headers={**headers, **answer.headers}))
    wanted = "gzip" in request.headers.get("Accept-Encoding", "") and len(answer.body) >= PACKED_FROM_BYTES
    if wanted and may_be_packed:
        response.enable_compression(web.ContentCoding.gzip)
    return response


def _not_found(words: str) -> web.Response:
    return web.json_response({"error": words}, status=404)
