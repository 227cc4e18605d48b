"""An exchange that records what it says, and which of its lies the service could not have detected."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from aiohttp import web

from fastprice.market import Market
from fastprice.market.app import TRUTHFUL
from fastprice.market.call import Call, Switch
from fastprice.market.floor import wall_ms
from fastprice.market.lies import OF_PAIRS
from fastprice.market.tick import Tick

LATENCY_SECONDS = 0.01
# The age of the time stamps that the fault `old` sends.
OLD_SECONDS = 3600.0
# Sources that do not always send a volume; send no time; send the reply's time; or a trade's, up to an hour old.
RARE_VOLUME, NO_TIME, OF_REPLY, OF_TRADE = ("kucoin",), ("kraken", "gate"), ("bybit", "htx"), ("coinbase",)
UNSTAMPED = NO_TIME + OF_REPLY


@dataclass(frozen=True, slots=True)
class Said:
    """What was sent with a price that may be believed, when it was sent, and whether it was a lie nevertheless."""

    bid: str | None
    ask: str | None
    volume: str | None
    time_ms: int
    at_ms: int
    jumped: bool = False


class NotingExchange(Market):
    """All sources; a price may be believed if its own time stamp is off by at most `max_lag_ms`."""

    def __init__(
        self, pairs: tuple[str, ...], seed: int, max_lag_ms: float, now_ms: Callable[[], int] = wall_ms
    ) -> None:
        super().__init__(pairs, seed, LATENCY_SECONDS, now_ms)
        self._max_lag_ms = max_lag_ms
        self._said: defaultdict[tuple[str, str, str], list[Said]] = defaultdict(list)

    def said(self, source: str, symbol: str, price: str) -> list[Said]:
        """Each time that a source sent this price of a pair, and could be believed."""
        return self._said[source, symbol, price]

    def note(self, call: Call) -> None:
        """Record what is about to be sent, if it may be believed."""
        for tick in call.ticks if call.form.price_key else ():
            spared = _is_spared(call, tick)
            said = Said(tick.bid, tick.ask, tick.volume, call.time_ms, call.time_ms)
            # A time stamp of the prices is that of their last renewal.
            every_ms = 1 if call.exchange.name in OF_REPLY else call.form.every_ms
            self._note(call.exchange.name, tick, said, "" if spared else call.fault, call.switch, every_ms)

    def _note(self, name: str, tick: Tick, said: Said, fault: str, switch: Switch, every_ms: int) -> None:
        price = tick.price
        if fault == "jump":
            price, bid, ask = (_times(str(amount), switch.factor) for amount in (tick.price, tick.bid, tick.ask))
            said = replace(said, bid=bid, ask=ask, jumped=True)
        elif fault == "frozen":
            held = switch.held[tick.pair]
            price, said = held.price, replace(said, bid=held.bid, ask=held.ask, time_ms=switch.since_ms)
        elif fault == "old":
            said = replace(said, time_ms=said.time_ms - round(OLD_SECONDS * 1000))
        elif fault == "ahead":
            said = replace(said, time_ms=said.time_ms + round(switch.seconds * 1000))
        elif fault == "odd_extras":
            said = replace(said, bid=None, ask=None, volume=None)
        elif fault not in ("", *TRUTHFUL):
            return
        said = replace(said, time_ms=said.time_ms - said.time_ms % every_ms)
        if self._may_be_believed(name, said):
            self.said(name, tick.pair.symbol, price).append(said)

    def _may_be_believed(self, name: str, said: Said) -> bool:
        lag_ms = said.at_ms - said.time_ms
        return name in UNSTAMPED or name in OF_TRADE and lag_ms > 0 or abs(lag_ms) <= self._max_lag_ms

    async def _tell(self, request: web.Request, call: Call, headers: Mapping[str, str]) -> web.StreamResponse:
        self.note(call)
        return await super()._tell(request, call, headers)


def _is_spared(call: Call, tick: Tick) -> bool:
    """Whether the true price of a pair is sent in spite of the fault."""
    if call.fault == "bad_utf8":
        return not call.alone  # Invalid UTF-8 damages no other row of a batch.
    if call.fault == "unknown_symbol":
        # Bitstamp answers a request for an unknown pair with all its pairs.
        return call.exchange.name == "bitstamp" and call.form.names_symbol
    # A lie affects only the pairs that it concerns; any other fault affects the whole reply.
    return call.fault in OF_PAIRS and not call.switch.concerns(tick.pair)


def _times(amount: str, factor: float) -> str:
    return f"{Decimal(amount) * Decimal(str(factor)):.{len(amount.partition('.')[2])}f}"
