"""A stream fault as it was set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fastprice.domain.quote import Pair
from fastprice.market.tick import Tick


@dataclass
class StreamSwitch:
    """A fault for some pairs or, with None, for all; `memory` is for the fault's own use, `held` for `frozen`."""

    fault: str
    seconds: float
    factor: float
    pairs: frozenset[Pair] | None
    held: Mapping[Pair, Tick]
    set_at: float = 0.0
    memory: dict[Any, Any] = field(default_factory=dict)

    def concerns(self, pair: Pair | None) -> bool:
        return self.pairs is None or pair in self.pairs


NONE_SET = StreamSwitch("", 0.0, 1.0, None, {})
