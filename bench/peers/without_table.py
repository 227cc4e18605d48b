"""The service without its table of learned heads, to see what the table costs where heads never repeat."""

from fastprice.cli import main
from fastprice.server import worker
from fastprice.server.careful_http import CarefulProtocol
from fastprice.server.fast_lane import FastLaneProtocol


class WithoutTable(FastLaneProtocol):
    """The lane with every head parsed."""

    def data_received(self, data: bytes) -> None:
        CarefulProtocol.data_received(self, data)


if __name__ == "__main__":
    worker.FastpriceWorker.CONFIG_KWARGS["http"] = WithoutTable
    main()
