"""Run seeded chaos for some minutes: a line for each finding, and exit code 1 if there is any."""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench import machine
from bench.chaos.calm import Calm
from bench.chaos.clients import honest, hostile
from bench.chaos.fleet import Group, RedisServer
from bench.chaos.ledger import Ledger
from bench.chaos.troubles import Plan
from bench.processes import missing, stop_on_signal

# How long the troubles of one episode last; the calm before and after them takes about half as long.
TROUBLE_SECONDS = 60.0
CLIENTS = (honest, honest, honest, honest, honest, hostile)


def main() -> None:
    words = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    words.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    words.add_argument("--minutes", type=float, default=30.0, help="no episode begins after so many")
    words.add_argument("--trouble", type=float, default=TROUBLE_SECONDS, help="seconds of trouble in each episode")
    given = words.parse_args()
    if missing("redis-server"):
        sys.exit("this needs redis-server")
    stop_on_signal()
    machine.raise_open_files()
    end, seed, found = time.monotonic() + 60 * given.minutes, given.seed, Counter[str]()
    while seed == given.seed or time.monotonic() < end:
        ledger = Ledger(seed)
        try:
            asyncio.run(episode(seed, given.trouble, ledger))
        except ConnectionError:
            sys.exit("a service does not start")
        counts = dict(sorted(ledger.counts.items()))
        print(f"seed {seed}: {ledger.found.total()} findings, oldest {ledger.oldest_ms:.0f} ms, {counts}", flush=True)
        found, seed = found + ledger.found, seed + 1
    for kind, times in found.most_common():
        print(f"{times} × {kind}")
    print("to see one again: SEED=<its seed> MINUTES=1 make chaos" if found else "nothing was found")
    sys.exit(bool(found))


async def episode(seed: int, seconds: float, ledger: Ledger) -> None:
    """One episode with its own world: two services over one Redis, and one over the embedded store."""
    directory = Path(tempfile.mkdtemp(prefix="fastprice-chaos-"))
    shared = Group("redis", directory, seed, ledger, RedisServer())
    alone = Group("embedded", directory, seed, ledger)
    pulse = asyncio.create_task(ledger.pulse())
    try:
        await asyncio.gather(shared.start(2), alone.start(1))
        await asyncio.gather(*(_play(group, seed, seconds) for group in (shared, alone)))
    finally:
        pulse.cancel()
        await asyncio.gather(shared.close(), alone.close())
        if ledger.found:
            print(f"the logs of seed {seed} are kept in {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)


async def _play(group: Group, seed: int, seconds: float) -> None:
    calm = Calm(group)
    await calm.settle()
    clients = [
        asyncio.create_task(client(group, service, random.Random(f"{seed}/{service.name}/{number}")))
        for service in group.services
        for number, client in enumerate(CLIENTS)
    ]
    try:
        await Plan(group, seed, seconds).run()
        await calm.settle()
    finally:
        for client in clients:
            client.cancel()
        for ended in await asyncio.gather(*clients, return_exceptions=True):
            if isinstance(ended, Exception):
                group.ledger.find(group.name, "one of our clients has a defect", repr(ended))
    await calm.leave()


if __name__ == "__main__":
    main()
