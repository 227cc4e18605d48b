"""Everything at once, at seeded random: chaos of processes, stores and polls, and faults of streams."""

import asyncio
import re
import sys

from bench.drills.drill import STALE_MS, Allowed, Drill, Notes

# The total minutes; the share of chaos, which has the most to find, and the share of streams.
MINUTES, CHAOS, STREAMS = 30.0, 2 / 3, 1 / 3
# An episode that has begun is played to its end.
MOST_SECONDS = 60 * MINUTES + 300
EPISODE = re.compile(r"^seed \d+: (\d+) findings, oldest (\d+) ms", re.M)
ANSWERS, QUOTES = re.compile(r"'answers \d+': (\d+)"), re.compile(r"(\d+) quotes")


async def _said(*words: str) -> tuple[int, str]:
    """The exit code and output of a module that runs as its own process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    return process.returncode or 0, said.decode()


async def chaos(notes: Notes, size: float) -> None:
    code, said = await _said("bench.chaos", "--seed", "100", "--minutes", f"{MINUTES * CHAOS * size:g}")
    _told(notes, code, said, ANSWERS)


async def stream_faults(notes: Notes, size: float) -> None:
    code, said = await _said("bench.streamfaults", "--seed", "100", "--minutes", f"{MINUTES * STREAMS * size:g}")
    _told(notes, code, said, QUOTES)


def _told(notes: Notes, code: int, said: str, judged: re.Pattern[str]) -> None:
    """Copy what the module's own oracle has found in each episode."""
    episodes = EPISODE.findall(said)
    notes.expect(bool(episodes), "no episode was played to its end")
    notes.requests = sum(map(int, judged.findall(said)))
    notes.wrong = sum(int(found) for found, _ in episodes)
    notes.oldest_ms = max((float(oldest) for _, oldest in episodes), default=0.0)
    notes.seen["episodes"] = len(episodes)
    found = [line[:200] for line in said.splitlines() if line.startswith("FOUND")]
    notes.expect(code == 0, f"exit code {code}: {'; '.join(found[:3]) or said[-300:]}")


DRILLS = (
    Drill("mixed", "everything together, at random: every answer is right",
          "18 clients, some of them hostile; 3 services of 2 workers, Redis and embedded stores",
          "seeded faults of exchanges, signals, Redis, the embedded store, and clients", chaos,
          Allowed(oldest_ms=STALE_MS), "test_chaos.py", (7, 9, 10, 15, 19),
          most_seconds=MOST_SECONDS, is_combined=True),
    Drill("streams-mixed", "random faults of streams: every served quote is true, and as old as it says",
          "every quote of a leader with 4 of the 9 exchanges", "seeded faults of streams, two at a time, and of polls",
          stream_faults, Allowed(oldest_ms=STALE_MS), "test_stream_faults.py", (7, 19),
          most_seconds=MOST_SECONDS, is_combined=True),
)  # fmt: skip
