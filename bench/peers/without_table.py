"""The service without its table of learned heads, to measure what the table costs if heads never repeat."""

from typing import Any

import fastprice.bootstrap
from fastprice.cli import main
from fastprice.server import lane
from fastprice.server.lane import Lane


class NoTable(dict[bytes, Any]):
    """Replaces the table: no head is ever found."""

    def get(self, key: bytes, default: Any = None) -> Any:
        return None


class WithoutTable(Lane):
    """The lane, parsing every head."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.learned = NoTable()


if __name__ == "__main__":
    lane.MAX_LEARNED_BYTES = 0
    fastprice.bootstrap.Lane = WithoutTable  # type: ignore[attr-defined]
    main()
