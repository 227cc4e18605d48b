"""The same lies with real processes: a simulated exchange, a service of each mode, and an oracle that polls both."""

import asyncio
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, TypedDict

import aiohttp

from bench.processes import answer_of, free_port, running
from bench.service import EXCHANGE_SECONDS, running_market, settings
from fastprice.settings import Settings

PAIR = "eth-usdt"
LIE_SECONDS, LOOK_SECONDS = 30.0, 0.05
# After a lie the liars are honest until they are trusted again, but no longer than this.
MOST_HONEST_SECONDS = 90.0
# Shorter than the default, so that liars are soon trusted again, and lie to a service that believes them.
CHECK_SECONDS = 2.0
# What clocks, the delay of a price and the steps of the simulated walk may add to the share that counts as wrong.
ALLOWANCE = 0.002
# True prices are kept for as long as a served price may be old.
KEPT = round(20 / LOOK_SECONDS)
# The drift is faster than in virtual time, where a lie lasts half an hour.
DRIFT_PER_SECOND = 0.0005
# The factor by which each lie multiplies the true price, given the seconds since the lie began.
LIES: dict[str, Callable[[float], float]] = {
    "off by 0.8 %": lambda seconds: 1.008,
    "off by 4 %": lambda seconds: 0.96,
    "off by 40 %": lambda seconds: 1.4,
    "drifts by 3 % a minute": lambda seconds: 1 + DRIFT_PER_SECOND * seconds,
    "says another pair's price": lambda seconds: 20.8,
    "lies by 4 % every other second": lambda seconds: 1.04 if seconds % 2 < 1 else 1.0,
}


class Judged(TypedDict):
    """What one service did during one lie; `wrong` is from the first wrong price to the last, in seconds."""

    mode: str
    lie: str
    wrong: float
    allowed: float
    looks: int


@dataclass(slots=True)
class Watched:
    """One service that the oracle watches."""

    mode: str
    url: str
    share: float
    allowed: float
    wrong_from: float | None = None
    wrong_to: float = 0.0
    looks: int = 0
    truths: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def begin(self) -> None:
        self.wrong_from, self.looks = None, 0

    def judge(self, price: dict[str, Any]) -> None:
        """Judge a price: it is right if it was the true one at some moment around its fetch."""
        self.looks += 1
        made, said = price["fetched_at_ms"], float(price["price"])
        near = [truth for at_ms, truth in self.truths if made - 1_500 <= at_ms <= made + 500]
        if near and min(abs(said / truth - 1) for truth in near) > self.share + ALLOWANCE:
            now = time.monotonic()
            self.wrong_from, self.wrong_to = self.wrong_from or now, now

    def told(self, lie: str) -> Judged:
        wrong = self.wrong_to - self.wrong_from + LOOK_SECONDS if self.wrong_from else 0.0
        return Judged(mode=self.mode, lie=lie, wrong=wrong, allowed=self.allowed, looks=self.looks)


class Market:
    """The simulated exchange, controlled over HTTP."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def truth(self) -> float:
        async with self._session.get(f"{self._url}/truth") as response:
            return float((await response.json())[PAIR])

    async def lie(self, source: str, factor: float) -> None:
        body = {"fault": "jump", "factor": factor}
        async with self._session.put(f"{self._url}/faults/{source}", json=body) as response:
            response.raise_for_status()

    async def heal(self) -> None:
        async with self._session.delete(f"{self._url}/faults/all") as response:
            response.raise_for_status()


def judged(seconds: float, seed: str, lie_seconds: float = LIE_SECONDS) -> list[Judged]:
    """Let sources lie for `seconds`, one lie after the other, and judge a service of each mode."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        market, services = stack.enter_context(running_market(directory)), list[Watched]()
        for mode in "failover", "median":
            place, port = directory / mode, free_port()
            place.mkdir()
            environ = settings(
                port, market, place, PRICE_MODE=mode, WORKERS="2", STREAMS="0",
                CROSS_CHECK_INTERVAL=f"{CHECK_SECONDS:g}",
            )
            words, own = [sys.executable, "-m", "fastprice.cli", "serve"], Settings.from_env(environ)
            service = stack.enter_context(running(words, None, place, **environ))
            answer_of(f"http://127.0.0.1:{port}/health/readiness", service, place)
            spell = own.cross_check_interval + own.refresh_interval + 4 * EXCHANGE_SECONDS
            allowed = spell if mode == "failover" else 0.0
            url = f"http://127.0.0.1:{port}/api/v1/prices/{PAIR}"
            services.append(Watched(mode, url, own.cross_check_deviation, allowed))
        return asyncio.run(_judge(market, services, own.sources, seconds, lie_seconds, Random(seed)))


async def _judge(
    url: str, services: list[Watched], names: tuple[str, ...], seconds: float, lie_seconds: float, chance: Random
) -> list[Judged]:
    async with aiohttp.ClientSession() as session:
        market, rows, end = Market(session, url), list[Judged](), time.monotonic() + seconds
        watching, kinds = asyncio.create_task(_watch(session, market, services)), list[str]()
        while time.monotonic() < end:
            kinds = kinds or chance.sample(list(LIES), len(LIES))
            name, liars = kinds.pop(), [names[0], *chance.sample(names[1:], chance.randrange(2))]
            for service in services:
                service.begin()
            began = time.monotonic()
            while (told := time.monotonic() - began) < lie_seconds:
                for liar in liars:
                    await market.lie(liar, LIES[name](told))
                await asyncio.sleep(0.25)
            for service in services:
                row = service.told(f"{' and '.join(liars)}: {name}")
                row["allowed"] *= len(liars)
                rows.append(row)
            await market.heal()
            await _trusted_again(session, services, min(end, time.monotonic() + MOST_HONEST_SECONDS))
        if watching.done():
            watching.result()
        watching.cancel()
        return rows


async def _trusted_again(session: aiohttp.ClientSession, services: list[Watched], end: float) -> None:
    """Wait until no service distrusts any source, or until `end`."""
    for service in services:
        while time.monotonic() < end:
            async with session.get(f"{service.url}/sources") as response:
                if not any(row["distrusted"] for row in (await response.json())["sources"]):
                    break
            await asyncio.sleep(1)


async def _watch(session: aiohttp.ClientSession, market: Market, services: list[Watched]) -> None:
    while True:
        truth = await market.truth()
        for service in services:
            service.truths.append((round(time.time() * 1000), truth))
            async with session.get(service.url) as response:
                service.judge(await response.json())
        await asyncio.sleep(LOOK_SECONDS)
