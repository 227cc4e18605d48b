"""What a measurement has found: figures, some of which have a limit to keep."""

import math
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]


def figure(what: str, value: float, most: float | None = None, least: float | None = None) -> Row:
    """A row of a table; `met` is None where nothing is promised."""
    limits = [*([] if least is None else [value >= least]), *([] if most is None else [value <= most])]
    met = all(limits) if limits else None
    return {"what": what, "value": round(value, 3), "least": least, "most": most, "met": met}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of them that so large a share does not exceed."""
    return sorted(values)[max(math.ceil(len(values) * share), 1) - 1]
