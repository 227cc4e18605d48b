"""Exchanges that are slow, refuse, ban, lie, or are all gone; and their streams at fault."""

import asyncio

from bench.chaos.calm import MORE_MB
from bench.chaos.oracle import INTERVAL, MAX_STALE
from bench.chaos.troubles import LASTING
from bench.drills.clients import Door
from bench.drills.drill import FRESH_MS, STALE_MS, Allowed, Drill, Notes
from bench.drills.scene import scene
from fastprice.market.floor import MEANINGS
from fastprice.market.streams import STREAM_MEANINGS

LOAD = "24 clients and 6 subscribers; 2 workers"
FIRST = "binance"
# Sources that all make the same jump agree, and are rightly believed; so are sources that all freeze together.
BELIEVED = ("jump", "frozen")
# What is served with these faults until a poll detects it is judged by `streams-mixed`, which sees every poll.
JUDGED_ELSEWHERE = ("lie", "frozen", "old_keys")
LIE_SECONDS, STREAM_FAULT_SECONDS = 1.0, 1.5
# A busy machine adds something to any latency; a request that waited for an exchange would be seconds late.
MEDIAN_RATIO, MEDIAN_MORE_SECONDS, LONGEST_SECONDS = 2.0, 0.01, 1.0
# The most calls of a probe, which is one round with its attempts; and of an interval, with what the first probe adds.
MOST_ATTEMPTS, MOST_SHARE = 6, 1.3


async def slow(notes: Notes, size: float) -> None:
    """The first source answers after 10 s, or never, or its answer never ends."""
    async with scene(notes) as stage:
        door = stage.doors[0]
        await asyncio.sleep(4 * size)
        before, _ = _latencies(door)
        for fault in ("slow", "hang", "drip"):
            stage.exchange.set_fault(FIRST, fault, 10.0)
            await asyncio.sleep(4 * size)
        median, longest = _latencies(door)
        stage.exchange.clear_fault()
        await stage.recovered()
        notes.seen[f"median {before * 1000:.1f} ms before, {median * 1000:.1f} ms during"] += 1
        notes.expect(median < before * MEDIAN_RATIO + MEDIAN_MORE_SECONDS, "answers were slower")
        notes.expect(longest < LONGEST_SECONDS, f"an answer took {longest:.1f} s")


def _latencies(door: Door) -> tuple[float, float]:
    """The median and the 99th percentile of the times since the last look, in seconds."""
    times, door.times = sorted(door.times), []
    return times[len(times) // 2], times[len(times) * 99 // 100]


async def gone(notes: Notes, size: float) -> None:
    """Stale prices up to MAX_STALE, then 503 with Retry-After, then prices again."""
    async with scene(notes) as stage:
        stage.doors[0].may_refuse, stage.judge.honest_since = True, float("inf")
        stage.exchange.set_fault("all", "refuse")
        await asyncio.sleep(MAX_STALE + 4 * size)
        answers = stage.ledger.counts
        notes.expect(answers["answers 503"] > 0, "nobody was told that there is no price")
        notes.expect(stage.ledger.oldest_ms > FRESH_MS, "no stale price was served")
        stage.exchange.clear_fault()
        await stage.recovered()


async def lies(notes: Notes, size: float) -> None:
    """Every source says the same wrong thing: none of it may be served or kept."""
    quick = {"BREAKER_RESET": "0.3", "BREAKER_FAIL_MAX": "1000"}
    async with scene(notes, environ=quick) as stage:
        before, faults = stage.memory_mb(), [one for one in MEANINGS if one not in (*BELIEVED, *LASTING)]
        for fault in faults[:: max(1, round(1 / size))]:
            stage.exchange.set_fault("all", fault, 3600.0 if fault == "old" else 0.3)
            await asyncio.sleep(LIE_SECONDS)
            stage.exchange.clear_fault()
            await stage.recovered()
            notes.seen["kinds of wrong answers"] += 1
        for fault in LASTING:
            stage.exchange.set_fault(FIRST, fault)
            await asyncio.sleep(LIE_SECONDS / 2)
        stage.exchange.clear_fault()
        await stage.recovered()
        grown = stage.memory_mb() - before
        notes.expect(grown < MORE_MB, f"a worker has grown by {grown} MB")


async def jumps(notes: Notes, size: float) -> None:
    """One source is far off: no other source agrees, so its price is not served."""
    async with scene(notes) as stage:
        for factor in (1.5, 0.5, 1.06):
            stage.exchange.set_fault(FIRST, "jump", factor=factor)
            await asyncio.sleep(4 * size)
            stage.exchange.clear_fault()
            await stage.recovered()


async def banned(notes: Notes, size: float) -> None:
    """A source that says when to come back is not called before that."""
    async with scene(notes) as stage:
        for name, fault in {FIRST: "rate_limited", "okx": "banned"}.items():
            stage.exchange.set_fault(name, fault, 600.0)
            await asyncio.sleep(4 * INTERVAL)
            before = stage.exchange.calls[name]
            await asyncio.sleep(3 * size)
            asked = stage.exchange.calls[name] - before
            notes.expect(asked == 0, f"{asked} calls to a source that had said {fault}")
        stage.exchange.clear_fault()
        await stage.recovered()


async def failing(notes: Notes, size: float) -> None:
    """The breaker opens; then there is one probe per BREAKER_RESET, which is thirty intervals, as with the defaults."""
    async with scene(notes, environ={"BREAKER_RESET": f"{30 * INTERVAL}"}) as stage:
        stage.exchange.set_fault(FIRST, "error")
        await asyncio.sleep(3)
        before, seconds = stage.exchange.calls[FIRST], 30 * INTERVAL * max(size, 0.3)
        share = await stage.calls_per_interval(seconds)
        asked = stage.exchange.calls[FIRST] - before
        notes.expect(asked <= MOST_ATTEMPTS, f"{asked} calls to a source whose breaker is open")
        notes.expect(share < MOST_SHARE, f"{share:.2f} calls per interval while one source fails")
        notes.seen[f"{share:.2f} calls per interval, {asked} of them all to the one that fails"] += 1
        stage.exchange.clear_fault()
        await stage.recovered()


async def streams(notes: Notes, size: float) -> None:
    """Every fault of the first source's stream in turn."""
    faults = [one for one in STREAM_MEANINGS if one not in JUDGED_ELSEWHERE]
    async with scene(notes, environ={"STREAMS": "1"}) as stage:
        for fault in faults[:: max(1, round(1 / size))]:
            stage.exchange.set_stream_fault(FIRST, fault, 0.5)
            await asyncio.sleep(STREAM_FAULT_SECONDS)
            stage.exchange.clear_stream_fault(FIRST)
            notes.seen["kinds of faults of a stream"] += 1
        await stage.recovered()


DRILLS = (
    Drill("exchange-slow", "a slow exchange makes no answer slow", LOAD,
          "the first source answers after 10 s, never, or a byte at a time", slow, Allowed(oldest_ms=2 * FRESH_MS),
          "test_service.py", (5,)),
    Drill("exchange-gone", "without any exchange prices become stale, then 503: nothing older, and no wrong age", LOAD,
          "every exchange refuses until after MAX_STALE", gone, Allowed(oldest_ms=STALE_MS, recovered=8),
          "test_http.py", (6, 7)),
    Drill("exchange-lies", "impossible prices are neither served nor stored", LOAD,
          "every source at once sends each wrong answer that we know", lies, Allowed(oldest_ms=STALE_MS),
          "test_exchange_errors.py", (19,)),
    Drill("exchange-jumps", "a jump that no second source sees is not served", LOAD,
          "the first source says 1.5, 0.5 and 1.06 times the price", jumps, Allowed(), "test_failover.py", (19,)),
    Drill("exchange-bans", "a source that says when to come back is not called before", LOAD,
          "429 with Retry-After", banned, Allowed(), "test_fleet.py", (18,)),
    Drill("exchange-fails", "a failing source gets only probes, and the others are not called more often", LOAD,
          "the first source answers 500", failing, Allowed(), "test_circuit_breaker.py", (16, 17)),
    Drill("streams", "a faulty stream costs no price", f"{LOAD}, with the exchanges' streams",
          "each fault of a stream, one after the other", streams, Allowed(), "test_stream_faults.py", (19,)),
)  # fmt: skip
