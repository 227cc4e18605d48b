"""Connections that are soon closed: after every request, after ten, and as with HTTP/1.0."""

from collections.abc import Callable

from bench import wrk
from bench.connections import client
from bench.connections.parts import COSTS, Part, beside_each_other, loaded
from bench.peers.answer import PATH
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target

CONNECTIONS, TEN = 100, 10
OLD = client.request(PATH, "GET", "1.0")
OLD_KEPT = client.request(PATH, "GET", "1.0", "Connection: Keep-Alive")
# Also shows the requests per connection, because a server may close a connection that it was asked to keep.
KEPT_COSTS = COSTS | {"per_connection": "requests per connection"}


def by_wrk(subject: Subject, seconds: int) -> Measure:
    return loaded(subject, lambda so_long: wrk.run(subject.url, so_long, CONNECTIONS, headers=["Connection: close"]),
                  seconds)  # fmt: skip


def by_client(asked: bytes, each: int = 0) -> Callable[[Subject, int], Measure]:
    """Measure one kind of request, on connections that are closed after `each` answers."""

    def measure(subject: Subject, seconds: int) -> Measure:
        loads: list[wrk.Load] = []

        def run(so_long: int) -> wrk.Load:
            loads.append(client.run(subject, asked, so_long, CONNECTIONS, each))
            return loads[-1]

        return loaded(subject, run, seconds) | {"per_connection": loads[-1].requests / max(loads[-1].opened, 1)}

    return measure


PARTS = (
    Part("close", "a connection per request",
         f"A connection per request: `wrk -c{CONNECTIONS} -H 'Connection: close'`.",
         beside_each_other(by_wrk, "wrk", "close"),
         (Target("lane", "nginx", 0.85), Target("lane", "uvicorn", 0.20))),
    Part("ten", "ten requests per connection",
         f"{CONNECTIONS} connections at a time, each closed by its client after {TEN} answers.",
         beside_each_other(by_client(client.request(), TEN), "cc"),
         (Target("lane", "nginx", 1.05),), KEPT_COSTS),
    Part("http10", "HTTP/1.0",
         f"HTTP/1.0 as `ab` sends it, over {CONNECTIONS} connections at a time: each is closed by the server.",
         beside_each_other(by_client(OLD), "cc", "close"),
         (Target("lane", "nginx", 0.85), Target("lane", "uvicorn", 0.20)), KEPT_COSTS),
    Part("http10_keep", "HTTP/1.0, kept",
         f"HTTP/1.0 with `Connection: Keep-Alive` as `ab -k` sends it, over {CONNECTIONS} connections; uvicorn closes"
         " each after one answer.",
         beside_each_other(by_client(OLD_KEPT), "cc", "keep-alive"),
         (Target("lane", "nginx", 1.05), Target("lane", "uvicorn", 0.20)), KEPT_COSTS),
)  # fmt: skip
