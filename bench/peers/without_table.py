"""The service without its table of learned heads, to see what the table costs where heads never repeat."""

from typing import Any

from fastprice.cli import main
from fastprice.server import fast_lane, worker
from fastprice.server.fast_lane import FastLaneProtocol, Lane


class NoTable(dict[bytes, Any]):
    """In place of the table: every head is parsed."""

    def __init__(self, lane: Lane) -> None:
        super().__init__()
        self.get = lane.read  # type: ignore[method-assign, assignment]


class WithoutTable(FastLaneProtocol):
    """The lane with every head parsed."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._learned = NoTable(self._lane)


if __name__ == "__main__":
    fast_lane.MAX_LEARNED_BYTES = 0
    worker.FastpriceWorker.CONFIG_KWARGS["http"] = WithoutTable
    main()
