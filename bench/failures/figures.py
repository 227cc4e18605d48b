"""The results of a measurement: figures, some of which have a limit."""

import math
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def figure(what: str, value: float, most: float | None = None, least: float | None = None) -> Row:
    """A row of a table; `met` is None if nothing is promised."""
    limits = [*([] if least is None else [value >= least]), *([] if most is None else [value <= most])]
    met = all(limits) if limits else None
    return {"what": what, "value": round(value, 3), "least": least, "most": most, "met": met}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that this share of them does not exceed."""
    return sorted(values)[max(math.ceil(len(values) * share), 1) - 1]
