"""An exchange that notes what it says, and which of its lies nobody could have seen through."""

from collections import defaultdict
from dataclasses import dataclass, replace
from decimal import Decimal

from aiohttp import web

from fastprice.market import Market
from fastprice.market.call import Call
from fastprice.market.lies import HOUR_MS
from fastprice.market.tick import Tick
from fastprice.market.wire import TRUTHFUL

LATENCY_SECONDS = 0.01
# Whose stamps are not of the price: Kraken and Gate send none, Bybit's is of the reply, Coinbase's of a trade, which
# may be an hour old.
UNSTAMPED = ("kraken", "gate", "bybit", "coinbase")


@dataclass(frozen=True, slots=True)
class Said:
    """What a careful listener may believe: the tick, when it was said, and whether it was a lie all the same."""

    tick: Tick
    at_ms: int
    jumped: bool = False


class NotingExchange(Market):
    """All nine sources; `max_lag_ms` is how old by its own stamp a price may be that is believed."""

    def __init__(self, pairs: tuple[str, ...], seed: int, max_lag_ms: float) -> None:
        super().__init__(pairs, seed, LATENCY_SECONDS)
        self._max_lag_ms = max_lag_ms
        self._said: defaultdict[tuple[str, str, str], list[Said]] = defaultdict(list)

    def said(self, source: str, symbol: str, price: str) -> list[Said]:
        """Each time that a source said this price of a pair, and could be believed."""
        return self._said[source, symbol, price]

    def note(self, call: Call) -> None:
        """Remember what is about to be said, if anybody may believe it."""
        if said := self._believable(call):
            self.said(call.exchange.name, said.tick.pair.symbol, said.tick.price).append(said)

    async def _tell(self, request: web.Request, call: Call) -> web.StreamResponse:
        self.note(call)
        return await super()._tell(request, call)

    def _believable(self, call: Call) -> Said | None:
        name, fault, tick = call.exchange.name, call.switch.fault, call.tick
        if fault in ("", *TRUTHFUL):
            return Said(tick, tick.time_ms)
        if fault == "old" and name in UNSTAMPED:
            return Said(replace(tick, time_ms=tick.time_ms - HOUR_MS), tick.time_ms)
        if fault == "frozen":
            held = call.switch.held[tick.pair]
            is_old = name not in UNSTAMPED and tick.time_ms - held.time_ms > self._max_lag_ms
            return None if is_old else Said(held, tick.time_ms)
        if fault == "jump":
            price, bid, ask = (_times(amount, call.switch.factor) for amount in (tick.price, tick.bid, tick.ask))
            return Said(replace(tick, price=price, bid=bid, ask=ask), tick.time_ms, jumped=True)
        return None


def _times(amount: str, factor: float) -> str:
    return f"{Decimal(amount) * Decimal(str(factor)):.{len(amount.partition('.')[2])}f}"
