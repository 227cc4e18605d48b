"""What all sources are based on: the true prices, and the faults, limits and listings that are set for them."""

import time
from collections import deque
from collections.abc import Callable, Iterable
from decimal import Decimal

from fastprice.domain.quote import Pair
from fastprice.market.call import HONEST, Call, Switch
from fastprice.market.exchanges import EXCHANGES
from fastprice.market.lies import LIES
from fastprice.market.pace import Pace
from fastprice.market.refusals import REFUSALS
from fastprice.market.source import Source
from fastprice.market.stream_switch import StreamSwitch
from fastprice.market.tick import Status
from fastprice.market.walk import Walk
from fastprice.market.wire import WIRE

OTHERS = 30
MAX_SECONDS, MAX_FACTOR = 86_400.0, 1e6
MIN_PRICE, MAX_PRICE = Decimal("1e-9"), Decimal("1e9")
DEFAULT_SECONDS = {"slow": 1.0, "rate_limited": 5.0, "banned": 120.0, "old": 3600.0, "ahead": 50.0}
DEFAULT_FACTOR = 1.5
MEANINGS = {name: (fault.__doc__ or "").strip() for name, fault in (REFUSALS | LIES | WIRE).items()}


class NotKnown(LookupError):
    """A source or a pair that this market does not have; the text lists what it has."""


class NotAccepted(ValueError):
    """A fault, number, status or price that cannot be set; the text says what can."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


class Floor:
    """The state of the market; every method is immediate and needs no network.

    `limits` says whether calls that exceed an exchange's documented limit are refused; they are counted anyway.
    `others` is how many pairs each source lists beside `pairs`.
    """

    def __init__(
        self,
        pairs: Iterable[str] = ("eth-usdt",),
        seed: int = 7,
        latency: float = 0.0,
        now_ms: Callable[[], int] = wall_ms,
        limits: bool = False,
        others: int = OTHERS,
    ) -> None:
        self.latency, self.pace = latency, Pace(now_ms, limits)
        self.walks = {pair: Walk(pair, seed, now_ms()) for pair in map(Pair.parse, pairs)}
        self.sources = {
            name: Source(exchange, self.walks, others, seed, now_ms) for name, exchange in EXCHANGES.items()
        }

    @property
    def limits(self) -> bool:
        return self.pace.limits

    @limits.setter
    def limits(self, enforced: bool) -> None:
        self.pace.limits = enforced

    @property
    def calls(self) -> dict[str, int]:
        return {name: source.calls for name, source in self.sources.items()}

    @property
    def pair_calls(self) -> dict[str, dict[str, int]]:
        """How often each source was asked for the price of each pair, by its slug; `*` counts the whole market."""
        return {name: dict(source.pair_calls) for name, source in self.sources.items()}

    @property
    def limits_exceeded(self) -> dict[str, int]:
        """How many calls exceeded each source's documented limit."""
        return {name: source.limits_exceeded for name, source in self.sources.items()}

    @property
    def total_calls(self) -> int:
        return sum(self.calls.values())

    @property
    def served(self) -> dict[str, deque[tuple[int, str]]]:
        """The last true prices that each source gave, with their times."""
        return {name: source.served for name, source in self.sources.items()}

    @property
    def switches(self) -> dict[str, Switch]:
        return {name: source.switch for name, source in self.sources.items() if source.switch.fault}

    def clear_calls(self) -> None:
        for source in self.sources.values():
            source.clear_calls()

    def set_fault(
        self,
        source: str,
        fault: str,
        seconds: float | None = None,
        factor: float = DEFAULT_FACTOR,
        pairs: Iterable[str] | None = None,
    ) -> None:
        """Switch a fault on for a source or for `all`, for `pairs` or for every pair, in place of the one before."""
        chosen = self._chosen(source)
        if fault not in list(MEANINGS):  # a list, because JSON may contain something unhashable
            raise NotAccepted(f"unknown fault {fault!r}; known: {', '.join(MEANINGS)}")
        seconds = DEFAULT_SECONDS.get(fault, 0.0) if seconds is None else seconds
        check_number("seconds", seconds, 0.0, MAX_SECONDS)
        check_number("factor", factor, 1 / MAX_FACTOR, MAX_FACTOR)
        faulty, now_ms = None if pairs is None else frozenset(map(self._pair, pairs)), self.pace.now_ms()
        for one in chosen:
            held = {known: one.tick(known, now_ms) for known in self.walks} if fault == "frozen" else {}
            one.switch = Switch(fault, seconds, factor, faulty, now_ms, held)

    def clear_fault(self, source: str = "all") -> None:
        for one in self._chosen(source):
            one.switch = HONEST

    def faults(self) -> dict[str, dict[str, object] | None]:
        """The fault that is set, by source; None if there is none."""
        return {name: self._shown(source.switch) for name, source in self.sources.items()}

    def set_status(self, source: str, pair: str, status: str) -> None:
        """Let a source, or `all`, treat a pair as trading, halted, delisted or unlisted."""
        if status not in list(Status):
            raise NotAccepted(f"unknown status {status!r}; known: {', '.join(Status)}")
        chosen, known = self._chosen(source), self._pair(pair)
        for one in chosen:
            one.set_status(known, Status(status))

    def clear_statuses(self, source: str = "all") -> None:
        """Let a source, or `all`, trade every pair again."""
        for one in self._chosen(source):
            one.stopped.clear()

    def statuses(self) -> dict[str, dict[str, str]]:
        """The pairs that do not trade, by source."""
        return {
            name: {pair.slug: tick.status.value for pair, tick in source.stopped.items()}
            for name, source in self.sources.items()
        }

    def truth(self, pair: Pair) -> Decimal:
        return Decimal(str(self.walks[pair].price(self.pace.now_ms())))

    def set_truth(self, slug: str, price: Decimal) -> None:
        """Move a pair's price; it wanders on from there."""
        pair = self._pair(slug)
        if not (price.is_finite() and MIN_PRICE <= price <= MAX_PRICE):
            raise NotAccepted(f"a price lies between {MIN_PRICE:f} and {MAX_PRICE:f}")
        self.walks[pair].put(float(price), self.pace.now_ms())

    def record(self, call: Call) -> None:
        """Remember the prices of a true answer."""
        self.sources[call.exchange.name].record(call)

    def _chosen(self, source: str) -> list[Source]:
        if source != "all" and source not in self.sources:
            raise NotKnown(f"unknown source {source!r}; known: all, {', '.join(self.sources)}")
        return list(self.sources.values()) if source == "all" else [self.sources[source]]

    def _pair(self, slug: str) -> Pair:
        pair = next((known for known in self.walks if known.slug == slug), None)
        if pair is None:
            raise NotKnown(f"unknown pair {slug!r}; known: {', '.join(pair.slug for pair in self.walks)}")
        return pair

    def _shown(self, switch: Switch | StreamSwitch) -> dict[str, object] | None:
        if not switch.fault:
            return None
        pairs = [pair.slug for pair in self.walks if switch.concerns(pair)]
        return {"fault": switch.fault, "seconds": switch.seconds, "factor": switch.factor, "pairs": pairs}


def check_number(name: str, value: object, least: float, most: float) -> None:
    """Raise NotAccepted unless the value is a number within the bounds."""
    # NaN compares false with everything, so it is refused here too.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise NotAccepted(f"{name} is a number from {least:g} to {most:g}, not {value!r}")
