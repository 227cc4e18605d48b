"""What can happen to a fleet, each a coroutine that makes it happen and returns when it is over."""

from collections.abc import Awaitable, Callable
from functools import partial

from bench.fleet.fleet import Fleet
from bench.fleet.virtual_time import Process
from bench.fleet.worker import Machine, Worker

# How long until the first price is everywhere; and how long after the end of a failure until all is as before.
WARM_SECONDS, HEAL_SECONDS = 5.0, 5.0
CALM_SECONDS = 20.0
# Longer than a claim of two intervals, with some time to see the takeover.
KILL_SECONDS = 5.0


async def growth(fleet: Fleet, seconds: float) -> None:
    """A calm phase, the death of the holder, a Redis that goes and comes back empty, and calm again."""
    await fleet.pass_time(WARM_SECONDS)
    fleet.phase("steady")
    await fleet.pass_time(seconds)
    fleet.phase("holder killed")
    await kill_holder(fleet)
    await fleet.pass_time(KILL_SECONDS)
    fleet.phase("Redis gone")
    everyone_alone(fleet)
    fleet.redis.die()
    await fleet.pass_time(seconds)
    fleet.phase("healing")
    fleet.redis.start()
    await fleet.pass_time(HEAL_SECONDS)
    fleet.phase("after")
    await fleet.pass_time(seconds)


async def failure(fleet: Fleet, during: Callable[[Fleet], Awaitable[None]]) -> None:
    """A calm phase, the failure, time to heal, and calm again."""
    await fleet.pass_time(WARM_SECONDS)
    fleet.phase("before")
    await fleet.pass_time(CALM_SECONDS)
    fleet.phase("during")
    await during(fleet)
    fleet.phase("healing")
    await fleet.pass_time(HEAL_SECONDS)
    fleet.phase("after")
    await fleet.pass_time(CALM_SECONDS)


async def kill_holder(fleet: Fleet) -> None:
    if (holder := fleet.holder) is not None:
        fleet.orphan(lambda process: process is not holder.process)
        await fleet.replace(holder, kill=True)


async def kill_holders(fleet: Fleet, times: int) -> None:
    for _ in range(times):
        await fleet.pass_time(KILL_SECONDS + fleet.random.random())
        await kill_holder(fleet)
    await fleet.pass_time(KILL_SECONDS)


async def pause_holders(fleet: Fleet, times: int, seconds: float) -> None:
    for _ in range(times):
        await fleet.pass_time(KILL_SECONDS + fleet.random.random())
        holder = fleet.holder
        if holder is not None:
            fleet.orphan(partial(_is_not, holder))
            holder.process.pause()
            await fleet.pass_time(seconds)
            holder.process.resume()
    await fleet.pass_time(KILL_SECONDS)


def _is_not(worker: Worker, process: Process) -> bool:
    return process is not worker.process


async def restart_one_by_one(fleet: Fleet, every_seconds: float) -> None:
    for worker in list(fleet.workers):
        await fleet.replace(worker, kill=False)
        await fleet.pass_time(every_seconds)


async def lose_redis(fleet: Fleet, seconds: float) -> None:
    everyone_alone(fleet)
    fleet.redis.die()
    await fleet.pass_time(seconds)
    fleet.redis.start()


async def freeze_redis(fleet: Fleet, seconds: float) -> None:
    everyone_alone(fleet)
    fleet.redis.freeze()
    await fleet.pass_time(seconds)
    fleet.redis.thaw()


async def slow_redis(fleet: Fleet, seconds: float, least: float, more: float) -> None:
    usual, fleet.redis.latency = fleet.redis.latency, lambda: least + more * fleet.random.random()
    await fleet.pass_time(seconds)
    fleet.redis.latency = usual


async def cut_machines(fleet: Fleet, seconds: float, count: int) -> None:
    """Cut off the machine of the holder, and others."""
    holder = fleet.holder
    first = holder.machine.number if holder is not None else 0
    cut = [fleet.machines[(first + step) % len(fleet.machines)] for step in range(count)]
    numbers = {machine.number for machine in cut}
    fleet.orphan(lambda process: process.machine not in numbers)
    for machine in cut:
        _alone(fleet, machine)
        machine.link.cut = True
    await fleet.pass_time(seconds)
    for machine in cut:
        machine.link.restore()


async def lose_messages(fleet: Fleet, seconds: float, share: float) -> None:
    fleet.redis.lost_share = share
    await fleet.pass_time(seconds)
    fleet.redis.lost_share = 0.0


async def lose_every_store(fleet: Fleet, seconds: float) -> None:
    """Lose Redis, and the disk of one machine."""
    fleet.machines[0].disk.broken = True
    await lose_redis(fleet, seconds)
    fleet.machines[0].disk.broken = False


async def ban_and_kill(fleet: Fleet, seconds: float, times: int) -> None:
    next(iter(fleet.world.exchanges.values())).ban(seconds)
    for _ in range(times):
        await fleet.pass_time(seconds / times)
        await kill_holder(fleet)


async def ban_and_lose_redis(fleet: Fleet, seconds: float) -> None:
    """Lose Redis during a ban: every machine goes on alone, and still knows which exchange it must not call."""
    next(iter(fleet.world.exchanges.values())).ban(2 * seconds)
    await fleet.pass_time(KILL_SECONDS)
    await lose_redis(fleet, seconds)


def everyone_alone(fleet: Fleet) -> None:
    for machine in fleet.machines:
        _alone(fleet, machine)


def _alone(fleet: Fleet, machine: Machine) -> None:
    if any(worker.machine is machine for worker in fleet.workers):
        fleet.orphan(lambda process: process.machine == machine.number)
