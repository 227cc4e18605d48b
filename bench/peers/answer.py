"""The one answer that every peer gives: the service's own, taken once, with the same body and the same headers."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = "/api/v1/prices/eth-usdt"
# Each server writes these itself.
OWN = ("date", "server", "connection", "content-length", "content-type")
FILE_VARIABLE = "ANSWER_FILE"
DATE = "Date: Thu, 01 Jan 2026 00:00:00 GMT"


@dataclass(frozen=True, slots=True)
class Answer:
    """Headers beside those that every server writes itself, and the JSON body."""

    headers: Mapping[str, str]
    body: bytes

    @classmethod
    def of(cls, headers: Mapping[str, str], body: bytes) -> "Answer":
        return cls({name.lower(): value for name, value in headers.items() if name.lower() not in OWN}, body)

    @classmethod
    def from_environment(cls) -> "Answer":
        """The answer as `save` wrote it, for the peers in Python."""
        saved = json.loads(Path(os.environ[FILE_VARIABLE]).read_text())
        return cls(saved["headers"], saved["body"].encode())

    def save(self, directory: Path) -> Path:
        path = directory / "answer.json"
        path.write_text(json.dumps({"headers": self.headers, "body": self.body.decode()}))
        return path

    def fields(self) -> Any:
        return json.loads(self.body)

    def message(self, *more: str) -> bytes:
        """The whole HTTP/1.1 message with `more` header lines, for peers that write constant bytes."""
        lines = ["HTTP/1.1 200 OK", DATE, "content-type: application/json", f"content-length: {len(self.body)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, *more, "", ""]).encode() + self.body
