"""The page about reliability describes every claim and every drill correctly."""

import json
import re
from pathlib import Path

import pytest

from bench.drills.__main__ import ALL, DRILLS
from bench.drills.protections import PROTECTIONS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text()
RESULT = json.loads((ROOT / "bench/results/drills.json").read_text())
HOUR, = json.loads((ROOT / "bench/results/drills-soak.json").read_text())["rows"]
CLAIMS = 26
# The rows of the table in both READMEs, in order, each with its drills.
TOLD = (("kill-workers",), ("roll",), ("redis-stopped",), ("redis-sentinel", "redis-cluster"), ("kill-leader",))


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


def test_the_published_table_is_of_a_whole_run_of_all_drills() -> None:
    assert [row["name"] for row in RESULT["rows"]] == [drill.name for drill in DRILLS]


@pytest.mark.parametrize(("readme", "comma", "point"), [("README.md", ",", "."), ("README.ru.md", "\u00a0", ",")])
def test_the_figures_of_the_readmes_are_those_of_the_published_run(readme: str, comma: str, point: str) -> None:
    text = (ROOT / readme).read_text()
    rows, by_name = RESULT["rows"], {row["name"]: row for row in RESULT["rows"]}
    told = re.findall(r"^\| [^|]+ \| ([\d,\u00a0]+) \| (\d+) \| ([\d.,]+)\u00a0?\s?[sс] \|$", text, re.M)
    wanted = [
        (sum(row["requests"] + row["events"] for row in each), sum(row["lost"] for row in each),
         max(row["oldest_ms"] for row in each))
        for each in ([by_name[name] for name in names] for names in TOLD)
    ]  # fmt: skip
    assert told == [
        (f"{judged:,}".replace(",", comma), str(lost), f"{oldest_ms / 1000:.1f}".replace(".", point))
        for judged, lost, oldest_ms in wanted
    ]
    judged, lost = sum(row["requests"] + row["events"] for row in rows), sum(row["lost"] for row in rows)
    assert f"{judged:,}".replace(",", comma) in text and f" {lost:,}".replace(",", comma) in text
    assert f"{HOUR['requests'] + HOUR['events']:,}".replace(",", comma) in text
    assert not sum(row["wrong"] for row in (*rows, HOUR)) and all(row["kept"] for row in (*rows, HOUR))
