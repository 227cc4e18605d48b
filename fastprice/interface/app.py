"""The Starlette application: every route, and the answer to each kind of error."""

import asyncio
import logging
from email.utils import formatdate
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Lifespan

from fastprice.interface.docs_page import DocsPage
from fastprice.interface.health import Health
from fastprice.interface.live_page import LivePage
from fastprice.interface.middleware import (
    DOCS, DOCS_FILES, LIVENESS, METRICS, PAGE_FILES, PRICE_ROUTE, PRICES, READINESS, RECENT_ROUTE, SOURCES_ROUTE,
    STREAM_ROUTE, STREAMS, EveryAnswer
)
from fastprice.interface.own_port import MONITORING, OwnPort
from fastprice.interface.parameters import BadParameter, UnknownPair, parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_endpoint import PriceEndpoint
from fastprice.interface.price_pages import PricePages
from fastprice.interface.responses import SHARED_HEADERS, json_answer, problem, unknown_pair
from fastprice.interface.stream_endpoint import StreamEndpoint

logger = logging.getLogger(__name__)


def make_app(parts: Parts, lifespan: Lifespan[Starlette] | None) -> Starlette:
    """The application over the given parts; the price route comes first because most requests are for it."""
    price, pages, health, about = PriceEndpoint(parts), PricePages(parts), Health(parts), About(parts)
    stream, page, docs = StreamEndpoint(parts.streams), LivePage(parts, about.index), DocsPage()
    routes = [
        Route(PRICE_ROUTE, price),
        Route(PRICES, pages.every_price),
        Route(SOURCES_ROUTE, pages.sources),
        Route(RECENT_ROUTE, pages.recent),
        Route(STREAM_ROUTE, stream),
        Route(STREAMS, stream),
        Route(LIVENESS, health.liveness),
        Route(READINESS, health.readiness),
        Route(METRICS, about.metrics),
        Route("/openapi.json", about.openapi),
        Route(DOCS, docs.page),
        Route(DOCS_FILES, docs.file),
        Route("/api/", about.index),
        Route("/api", about.index),
        Route("/", page.front),
        Route(PAGE_FILES, page.file),
    ]

    async def unknown(request: Request, error: Exception) -> Response:
        return unknown_pair(parts.latest.by_slug)

    own = [Middleware(OwnPort, port=parts.metrics_port)] if parts.metrics_port else []
    known = frozenset(route.path for route in routes)
    app = Starlette(
        routes=routes,
        middleware=[Middleware(EveryAnswer, count=parts.count_request, clock=parts.clock, routes=known), *own],
        exception_handlers={
            HTTPException: _http_problem, BadParameter: _bad_parameter, UnknownPair: unknown, Exception: _defect,
        },
        lifespan=lifespan,
    )
    app.router.redirect_slashes = False
    return app


class About:
    """Answers requests about the service itself: the index, its OpenAPI document, its metrics."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._scrape: asyncio.Task[tuple[bytes, str]] | None = None

    async def index(self, request: Request) -> Response:
        """Every address, for those who open the service in a browser."""
        parameters(request.scope["query_string"])
        slugs = self._parts.latest.by_slug
        monitoring = () if self._parts.metrics_port else MONITORING
        return json_answer(
            {
                "name": "fastprice",
                "version": self._parts.version,
                **self._parts.simulation,
                "prices": {slug: f"/api/v1/prices/{slug}" for slug in slugs},
                "sources": {slug: f"/api/v1/prices/{slug}/sources" for slug in slugs},
                "recent": {slug: f"/api/v1/prices/{slug}/recent" for slug in slugs},
                "all_prices": "/api/v1/prices",
                "streams": {slug: f"/api/v1/prices/{slug}/stream" for slug in slugs},
                "stream": "/api/v1/stream",
                "liveness": "/health/liveness",
                **{path.rpartition("/")[2]: path for path in monitoring},
                "openapi": "/openapi.json",
                "docs": DOCS,
            }
        )

    async def openapi(self, request: Request) -> Response:
        parameters(request.scope["query_string"])
        return self._document

    @cached_property
    def _document(self) -> Response:
        """Made at the first request for it, because most workers never get one."""
        document = orjson.loads(Path(__file__).with_name("openapi.json").read_bytes())
        # These depend on the service; the pairs that it serves are not part of the API, and are only examples.
        document["info"]["version"] = self._parts.version
        for path in MONITORING if self._parts.metrics_port else ():
            del document["paths"][path]
        document["components"]["parameters"]["Pair"]["schema"]["examples"] = list(self._parts.latest.by_slug)
        # What all operations may answer, and the headers of all answers, are written once, and copied to each here.
        shared, headers = document.pop("x-every-operation"), document.pop("x-every-answer")
        operations = [path["get"] for path in document["paths"].values()]
        own = [response for operation in operations for response in operation["responses"].values()]
        for response in own + list(document["components"]["responses"].values()):
            if "$ref" not in response:
                response["headers"] = headers | response.get("headers", {})
            if told := response.pop("x-problem", None):
                body = {"schema": {"$ref": "#/components/schemas/Problem"}, "example": {"type": "about:blank"} | told}
                response.setdefault("content", {})["application/problem+json"] = body
        for operation in operations:
            operation["responses"] = shared | operation["responses"]
        return json_answer(document)

    async def metrics(self, request: Request) -> Response:
        parameters(request.scope["query_string"])
        # Requests during a scrape share it; if one of their clients disconnects, the others still get the answer.
        if self._scrape is None or self._scrape.done():
            self._scrape = asyncio.ensure_future(self._parts.scrape())
        text, media_type = await asyncio.shield(self._scrape)
        return Response(text, headers=SHARED_HEADERS | {"Content-Type": media_type})


async def _http_problem(request: Request, error: Any) -> Response:
    if error.status_code == 405:
        return problem(405, "only GET, HEAD and OPTIONS are allowed", headers={"Allow": "GET, HEAD, OPTIONS"})
    if error.status_code == 404:
        return problem(404, "there is nothing here; /api/ lists what there is")
    return problem(error.status_code, str(error.detail))


async def _bad_parameter(request: Request, error: Exception) -> Response:
    return problem(400, str(error))


async def _defect(request: Request, error: Exception) -> Response:
    # The traceback follows when uvicorn gets the error. nginx's log has the same id, and the client's address.
    asked = (request.method, request.url.path, request.headers.get("X-Request-ID"))
    logger.error("a defect in answering %s %a, X-Request-ID %a", *asked)
    # This answer does not pass through the middleware that dates answers.
    headers = {"Date": formatdate(usegmt=True)}
    return problem(500, "a defect of this service; its log has the details", headers=headers)
