"""The middleware for every request: it dates and counts the answer, and answers the CORS preflight of browsers."""

import re
from collections.abc import Callable
from email.utils import formatdate

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastprice.application.ports import Clock

METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"))
PREFLIGHT_HEADERS = {
    "Allow": "GET, HEAD, OPTIONS",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, OPTIONS",
    # `*` does not include Authorization, and old browsers take it for the name of a header.
    "Access-Control-Allow-Headers": "*, Authorization, If-None-Match",
    "Access-Control-Max-Age": "86400",
}
PRICES, LIVENESS, READINESS = "/api/v1/prices", "/health/liveness", "/health/readiness"
METRICS = "/metrics"
PRICE_ROUTE, SOURCES_ROUTE = PRICES + "/{pair}", PRICES + "/{pair}/sources"
STREAM_ROUTE, STREAMS = PRICES + "/{pair}/stream", "/api/v1/stream"
RECENT_ROUTE, PAGE_FILES = PRICES + "/{pair}/recent", "/page/{digest}/{name}"
_OF_A_PAIR = re.compile(f"{PRICES}/[^/]*(/sources|/stream|/recent)?")
_OF_THE_PAGE = re.compile("/page/[^/]+/[^/]+")
DOCS, DOCS_FILES = "/docs", "/docs/{name}"


class HttpDate:
    """The value of the Date field for a wall time in milliseconds, rendered once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._value = b""

    def __call__(self, wall_ms: int) -> bytes:
        second = wall_ms // 1000
        if second != self._second:
            self._second, self._value = second, formatdate(second, usegmt=True).encode()
        return self._value


class EveryAnswer:
    """Dates each answer, and counts it under the template of its route, so that clients cannot make up labels.

    uvicorn could date answers too, but its date is up to a second old: a price would seem to be newer than the answer
    that contains it. OPTIONS is answered here, the same for every address: any page may read everything.
    """

    def __init__(
        self, app: ASGIApp, count: Callable[[str, str, int, float], None], clock: Clock, routes: frozenset[str]
    ) -> None:
        self._app = app
        self._count = count
        self._clock = clock
        self._routes = routes
        self._date = HttpDate()
        self._preflight = Response(status_code=204, headers=PREFLIGHT_HEADERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        has_begun = False

        def count(status: int) -> None:
            nonlocal has_begun
            has_begun = True
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._count(self._route(scope["path"]), method, status, self._clock.monotonic() - started)

        async def date(message: Message) -> None:
            if message["type"] == "http.response.start":
                # Counted now, because a stream may never end.
                count(message["status"])
                message = {**message, "headers": [(b"date", self._date(self._clock.wall_ms())), *message["headers"]]}
            await send(message)

        try:
            await (self._preflight if scope["method"] == "OPTIONS" else self._app)(scope, receive, date)
        finally:
            if not has_begun:
                count(500)

    def _route(self, path: str) -> str:
        if path in self._routes:
            return path
        if _OF_THE_PAGE.fullmatch(path):
            return PAGE_FILES
        if path.startswith(DOCS + "/"):
            return DOCS_FILES
        match = _OF_A_PAIR.fullmatch(path)
        return "other" if match is None else PRICE_ROUTE + (match[1] or "")
