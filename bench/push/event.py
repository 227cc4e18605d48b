"""The one event that every server pushes: the service's own, with a mark in place of the time of the change."""

import json
from pathlib import Path

from bench.peers.answer import PATH, Answer

STREAM = f"{PATH}/stream"
NAME = "price"
# As many digits as the time in ms has, so that the event keeps its length.
MARK = "1000000000000"


def save(answer: Answer, directory: Path) -> tuple[str, str]:
    """Write the whole event to a file, and its data, the price object, to another; returns their paths."""
    event, data = directory / "event", directory / "data"
    data.write_text(json.dumps(answer.fields() | {"fetched_at_ms": int(MARK)}, separators=(",", ":")))
    event.write_text(f"id: {MARK}\nevent: {NAME}\ndata: {data.read_text()}\n\n")
    return str(event), str(data)
