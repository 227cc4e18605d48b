"""Every peer: what it is called, what it needs, and how it is started."""

import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.peers.answer import FILE_VARIABLE, Answer
from bench.peers.configs import PACKAGED, TUNED, nginx_cache, nginx_constant, nginx_words, varnish_words
from bench.processes import SERVER_CORE, Running, compiled, free_port, missing, running
from bench.service import settings

HERE = Path(__file__).parent
SERVICE = ("fastprice.cli",)
# As many waiting connections as nginx and the service allow.
BACKLOG = "4096"
FRESH_HEADS = {"FRESH_HEADS": "1"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer runs: its own directories, on disk and in memory, its port, the answer, the simulated exchange."""

    directory: Path
    memory: Path
    port: int
    answer: Answer
    market: str


Start = Callable[[Place], AbstractContextManager[Running]]


@dataclass(frozen=True, slots=True)
class Peer:
    """`programs`, `modules` and `files` are what it needs; `script` holds the variables of wrk.lua."""

    name: str
    label: str
    start: Start
    programs: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    ours: bool = False
    script: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> list[str]:
        modules = [name for name in self.modules if importlib.util.find_spec(name) is None]
        return [*missing(*self.programs), *modules, *(path.name for path in self.files if not path.exists())]


def floor(connection: str = "") -> Start:
    """The C loop; `connection` is its Connection header; with "close" it also closes the connection."""

    def start(place: Place) -> AbstractContextManager[Running]:
        message = place.directory / "message"
        message.write_bytes(place.answer.message(*([f"connection: {connection}"] if connection else [])))
        words = [compiled(HERE / "floor.c", place.directory), str(place.port), str(message)]
        return running([*words, *(["close"] if connection == "close" else [])], SERVER_CORE, place.directory)

    return start


def nginx(workers: int = 1, core: int | None = SERVER_CORE) -> Start:
    def start(place: Place) -> AbstractContextManager[Running]:
        words = nginx_words(place.directory, nginx_constant(place.port, place.answer, workers))
        return running(words, core, place.directory)

    return start


def _nginx_cache(files: str) -> Start:
    return _before_an_app(
        lambda place, app: nginx_words(place.directory, nginx_cache(place.port, app, place.memory, files))
    )


def _varnish(place: Place, app: int) -> list[str]:
    return varnish_words(place.directory, place.port, app)


def _python(*words: str) -> Start:
    """A Python server that gets its port in place of {port}."""

    def start(place: Place) -> AbstractContextManager[Running]:
        told = [sys.executable, *(word.format(port=place.port) for word in words)]
        answer = str(place.answer.save(place.directory))
        return running(told, SERVER_CORE, place.directory, **{FILE_VARIABLE: answer})

    return start


def _uvicorn(app: str) -> Start:
    return _python("-m", "uvicorn", app, "--port", "{port}", "--backlog", BACKLOG, "--no-access-log",
                   "--log-level", "warning")  # fmt: skip


def _before_an_app(words: Callable[[Place, int], list[str]]) -> Start:
    """A cache in front of the bare ASGI app; the app runs on the same core and is not counted: it is hardly called."""

    @contextmanager
    def start(place: Place) -> Iterator[Running]:
        app = free_port()
        with ExitStack() as both:
            both.enter_context(_uvicorn("bench.peers.apps:bare")(replace(place, port=app)))
            yield both.enter_context(running(words(place, app), SERVER_CORE, place.directory))

    return start


def ours(*words: str, workers: int = 1, core: int | None = SERVER_CORE, **variables: str) -> Start:
    def start(place: Place) -> AbstractContextManager[Running]:
        told = settings(place.port, place.market, place.memory, WORKERS=str(workers), **variables)
        return running([sys.executable, "-m", *(words or SERVICE), "serve"], core, place.directory, **told)

    return start


GRANIAN = ("-m", "granian", "--interface", "asgi", "--workers", "1", "--runtime-threads", "1", "--no-ws",
           "--loop", "uvloop", "--log-level", "error", "--port", "{port}", "--backlog", BACKLOG,
           "--backpressure", "16384", "bench.peers.apps:bare")  # fmt: skip
PEERS = (
    Peer("floor", "C epoll loop, constant bytes", floor(), programs=("cc",)),
    Peer("nginx", "nginx, return 200", nginx(), programs=("nginx",)),
    Peer("lane", "fastprice", ours(), ours=True),
    Peer("lane_fresh", "fastprice, heads never repeat", ours(), ours=True, script=FRESH_HEADS),
    Peer("no_table", "fastprice, heads never repeat, no table", ours("bench.peers.without_table"), ours=True,
         script=FRESH_HEADS),
    Peer("lane_off", "fastprice, FAST_LANE=0", ours(FAST_LANE="0"), ours=True),
    Peer("nginx_cache", "nginx proxy_cache, tuned", _nginx_cache(TUNED), programs=("nginx",)),
    Peer("nginx_packaged", "nginx proxy_cache, as packaged", _nginx_cache(PACKAGED), programs=("nginx",)),
    Peer("granian", "granian, bare ASGI", _python(*GRANIAN), modules=("granian",)),
    Peer("uvicorn", "uvicorn, bare ASGI", _uvicorn("bench.peers.apps:bare")),
    Peer("varnish", "Varnish, hit", _before_an_app(_varnish), programs=("varnishd", "cc")),
    Peer("starlette", "Starlette, route and response", _uvicorn("bench.peers.apps:routed")),
    Peer("fastapi", "FastAPI, pydantic response model", _uvicorn("bench.peers.fastapi_app:app"),
         modules=("fastapi",)),
)  # fmt: skip
