"""The service without standing back: whichever worker is the first to come takes what is in the shared queue."""

import math

from fastprice.cli import main
from fastprice.server import gunicorn_conf
from fastprice.server.siblings import Siblings


class Strangers(Siblings):
    """Workers that know nothing of each other."""

    def fewest(self, slot: int, now: float) -> float:
        return math.inf


if __name__ == "__main__":
    gunicorn_conf.Siblings = Strangers  # type: ignore[attr-defined]
    main()
