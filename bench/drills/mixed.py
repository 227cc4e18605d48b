"""Everything at once, by seeded chance: chaos of processes, stores and polls, and faults of streams."""

import asyncio
import re
import sys

from bench.drills.drill import Allowed, Drill, Notes

MINUTES = 4.0
ANSWERS, FINDINGS = re.compile(r"'answers \d+': (\d+)"), re.compile(r"^seed \d+: (\d+) findings", re.M)
QUOTES = re.compile(r"^seed \d+: (\d+) quotes, oldest (\d+) ms", re.M)


async def _said(*words: str) -> tuple[int, str]:
    """Exit code and words of a module that runs by itself."""
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
    code, said = await _said("bench.chaos", "--seed", "100", "--minutes", f"{MINUTES * size:g}")
    notes.requests = sum(map(int, ANSWERS.findall(said)))
    notes.wrong = sum(map(int, FINDINGS.findall(said)))
    _told(notes, code, said)


async def stream_faults(notes: Notes, size: float) -> None:
    code, said = await _said("bench.streamfaults", "--seed", "100", "--minutes", f"{MINUTES / 2 * size:g}")
    for judged, oldest in QUOTES.findall(said):
        notes.requests += int(judged)
        notes.oldest_ms = max(notes.oldest_ms, int(oldest))
    _told(notes, code, said)


def _told(notes: Notes, code: int, said: str) -> None:
    found = [line[:200] for line in said.splitlines() if line.startswith("FOUND")]
    notes.seen["episodes"] = len(re.findall(r"^seed \d+:", said, re.M))
    notes.expect(code == 0, f"{len(found)} findings: {'; '.join(found[:3]) or said[-300:]}")


DRILLS = (
    Drill("mixed", "all of it together, by chance: every answer is right",
          "18 clients, some of them hostile; 3 services of 2 workers, Redis and embedded stores",
          "seeded faults of exchanges, signals, Redis, the embedded store, and clients", chaos, Allowed(),
          "test_chaos.py", (7, 9, 10, 15, 19), most_seconds=60 * MINUTES + 300, is_combined=True),
    Drill("streams-mixed", "the same for streams: every quote that is served is true, and as old as it says",
          "every quote of a leader with 4 of the 9 exchanges", "seeded faults of streams, two at a time, and of polls",
          stream_faults, Allowed(oldest_ms=8000), "test_stream_faults.py", (7, 19),
          most_seconds=60 * MINUTES + 300, is_combined=True),
)  # fmt: skip
