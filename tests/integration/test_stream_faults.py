"""Every fault of an exchange's stream against a real leader; each served quote is checked against what was said."""

import asyncio
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pytest

from bench.streamfaults.said import NotingMarket
from bench.streamfaults.world import (
    CACHE_TTL, INTERVAL, PATIENCE, PAUSES, World, hastened, impatient, open_sockets, world
)
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.market import acts
from fastprice.market.breaks import HONEST_BREAKS
from fastprice.market.streams import STREAM_MEANINGS
from tests.service import polling

pytestmark = pytest.mark.anyio

PAIRS = ("eth-usdt", "btc-usd", "doge-usdt")
STREAMING = [name for name, exchange in EXCHANGES.items() if exchange.stream]
FAULT_SECONDS, EVERY_MS, ANY_FRAME_SECONDS = 1.5, 100, 1.5
# The market's `seconds` for faults whose default is too long for a test.
SECONDS = {"handshake_429": 1.0, "lifetime": 0.5, "planned_cut": 0.7, "drip": 0.3}
# The market writes a burst on the loop on which the leader reads it. A fourth of one is still more than is read while a
# connection counts as behind; a whole one keeps the loop of a slow machine busy for longer than CACHE_TTL.
SHORTER_BURST = (acts, "BURST_FRAMES", 5_000)
# A price that is off by this factor is close enough to the previous one, so only the polls can detect it.
FACTOR = 1.003
# After these faults polls leave this exchange out for longer than a test takes.
LEFT_ALONE = ("handshake_451", "handshake_403")
# These faults leave the true prices intact, so streams go on, over their existing connections.
HARMLESS = HONEST_BREAKS - {"key_reset", "old"} | {"no_pong", "no_ack", "ping_flood", "burst"}
# Some connections are reopened, but never in a storm: the most that a fault and its end may open altogether.
MOST_OPENED = 16


async def until(condition: Callable[[], Any], what: str) -> None:
    for _ in polling():
        if condition():
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"never came: {what}")


def told(made: World, names: set[str]) -> bool:
    """Whether one of these streams is live, and streams have renewed every pair."""
    return bool(made.live & names) and made.renewed.keys() == set(made.latest.pairs)


async def recovered(made: World, names: set[str]) -> None:
    made.renewed.clear()
    state = "its stream does not tell all pairs again"
    try:
        await until(partial(told, made, names), state)
    except AssertionError:
        raise AssertionError(f"{state}: {made.renewed} {made.feed.reports()} {made.events[-5:]}") from None


async def play(
    names: Sequence[str], fault: str, factor: float = FACTOR, pairs: tuple[str, ...] | None = None
) -> None:
    """One fault in a world for each of these exchanges, at the same time; nothing is left behind."""
    tasks, sockets = len(asyncio.all_tasks()), open_sockets()
    with hastened((*PAUSES, *PATIENCE, SHORTER_BURST)):
        await asyncio.gather(*(play_one(name, fault, factor, pairs, len(names) == 1) for name in names))
    await until(lambda: len(asyncio.all_tasks()) <= tasks and open_sockets() <= sockets, "nothing left behind")


async def play_one(
    name: str, fault: str, factor: float, pairs: tuple[str, ...] | None, is_alone: bool
) -> None:
    """One fault at the first of three sources: it is live before, correct during the fault, and live afterwards."""
    market = NotingMarket(PAIRS)
    market.every_ms = EVERY_MS
    sources = [name, *[other for other in ("okx", "kraken", "binance") if other != name][:2]]
    chance = random.Random(fault)
    async with world(market, sources, partial(impatient, seconds=ANY_FRAME_SECONDS), chance.random) as made:
        await recovered(made, {name})
        made.oracle.most_age_ms = CACHE_TTL * 1000
        feed, running = market.streams.feeds[name], len(asyncio.all_tasks())
        connections, opened = len(feed.connections), feed.opened
        if fault in ("lie", "frozen"):
            # See MOST_POLLS: a wrong price may be served until a second poll has detected it.
            made.oracle.liars.add(name)
        market.set_stream_fault(name, fault, SECONDS.get(fault), factor, pairs)
        made.renewed.clear()
        await asyncio.sleep(FAULT_SECONDS)
        if fault in HARMLESS:
            await until(partial(told, made, {name}), "prices by the stream during a fault that harms nobody")
            assert feed.opened == opened
        market.clear_stream_fault(name)
        await recovered(made, set(sources) if fault in LEFT_ALONE else {name})
        made.oracle.liars.clear()
        await asyncio.sleep(3 * INTERVAL)
        assert made.oracle.judged and not made.oracle.found, made.oracle.details
        assert not any(market.stream_limits_exceeded.values()), market.stream_limits_exceeded
        assert feed.opened <= MOST_OPENED
        if fault not in LEFT_ALONE:
            await until(lambda: len(feed.connections) == connections, "as many connections")
        if is_alone:  # Tasks of calls to sources come and go as well.
            await until(lambda: len(asyncio.all_tasks()) <= running + 6, "as many tasks")


@pytest.mark.parametrize("fault", STREAM_MEANINGS)
async def test_each_fault_of_a_stream_is_survived_with_true_prices_and_over_when_it_is_over(fault: str) -> None:
    await play(["kucoin" if fault == "token_500" else "binance"], fault)


ELSEWHERE = {"stalled", "close_1006", "drip", "key_reset", "crossed", "handshake_429", "lie"} | HARMLESS
# During a fault a test mostly waits, so several are tested at the same time.
ELSEWHERES = [name for name in STREAMING if name != "binance"]


@pytest.mark.parametrize("names", [ELSEWHERES[:4], ELSEWHERES[4:]], ids=" ".join)
@pytest.mark.parametrize("fault", sorted(ELSEWHERE - {"burst"}))
async def test_the_worst_and_the_harmless_faults_are_survived_at_every_exchange(fault: str, names: list[str]) -> None:
    await play(names, fault)


@pytest.mark.parametrize("name", ELSEWHERES)
async def test_a_burst_is_survived_at_every_exchange(name: str) -> None:
    await play([name], "burst")


@pytest.mark.parametrize("names", [STREAMING[:3], STREAMING[3:6], STREAMING[6:]], ids=" ".join)
async def test_one_pair_that_is_silent_comes_back_and_costs_no_other_one(names: list[str]) -> None:
    await play(names, "stalled", pairs=PAIRS[:1])
