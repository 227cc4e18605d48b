"""What the nine sources stand on: the true prices, the faults that are set, and what was asked and given."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from fastprice.domain.quote import Pair
from fastprice.market.call import HONEST, Call, Switch
from fastprice.market.formats import EXCHANGES, Answer, Exchange
from fastprice.market.lies import LIES
from fastprice.market.refusals import REFUSALS
from fastprice.market.walk import Walk
from fastprice.market.wire import WIRE

SERVED = 1000
MAX_SECONDS, MAX_FACTOR = 86_400.0, 1e6
MIN_PRICE, MAX_PRICE = Decimal("1e-9"), Decimal("1e9")
DEFAULT_SECONDS = {"slow": 1.0, "rate_limited": 5.0, "banned": 120.0, "old": 3600.0, "ahead": 50.0}
DEFAULT_FACTOR = 1.5
MEANINGS = {name: (fault.__doc__ or "").strip() for name, fault in (REFUSALS | LIES | WIRE).items()}


class NotKnown(LookupError):
    """A source or a pair that this market does not have; the text lists what it has."""


class NotAccepted(ValueError):
    """A fault, number or price that cannot be set; the text says what can."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Floor:
    """The state of the market; every method is immediate and needs no network."""

    def __init__(
        self,
        pairs: Iterable[str] = ("eth-usdt",),
        seed: int = 7,
        latency: float = 0.0,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.latency = latency
        self.walks = {pair: Walk(pair, seed, now_ms()) for pair in map(Pair.parse, pairs)}
        self.switches: dict[str, Switch] = {}
        self.calls = dict.fromkeys(EXCHANGES, 0)
        self.served: dict[str, deque[tuple[int, str]]] = {name: deque(maxlen=SERVED) for name in EXCHANGES}
        self._now_ms = now_ms

    @property
    def total_calls(self) -> int:
        return sum(self.calls.values())

    def clear_calls(self) -> None:
        self.calls.update(dict.fromkeys(self.calls, 0))

    def set_fault(
        self,
        source: str,
        fault: str,
        seconds: float | None = None,
        factor: float = DEFAULT_FACTOR,
        pairs: Iterable[str] | None = None,
    ) -> None:
        """Switch a fault on for a source or for `all`, for `pairs` or for every pair, in place of the one before."""
        names = _sources(source)
        if fault not in list(MEANINGS):  # a list, because JSON may bring something unhashable
            raise NotAccepted(f"unknown fault {fault!r}; known: {', '.join(MEANINGS)}")
        seconds = DEFAULT_SECONDS.get(fault, 0.0) if seconds is None else seconds
        _check("seconds", seconds, 0.0, MAX_SECONDS)
        _check("factor", factor, 1 / MAX_FACTOR, MAX_FACTOR)
        faulty = tuple(self.walks) if pairs is None else tuple(map(self._pair, pairs))
        for name in names:
            held = {pair: self.call(EXCHANGES[name], pair).tick for pair in faulty}
            self.switches[name] = Switch(fault, seconds, factor, held)

    def clear_fault(self, source: str = "all") -> None:
        for name in _sources(source):
            self.switches.pop(name, None)

    def faults(self) -> dict[str, dict[str, object] | None]:
        """What is set, by source; None where nothing is."""
        return {name: _shown(self.switches.get(name)) for name in EXCHANGES}

    def truth(self, pair: Pair) -> Decimal:
        return self.walks[pair].price(self._now_ms())

    def set_truth(self, slug: str, price: Decimal) -> None:
        """Move a pair's price; it wanders on from there."""
        pair = self._pair(slug)
        if not (price.is_finite() and MIN_PRICE <= price <= MAX_PRICE):
            raise NotAccepted(f"a price lies between {MIN_PRICE:f} and {MAX_PRICE:f}")
        self.walks[pair].put(price, self._now_ms())

    def ask(self, exchange: Exchange, symbol: str, query: str) -> Call | Answer:
        """The call that a request is; or, whatever the fault, the documented refusal of an unknown pair or a query."""
        refused = exchange.complaints.query
        if refused and query:
            return exchange.complain(refused, self._now_ms())
        pair = next((pair for pair in self.walks if exchange.spell(pair) == symbol), None)
        return self.call(exchange, pair) if pair else exchange.complain(exchange.complaints.unknown, self._now_ms())

    def call(self, exchange: Exchange, pair: Pair) -> Call:
        tick = exchange.tick(pair, self.truth(pair), self.walks[pair].opening, self._now_ms())
        switch = self.switches.get(exchange.name, HONEST)
        return Call(exchange, tick, switch if pair in switch.held else HONEST)

    def _pair(self, slug: str) -> Pair:
        pair = next((known for known in self.walks if known.slug == slug), None)
        if pair is None:
            raise NotKnown(f"unknown pair {slug!r}; known: {', '.join(pair.slug for pair in self.walks)}")
        return pair

    def record(self, call: Call) -> None:
        """Remember a price that is given in a true answer."""
        self.served[call.exchange.name].append((call.tick.time_ms, call.tick.price))


def _sources(source: str) -> tuple[str, ...]:
    if source != "all" and source not in EXCHANGES:
        raise NotKnown(f"unknown source {source!r}; known: all, {', '.join(EXCHANGES)}")
    return tuple(EXCHANGES) if source == "all" else (source,)


def _check(name: str, value: object, least: float, most: float) -> None:
    # NaN compares false with everything, so it is refused here too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise NotAccepted(f"{name} is a number from {least:g} to {most:g}, not {value!r}")


def _shown(switch: Switch | None) -> dict[str, object] | None:
    if switch is None:
        return None
    pairs = [pair.slug for pair in switch.held]
    return {"fault": switch.fault, "seconds": switch.seconds, "factor": switch.factor, "pairs": pairs}
