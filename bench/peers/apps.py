"""The answer as Python programs would give it: a bare ASGI callable, and a route with a Starlette response."""

from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bench.peers.answer import Answer

ANSWER = Answer.from_environment()
HEADERS = [(name.encode(), value.encode()) for name, value in ANSWER.headers.items()] + [
    (b"content-type", b"application/json"),
    (b"content-length", b"%d" % len(ANSWER.body)),
]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
BODY = {"type": "http.response.body", "body": ANSWER.body}


async def bare(scope: Any, receive: Any, send: Any) -> None:
    """Constant bytes at every path, to measure the cost of the server alone."""
    if scope["type"] == "http":
        await send(START)
        await send(BODY)


async def price(request: Request) -> Response:
    return Response(ANSWER.body, headers=ANSWER.headers, media_type="application/json")


routed = Starlette(routes=[Route("/api/v1/prices/{pair}", price)])
