"""Results as tables of Markdown, aligned, so that the terminal and the documentation show the same."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
MEASURES = {"cpu_us": "CPU time per request", "p99_ms": "99th percentile of latency"}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column to the left, all others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, rule)
    return "\n".join(_line(cells, widths) for cells in lines)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = zip(cells, widths, strict=True)
    words = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
    return f"| {' | '.join(words)} |"


def peers_tables(result: Result) -> str:
    head = ("", "CPU µs per request", "range", "of it user", "requests per s", "p50 ms", "p99 ms", "× the floor")
    floor = next((row["cpu_us"] for row in result["peers"] if row["name"] == "floor"), None)
    rows = [_peer(row, floor) for row in sorted(result["peers"], key=lambda row: row["cpu_us"])]
    about = (
        f"Medians of {result['rounds']} rounds of {result['seconds']:g} s, {result['connections']} keep-alive"
        " connections, one process on one core, the load generator on another."
    )
    skipped = [f"Skipped, for it is not here: {label}." for label in result["skipped"]]
    return "\n\n".join([_machine(result), " ".join([about, *skipped]), table(head, rows), _targets(result)])


def _peer(row: Mapping[str, Any], floor: float | None) -> list[str]:
    return [
        f"**{row['label']}**" if row["ours"] else row["label"],
        f"{row['cpu_us']:.1f}",
        f"{row['cpu_us_least']:.1f}–{row['cpu_us_most']:.1f}",
        f"{row['user_us']:.1f}",
        f"{row['per_second']:,.0f}",
        f"{row['p50_ms']:.2f}",
        f"{row['p99_ms']:.2f}",
        f"{row['cpu_us'] / floor:.2f}" if floor else "",
    ]


def _targets(result: Result) -> str:
    labels = {row["name"]: row["label"] for row in result["peers"]}
    rows = [
        (
            f"{labels[row['ours']]} / {labels[row['theirs']]}",
            MEASURES[row["measure"]],
            f"{row['ratio']:.3f}",
            f"≤ {row['most']:.2f}",
            "met" if row["met"] else "missed",
        )
        for row in result["targets"]
    ]
    return table(("ours / theirs, side by side", "of", "ratio", "target", ""), rows)


def growth_tables(result: Result) -> str:
    """One table for each thing that grew; a column for each measure."""
    parts = [_machine(result), f"Medians of {result['rounds']} rounds of {result['seconds']:g} s.", *result["notes"]]
    for axis in result["axes"]:
        head = [axis["name"], *axis["measures"].values()]
        rows = [[f"{row['at']:,}", *(_figure(row[name]) for name in axis["measures"])] for row in axis["rows"]]
        parts += [axis["about"], table(head, rows)]
    return "\n\n".join(parts)


def load_table(result: Result) -> str:
    figures = [(name, _figure(value)) for name, value in result["summary"].items()]
    statuses = [(f"answers {status}", f"{count:,}") for status, count in result["statuses"].items()]
    errors = [(f"error: {words}", f"{count:,}") for words, count in result["errors"].items()]
    rows = [*figures, *statuses, *(errors or [("errors", "0")])]
    parts = [f"`{result['command']}`", table(("", ""), rows)]
    if result["process"]:
        moments = list(result["process"])
        kinds = list(result["process"][moments[0]])
        parts.append(
            table(["", *moments], [[kind, *(_figure(result["process"][at][kind]) for at in moments)] for kind in kinds])
        )
    return "\n\n".join(parts)


def failures_tables(result: Result) -> str:
    """One table for each failure; beside a figure what it may be, where that is promised."""
    parts = [_machine(result), *result["notes"]]
    for measured in result["measured"]:
        rows = [(row["what"], _figure(row["value"]), *_promise(row)) for row in measured["rows"]]
        parts += [measured["about"], table(("", "", "target", ""), rows)]
    return "\n\n".join(parts)


def _promise(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["met"] is None:
        return "", ""
    exact = row["least"] is not None or row["most"] == 0
    return f"{'' if exact else '≤ '}{_figure(row['most'])}", "met" if row["met"] else "missed"


def _machine(result: Result) -> str:
    facts, versions = result["machine"], result["versions"]
    return "\n".join(
        f"{title}: {', '.join(f'{name} {value}' for name, value in words.items())}."
        for title, words in (("Machine", facts), ("Versions", versions))
    )


def _figure(value: float | None) -> str:
    if value is None:
        return "–"
    if value == int(value) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}" if value < 10 else f"{value:.1f}"
