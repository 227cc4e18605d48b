"""The page about reliability tells of every claim and every drill as they are."""

import re
from pathlib import Path

from bench.drills.__main__ import ALL
from bench.drills.protections import PROTECTIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text()
CLAIMS = 26


def test_each_claim_names_the_drills_that_prove_it_or_why_it_was_dropped() -> None:
    told = {int(number): drills for number, drills in re.findall(r"^\| (\d+) \| [^|]+ \| (.+) \|$", PAGE, re.M)}
    assert told.keys() == set(range(1, CLAIMS + 1))
    for number, drills in told.items():
        proving = ", ".join(drill.name for drill in ALL if number in drill.proves)
        assert drills == proving or (not proving and drills.startswith("dropped: ")), number


def test_the_short_form_of_each_drill_is_a_test() -> None:
    for drill in ALL:
        for name in drill.short.split(", "):
            assert list((ROOT / "tests").glob(f"*/{name}")), drill.name


def test_names_are_those_of_one_drill_and_each_protection_has_one_that_notices() -> None:
    names = [drill.name for drill in ALL]
    assert len(names) == len(set(names)) and len(PROTECTIONS) >= 10
    assert {protection.noticed_by for protection in PROTECTIONS} <= set(names)
