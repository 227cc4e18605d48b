"""The simulated market as a measurement uses it: moves of the price, what was pushed, how many polls came."""

import json
from http.client import HTTPConnection
from typing import Any

from bench.service import ETH

PAIR = ETH[0]


class Exchange:
    """One source of a running market, over one kept connection."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.port = int(url.rpartition(":")[2])
        self._connection = HTTPConnection("127.0.0.1", self.port, timeout=30)

    def push_every(self, every_ms: int) -> None:
        """Let all channels push changes at most every `every_ms`; with 0 at every move."""
        self._ask("PUT", "/streams", {"every_ms": every_ms})

    def move(self, price: str) -> None:
        """Move the price, which is pushed at once."""
        self._ask("PUT", f"/truth/{PAIR}", {"price": price})

    def pushed(self, since_ns: int) -> list[dict[str, Any]]:
        """The prices that were pushed after a wall time, the oldest first."""
        told: list[dict[str, Any]] = self._ask("GET", f"/pushed/{self.name}?pair={PAIR}&since_ns={since_ns}")
        return [push for push in told if push["price"]]

    def polls(self) -> int:
        """How often the source was polled for its price."""
        return int(self._ask("GET", "/calls")["sources"][self.name])

    def frames(self) -> int:
        """How many frames with prices the source has pushed."""
        return int(self._ask("GET", "/streams")["sources"][self.name]["frames"])

    def burst(self) -> None:
        """Push twenty thousand frames at once on each connection, a moment later."""
        self._ask("PUT", f"/streams/{self.name}", {"fault": "burst", "seconds": 0})

    def calm(self) -> None:
        """Clear the fault."""
        self._ask("DELETE", f"/streams/{self.name}")

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        self._connection.request(method, path, None if body is None else json.dumps(body).encode())
        response = self._connection.getresponse()
        told = json.load(response)
        if response.status != 200:
            raise RuntimeError(f"the market answers {method} {path} with {told}")
        return told
