"""Play seeded faults of streams for some minutes: a line for each finding, and exit code 1 if there is any."""

import argparse
import asyncio
import gc
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.streamfaults.oracle import Oracle
from bench.streamfaults.said import NotingMarket
from bench.streamfaults.world import CACHE_TTL, PAUSES, World, hastened, open_sockets, polled_often, world
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.market.streams import STREAM_MEANINGS

PAIRS = ("eth-usdt", "btc-usd", "doge-usdt", "eth-btc")
STREAMING = [name for name, exchange in EXCHANGES.items() if exchange.stream]
# An episode: how long there are faults, the longest fault, the longest pause, and the time to heal after a fault.
TROUBLE_SECONDS, LONGEST_SECONDS, PAUSE_SECONDS, HEAL_SECONDS = 20.0, 6.0, 1.5, 2.5
# How long everything may take to be well again; even the busiest machine needs only a part of it.
CALM_SECONDS = 60.0
# After these faults the source is not polled for an hour: no episode is long enough.
LASTING = ("handshake_451", "handshake_403")
# Each factor is either a surprise, or further off than a market moves between two messages.
FACTORS = (0.5, 0.99, 0.997, 1.003, 1.5)
SECONDS = (0.05, 0.3, 1.0, 2.0)
# How many sources there are, how many have a fault at a time, and how many must agree on a median.
SOURCES, PLAYERS, MIN_SOURCES = 4, 2, 2
# How often the polls of the first player's source fail at the same time, and how.
POLLS_TOO, REFUSALS = 0.3, ("hang", "refuse", "error", "html", "slow", "rate_limited")
# The share of episodes in which prices are medians.
MEDIANS = 0.3
# How much a process may grow after the warm-up: episodes differ in what is in memory when it is measured.
MOST_GROWTH_BYTES = 24 << 20


def main() -> None:
    words = argparse.ArgumentParser(prog="make chaos-streams", description=__doc__)
    words.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    words.add_argument("--minutes", type=float, default=10.0, help="no episode begins after so many")
    given = words.parse_args()
    end, seed, found, sizes = time.monotonic() + 60 * given.minutes, given.seed, Counter[str](), list[int]()
    while seed == given.seed or time.monotonic() < end:
        oracle, missed = asyncio.run(episode(seed))
        for detail in (*oracle.details, *missed):
            print(f"FOUND seed {seed}: {detail}", flush=True)
        found, seed = found + oracle.found + Counter(missed), seed + 1
        gc.collect()
        sizes.append(resident_bytes())
        findings = f"{oracle.found.total() + len(missed)} findings, oldest {oracle.oldest_ms} ms"
        print(f"seed {seed - 1}: {findings}, {oracle.judged} quotes, {sizes[-1] >> 20} MiB", flush=True)
    # The first third of the episodes warms everything up.
    if len(sizes) > 5 and sizes[-1] - (warm := max(sizes[: len(sizes) // 3])) > MOST_GROWTH_BYTES:
        found["memory"] += 1
        print(f"FOUND memory: grew from {warm} to {sizes[-1]} bytes")
    print(f"{found.total()} findings" if found else "nothing was found")
    sys.exit(bool(found))


async def episode(seed: int) -> tuple[Oracle, list[str]]:
    """Run one market and one leader with faults for a while; returns the oracle, and what did not recover."""
    rng = random.Random(seed)
    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    market, sources = NotingMarket(PAIRS, seed), rng.sample(STREAMING, SOURCES)
    mode = "median" if rng.random() < MEDIANS else "failover"
    with hastened(PAUSES):
        chance = random.Random(f"{seed}/pauses").random
        async with world(market, sources, polled_often, chance, PRICE_MODE=mode, MIN_SOURCES=str(MIN_SOURCES)) as made:
            missed = await _until(lambda: _is_well(made), "no stream at the start")
            made.oracle.most_age_ms = CACHE_TTL * 1000
            plan = _Plan(made, seed)
            await asyncio.gather(*(plan.play(number) for number in range(PLAYERS)))
            made.renewed.clear()
            missed += await _until(lambda: _is_well(made), "no stream after the faults")
            made.oracle.liars.clear()
            exceeded = {name: counts for name, counts in market.stream_limits_exceeded.items() if counts}
            missed += [f"limits exceeded: {exceeded} by {plan.played}"] if exceeded else []
            if missed:
                missed.append(f"{mode} {made.renewed} {made.feed.reports()} {plan.played} {made.events[-8:]}")
    missed += await _until(
        lambda: len(asyncio.all_tasks()) <= tasks and open_sockets() <= sockets, "tasks or sockets are left"
    )
    return made.oracle, missed


class _Plan:
    """Seeded faults, one at a time at each source; `played` says which."""

    def __init__(self, made: World, seed: int) -> None:
        self.played: list[str] = []
        self._made, self._seed = made, seed
        self._sound = list(made.sources)
        self._end = time.monotonic() + TROUBLE_SECONDS

    async def play(self, number: int) -> None:
        """Set faults until the end of the trouble."""
        rng = random.Random(f"{self._seed}/{number}")
        while time.monotonic() < self._end:
            await asyncio.sleep(rng.uniform(0.0, PAUSE_SECONDS))
            # The first source is usually the one whose stream is used.
            name = self._sound.pop(0 if rng.random() < 0.7 else rng.randrange(len(self._sound)))
            fault = rng.choice([fault for fault in STREAM_MEANINGS if fault not in LASTING])
            market, seconds, factor = self._made.market, rng.choice(SECONDS), rng.choice(FACTORS)
            pairs = rng.sample(PAIRS, rng.randrange(1, len(PAIRS))) if rng.random() < 0.3 else None
            if fault in ("lie", "frozen"):
                if self._made.oracle.liars:
                    fault = "stalled"  # Two that lie alike would agree.
                else:
                    self._made.oracle.liars.add(name)
            refusal = rng.choice(REFUSALS) if number == 0 and rng.random() < POLLS_TOO else ""
            self.played.append(f"{fault}{'+' if refusal else ''}{refusal}@{name}")
            market.set_stream_fault(name, fault, seconds, factor, pairs)
            if refusal:
                market.set_fault(name, refusal, 1.0)
            await asyncio.sleep(rng.uniform(0.2, LONGEST_SECONDS))
            market.clear_stream_fault(name)
            market.clear_fault(name)
            # The last lie is served until it is replaced, and a source that has banned us is not called.
            await asyncio.sleep(HEAL_SECONDS)
            self._made.oracle.liars.discard(name)
            self._sound.append(name)


def _is_well(made: World) -> bool:
    """Whether a stream is live, and streams have renewed every pair."""
    return bool(made.live) and made.renewed.keys() == set(made.latest.pairs)


async def _until(condition: Callable[[], bool], what: str) -> list[str]:
    """An empty list as soon as the condition is true, or a list with `what` if that takes too long."""
    end = time.monotonic() + CALM_SECONDS
    while time.monotonic() < end:
        if condition():
            return []
        await asyncio.sleep(0.05)
    return [what]


def resident_bytes() -> int:
    """The memory of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
