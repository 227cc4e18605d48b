"""The ratios to reach, and what a run reached: each of our measures divided by the peer's in the same round."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

Rounds = Sequence[Mapping[str, float]]
# The measures of each peer by its name, one per round.
Measures = Mapping[str, Rounds]


@dataclass(frozen=True, slots=True)
class Target:
    """`measure` of `ours` must be at most `most` times that of `theirs`, or at most `most` if `theirs` is empty."""

    ours: str
    theirs: str
    most: float
    measure: str = "cpu_us"


TARGETS = (
    Target("lane", "floor", 1.25),
    Target("lane", "nginx", 1.05),
    Target("lane", "nginx_cache", 0.50),
    Target("lane", "varnish", 0.30),
    Target("lane", "uvicorn", 0.33),
    Target("lane", "fastapi", 0.10),
    Target("lane_fresh", "uvicorn", 0.50),
    Target("lane_fresh", "no_table", 1.05),
    Target("lane", "nginx", 2.0, "p99_ms"),
)


def reached(measures: Measures, targets: Sequence[Target]) -> list[dict[str, Any]]:
    """Each target with both sides measured, with the median of the rounds; it is missed if we gave wrong answers."""
    rows = []
    for target in targets:
        ours, theirs = measures.get(target.ours), measures.get(target.theirs)
        if ours and (theirs or not target.theirs):
            ratio = median(_ratios(target.measure, ours, theirs))
            wrong = sum(one.get("errors", 0) for one in ours)
            rows.append(asdict(target) | {"ratio": round(ratio, 3), "met": ratio <= target.most and not wrong})
    return rows


def _ratios(measure: str, ours: Rounds, theirs: Rounds | None) -> list[float]:
    if theirs is None:
        return [one[measure] for one in ours]
    return [one[measure] / other[measure] for one, other in zip(ours, theirs, strict=True)]
