"""What openapi.json declares, for the tests of every layer that sends answers."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "fastprice/interface/openapi.json").read_text())
# Headers of HTTP itself, and those that compression and language negotiation add.
OF_HTTP = {
    "connection", "content-encoding", "content-length", "content-type", "keep-alive", "server", "transfer-encoding", "vary",
}  # fmt: skip


def resolved(document: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The entry itself, or the component that it refers to."""
    if "$ref" not in entry:
        return entry
    _, _, kind, name = entry["$ref"].split("/")
    component: dict[str, Any] = document["components"][kind][name]
    return component


def undeclared(status: int, names: Iterable[str]) -> set[str]:
    """The headers among `names` that no operation declares for this status."""
    declared = resolved(FILE, FILE["x-every-operation"][str(status)]).get("headers", {}).keys() | FILE["x-every-answer"].keys()
    return {name.lower() for name in names} - {name.lower() for name in declared} - OF_HTTP
