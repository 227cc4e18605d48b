"""Measure every peer that can be had on this machine, in interleaved rounds, and say how the service compares."""

import argparse
import sys
from functools import partial

from bench import machine, wrk
from bench.peers.catalog import PEERS, Peer
from bench.peers.rounds import (
    ENOUGH_ROUNDS, Measure, Surroundings, available, cost, in_rounds, row, started, surroundings
)
from bench.peers.targets import TARGETS, reached
from bench.processes import missing, stop_on_signal
from bench.report import save
from bench.tables import peers_tables

WARM_UP_SECONDS = 1


def main() -> None:
    words = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    words.add_argument("--rounds", type=int, default=ENOUGH_ROUNDS)
    words.add_argument("--seconds", type=int, default=4)
    words.add_argument("--only", nargs="+", choices=[peer.name for peer in PEERS])
    given = words.parse_args()
    if missing("wrk"):
        sys.exit("cannot measure without wrk")
    stop_on_signal()
    here, skipped = available([peer for peer in PEERS if not given.only or peer.name in given.only])
    facts = machine.facts()
    if warning := machine.disturbance():
        print(f"mind: {warning}")
    with surroundings() as around:
        measures = in_rounds({peer.name: partial(_measure, peer, around, given.seconds) for peer in here}, given.rounds)
    result = {
        "machine": facts,
        "versions": machine.versions(),
        "rounds": given.rounds,
        "seconds": given.seconds,
        "connections": wrk.CONNECTIONS,
        "skipped": skipped,
        "peers": [row(peer, measures[peer.name]) for peer in here],
        "targets": reached(measures, TARGETS),
    }
    print(peers_tables(result))
    save("peers", result, enough=given.rounds >= ENOUGH_ROUNDS and not given.only)


def _measure(peer: Peer, around: Surroundings, seconds: int) -> Measure:
    """Start a peer, warm it up, measure it, and stop it."""
    with started(peer, around) as subject:
        wrk.run(subject.url, WARM_UP_SECONDS, script=peer.script)
        measure = cost(subject.server, lambda: wrk.run(subject.url, seconds, script=peer.script))
    if measure["not_2xx"] or not measure["per_second"]:
        raise RuntimeError(f"{peer.label} answered wrongly: {measure}")
    return measure


if __name__ == "__main__":
    main()
