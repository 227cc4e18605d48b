"""What all comparisons share: available peers, starting a peer, rounds in alternating order, and their medians."""

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.peers.answer import PATH, Answer
from bench.peers.catalog import PEERS, Peer, Place
from bench.processes import Running, answer_of, free_port
from bench.service import EXCHANGE_SECONDS, running_market
from bench.wrk import Load
from fastprice.bootstrap import memory_directory

# Fewer rounds are a smoke test: they show that it works, and are not to be quoted.
ENOUGH_ROUNDS = 5
Measure = dict[str, float]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all servers share: the simulated exchange, and the answer of the service, which all give."""

    market: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Subject:
    """A server that has given its first answer."""

    server: Running
    place: Place

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.place.port}{PATH}"


def available(peers: Sequence[Peer]) -> tuple[list[Peer], dict[str, list[str]]]:
    """The peers that this machine has; what is missing for each of the others."""
    lacking = {peer.label: peer.missing() for peer in peers}
    skipped = {label: names for label, names in lacking.items() if names}
    for label, names in skipped.items():
        print(f"skipped: {label} (no {', '.join(names)} here)")
    return [peer for peer in peers if not lacking[peer.label]], skipped


@contextmanager
def surroundings(latency: float = EXCHANGE_SECONDS) -> Iterator[Surroundings]:
    """Run the exchange, and get the service's answer once, which all other servers will give too."""
    with ExitStack() as cleanup:
        market = cleanup.enter_context(running_market(_directory(cleanup), latency=latency))
        ours = next(peer for peer in PEERS if peer.ours)
        with ExitStack() as first:
            place = _place(first, Surroundings(market, Answer({}, b"")))
            subject = Subject(first.enter_context(ours.start(place)), place)
            answer = Answer.of(*answer_of(subject.url, subject.server, place.directory))
        yield Surroundings(market, answer)


def answers(peer: Peer, subject: Subject) -> None:
    """Wait until a peer answers, and check its answer."""
    _, body = answer_of(subject.url, subject.server, subject.place.directory)
    if not peer.ours and body != subject.place.answer.body:
        raise RuntimeError(f"{peer.label} gave another answer: {body!r}")


@contextmanager
def started(peer: Peer, around: Surroundings, ready: Callable[[Peer, Subject], None] = answers) -> Iterator[Subject]:
    """Start a peer, wait until it is ready, and stop it at the end; RuntimeError says why it is not ready."""
    with ExitStack() as cleanup:
        place = _place(cleanup, around)
        subject = Subject(cleanup.enter_context(peer.start(place)), place)
        ready(peer, subject)
        yield subject


def cost(server: Running, run: Callable[[], Load]) -> Measure:
    """Let `run` load a server, and account for what that cost."""
    before = server.cpu()
    load = run()
    used = server.cpu() - before
    answers = max(load.requests, 1)
    return {
        "cpu_us": used.total / answers * 1e6,
        "user_us": used.user / answers * 1e6,
        "per_second": load.per_second,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "failed": load.failed,
        "not_2xx": load.not_2xx,
    }


def in_rounds(measures: Mapping[str, Callable[[], Measure]], rounds: int) -> dict[str, list[Measure]]:
    """Take every measure once per round, every other round in reverse, so that none always follows the same one."""
    taken: dict[str, list[Measure]] = {name: [] for name in measures}
    for number in range(rounds if measures else 0):
        print(f"round {number + 1} of {rounds}:", end="", flush=True)
        for name in list(measures)[:: 1 if number % 2 == 0 else -1]:
            taken[name].append(measures[name]())
            print(f" {name} {next(iter(taken[name][-1].values()), math.nan):.1f}", end="", flush=True)
        print()
    return taken


def row(peer: Peer, rounds: Sequence[Measure]) -> dict[str, Any]:
    """Medians, the range of the most important measures, and every round."""
    medians = {name: round(median(measure[name] for measure in rounds), 3) for name in rounds[0]}
    costs = [round(measure["cpu_us"], 3) for measure in rounds if "cpu_us" in measure]
    extremes = {"cpu_us_least": min(costs), "cpu_us_most": max(costs)} if costs else {}
    each = [{name: round(value, 3) for name, value in measure.items()} for measure in rounds]
    return {"name": peer.name, "label": peer.label, "ours": peer.ours, **medians, **extremes, "each": each}


def _place(cleanup: ExitStack, around: Surroundings) -> Place:
    here, in_memory = _directory(cleanup), _directory(cleanup, memory_directory())
    return Place(here, in_memory, free_port(), around.answer, around.market)


def _directory(cleanup: ExitStack, inside: Path | None = None) -> Path:
    made = tempfile.TemporaryDirectory(prefix="fastprice-bench-", dir=inside, ignore_cleanup_errors=True)
    return Path(cleanup.enter_context(made))
