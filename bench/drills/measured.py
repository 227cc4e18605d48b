"""What another measurement has found, as the notes of a drill."""

from typing import Any

from bench.drills.drill import Notes


def hold(notes: Notes, part: dict[str, Any], requests: str, lost: str = "", oldest: str = "") -> None:
    """Copy its figures by their names; a figure that misses its limit is amiss."""
    for row in part["rows"]:
        value = row["value"]
        if row["what"] == requests:
            notes.requests = round(value)
        elif row["what"] == lost:
            notes.lost = round(value)
        elif row["what"] == oldest:
            notes.oldest_ms = value
        if row["met"] is not None:
            limit = f"at most {row['most']}" if row["most"] is not None else f"at least {row['least']}"
            notes.expect(row["met"], f"{row['what']}: {value}, {limit}")
            notes.seen[f"{row['what']}: {value}"] = 1
