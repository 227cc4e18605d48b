"""Let exchanges lie, and say for how long a wrong price was served; exit code 1 if for too long.

Every kind of lie for half an hour of virtual time, and then ten minutes of lies by chance with real processes.
"""

import argparse
import sys
from collections.abc import Sequence

from bench.agreement.play import Play, Seen, played
from bench.agreement.plays import median_plays, plays
from bench.agreement.real import judged
from bench.fleet.virtual_time import Process, VirtualClock, run
from bench.processes import stop_on_signal
from bench.report import save
from bench.tables import agreement_table, lies_table
from fastprice.settings import Settings

MINUTES, REAL_MINUTES, SEED = 30.0, 10.0, "agreement"
QUICK_PLAYS, QUICK_MINUTES, QUICK_LIE_SECONDS = 3, 4.0, 2.0
# The calls that a cross-check every ten rounds and the checks of surprising prices may cost.
MOST_CALLS_PER_ROUND = 1.15
# True moves must be served within this many rounds, plus the time of their calls.
ROUNDS_TO_FOLLOW = 2


def settings(mode: str, **more: str) -> Settings:
    return Settings.from_env({"PRICE_MODE": mode, **more})


def seen(play: Play, mode: str, seed: str, seconds: float, **more: str) -> Seen:
    """Run one play in virtual time; `more` are further settings."""

    async def main() -> Seen:
        return await played(play, settings(mode, **more), seed, seconds, VirtualClock(Process("worker", 0), 0.0))

    return run(main())


def findings(row: Seen, interval: float) -> list[str]:
    """The promises that a play has broken."""
    found = []
    if row["wrong"] > row["allowed"]:
        found.append(f"a wrong price was served for {row['wrong']:.1f} s, allowed are {row['allowed']:.1f} s")
    # A liar that keeps sending the old price is detected like any other.
    if row["late"] > (row["allowed"] if row["liars"] and row["allowed"] else ROUNDS_TO_FOLLOW * interval):
        found.append(f"a true move was served {row['late']:.1f} s late")
    if row["mode"] == "failover" and row["calls_per_round"] > MOST_CALLS_PER_ROUND:
        found.append(f"{row['calls_per_round']:.3f} calls per round")
    if row["mode"] == "median" and max(row["calls"].values()) > 1.001:
        found.append(f"{max(row['calls'].values()):.3f} calls per round to one source")
    return found


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make bench-agreement", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few plays of a few minutes; keeps no figures")
    parser.add_argument("--seed", default=SEED)
    given = parser.parse_args(words)
    seconds, rows, failed = (QUICK_MINUTES if given.quick else MINUTES) * 60, list[Seen](), 0
    for mode, every in ("failover", plays()), ("median", median_plays()):
        for play in every[:QUICK_PLAYS] if given.quick else every:
            rows.append(row := seen(play, mode, given.seed, seconds))
            for finding in findings(row, settings(mode).refresh_interval):
                failed += 1
                print(f"{mode}, {play.name}: {finding}", flush=True)
    print(agreement_table(rows))
    stop_on_signal()
    real = judged(1.0, given.seed, QUICK_LIE_SECONDS) if given.quick else judged(REAL_MINUTES * 60, given.seed)
    # A quick check may run on a busy machine, where answers come late.
    failed += 0 if given.quick else sum(row["wrong"] > row["allowed"] for row in real)
    print(lies_table(real))
    result = {"seed": given.seed, "minutes": seconds / 60, "plays": rows, "real_minutes": REAL_MINUTES, "real": real}
    save("agreement", result, enough=not given.quick and given.seed == SEED)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
