"""How a person or a test controls the market: JSON to read its state, switch faults and move prices."""

import json
from collections.abc import Awaitable, Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from aiohttp import web

from fastprice.market.dialects import DIALECTS
from fastprice.market.exchanges import EXCHANGES
from fastprice.market.floor import MEANINGS, NotAccepted, NotKnown
from fastprice.market.stream_floor import StreamFloor
from fastprice.market.streams import STREAM_MEANINGS
from fastprice.market.tick import places, plain

Handler = Callable[[web.Request], Awaitable[web.Response]]
SHOWN_PAIRS = 10  # of each source, as examples
SWITCH_KEYS = {"fault", "seconds", "factor", "pairs"}


class Control:
    """The paths outside the sources; `GET /` explains them all."""

    def __init__(self, floor: StreamFloor) -> None:
        self._floor = floor

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.index),
            web.get("/faults", self.faults),
            web.put("/faults/{source}", explained(self.set_fault)),
            web.delete("/faults/{source}", explained(self.clear_fault)),
            web.get("/calls", self.calls),
            web.delete("/calls", self.clear_calls),
            web.get("/limits", self.limits),
            web.put("/limits", explained(self.set_limits)),
            web.get("/statuses", self.statuses),
            web.put("/statuses/{source}/{pair}", explained(self.set_status)),
            web.delete("/statuses/{source}", explained(self.clear_statuses)),
            web.get("/truth", self.truth),
            web.put("/truth/{pair}", explained(self.set_truth)),
        ]

    async def index(self, request: web.Request) -> web.Response:
        url = str(request.url.origin())
        about = f"fastprice market: {len(EXCHANGES)} exchanges simulated from their documents; prices are a random walk"
        pairs = [pair.slug for pair in self._floor.walks]
        how = _how(url, *pairs[:1])
        sources = {name: self._source(name, f"{url}/{name}") for name in EXCHANGES}
        faults = {"faults": MEANINGS, "stream_faults": STREAM_MEANINGS}
        return as_json({"about": about, "pairs": pairs, "how": how, **faults, "sources": sources})

    async def faults(self, request: web.Request) -> web.Response:
        return as_json(self._floor.faults())

    async def set_fault(self, request: web.Request) -> web.Response:
        body = await read_object(request, SWITCH_KEYS, "fault")
        if not isinstance(body.get("pairs", []), list):
            raise NotAccepted('pairs is a list like ["eth-usdt"]')
        self._floor.set_fault(request.match_info["source"], **body)
        return as_json(self._floor.faults())

    async def clear_fault(self, request: web.Request) -> web.Response:
        self._floor.clear_fault(request.match_info["source"])
        return as_json(self._floor.faults())

    async def calls(self, request: web.Request) -> web.Response:
        floor = self._floor
        counts = {"sources": floor.calls, "pairs": floor.pair_calls, "limits_exceeded": floor.limits_exceeded}
        streams = {"stream_limits_exceeded": floor.stream_limits_exceeded}
        return as_json({"total": floor.total_calls, **counts, **streams})

    async def clear_calls(self, request: web.Request) -> web.Response:
        self._floor.clear_calls()
        return await self.calls(request)

    async def limits(self, request: web.Request) -> web.Response:
        return as_json({"enforced": self._floor.limits, "exceeded": self._floor.limits_exceeded})

    async def set_limits(self, request: web.Request) -> web.Response:
        body = await read_object(request, {"enforced"}, "enforced")
        if not isinstance(body["enforced"], bool):
            raise NotAccepted("enforced is true or false")
        self._floor.limits = body["enforced"]
        return await self.limits(request)

    async def statuses(self, request: web.Request) -> web.Response:
        return as_json(self._floor.statuses())

    async def set_status(self, request: web.Request) -> web.Response:
        body = await read_object(request, {"status"}, "status")
        self._floor.set_status(request.match_info["source"], request.match_info["pair"], body["status"])
        return await self.statuses(request)

    async def clear_statuses(self, request: web.Request) -> web.Response:
        self._floor.clear_statuses(request.match_info["source"])
        return await self.statuses(request)

    async def truth(self, request: web.Request) -> web.Response:
        prices = {pair.slug: float(self._floor.truth(pair)) for pair in self._floor.walks}
        return as_json({slug: plain(price, places(price)) for slug, price in prices.items()})

    async def set_truth(self, request: web.Request) -> web.Response:
        body = await read_object(request, {"price"}, "price")
        self._floor.set_truth(request.match_info["pair"], _price(body["price"]))
        return await self.truth(request)

    def _source(self, name: str, url: str) -> dict[str, object]:
        exchange = EXCHANGES[name]
        tries = [f"curl '{url}{exchange.target(pair)}'" for pair in list(self._floor.walks)[:SHOWN_PAIRS]]
        state = {"fault": self._floor.faults()[name], "calls": self._floor.calls[name]}
        paths = DIALECTS[name].paths if name in DIALECTS else ()
        streams = [f"ws{url.removeprefix('http')}{path}" for path in paths]
        return {"url": url, **state, "try": tries, "all": f"curl '{url}{exchange.batch}'", "streams": streams}


def _how(url: str, pair: str = "eth-usdt") -> dict[str, str]:
    return {
        "break a source": f"""curl -X PUT {url}/faults/binance -d '{{"fault": "slow", "seconds": 5}}'""",
        "break one pair": f"""curl -X PUT {url}/faults/binance -d '{{"fault": "halted", "pairs": ["{pair}"]}}'""",
        "break them all": f"""curl -X PUT {url}/faults/all -d '{{"fault": "jump", "factor": 1.5}}'""",
        "heal them all": f"curl -X DELETE {url}/faults/all",
        "see the faults": f"curl {url}/faults",
        "stop a pair": f"""curl -X PUT {url}/statuses/binance/{pair} -d '{{"status": "halted"}}'""",
        "trade it again": f"curl -X DELETE {url}/statuses/all",
        "answer above the limits": f"""curl -X PUT {url}/limits -d '{{"enforced": false}}'""",
        "count the calls": f"curl {url}/calls",
        "count from zero": f"curl -X DELETE {url}/calls",
        "see the true prices": f"curl {url}/truth",
        "break streams": f"""curl -X PUT {url}/streams/okx -d '{{"fault": "stalled", "pairs": ["{pair}"]}}'""",
        "heal streams": f"curl -X DELETE {url}/streams/all",
        "push at every move": f"""curl -X PUT {url}/streams -d '{{"every_ms": 0}}'""",
        "push as documented": f"""curl -X PUT {url}/streams -d '{{"every_ms": null}}'""",
        "see who listens": f"curl {url}/streams",
        "see what was pushed": f"curl '{url}/pushed/okx?pair={pair}'",
        "move a price": f"""curl -X PUT {url}/truth/{pair} -d '{{"price": "3000.00"}}'""",
    }


async def read_object(request: web.Request, known: set[str], needed: str) -> dict[str, Any]:
    """The JSON object of a request; it must contain `needed` and may contain only `known` members."""
    try:
        body = json.loads(await request.read(), parse_float=float)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or needed not in body or not body.keys() <= known:
        raise NotAccepted(f"the body is a JSON object with {needed!r} and nothing but {', '.join(sorted(known))}")
    return body


def _price(value: object) -> Decimal:
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise NotAccepted(f'{value!r} is not a price like "3000.00"') from None


def explained(handler: Handler) -> Handler:
    """Wrap a handler so that a request that cannot be fulfilled is answered with the reason."""
    async def answer(request: web.Request) -> web.Response:
        try:
            return await handler(request)
        except (NotKnown, NotAccepted) as error:
            return as_json({"error": str(error)}, 404 if isinstance(error, NotKnown) else 400)

    return answer


def as_json(body: object, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(body, indent=2) + "\n", status=status, content_type="application/json")
