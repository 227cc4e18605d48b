"""The true price of a pair: a seeded random walk, the same for the same seed and the same clock."""

import random
from decimal import Decimal

from fastprice.domain.quote import Pair

STEP_MS = 100
MAX_MOVE = 0.0001
MAX_DRIFT = 0.02
# One hour: nobody saw the price of a longer silence, so nobody has to wait for it either.
MAX_STEPS = 36_000

DOLLARS = {
    "BTC": "65000", "ETH": "3120.45", "BNB": "610", "SOL": "152.4", "XRP": "0.58", "ADA": "0.46", "DOGE": "0.124",
    "AVAX": "33.5", "DOT": "6.9", "LINK": "15.2", "LTC": "82.5", "TRX": "0.127", "TON": "7.1", "SHIB": "0.0000243",
    "USDT": "1", "USDC": "1", "USD": "1", "DAI": "1", "EUR": "1.085", "GBP": "1.27",
}  # fmt: skip


def dollars(currency: str) -> Decimal:
    """A sensible value of one unit; a currency not in the table gets one derived from its name."""
    if currency in DOLLARS:
        return Decimal(DOLLARS[currency])
    return Decimal(str(round(10 ** random.Random(currency).uniform(-1, 2.5), 4)))


class Walk:
    """One pair's price: moves at most 0.01 % every 100 ms and stays within 2 % of where it opened or was put."""

    def __init__(self, pair: Pair, seed: int, now_ms: int) -> None:
        self._random = random.Random(f"{seed}/{pair.slug}")
        self.opening = dollars(pair.base) / dollars(pair.quote)
        self._drift = 0.0
        self._walked_to_ms = now_ms

    def price(self, now_ms: int) -> Decimal:
        """Walk on to `now_ms` and say the price there, with more digits than any exchange shows."""
        steps = (now_ms - self._walked_to_ms) // STEP_MS
        for _ in range(min(steps, MAX_STEPS)):
            self._step()
        self._walked_to_ms += steps * STEP_MS  # also backwards, when the clock was set back
        return self.opening * Decimal(1 + self._drift)

    def put(self, price: Decimal, now_ms: int) -> None:
        """Move the price; the walk goes on from there."""
        self.price(now_ms)
        self.opening, self._drift = price, 0.0

    def _step(self) -> None:
        drift = self._drift + self._random.uniform(-MAX_MOVE, MAX_MOVE)
        self._drift = max(-MAX_DRIFT, min(MAX_DRIFT, drift))
