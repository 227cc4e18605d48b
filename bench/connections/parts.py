"""What is measured, in parts: each a table of the same servers under the same kind of load, with its targets."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from bench import machine
from bench.peers.catalog import PEERS, Peer, Start, floor
from bench.peers.rounds import Measure, Subject, available, cost, in_rounds, row
from bench.peers.targets import Target, reached
from bench.wrk import Load

WARM_UP_SECONDS = 1
BY_NAME = {peer.name: peer for peer in PEERS}
COSTS = {"cpu_us": "CPU µs per request", "user_us": "of it user", "per_second": "requests per s", "p50_ms": "p50 ms",
         "p99_ms": "p99 ms", "errors": "errors"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """A server under one load; `measure` takes the running server and how many seconds to load it."""

    peer: Peer
    measure: Callable[[Subject, int], Measure]


@dataclass(frozen=True, slots=True)
class Part:
    """`title` names it in the table of targets, `about` says how it is measured; a process opens `files` files."""

    name: str
    title: str
    about: str
    cases: Sequence[Case]
    targets: Sequence[Target] = ()
    measures: Mapping[str, str] = field(default_factory=COSTS.copy)
    files: int = 0


def beside_each_other(measure: Callable[[Subject, int], Measure], program: str, connection: str = "") -> list[Case]:
    """The servers whose connections are compared; `program` loads them, `connection` is the header of the floor."""
    peers = [replace(BY_NAME["floor"], start=floor(connection))]
    peers += [BY_NAME[name] for name in ("nginx", "lane", "lane_off", "granian", "uvicorn")]
    return [Case(needing(peer, program), measure) for peer in peers]


def needing(peer: Peer, program: str) -> Peer:
    return replace(peer, programs=tuple({*peer.programs, program}))


def our_service(name: str, label: str, start: Start, *programs: str, modules: tuple[str, ...] = ()) -> Peer:
    return Peer(name, label, start, programs, modules, ours=True)


def loaded(subject: Subject, run: Callable[[int], Load], seconds: int) -> Measure:
    """Warm a server up, load it, and account for the load."""
    run(WARM_UP_SECONDS)
    return accounted(subject, lambda: run(seconds))


def accounted(subject: Subject, run: Callable[[], Load]) -> Measure:
    """Account for a load; wrong answers are counted and never stop the measurement."""
    measure = cost(subject.server, run)
    return measure | {"errors": measure["failed"] + measure["not_2xx"]}


def chosen(parts: Sequence[Part], only: Sequence[str]) -> list[Part]:
    """The named parts, or all if none is named; the same for the servers of each part."""
    named = [part for part in parts if part.name in only] or list(parts)
    servers = {name for name in only if name not in {part.name for part in parts}}
    if not servers:
        return named
    fewer = [replace(part, cases=[case for case in part.cases if case.peer.name in servers]) for part in named]
    return [part for part in fewer if part.cases]


def measured(part: Part, measure: Callable[[Case], Measure], rounds: int, files: int) -> dict[str, Any]:
    """A part with the medians of every server; what cannot be done here, or fails, is always reported."""
    print(f"{part.title} ...", flush=True)
    here, skipped = available([case.peer for case in part.cases])
    if part.files + machine.SPARE_FILES > files:
        here, skipped = [], {part.title: [f"{part.files:,} open files"]}
        print(f"skipped: {part.title} (only {files:,} open files)")
    failed: dict[str, str] = {}
    cases = [case for case in part.cases if case.peer in here]
    each = in_rounds({case.peer.name: partial(_tried, case, measure, failed) for case in cases}, rounds)
    measures = {name: taken for name, taken in each.items() if all(taken)}
    return {
        "name": part.name,
        "title": part.title,
        "about": part.about,
        "measures": dict(part.measures),
        "skipped": skipped,
        "failed": failed,
        "rows": [row(peer, measures[peer.name]) for peer in here if peer.name in measures],
        "targets": reached(measures, part.targets),
    }


def _tried(case: Case, measure: Callable[[Case], Measure], failed: dict[str, str]) -> Measure:
    """A measure, or an empty one from a server that has failed, which is not tried again."""
    if case.peer.label not in failed:
        try:
            return measure(case)
        except RuntimeError as error:
            failed[case.peer.label] = str(error).splitlines()[0]
            print(f"\nerror: {case.peer.label}: {error}", flush=True)
    return {}
