"""All routes except the price of one pair, on kept connections, compared with that price or a plain Starlette route."""

from collections.abc import Callable
from dataclasses import replace

from bench.connections import client
from bench.connections.parts import BY_NAME, Case, Part, loaded, needing, our_service
from bench.peers.answer import PATH
from bench.peers.catalog import ours
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.wrk import CONNECTIONS

# Routes that must cost about as much as the price of one pair, and routes that take the ordinary way.
LIKE_A_PRICE = {
    "prices": "GET /api/v1/prices",
    "pairs": "GET /api/v1/prices?pairs=eth-usdt",
    "max_age": f"GET {PATH}?max_age_ms=60000",
    "head": f"HEAD {PATH}",
    "liveness": "GET /health/liveness",
}
ORDINARY = {"sources": f"GET {PATH}/sources", "readiness": "GET /health/readiness"}
OURS = {"price": f"GET {PATH}", **LIKE_A_PRICE, **ORDINARY, "metrics": "GET /metrics"}


def asking(words: str) -> Callable[[Subject, int], Measure]:
    method, path = words.split()

    def measure(subject: Subject, seconds: int) -> Measure:
        asked = client.request(path, method)
        return loaded(subject, lambda so_long: client.run(subject, asked, so_long, CONNECTIONS), seconds)

    return measure


ROUTE = replace(needing(BY_NAME["starlette"], "cc"), label="Starlette, a route of constant bytes")
PARTS = (
    Part("surface", "the rest",
         f"{CONNECTIONS} kept connections, one worker; an answer that is not 2xx is an error.",
         [*(Case(our_service(name, f"`{words}`", ours(), "cc"), asking(words)) for name, words in OURS.items()),
          Case(ROUTE, asking(f"GET {PATH}"))],
         (*(Target(name, "price", 1.3) for name in LIKE_A_PRICE),
          *(Target(name, "starlette", 1.1) for name in ORDINARY))),
)  # fmt: skip
