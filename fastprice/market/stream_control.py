"""How a person or a test controls the streams of the market, over HTTP."""

from aiohttp import web

from fastprice.market.control import SWITCH_KEYS, as_json, explained, read_object
from fastprice.market.floor import NotAccepted
from fastprice.market.stream_floor import StreamFloor


class StreamControl:
    """The paths `/streams` and `/pushed`."""

    def __init__(self, floor: StreamFloor) -> None:
        self._floor = floor

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/streams", self.streams),
            web.put("/streams", explained(self.set_cadence)),
            web.put("/streams/{source}", explained(self.set_fault)),
            web.delete("/streams/{source}", explained(self.clear_fault)),
            web.get("/pushed/{source}", explained(self.pushed)),
            web.delete("/pushed", self.clear_pushed),
        ]

    async def streams(self, request: web.Request) -> web.Response:
        floor, faults = self._floor, self._floor.stream_faults()
        sources = {name: {"fault": fault} | floor.stream_state(name) for name, fault in faults.items()}
        return as_json({"every_ms": floor.every_ms, "sources": sources})

    async def set_cadence(self, request: web.Request) -> web.Response:
        self._floor.every_ms = (await read_object(request, {"every_ms"}, "every_ms"))["every_ms"]
        return await self.streams(request)

    async def set_fault(self, request: web.Request) -> web.Response:
        body = await read_object(request, SWITCH_KEYS, "fault")
        if not isinstance(body.get("pairs", []), list):
            raise NotAccepted('pairs is a list like ["eth-usdt"]')
        self._floor.set_stream_fault(request.match_info["source"], **body)
        return await self.streams(request)

    async def clear_fault(self, request: web.Request) -> web.Response:
        self._floor.clear_stream_fault(request.match_info["source"])
        return await self.streams(request)

    async def pushed(self, request: web.Request) -> web.Response:
        """The true prices that a source pushed; `?pair=` selects one pair, `?since_ns=` those after that wall time."""
        source, slug = request.match_info["source"], request.query.get("pair")
        since = request.query.get("since_ns", "0")
        if source not in self._floor.pushed or not since.isdecimal():
            raise NotAccepted(f"a source of {', '.join(self._floor.pushed)}, and since_ns as a whole number")
        found = [push for push in self._floor.pushed[source] if push.at_ns > int(since) and slug in (None, push.pair)]
        return as_json([push._asdict() for push in found])

    async def clear_pushed(self, request: web.Request) -> web.Response:
        self._floor.clear_pushed()
        return await self.streams(request)
