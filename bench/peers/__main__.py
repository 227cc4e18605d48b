"""Measure every peer that can be had on this machine, in interleaved rounds, and say how the service compares."""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from bench import machine, wrk
from bench.peers.answer import PATH, Answer
from bench.peers.catalog import PEERS, Peer, Place
from bench.peers.targets import reached
from bench.processes import answer_of, free_port, missing, stop_on_signal
from bench.report import save
from bench.service import running_market
from bench.tables import peers_tables
from fastprice.bootstrap import memory_directory

WARM_UP_SECONDS = 1
# Fewer are a smoke test: good to see that it works, not to be quoted.
ENOUGH_ROUNDS = 5
Measure = dict[str, float]


def main() -> None:
    words = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    words.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS)
    words.add_argument("--seconds", type=int, default=4)
    words.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS])
    given = words.parse_args()
    if missing("wrk"):
        sys.exit("cannot measure without wrk")
    stop_on_signal()
    here, skipped = _available(given.only or [peer.name for peer in PEERS])
    facts = machine.facts()
    if warning := machine.disturbance():
        print(f"mind: {warning}")
    measures = _rounds(here, given.rounds, given.seconds)
    result = {
        "machine": facts,
        "versions": machine.versions(),
        "rounds": given.rounds,
        "seconds": given.seconds,
        "connections": wrk.CONNECTIONS,
        "skipped": skipped,
        "peers": [_row(peer, measures[peer.name]) for peer in here],
        "targets": reached(measures),
    }
    print(peers_tables(result))
    save("peers", result, enough=given.rounds >= ENOUGH_ROUNDS and not given.only)


def _available(wanted: Sequence[str]) -> tuple[list[Peer], dict[str, list[str]]]:
    """The wanted peers that this machine has; one line for each that is not to be had."""
    peers = [peer for peer in PEERS if peer.name in wanted]
    lacking = {peer.label: peer.missing() for peer in peers}
    skipped = {label: names for label, names in lacking.items() if names}
    for label, names in skipped.items():
        print(f"skipped: {label} (no {', '.join(names)} here)")
    return [peer for peer in peers if not lacking[peer.label]], skipped


def _rounds(peers: Sequence[Peer], rounds: int, seconds: int) -> dict[str, list[Measure]]:
    """Every peer once per round, every other round backwards, so that no peer always follows the same one."""
    measures: dict[str, list[Measure]] = {peer.name: [] for peer in peers}
    with ExitStack() as cleanup:
        market = cleanup.enter_context(running_market(_directory(cleanup)))
        answer = _answer(next(peer for peer in PEERS if peer.ours), market)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}:", end="", flush=True)
            for peer in peers if number % 2 == 0 else reversed(peers):
                measures[peer.name].append(_measure(peer, answer, market, seconds))
                print(f" {peer.name} {measures[peer.name][-1]['cpu_us']:.1f}", end="", flush=True)
            print(" µs")
    return measures


def _answer(ours: Peer, market: str) -> Answer:
    """What the service says now, which all the others will say too."""
    with ExitStack() as cleanup:
        place = _place(cleanup, Answer({}, b""), market)
        server = cleanup.enter_context(ours.start(place))
        return Answer.of(*answer_of(f"http://127.0.0.1:{place.port}{PATH}", server, place.directory))


def _measure(peer: Peer, answer: Answer, market: str, seconds: int) -> Measure:
    """Start a peer, make sure that it says what it should, warm it up, measure it, stop it."""
    with ExitStack() as cleanup:
        place = _place(cleanup, answer, market)
        server = cleanup.enter_context(peer.start(place))
        url = f"http://127.0.0.1:{place.port}{PATH}"
        _, body = answer_of(url, server, place.directory)
        if not peer.ours and body != answer.body:
            raise RuntimeError(f"{peer.label} gave another answer: {body!r}")
        wrk.run(url, WARM_UP_SECONDS, script=peer.script)
        before = server.cpu()
        load = wrk.run(url, seconds, script=peer.script)
        used = server.cpu() - before
    if load.not_2xx or not load.requests:
        raise RuntimeError(f"{peer.label} answered wrongly: {load}")
    return {
        "cpu_us": used.total / load.requests * 1e6,
        "user_us": used.user / load.requests * 1e6,
        "per_second": load.per_second,
        "p50_ms": load.p50_ms,
        "p99_ms": load.p99_ms,
        "failed": load.failed,
    }


def _place(cleanup: ExitStack, answer: Answer, market: str) -> Place:
    return Place(_directory(cleanup), _directory(cleanup, memory_directory()), free_port(), answer, market)


def _directory(cleanup: ExitStack, inside: Path | None = None) -> Path:
    made = tempfile.TemporaryDirectory(prefix="fastprice-bench-", dir=inside, ignore_cleanup_errors=True)
    return Path(cleanup.enter_context(made))


def _row(peer: Peer, rounds: Sequence[Measure]) -> dict[str, Any]:
    """Medians, the range of what matters most, and every round."""
    medians = {name: round(median(measure[name] for measure in rounds), 3) for name in rounds[0]}
    costs = [round(measure["cpu_us"], 3) for measure in rounds]
    extremes = {"cpu_us_least": min(costs), "cpu_us_most": max(costs)}
    each = [{name: round(value, 3) for name, value in measure.items()} for measure in rounds]
    return {"name": peer.name, "label": peer.label, "ours": peer.ours, **medians, **extremes, "each": each}


if __name__ == "__main__":
    main()
