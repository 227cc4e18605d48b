"""The service without its table of learned heads, to see what the table costs where heads never repeat."""

from fastprice.cli import main
from fastprice.server import fast_lane, worker
from fastprice.server.fast_lane import FastLaneProtocol


class WithoutTable(FastLaneProtocol):
    """The lane with every head parsed."""

    def data_received(self, data: bytes) -> None:
        prepared = self._lane.read(data) if self.at_rest else None
        if prepared is None or self._unsent() or not self._give(prepared):
            super().data_received(data)


if __name__ == "__main__":
    fast_lane.MAX_LEARNED_BYTES = 0
    worker.FastpriceWorker.CONFIG_KWARGS["http"] = WithoutTable
    main()
