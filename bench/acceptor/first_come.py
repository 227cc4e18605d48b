"""The service without sharing by load: whichever worker comes first takes the connections in the shared queue."""

import math

from fastprice.cli import main
from fastprice.server import gunicorn_conf
from fastprice.server.siblings import Siblings


class Strangers(Siblings):
    """Workers that do not know each other's load."""

    def fewest(self, slot: int, now: float) -> float:
        return math.inf


if __name__ == "__main__":
    gunicorn_conf.Siblings = Strangers  # type: ignore[attr-defined]
    main()
