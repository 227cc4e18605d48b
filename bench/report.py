"""From results to documentation: bench/results/NAME.json, the parts between markers in docs/*.md, and pictures.

`python -m bench.report` rewrites the documentation from the saved results.
"""

import json
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

from bench.svg import Bar, bars, groups, panels
from bench.tables import (
    Result, agreement_tables, connections_tables, drills_tables, failures_tables, fleet_tables, growth_tables,
    load_table, peers_tables, protections_tables, soak_tables, streams_tables, subscribers_tables
)

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).with_name("results")
SMOKE = ROOT / "build" / "bench"
# The pages of results that are not about performance.
PAGES = {
    "fleet": "scaling.md", "agreement": "agreement.md", "drills": "reliability.md", "drills-soak": "reliability.md",
    "protections": "reliability.md",
}  # fmt: skip
# The parts of bench.connections in the picture, which compare how connections are kept.
PICTURED = ("close", "ten", "http10", "http10_keep")
# The parts of bench.push that compare the cost of a message.
PUSHED = ("ten_thousand", "thousand", "flat")


def save(name: str, result: Result, enough: bool) -> None:
    """Save a result and document it; if it is too short to be quoted, both go to build/bench."""
    results = RESULTS if enough else SMOKE
    keep(name, result, results)
    document(name, result, ROOT / "docs" if enough else results)
    if not enough:
        print("that was a smoke test: its figures are not to be quoted")


def keep(name: str, result: Result, results: Path = RESULTS) -> None:
    """Write NAME.json and its picture NAME.svg, if it has one."""
    results.mkdir(parents=True, exist_ok=True)
    path, picture = results / f"{name}.json", SHOWN[name][1]
    path.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    print(f"\nkept in {path.relative_to(ROOT)}{f' and {name}.svg' if picture else ''}")
    if picture:
        path.with_suffix(".svg").write_text(picture(result))


def document(name: str, result: Result, docs: Path) -> None:
    """Write the tables of a result into its page, and its picture, if it has one, beside that."""
    tables, picture = SHOWN[name]
    page = docs / PAGES.get(name, "performance.md")
    text = page.read_text() if page.exists() else "# Performance\n"
    shown = f"\n\n![{name}]({name}.svg)" if picture else ""
    page.write_text(between_markers(text, name, f"{tables(result)}{shown}"))
    if picture:
        (docs / f"{name}.svg").write_text(picture(result))


def between_markers(text: str, name: str, inside: str) -> str:
    """The text with everything between the markers of a name replaced; missing markers are added at the end."""
    begin, end = f"<!-- {name}: begin, written by `python -m bench.report` -->", f"<!-- {name}: end -->"
    if begin not in text:
        text += f"\n{begin}\n{end}\n"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n\n{inside}\n\n{end}{after}"


def peers_picture(result: Result) -> str:
    rows = sorted(result["peers"], key=lambda row: row["cpu_us"])
    note = f"µs, medians of {result['rounds']} rounds, one process on one core, {result['connections']} connections"
    return bars("CPU time per request", note, _costs(rows))


def connections_picture(result: Result) -> str:
    """What a request costs, its share of the connection included, however long connections are kept."""
    return _parts_picture("CPU time per request, with its connection", result, PICTURED)


def push_picture(result: Result) -> str:
    return _parts_picture("CPU time per delivered message", result, PUSHED)


def _parts_picture(title: str, result: Result, names: Collection[str]) -> str:
    note = f"µs, medians of {result['rounds']} rounds, one process on one core"
    shown = {part["title"]: _costs(part["rows"]) for part in result["parts"] if part["name"] in names}
    return groups(title, note, shown)


def streams_picture(result: Result) -> str:
    """How soon each exchange's price is in the last worker's answer, in nearly all cases, as a picture."""
    titles = {"embedded": "one replica, embedded store", "redis": "three replicas over Redis"}
    shown = {
        titles[part["name"]]: [
            (row["name"], row["p99_ms"], f"p99 {row['p99_ms']:.1f}, p50 {row['p50_ms']:.1f}", True)
            for row in part["exchanges"]
        ]
        for part in result["parts"]
        if "exchanges" in part
    }
    return groups("From an exchange's push to the last worker's answer", "ms, 99 % of the steps", shown)


def _costs(rows: Iterable[Result]) -> list[Bar]:
    return [(row["label"], row["cpu_us"], f"{row['cpu_us']:.1f}", row["ours"]) for row in rows]


def growth_picture(result: Result) -> str:
    """A panel for each picture of an axis, which has a title and the measures that are its lines."""
    charts = [
        (
            f"{words}, by {axis['name']}",
            {
                label: [(row["at"], row[measure]) for row in axis["rows"] if row[measure] is not None]
                for measure, label in lines.items()
            },
        )
        for axis in result["axes"]
        for words, lines in axis["charts"].items()
    ]
    return panels("What grows with what", f"medians of {result['rounds']} rounds", charts)


def load_picture(result: Result) -> str:
    buckets = result["histogram"]
    shown = [(f"≤ {bucket['up_to_ms']:g} ms", bucket["count"], f"{bucket['count']:,}", True) for bucket in buckets]
    return bars("Latency of the answers", result["command"], shown)


def fleet_picture(result: Result) -> str:
    rows = [(row["workers"], row["phases"]["steady"]) for row in result["growth"]]
    lines = {"median": "p50_ms", "p99": "p99_ms", "oldest": "max_ms"}
    charts = [
        ("age of the price as served, ms, by workers",
         {label: [(at, phase["ages"][name]) for at, phase in rows] for label, name in lines.items()}),
        ("per second, by workers",
         {"Redis operations": [(at, phase["redis_per_s"]) for at, phase in rows],
          "deliveries": [(at, phase["deliveries_per_s"]) for at, phase in rows]}),
    ]  # fmt: skip
    return panels("A fleet in virtual time", f"seed {result['seed']}", charts)


# How each result is shown: as tables, and as a picture where that is more helpful.
SHOWN: dict[str, tuple[Callable[[Result], str], Callable[[Result], str] | None]] = {
    "peers": (peers_tables, peers_picture),
    "growth": (growth_tables, growth_picture),
    "connections": (connections_tables, connections_picture),
    "push": (partial(connections_tables, beside="floor"), push_picture),
    "acceptor": (connections_tables, None),
    "streams": (streams_tables, streams_picture),
    "load": (load_table, load_picture),
    "fleet": (fleet_tables, fleet_picture),
    "agreement": (agreement_tables, None),
    "subscribers": (subscribers_tables, None),
    "soak": (load_table, load_picture),
    "failures": (failures_tables, None),
    "drills": (drills_tables, None),
    "drills-soak": (soak_tables, None),
    "protections": (protections_tables, None),
}


def main() -> None:
    for name in SHOWN:
        path = RESULTS / f"{name}.json"
        if path.exists():
            document(name, json.loads(path.read_text()), ROOT / "docs")


if __name__ == "__main__":
    main()
