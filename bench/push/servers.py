"""Every server that pushes: what it is called, what it needs, and how it is started with an interval."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from bench.peers.catalog import BACKLOG, Peer, Place, Start, ours
from bench.peers.configs import NCHAN, nginx_nchan, nginx_words
from bench.processes import GENERATOR_CORE, SERVER_CORE, Running, compiled, running
from bench.push import event

HERE = Path(__file__).parent
# More than there ever are, because subscribers of the warm-up may still be leaving.
MAX_SUBSCRIBERS = 12_000
PUBLISH = "/publish"
# A string, not an import: the module needs a package and variables that this program may not have.
STARLETTE_APP = "bench.push.starlette_app:app"


def servers(interval: float) -> list[Peer]:
    """All servers, pushing every `interval` seconds."""
    return [
        Peer("floor", "C epoll loop, one write each", _floor(interval), programs=("cc",)),
        fastprice("fastprice", "fastprice", interval),
        Peer("nchan", "nginx with nchan", _nchan(interval), programs=("nginx", "cc"), files=(NCHAN,)),
        Peer("node", "node, http", _node(interval), programs=("node", "cc")),
        Peer("sse_starlette", "uvicorn, sse-starlette", _starlette(interval), programs=("cc",),
             modules=("sse_starlette",)),
    ]  # fmt: skip


def fastprice(name: str, label: str, interval: float) -> Peer:
    """The service; each refresh brings a newer quote, and nothing else does, because it listens to no streams."""
    start = ours(REFRESH_INTERVAL=f"{interval:g}", PUSH_INTERVAL=f"{interval / 2:g}", STREAMS="0",
                 MAX_SUBSCRIBERS=str(MAX_SUBSCRIBERS))  # fmt: skip
    return Peer(name, label, start, programs=("cc",), ours=True)


def _floor(interval: float) -> Start:
    def start(place: Place) -> AbstractContextManager[Running]:
        program = compiled(HERE / "floor.c", place.directory)
        return running([program, *_told(place, interval)], SERVER_CORE, place.directory)

    return start


def _node(interval: float) -> Start:
    def start(place: Place) -> AbstractContextManager[Running]:
        words = ["node", str(HERE / "push.js"), *_told(place, interval)]
        return running(words, SERVER_CORE, place.directory)

    return start


def _told(place: Place, interval: float) -> list[str]:
    whole, _ = event.save(place.answer, place.directory)
    return [str(place.port), whole, event.MARK, str(interval)]


def _starlette(interval: float) -> Start:
    def start(place: Place) -> AbstractContextManager[Running]:
        words = [sys.executable, "-m", "uvicorn", STARLETTE_APP, "--port", str(place.port), "--backlog", BACKLOG,
                 "--no-access-log", "--log-level", "warning"]  # fmt: skip
        _, data = event.save(place.answer, place.directory)
        return running(words, SERVER_CORE, place.directory, DATA_FILE=data, INTERVAL=str(interval))

    return start


def _nchan(interval: float) -> Start:
    """nginx, which makes the event from what the publisher beside it posts."""

    @contextmanager
    def start(place: Place) -> Iterator[Running]:
        _, data = event.save(place.answer, place.directory)
        words = nginx_words(place.directory, nginx_nchan(place.port, event.STREAM, PUBLISH))
        publisher = [sys.executable, "-m", "bench.push.publisher", str(place.port), PUBLISH, data, event.MARK]
        with ExitStack() as both:
            server = both.enter_context(running(words, SERVER_CORE, place.directory))
            both.enter_context(running([*publisher, str(interval)], GENERATOR_CORE, place.directory))
            yield server

    return start
