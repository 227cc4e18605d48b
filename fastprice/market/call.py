"""A call to a source: what it would truly say, and the fault that is set."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from fastprice.domain.quote import Pair
from fastprice.market.formats import JSON, Answer, Exchange
from fastprice.market.tick import Tick

POISON = "6666.66"


@dataclass(frozen=True, slots=True)
class Switch:
    """A fault as it was set; `held` is what the source said at that moment of each pair that has the fault."""

    fault: str
    seconds: float
    factor: float
    held: Mapping[Pair, Tick]


HONEST = Switch("", 0.0, 1.0, {})


@dataclass(frozen=True, slots=True)
class Call:
    """A pair asked of a source."""

    exchange: Exchange
    tick: Tick
    switch: Switch = HONEST

    def truth(self) -> Answer:
        return self.exchange.ticker(self.tick)

    def lie(self, **changes: Any) -> Answer:
        """The truth but for some fields of the tick."""
        return self.exchange.ticker(replace(self.tick, **changes))

    def too_many(self, status: int) -> Answer:
        """The documented rate limit body, with the time to stay away."""
        answer = self.exchange.complain(self.exchange.complaints.limited, self.tick.time_ms)
        headers = {**JSON, "Retry-After": str(math.ceil(self.switch.seconds))}
        if self.exchange.reset_header:
            headers[self.exchange.reset_header] = str(math.ceil(self.switch.seconds * 1000))
        return replace(answer, status=status, headers=headers)
