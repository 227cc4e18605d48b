"""Which plays run on which fleets, and what is promised for each."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from bench.fleet import plays
from bench.fleet.fleet import Fleet

# The time one way to Redis, where one way takes longer than an operation may, or both ways take about as long.
SLOW_SECONDS = 0.5
DOUBTFUL_SECONDS, DOUBT_SECONDS = 0.04, 0.02
SEED = "fastprice"

Play = Callable[[Fleet], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A play on a fleet. While the failure lasts, `at_most` processes may call an exchange in an interval."""

    name: str
    workers: int
    machines: int
    play: Play
    at_most: int
    clocks_apart: float = 0.0


def _grown(workers: int, machines: int, seconds: float) -> Scenario:
    return Scenario(f"{workers:,} on {machines:,}", workers, machines, partial(plays.growth, seconds=seconds), machines)


def _failing(
    name: str, during: Play, at_most: int = 1, workers: int = 200, machines: int = 25, clocks_apart: float = 0.0
) -> Scenario:
    return Scenario(name, workers, machines, partial(plays.failure, during=during), at_most, clocks_apart)


GROWTH = (
    _grown(1, 1, 60), _grown(8, 1, 60), _grown(80, 10, 60), _grown(400, 50, 60), _grown(2_000, 100, 10),
    _grown(10_000, 500, 5),
)  # fmt: skip
FAILURES = (
    _failing("the holder killed, 100 times", partial(plays.kill_holders, times=100)),
    _failing("the same with two workers, 1,000 times", partial(plays.kill_holders, times=1000), workers=2, machines=1),
    _failing("the holder paused for 10 s, 10 times", partial(plays.pause_holders, times=10, seconds=10)),
    _failing("every worker restarted, one by one", partial(plays.restart_one_by_one, every_seconds=0.25)),
    _failing("Redis dead for 30 s, then empty", partial(plays.lose_redis, seconds=30), at_most=25),
    _failing("Redis restarted empty within 0.2 s", partial(plays.lose_redis, seconds=0.2), at_most=25),
    _failing("Redis frozen for 60 s", partial(plays.freeze_redis, seconds=60), at_most=25),
    _failing("Redis slow for 30 s: 500 ms a way",
             partial(plays.slow_redis, seconds=30, least=SLOW_SECONDS, more=0), at_most=25),
    _failing("Redis as slow as REDIS_TIMEOUT for 30 s",
             partial(plays.slow_redis, seconds=30, least=DOUBTFUL_SECONDS, more=DOUBT_SECONDS), at_most=25),
    _failing("12 of 25 machines cut off for 30 s", partial(plays.cut_machines, seconds=30, count=12), at_most=13),
    _failing("half of all messages lost for 30 s", partial(plays.lose_messages, seconds=30, share=0.5)),
    _failing("every message lost for 30 s", partial(plays.lose_messages, seconds=30, share=1)),
    _failing("Redis dead for 30 s, and one machine's disk", partial(plays.lose_every_store, seconds=30), at_most=32),
    _failing("the first exchange bans for 30 s, 5 holders die", partial(plays.ban_and_kill, seconds=30, times=5)),
    _failing("the same ban, then Redis dead for 20 s", partial(plays.ban_and_lose_redis, seconds=20), at_most=25),
    _failing("clocks up to 1 s off, 20 holders die", partial(plays.kill_holders, times=20), clocks_apart=1.0),
)  # fmt: skip
