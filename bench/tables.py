"""Results as aligned Markdown tables, so that the terminal and the documentation show the same."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Result = Mapping[str, Any]
MEASURES = {"cpu_us": "CPU time per request", "p99_ms": "99th percentile of latency"}
# How many characters of what was seen are shown: it may be a whole answer.
SEEN = 80
TARGETS_HEAD = ("ours / theirs, side by side", "of", "ratio", "target", "")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with the first column aligned to the left, all others to the right."""
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
    targets = table(TARGETS_HEAD, _targets(result["targets"], _labels(result["peers"]), MEASURES))
    return "\n\n".join([_machine(result), " ".join([about, *skipped]), table(head, rows), targets])


def _peer(row: Mapping[str, Any], floor: float | None) -> list[str]:
    return [
        _name(row),
        f"{row['cpu_us']:.1f}",
        _range(row),
        f"{row['user_us']:.1f}",
        f"{row['per_second']:,.0f}",
        f"{row['p50_ms']:.2f}",
        f"{row['p99_ms']:.2f}",
        f"{row['cpu_us'] / floor:.2f}" if floor else "",
    ]


def connections_tables(result: Result, beside: str = "nginx") -> str:
    """One table for each part, with its servers in their order, and one of all targets."""
    parts, targets = [_machine(result), f"Medians of {result['rounds']} rounds of {result['seconds']:g} s."], []
    for part in result["parts"]:
        skipped = [f"Skipped: {label} (no {', '.join(names)} here)." for label, names in part["skipped"].items()]
        failed = [f"Failed: {label} ({words})." for label, words in part.get("failed", {}).items()]
        parts += [" ".join([part["about"], *skipped, *failed]), *([_part(part, beside)] if part["rows"] else [])]
        rows = _targets(part["targets"], _labels(part["rows"]), part["measures"])
        targets += [(f"{part['title']}: {row[0]}", *row[1:]) for row in rows]
    return "\n\n".join([*parts, *([table(TARGETS_HEAD, targets)] if targets else [])])


def _part(part: Mapping[str, Any], beside: str) -> str:
    """Costs are shown with their range, and with their ratio to those of `beside`, if it was measured too."""
    measures = dict(part["measures"])
    theirs = next((row["cpu_us"] for row in part["rows"] if row["name"] == beside and "cpu_us" in measures), None)
    head, rows = ["", *measures.values()], []
    head += [*(["range of CPU"] if "cpu_us" in measures else []), *([f"× {beside}"] if theirs else [])]
    for row in part["rows"]:
        extremes = [_range(row)] if "cpu_us" in measures else []
        times = [f"{row['cpu_us'] / theirs:.2f}"] if theirs else []
        rows.append([_name(row), *(_figure(row[name]) for name in measures), *extremes, *times])
    return table(head, rows)


def _name(row: Mapping[str, Any]) -> str:
    return f"**{row['label']}**" if row["ours"] else str(row["label"])


def _range(row: Mapping[str, Any]) -> str:
    return f"{row['cpu_us_least']:.1f}–{row['cpu_us_most']:.1f}"


def _labels(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {row["name"]: row["label"] for row in rows}


def _targets(
    targets: Iterable[Mapping[str, Any]], labels: Mapping[str, str], measures: Mapping[str, str]
) -> list[tuple[str, ...]]:
    """A row for each target; a target without a peer is a figure and not a ratio."""
    return [
        (
            " / ".join(labels[name] for name in (row["ours"], row["theirs"]) if name),
            measures[row["measure"]],
            f"{row['ratio']:.3f}" if row["theirs"] else _figure(row["ratio"]),
            f"≤ {row['most']:.2f}" if row["theirs"] else f"≤ {_figure(row['most'])}",
            "met" if row["met"] else "missed",
        )
        for row in targets
    ]


def growth_tables(result: Result) -> str:
    """One table for each axis of growth; a column for each measure."""
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
    """One table for each failure; a figure is shown with its limit, if one is promised."""
    parts = [_machine(result), *result["notes"]]
    for measured in result["measured"]:
        parts += [measured["about"], _figures(measured["rows"])]
    return "\n\n".join(parts)


def _figures(rows: Iterable[Mapping[str, Any]]) -> str:
    return table(("", "", "target", ""), [(row["what"], _figure(row["value"]), *_promise(row)) for row in rows])


def streams_tables(result: Result) -> str:
    """Latencies with one row for each exchange, and figures with their limits."""
    parts = [_machine(result), *result["notes"]]
    for part in result["parts"]:
        parts += [part["about"], _latencies(part["exchanges"]) if "exchanges" in part else _figures(part["rows"])]
    return "\n\n".join(parts)


def _latencies(rows: Sequence[Mapping[str, Any]]) -> str:
    titles = {
        "p50_ms": "p50 ms", "p99_ms": "p99 ms", "max_ms": "max ms", "hop_p50_ms": "another replica, p50 ms",
        "hop_p99_ms": "p99 ms", "hop_max_ms": "max ms", "steps": "steps", "polled": "by a poll", "lost": "lost",
        "wrong": "other answers",
    }  # fmt: skip
    shown = {name: title for name, title in titles.items() if name in rows[0]}
    return table(("", *shown.values()), ([row["name"], *(_figure(row[name]) for name in shown)] for row in rows))


def _promise(row: Mapping[str, Any]) -> tuple[str, str]:
    if row["met"] is None:
        return "", ""
    exact = row["least"] is not None or row["most"] == 0
    return f"{'' if exact else '≤ '}{_figure(row['most'])}", "met" if row["met"] else "missed"


def fleet_tables(result: Result) -> str:
    return "\n\n".join([
        f"Seed `{result['seed']}`; ages in ms as served, without those of the exchanges themselves.",
        "Steady state, and the same fleet with its holder killed and Redis gone and back:",
        table(("workers on machines", "calls per interval", "Redis gone", "after", "age p50", "p99", "max",
               "takeover s, at most", "Redis operations per s", "of it per worker", "peak", "deliveries per s"),
              map(_grown, result["growth"])),
        "Failures; `callers` is the most processes that asked within one interval, the moment of change included:",
        table(("what happens", "workers", "machines", "calls per interval", "callers", "may be", "healing", "after",
               "age p50", "p99", "max", "takeovers", "p99 s", "max s", "calls despite a ban", "without a price"),
              map(_failed, result["failures"])),
    ])  # fmt: skip


def _grown(row: Mapping[str, Any]) -> list[str]:
    phases = row["phases"]
    steady, ages = phases["steady"], phases["steady"]["ages"]
    figures = [
        *(phases[name]["calls_per_interval"] for name in ("steady", "Redis gone", "after")),
        ages["p50_ms"], ages["p99_ms"], ages["max_ms"], row["takeovers"]["max_s"],
        steady["redis_per_s"], steady["redis_per_worker"], row["redis_peak_per_s"], steady["deliveries_per_s"],
    ]  # fmt: skip
    return [row["name"], *map(_figure, figures)]


def _failed(row: Mapping[str, Any]) -> list[str]:
    phases, takeovers = row["phases"], row["takeovers"]
    during, ages = phases["during"], phases["during"]["ages"]
    figures = [
        row["workers"], row["machines"], during["calls_per_interval"], during["most_callers"], row["at_most"],
        phases["healing"]["most_callers"], phases["after"]["most_callers"],
        ages["p50_ms"], ages["p99_ms"], ages["max_ms"],
        takeovers["count"], takeovers["p99_s"], takeovers["max_s"], row["calls_despite_ban"],
        sum(phase["without_price"] for phase in phases.values()),
    ]  # fmt: skip
    return [row["name"], *map(_figure, figures)]


def agreement_tables(result: Result) -> str:
    return "\n\n".join([
        f"Seed `{result['seed']}`, {result['minutes']:g} minutes of virtual time each, a round a second, nine sources:",
        agreement_table(result["plays"]),
        f"Real processes, {result['real_minutes']:g} minutes of lies by chance, each for 30 s, a check every 2 s:",
        lies_table(result["real"]),
    ])


def agreement_table(rows: Iterable[Mapping[str, Any]]) -> str:
    return table(
        ("mode", "who lies", "wrong price served, s", "allowed", "true move served after, s", "oldest price, s",
         "calls per round", "distrusted in the end"),
        ([row["mode"], row["name"], *(_figure(row[name]) for name in ("wrong", "allowed", "late", "oldest")),
          f"{row['calls_per_round']:.3f}", ", ".join(row["distrusted"]) or "none"] for row in rows),
    )  # fmt: skip


def subscribers_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """One column for each part, because there are many figures and few parts."""
    shown = list(rows)
    figures = {
        "seconds": "seconds", "events": "events received", "lost": "lost", "pushes_per_s": "pushes per s",
        "p99_ms": "change to last subscriber, p99 ms, worst window", "slowest_ms": "slowest ms",
        "asked_alone_ms": "plain request p99 ms, without subscribers", "asked_ms": "beside them, worst window",
        "mb_first": "MB at first", "mb_last": "MB in the end", "open_first": "descriptors at first",
        "open_last": "descriptors in the end", "came": "came and went", "wrong": "of them answered wrongly",
    }  # fmt: skip
    return table(
        ("", *(row["name"] for row in shown)),
        ([title, *(_figure(row[name]) for row in shown)] for name, title in figures.items()),
    )


def subscribers_tables(result: Result) -> str:
    return "\n\n".join([_machine(result), f"{result['minutes']:g} minutes each.", subscribers_table(result["rows"])])


def drills_tables(result: Result) -> str:
    parts = [f"{result['date']}. {_machine(result)}", drills_table(result["rows"])]
    failed = [f"- {row['name']}: {'; '.join(row['amiss'])}" for row in result["rows"] if not row["kept"]]
    return "\n\n".join([*parts, *(["Not kept:\n\n" + "\n".join(failed)] if failed else [])])


def drills_table(rows: Iterable[Mapping[str, Any]]) -> str:
    return table(
        ("claim", "load", "fault", "requests", "lost", "wrong", "oldest", "recovered after", "kept"),
        ([f"**{row['name']}**: {row['claim']}", row["load"], row["fault"], f"{row['requests'] + row['events']:,}",
          f"{row['lost']:,}", f"{row['wrong']:,}", f"{row['oldest_ms'] / 1000:.1f} s" if row["oldest_ms"] else "–",
          "–" if row["recovered"] is None else f"{row['recovered']:.1f} s", "yes" if row["kept"] else "NO"]
         for row in rows),
    )  # fmt: skip


def soak_tables(result: Result) -> str:
    held = (f"- {words.partition(' × ')[2]}." for row in result["rows"] for words in row["seen"])
    return "\n\n".join([drills_tables(result), "\n".join(held)])


def protections_tables(result: Result) -> str:
    return f"{result['date']}.\n\n{protections_table(result['rows'])}"


def protections_table(rows: Iterable[Mapping[str, Any]]) -> str:
    return table(
        ("what is taken away", "the drill that notices", "what it says then"),
        ([f"**{row['name']}**: {row['what']}", row["drill"],
          "; ".join(words[:SEEN] for words in row["seen"]) if row["noticed"] else "NOTHING"]
         for row in rows),
    )  # fmt: skip


def lies_table(rows: Iterable[Mapping[str, Any]]) -> str:
    return table(
        ("mode", "who lies", "wrong price served, s", "allowed", "answers judged"),
        ([row["mode"], row["lie"], *(_figure(row[name]) for name in ("wrong", "allowed", "looks"))] for row in rows),
    )


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
