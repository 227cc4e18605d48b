"""The plays: every kind of lie of one source, two that collude, and true moves of the whole market."""

from bench.agreement.play import Play
from bench.agreement.truth import Lie, alternating, drifting, frozen, of_another_pair, off_by

# When lies begin, in seconds: in the middle of an interval between two checks.
LATER = 123.4


def plays(later: float = LATER) -> list[Play]:
    """What one or two of the sources may do, in most plays from second `later` on."""
    kinds = [off_by(0.006, later), off_by(0.04, later), off_by(0.4, later), frozen(later), drifting(later),
             of_another_pair(later), alternating(later)]  # fmt: skip
    one = [Play(f"the first {lie.name}", {0: lie}) for lie in kinds]
    start = [off_by(0.006, 0.0), off_by(0.04, 0.0), of_another_pair(0.0)]
    first = [Play(f"the first {lie.name}, from the start", {0: lie}) for lie in start]
    middle = [Play("the fifth off by 4.0%", {4: off_by(0.04, later)})]
    return [
        Play("all honest", {}),
        *one,
        *first,
        *middle,
        _together("the first two off by 4.0%, together", off_by(0.04, later), 2),
        _together("the first two off by 0.6%, together from the start", off_by(0.006, 0.0), 2),
        Play("the market rises by 30 %", {}, jumps=((later, 1.3),)),
        Play("the market falls by 30 %, and the first stays", {0: frozen(later)}, jumps=((later + 1, 0.7),)),
    ]


def median_plays(later: float = LATER) -> list[Play]:
    """The same plays, and one with as many liars as a median of nine sources tolerates."""
    return [*plays(later), _together("four of nine off by 4.0%, together", off_by(0.04, later), 4)]


def _together(name: str, lie: Lie, count: int) -> Play:
    return Play(name, dict.fromkeys(range(count), lie), spells=2)
