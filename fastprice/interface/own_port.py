"""With METRICS_PORT set: metrics and readiness only on that port, which answers nothing else but liveness."""

from starlette.types import ASGIApp, Receive, Scope, Send

from fastprice.interface.middleware import LIVENESS, METRICS, READINESS
from fastprice.interface.responses import problem

# Liveness is not in here: it tells clients nothing new, and a proxy in front of the public port may need it.
MONITORING = (METRICS, READINESS)


class OwnPort:
    """Answers 404 to what belongs to the other port."""

    def __init__(self, app: ASGIApp, port: int) -> None:
        self._app, self._port = app, port

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] != LIVENESS:
            is_here = scope["server"][1] == self._port
            if is_here != (scope["path"] in MONITORING):
                answer = problem(404, "there is nothing here; monitoring has a port of its own")
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
