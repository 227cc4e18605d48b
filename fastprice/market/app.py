"""The market over HTTP: every source under its own name on one port."""

import asyncio

from aiohttp import web

from fastprice.market import lies, wire
from fastprice.market.call import Call
from fastprice.market.control import Control
from fastprice.market.floor import Floor
from fastprice.market.formats import EXCHANGES, Answer
from fastprice.market.lies import LIES
from fastprice.market.refusals import REFUSALS
from fastprice.market.wire import WIRE, response_to

# What an answer under way, or one that hangs, gets before it is cut when the market stops.
STOP_SECONDS = 0.2
# Load tests open hundreds of connections at once; the usual 128 would make some wait a second for the next try.
BACKLOG = 1024
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
ANSWERS = {"": Call.truth} | REFUSALS | LIES
TRUTHFUL = lies.TRUTHFUL | wire.TRUTHFUL


class Market(Floor):
    """Nine simulated exchanges on one port, from `start` to `stop`."""

    _runner: web.AppRunner | None = None
    url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one. Raises OSError where the address is not to be had."""
        app = web.Application()
        app.add_routes(Control(self).routes())
        app.router.add_get("/{source}/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=STOP_SECONDS)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port, backlog=BACKLOG).start()
        except OSError:
            await self.stop()
            raise
        reached = ANYWHERE.get(host, host)
        self.url = f"http://{f'[{reached}]' if ':' in reached else reached}:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Close the port and cut every connection, also those that wait for a hanging answer."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        exchange = EXCHANGES.get(request.match_info["source"])
        if exchange is None:
            return _not_found(f"there is no {request.path}; the sources are {', '.join(EXCHANGES)}")
        self.calls[exchange.name] += 1
        symbol = exchange.symbol_in(request.path.removeprefix(f"/{exchange.name}"), request.query)
        if symbol is None:
            return _not_found(f"the simulated {exchange.name} has only {exchange.path}")
        await asyncio.sleep(self.latency)
        call = self.ask(exchange, symbol, request.query_string)
        return response_to(call) if isinstance(call, Answer) else await self._tell(request, call)

    async def _tell(self, request: web.Request, call: Call) -> web.StreamResponse:
        """Answer as the fault says; remember the price if it is the truth."""
        fault = call.switch.fault
        answer = call.truth() if fault in WIRE else ANSWERS[fault](call)
        if fault in TRUTHFUL or (fault not in WIRE and answer == call.truth()):
            self.record(call)
        return await WIRE[fault](request, call) if fault in WIRE else response_to(answer)


def _not_found(words: str) -> web.Response:
    return web.json_response({"error": words}, status=404)
