"""Many clients: ten thousand at once, more requests than can be answered, and a million for unknown pairs."""

import asyncio
import random
import statistics
from collections.abc import Iterator

from bench.acceptor import bursts
from bench.chaos.calm import MORE_MB
from bench.chaos.clients import PLAIN
from bench.chaos.wire import PRICES
from bench.connections.parts import Case
from bench.drills.drill import Allowed, Drill, Notes
from bench.drills.flood import Flood
from bench.drills.scene import Scene, scene
from bench.peers.rounds import started, surroundings
from bench.push.__main__ import EXCHANGE_SECONDS
from bench.push.parts import CROWD, GROUP, QUICK, SILENT
from bench.push.reader import streams
from bench.push.servers import fastprice
from bench.push.soak import Soaked, soaked

LOAD = "24 clients and 6 subscribers; 2 workers"
UNKNOWN, BATCH, LINES = 1_000_000, 200, 8
# The most samples of a scrape, and MB of growth: every name that clients make up would be one more sample.
MOST_SAMPLES, MORE_BY_UNKNOWN_MB = 1500, 16
# Overload: TIMES the peak rate of requests is sent, and the share GOODPUT of the peak must still be answered. Peak and
# overload take turns, and medians are compared, because a machine can be a tenth slower from one second to the next.
TIMES, GOODPUT, TURNS, TURN_SECONDS, OVERLOADERS, PIPELINED = 3, 0.9, 9, 1.0, 30, 40


async def unknown_pairs(notes: Notes, size: float) -> None:
    """A million unknown pairs cost no call, no label and no memory."""
    async with scene(notes) as stage:
        before = stage.memory_mb()
        each = max(1, round(UNKNOWN * size / BATCH / LINES))
        floods = [await Flood.to(stage.service, 404) for _ in range(LINES)]
        counted = asyncio.create_task(stage.calls_per_interval())
        await asyncio.gather(
            *(flood.ask_all(_made_up(number, each), BATCH) for number, flood in enumerate(floods))
        )
        for flood in floods:
            notes.requests += flood.right
            flood.close()
        calls = await counted
        samples = (await stage.service.get("/metrics")).body.decode().splitlines()
        grown, named = stage.memory_mb() - before, sum(not line.startswith("#") for line in samples)
        notes.seen[f"{each * BATCH * LINES:,} unknown pairs"] += 1
        notes.expect(calls < 1.3, f"{calls:.1f} calls to exchanges per interval")
        notes.expect(named < MOST_SAMPLES, f"{named} samples in /metrics")
        notes.expect(grown < MORE_BY_UNKNOWN_MB, f"a worker has grown by {grown} MB")
        await stage.recovered()


def _made_up(number: int, batches: int) -> Iterator[bytes]:
    rng = random.Random(number)
    for _ in range(batches):
        names = (f"{rng.getrandbits(40):x}-usdt" for _ in range(BATCH))
        yield b"".join(f"GET {PRICES}/{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for name in names)


async def overload(notes: Notes, size: float) -> None:
    """Under three times the requests that can be answered, the answers stay at nine tenths of the peak."""
    async with scene(notes, workers=1, askers=2) as stage:
        seconds, door, peaks, goodputs = TURN_SECONDS * max(size, 0.3), stage.doors[0], [], []
        door.times = []
        for _ in range(TURNS):
            peaks.append(await _offered(stage, seconds, None))
            goodputs.append(await _offered(stage, seconds, TIMES * peaks[-1]))
        notes.requests += round((sum(peaks) + sum(goodputs)) * seconds)
        peak, goodput = statistics.median(peaks), statistics.median(goodputs)
        each = ", ".join(f"{answered:,.0f} of {most:,.0f}" for most, answered in zip(peaks, goodputs, strict=True))
        notes.seen[f"answers per s under overload, and at most without, in turns: {each}"] += 1
        notes.seen[f"a polite client waited {max(door.times) * 1000:.0f} ms at most"] += 1
        notes.expect(goodput >= GOODPUT * peak, f"{goodput:,.0f} answers per s, of {peak:,.0f} without overload")
        await stage.recovered()


async def _offered(stage: Scene, seconds: float, per_second: float | None) -> float:
    """Answers per second: to clients that wait for them, or to clients that send at a rate and do not wait."""
    floods = [await Flood.to(stage.service, 200) for _ in range(OVERLOADERS)]
    every = None if per_second is None else PIPELINED * OVERLOADERS / per_second
    batch = PLAIN * PIPELINED
    got = sum(await asyncio.gather(*(flood.within(seconds, batch, PIPELINED, every) for flood in floods)))
    for flood in floods:
        flood.close()
    return got / seconds


async def crowd(notes: Notes, size: float) -> None:
    """Ten thousand connections at once, each of which sends a request."""
    measure = await asyncio.to_thread(_burst, bursts.case(4))
    notes.requests, notes.lost = CROWD, round(measure["errors"])
    notes.seen[f"p99 {measure['p99_ms']:.0f} ms, slowest {measure['slowest_ms']:.0f} ms"] += 1
    notes.expect(not measure["overflows"], f"the kernel had no room for {measure['overflows']:.0f} connections")


def _burst(case: Case) -> dict[str, float]:
    with surroundings() as around, started(case.peer, around) as subject:
        return case.measure(subject, 1)


async def crowd_of_subscribers(notes: Notes, size: float) -> None:
    """Ten thousand subscribers that read, and a thousand that never read."""
    readers = CROWD if size >= 1 else GROUP
    row = await asyncio.to_thread(_subscribed, readers, 12 * size)
    notes.events, notes.lost = round(row["events"]), round(row["lost"])
    notes.requests = row["subscribers"]
    notes.seen[f"change to last subscriber, p99 {row['p99_ms']:.0f} ms"] += 1
    grown = row["mb_last"] - row["mb_first"]
    notes.expect(grown < MORE_MB, f"it has grown by {grown:.0f} MB")


def _subscribed(readers: int, seconds: float) -> Soaked:
    server = fastprice("fastprice", "fastprice", QUICK if readers == GROUP else 1.0)
    with surroundings(EXCHANGE_SECONDS) as around, started(server, around, streams) as subject:
        return soaked("", subject, readers, SILENT, 0, 2, seconds / 2)


DRILLS = (
    Drill("unknown-pairs", "made-up pairs cost no call, no memory and no series of metrics", f"{LOAD}; 8 connections",
          "a million unknown pairs", unknown_pairs, Allowed(), "test_http.py", (23,)),
    Drill("overload", "at three times the load as much is answered as without it, and polite clients too",
          f"{OVERLOADERS} connections with {PIPELINED} requests in each write, 2 clients",
          "three times the requests that a worker can answer", overload, Allowed(), "test_lane.py", (25,)),
    Drill("crowd", "10,000 connections at once are all answered", "10,000 connections; 4 workers",
          "all opened by one client at the same moment", crowd, Allowed(), "test_acceptor.py", needs=("cc",)),
    Drill("crowd-of-subscribers", "10,000 subscribers get every price, whatever others do",
          "10,000 subscribers; 1 worker", "1,000 more that never read", crowd_of_subscribers, Allowed(),
          "test_push_reader.py, test_live_stream.py", needs=("cc",)),
)  # fmt: skip
