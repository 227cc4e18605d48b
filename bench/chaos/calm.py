"""What must be true again when all troubles are over, and how a service stops."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

from bench.chaos.fleet import PAIRS, WORKERS, Group, Service
from bench.chaos.oracle import INTERVAL
from bench.chaos.wire import PRICES, Ask, Line

# Longer than three times added up: a breaker is open, a dead caller's claim lasts, stalled sources are called last.
RECOVERY_SECONDS, PAUSE_SECONDS = 40.0, 0.2
# Enough connections that each worker gets one; and the number of intervals in which calls are counted.
CONNECTIONS, INTERVALS = 8, 4
MORE_FILES, MORE_MB = 12, 64


class Calm:
    """Compares the descriptors and memory of a group's workers before and after the troubles."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._files, self._memory = _most(group, open_files), _most(group, memory_mb)

    async def settle(self) -> None:
        """Wait until everything is fresh in every worker, and the exchange has one caller."""
        for service in self._group.services:
            await self._until(partial(self._missing, service), service.name, "not fresh again")
        await self._until(self._callers, self._group.name, "not one caller again")

    async def leave(self) -> None:
        """Wait until descriptors and memory are released; then stop all services and check their logs for defects."""
        await self._until(self._kept, self._group.name, "descriptors or memory not given back")
        await asyncio.gather(*(service.stop() for service in self._group.services))
        for service in self._group.services:
            service.examine_log(undisturbed=self._group.undisturbed)

    async def _until(self, lacking: Callable[[], Awaitable[str]], place: str, kind: str) -> None:
        """Wait until `lacking` returns an empty string."""
        end = time.monotonic() + RECOVERY_SECONDS
        while lacks := await lacking():
            if time.monotonic() > end:
                self._group.ledger.find(place, kind, lacks)
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _missing(self, service: Service) -> str:
        asks = [Ask(f"{PRICES}/{pair}") for pair in PAIRS]
        try:
            for _ in range(CONNECTIONS):
                line = await Line.to(service.port)
                *prices, readiness = await line.ask(*asks, Ask("/health/readiness"))
                line.close()
                for answer in (*prices, readiness):
                    if answer.status != 200 or answer is not readiness and answer.json["stale"]:
                        return f"{answer.status} {answer.body.decode()}; {readiness.body.decode()}"
                # A worker that stops while Redis is still lost can no longer log that it is back.
                if self._group.redis and readiness.json["redis"] != "up":
                    return readiness.body.decode()
        except OSError as error:
            return f"{type(error).__name__}: {error}"
        return "" if len(service.workers) == WORKERS else f"{len(service.workers)} workers"

    async def _callers(self) -> str:
        before, began = self._group.exchange.total_calls, time.monotonic()
        await asyncio.sleep(INTERVALS * INTERVAL)
        intervals = (time.monotonic() - began) / INTERVAL
        calls, most = self._group.exchange.total_calls - before, len(PAIRS) * (intervals * 1.2 + 1)
        return "" if 0 < calls <= most else f"{calls} calls in {intervals:.1f} intervals"

    async def _kept(self) -> str:
        files, memory = _most(self._group, open_files), _most(self._group, memory_mb)
        is_back = files <= self._files + MORE_FILES and memory <= self._memory + MORE_MB
        return "" if is_back else f"{files} of {self._files} descriptors, {memory} of {self._memory} MB"


def _most(group: Group, measure: Callable[[Path], int]) -> int:
    """The highest value of any worker."""
    return max((measure(Path(f"/proc/{pid}")) for service in group.services for pid in service.workers), default=0)


def open_files(process: Path) -> int:
    return len(list((process / "fd").iterdir()))


def memory_mb(process: Path) -> int:
    found = re.search(r"RssAnon:\s+(\d+)", (process / "status").read_text())
    return int(found[1]) // 1024 if found else 0
