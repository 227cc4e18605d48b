"""Each exchange's documented limit, and the most calls that our own limit allows within it."""

from typing import NamedTuple

import pytest

from fastprice.application.ports import Limit
from fastprice.application.source_health import JITTER
from fastprice.infrastructure.exchanges import EXCHANGES


class Window(NamedTuple):
    """At most this many units within this many seconds."""

    units: float
    seconds: float


# Coinbase documents a bucket: 10 a second, 15 at once. Kraken says "about one a second" and is not exact: it answers a
# call that comes early, and refuses a client that keeps calling early.
DOCUMENTED = {
    "binance": [Window(6000, 60)],
    "okx": [Window(20, 2)],
    "coinbase": [Window(15, 0), Window(25, 1), Window(115, 10)],
    "kraken": [Window(63, 60)],
    "bitget": [Window(20, 1), Window(6000, 60)],
    "gate": [Window(200, 10)],
    "bybit": [Window(600, 5)],
    "kucoin": [Window(2000, 30)],
    "bitstamp": [Window(400, 1), Window(10_000, 600)],
    "htx": [Window(4500, 300)],
}
# The most that one call costs, as documented.
COST = {"binance": 80.0, "kucoin": 15.0}


def most_units(limit: Limit, cost: float, seconds: float, leaders: int) -> float:
    """The most units in any window with this many leaders one after the other, each of which begins with a whole burst
    and may be early by a share of one call."""
    return leaders * (limit.burst + JITTER * min(cost, limit.burst)) + limit.per_second * seconds


@pytest.mark.parametrize("name", EXCHANGES)
def test_no_window_exceeds_a_documented_limit_even_when_the_leader_changes_within_it(name: str) -> None:
    for window in DOCUMENTED[name]:
        most = most_units(EXCHANGES[name].limit, COST.get(name, 1.0), window.seconds, leaders=2)
        assert most <= window.units, window


@pytest.mark.parametrize("name", EXCHANGES)
def test_every_form_costs_what_is_documented_and_fits_into_a_burst(name: str) -> None:
    exchange = EXCHANGES[name]
    for form in filter(None, (exchange.single, exchange.several, exchange.whole)):
        most = max(form.units(count) for count in (1, 20, 21, 100, 101, 1000))
        assert most <= min(COST.get(name, 1.0), exchange.limit.burst)


def test_binances_weights_are_the_documented_ones() -> None:
    binance = EXCHANGES["binance"]
    assert binance.several is not None and binance.whole is not None
    weights = [binance.several.units(count) for count in (2, 20, 21, 100, 101, 500)]
    assert weights == [2, 2, 40, 40, 80, 80]
    assert (binance.single.units(1), binance.whole.units(3)) == (2, 80)


@pytest.mark.parametrize("name", EXCHANGES)
def test_many_pairs_can_be_asked_for_every_second_or_as_often_as_the_exchange_allows(name: str) -> None:
    limit = EXCHANGES[name].limit
    assert limit.per_second >= COST.get(name, 1.0)
