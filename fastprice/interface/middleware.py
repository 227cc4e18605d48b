"""Middleware for every request: it dates and counts the answer, and answers the CORS preflight of browsers."""

from collections.abc import Callable
from email.utils import formatdate

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fastprice.application.ports import Clock

METHODS = frozenset(("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"))
PREFLIGHT_HEADERS = [
    (b"allow", b"GET, HEAD, OPTIONS"),
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"GET, HEAD, OPTIONS"),
    # `*` does not include Authorization, and old browsers take it for the name of a header.
    (b"access-control-allow-headers", b"*, Authorization, If-None-Match"),
    (b"access-control-max-age", b"86400"),
]
PRICES, LIVENESS = "/api/v1/prices", "/health/liveness"
PRICE_ROUTE, SOURCES_ROUTE = PRICES + "/{pair}", PRICES + "/{pair}/sources"


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


class DateAndCount:
    """Dates each answer, and counts it under the template of its route, so that clients cannot make up labels.

    uvicorn could date answers too, but its date is up to a second old: a price would seem to be newer than the answer
    that contains it.
    """

    def __init__(
        self, app: ASGIApp, count: Callable[[str, str, int, float], None], clock: Clock, routes: frozenset[str]
    ) -> None:
        self._app = app
        self._count = count
        self._clock = clock
        self._routes = routes
        self._date = HttpDate()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._clock.monotonic()
        status = 500

        async def remember(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [(b"date", self._date(self._clock.wall_ms())), *message["headers"]]}
            await send(message)

        try:
            await self._app(scope, receive, remember)
        finally:
            method = scope["method"] if scope["method"] in METHODS else "other"
            self._count(self._route(scope["path"]), method, status, self._clock.monotonic() - started)

    def _route(self, path: str) -> str:
        if path in self._routes:
            return path
        if path.startswith(PRICES + "/"):
            rest = path[len(PRICES) + 1 :]
            if "/" not in rest:
                return PRICE_ROUTE
            if rest.endswith("/sources") and rest.count("/") == 1:
                return SOURCES_ROUTE
        return "other"


class AnswerPreflight:
    """Answers OPTIONS for every address: any page may read everything here."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            await self._app(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": 204, "headers": PREFLIGHT_HEADERS})
        await send({"type": "http.response.body", "body": b""})
