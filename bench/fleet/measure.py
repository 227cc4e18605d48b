"""The results of a play in plain figures: the same seed gives the same ones, to the last digit."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.fleet.exchanges import Asked
from bench.fleet.fleet import Fleet, Orphaned, Phase
from bench.fleet.scenarios import SEED, Scenario
from bench.fleet.virtual_time import run
from fastprice.application.leader import CLAIM_TURNS

Row = dict[str, Any]

# Two calls closer than this share of an interval count as two in one interval; a beat is never that uneven.
NEAR = 0.9
PERCENTILES = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999, "max_ms": 1.0}


def played(scenario: Scenario, seed: str = SEED) -> Row:
    """Play a scenario from the beginning to the end."""
    return run(_play(scenario, seed))


async def _play(scenario: Scenario, seed: str) -> Row:
    fleet = Fleet(scenario.workers, scenario.machines, f"{seed} {scenario.name}", scenario.clocks_apart)
    async with fleet.running():
        await scenario.play(fleet)
    return _row(scenario, fleet)


def _row(scenario: Scenario, fleet: Fleet) -> Row:
    interval, calls = fleet.world.settings.refresh_interval, fleet.tape.calls
    return {
        "name": scenario.name,
        "workers": scenario.workers,
        "machines": scenario.machines,
        "at_most": scenario.at_most,
        "claim_seconds": interval * CLAIM_TURNS,
        "phases": {phase.name: _phase(phase, fleet, interval, calls) for phase in fleet.phases},
        "takeovers": _takeovers(fleet.orphaned, calls),
        "calls_by_source": dict(sorted(Counter(call.source for call in calls).items())),
        "calls_despite_ban": sum(call.banned for call in calls),
        "understated_ms": round(fleet.world.understated * 1000),
        "redis_peak_per_s": max(fleet.redis.by_second.values(), default=0),
        "events": dict(sorted(fleet.world.events.items())),
    }


def _phase(phase: Phase, fleet: Fleet, interval: float, calls: Sequence[Asked]) -> Row:
    seconds, workers = phase.ends - phase.begins, len(fleet.workers)
    within = [call for call in calls if phase.begins <= call.at < phase.ends]
    times = [call.at for call in within]
    done = {op: round(count / seconds, 2) for op, count in sorted(phase.done.items())}
    return {
        "seconds": round(seconds, 3),
        "calls": len(times),
        "calls_per_interval": round(len(times) * interval / seconds, 3),
        "most_calls": most_within(times, NEAR * interval),
        "most_callers": most_callers(within, NEAR * interval),
        "ages": {name: percentile(phase.ages, share) for name, share in PERCENTILES.items()},
        "without_price": phase.without_price,
        "redis_per_s": round(sum(phase.done.values()) / seconds, 2),
        "redis_per_worker": round(sum(phase.done.values()) / seconds / workers, 3),
        "redis_by_kind": done,
        "deliveries_per_s": round(phase.deliveries / seconds, 2),
    }


def _takeovers(orphaned: Sequence[Orphaned], calls: Sequence[Asked]) -> Row:
    """How long each group that had lost its caller was without one; `never` counts those that got none again."""
    times, found, lost = [call.at for call in calls], [], 0
    for group in orphaned:
        later = calls[bisect_right(times, group.at):]
        first = next((call.at for call in later if group.group(call.process)), None)
        if first is None:
            lost += 1
        else:
            found.append(first - group.at)
    found.sort()
    ranks = {"p50_s": 0.5, "p99_s": 0.99, "max_s": 1.0}
    return {"count": len(found), "never": lost} | {
        name: round(found[_rank(len(found), share)], 3) if found else None for name, share in ranks.items()
    }


def most_within(times: Sequence[float], seconds: float) -> int:
    """The largest number of these ordered moments within any period of `seconds`."""
    return max((number + 1 - bisect_left(times, at - seconds) for number, at in enumerate(times)), default=0)


def most_callers(calls: Sequence[Asked], seconds: float) -> int:
    """The largest number of processes that made calls within any period of `seconds`."""
    callers: Counter[str] = Counter()
    first, most = 0, 0
    for call in calls:
        callers[call.process.name] += 1
        while calls[first].at < call.at - seconds:
            callers[calls[first].process.name] -= 1
            first += 1
        most = max(most, len(+callers))
    return most


def percentile(counts: Counter[int], share: float) -> int | None:
    """The value that this share of all values does not exceed."""
    rank = _rank(counts.total(), share)
    for value in sorted(counts):
        rank -= counts[value]
        if rank < 0:
            return value
    return None


def _rank(count: int, share: float) -> int:
    return min(int(count * share), count - 1)
