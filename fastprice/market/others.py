"""The rest of a source's market: pairs that nobody configured, some of them dead or odd; their prices never move."""

import random
import string
from collections.abc import Container
from dataclasses import replace

from fastprice.domain.quote import Pair
from fastprice.market.exchange import Exchange
from fastprice.market.tick import Status, Tick

QUOTES = ("USDT", "USDC", "BTC", "EUR", "USD")
# Of ten pairs, one is halted, one delisted, and two never traded: one shows zeros, one the source's empty value.
HALTED, ZERO, EMPTY, DELISTED = 3, 5, 7, 9


def other_ticks(exchange: Exchange, count: int, seed: int, taken: Container[Pair], now_ms: int) -> dict[Pair, Tick]:
    """Make `count` pairs that are not in `taken`; the same seed gives the same pairs."""
    chance = random.Random(f"{seed}/{exchange.name}/others")
    found: dict[Pair, Tick] = {}
    while len(found) < count:
        pair = Pair("".join(chance.choices(string.ascii_uppercase, k=chance.randint(4, 6))), chance.choice(QUOTES))
        price = 10 ** chance.uniform(-4, 3)
        if pair not in taken:
            found[pair] = _odd(exchange, exchange.tick(pair, price, price, now_ms), len(found) % 10)
    return found


def stopped(exchange: Exchange, tick: Tick, status: Status) -> Tick:
    """What is left of a pair that does not trade: its last price, and no bid or ask."""
    return replace(tick, bid=exchange.nothing, ask=exchange.nothing, status=status)


def _odd(exchange: Exchange, tick: Tick, kind: int) -> Tick:
    if kind in (ZERO, EMPTY):
        price = exchange.nothing if kind == EMPTY and exchange.nothing is not None else "0"
        return replace(
            stopped(exchange, tick, Status.HALTED),
            price=price, open=price, day_open=price, high=price, low=price, change="0", percent="0", volume="0",
            turnover="0",
        )  # fmt: skip
    if kind in (HALTED, DELISTED):
        return stopped(exchange, tick, Status.HALTED if kind == HALTED else Status.DELISTED)
    return tick
