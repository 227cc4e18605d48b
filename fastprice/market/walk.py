"""The true price of a pair: a seeded random walk that can be read at any moment, in any order, at the same cost."""

import random
from functools import cache

from fastprice.domain.quote import Pair

STEP_MS = 100
MAX_MOVE = 0.0001
MAX_DRIFT = 0.02
# Noises, each with its length in steps and its reach: how far it may move the price. A noise moves at most twice its
# reach during its length, so one step moves at most MAX_MOVE, and two moments differ by at most MAX_DRIFT.
NOISES = ((1, 0.00001), (6, 0.00006), (36, 0.00036), (216, 0.00216), (1296, 0.007))
_LEVELS = 4096
_LEVEL = [random.Random(number).uniform(-1, 1) for number in range(_LEVELS)]

DOLLARS = {
    "BTC": 65000, "ETH": 3120.45, "BNB": 610, "SOL": 152.4, "XRP": 0.58, "ADA": 0.46, "DOGE": 0.124, "AVAX": 33.5,
    "DOT": 6.9, "LINK": 15.2, "LTC": 82.5, "TRX": 0.127, "TON": 7.1, "SHIB": 0.0000243,
    "USDT": 1, "USDC": 1, "USD": 1, "DAI": 1, "EUR": 1.085, "GBP": 1.27,
}  # fmt: skip


@cache
def dollars(currency: str) -> float:
    """A sensible value of one unit; a currency not in the table gets one derived from its name."""
    return DOLLARS.get(currency) or round(10 ** random.Random(currency).uniform(-1, 2.5), 4)


class Walk:
    """One pair's price: moves at most 0.01 % every 100 ms and stays within 2 % of where it opened or was put."""

    def __init__(self, pair: Pair, seed: int, now_ms: int) -> None:
        chance = random.Random(f"{seed}/{pair.slug}")
        self._noises = [(length, reach, chance.randrange(_LEVELS)) for length, reach in NOISES]
        self.put(dollars(pair.base) / dollars(pair.quote), now_ms)

    def price(self, now_ms: int) -> float:
        """The price at a moment, with more digits than any exchange shows; `opening` for moments before `put`."""
        return self.opening * (1 + self._noise(max(now_ms, self._put_at_ms)) - self._put_noise)

    def put(self, price: float, now_ms: int) -> None:
        """Move the price; it wanders on from there."""
        self.opening, self._put_at_ms, self._put_noise = price, now_ms, self._noise(now_ms)

    def _noise(self, now_ms: int) -> float:
        step, drift = now_ms // STEP_MS, 0.0
        for length, reach, start in self._noises:
            level, part = divmod(step, length)
            before, after = _LEVEL[(start + level) % _LEVELS], _LEVEL[(start + level + 1) % _LEVELS]
            drift += reach * (before + (after - before) * part / length)
        return drift
