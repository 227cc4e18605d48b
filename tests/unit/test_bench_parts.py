"""In a measurement with several servers, one that fails is named and does not affect the others."""

from contextlib import AbstractContextManager

import pytest

from bench.acceptor.__main__ import summed
from bench.connections.parts import Case, Part, measured
from bench.peers.catalog import Peer, Place
from bench.peers.rounds import Measure, Subject
from bench.peers.targets import Target
from bench.processes import Running
from bench.tables import connections_tables

FILES = 1_000


def start(place: Place) -> AbstractContextManager[Running]:
    raise NotImplementedError


def unused(subject: Subject, seconds: int) -> Measure:
    raise NotImplementedError


def case(name: str, ours: bool = False) -> Case:
    return Case(Peer(name, f"the {name}", start, ours=ours), unused)


def part(*names: str, files: int = 0) -> Part:
    cases = [case("ours", ours=True), *map(case, names)]
    return Part("close", "a part", "About it.", cases, [Target("ours", name, 2.0) for name in names], files=files)


def test_a_server_that_fails_is_named_and_the_others_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    tried = []

    def measure(case: Case) -> Measure:
        tried.append(case.peer.name)
        if case.peer.name == "broken":
            raise RuntimeError("it is answered with 404\nand more")
        return dict.fromkeys(("cpu_us", "user_us", "per_second", "p50_ms", "p99_ms", "errors"), 1.0)

    result = measured(part("broken", "floor"), measure, 2, FILES)
    assert [row["name"] for row in result["rows"]] == ["ours", "floor"]
    assert [target["theirs"] for target in result["targets"]] == ["floor"]
    assert tried.count("broken") == 1 and tried.count("floor") == 2
    assert "error: the broken: it is answered with 404" in capsys.readouterr().out
    tables = connections_tables(
        {"machine": {}, "versions": {}, "rounds": 2, "seconds": 1, "parts": [result]}, beside="floor"
    )
    assert "Failed: the broken (it is answered with 404)." in tables and "× floor" in tables


def test_a_part_with_more_connections_than_files_is_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    def measure(case: Case) -> Measure:
        raise AssertionError("nothing is to be started")

    result = measured(part(files=FILES), measure, 2, FILES)
    assert not result["rows"] and result["skipped"] == {"a part": ["1,000 open files"]}
    assert "skipped: a part (only 1,000 open files)" in capsys.readouterr().out


def test_what_is_lost_in_one_round_of_three_is_told_though_the_median_is_none() -> None:
    each = [{"lost": lost, "p99_ms": 1.0} for lost in (0, 2, 0)]
    target = {"ours": "ours", "theirs": "", "measure": "lost", "most": 0, "ratio": 0, "met": True}
    slow = target | {"measure": "p99_ms", "most": 2, "ratio": 1.0}
    part = summed({"rows": [{"name": "ours", "lost": 0, "p99_ms": 1.0, "each": each}], "targets": [target, slow]})
    assert (part["rows"][0]["lost"], part["rows"][0]["p99_ms"]) == (2, 1.0)
    assert [(row["ratio"], row["met"]) for row in part["targets"]] == [(2, False), (1.0, True)]
