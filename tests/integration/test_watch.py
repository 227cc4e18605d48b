"""`fastprice watch` as people and programs use it: in a terminal, through a pipe, once."""

import asyncio
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fastprice.market import Market
from tests.conftest import free_port
from tests.service import PATIENCE

pytestmark = pytest.mark.anyio


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    market = Market(["eth-usdt", "btc-usd"])
    market.every_ms = 0
    await market.start()
    yield market
    await market.stop()


async def started(*words: str, stdout: int = asyncio.subprocess.PIPE, **environ: str) -> asyncio.subprocess.Process:
    command = [sys.executable, "-W", "error", "-m", "fastprice", "watch", *words]
    return await asyncio.create_subprocess_exec(
        *command, stdout=stdout, stderr=asyncio.subprocess.PIPE, env=os.environ | environ
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    """Its exit code and its error output."""
    assert process.stderr
    complaint = await asyncio.wait_for(process.stderr.read(), PATIENCE)
    return await asyncio.wait_for(process.wait(), PATIENCE), complaint.decode()


async def a_line(process: asyncio.subprocess.Process) -> list[str]:
    assert process.stdout
    return (await asyncio.wait_for(process.stdout.readline(), PATIENCE)).decode().split()


async def test_through_a_pipe_each_change_is_a_line_and_every_source_and_the_median_come(market: Market) -> None:
    process = await started("ETHUSDT", MARKET_URL=market.url)
    seen: dict[str, list[str]] = {}
    while len(seen) < 9 + 1 or not seen["median"][1:]:
        at, symbol, source, price, *book = await a_line(process)
        assert at.endswith("Z") and symbol == "ETH-USDT"
        seen.setdefault("median" if source.startswith("median-of-") else source, []).append(price)
    for name in market.sources.keys() & seen.keys():
        said = {push.price for push in market.pushed[name]} | {price for _, price in market.served[name]}
        assert set(seen[name]) <= said, name
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (0, "")


async def test_who_reads_no_further_ends_it_quietly(market: Market) -> None:
    reading, writing = os.pipe()
    process = await started(stdout=writing, MARKET_URL=market.url)
    os.close(writing)
    await asyncio.to_thread(os.read, reading, 100)
    os.close(reading)
    assert await ended(process) == (0, "")


async def test_in_a_terminal_the_table_is_drawn_over_and_the_cursor_comes_back(market: Market) -> None:
    ours, theirs = pty.openpty()
    process = await started("eth-usdt", "btc/usd", stdout=theirs, MARKET_URL=market.url)
    os.close(theirs)
    shown = b""
    while shown.count(b"median of 9") < 5 or b"\x1b[4m" not in shown:
        shown += await asyncio.wait_for(asyncio.to_thread(os.read, ours, 65_536), PATIENCE)
    process.send_signal(signal.SIGINT)
    assert await ended(process) == (0, "")
    shown += os.read(ours, 65_536)
    os.close(ours)
    assert shown.startswith(b"\x1b[?25l") and shown.rstrip().endswith(b"\x1b[?25h")
    assert b"ETH-USDT" in shown and b"BTC-USD" in shown and b"\x1b[4m" in shown and b"A\r" in shown


@pytest.mark.parametrize(("words", "code"), [(("eth-usdt",), 0), (("nobody-usdt",), 1)], ids=str)
async def test_once_is_one_table_and_says_whether_anybody_answered(
    words: tuple[str, ...], code: int, market: Market
) -> None:
    process = await started("--once", *words, MARKET_URL=market.url, FETCH_TIMEOUT="5")
    assert process.stdout
    table = (await process.stdout.read()).decode()
    assert await ended(process) == (code, "")
    assert table.count("median of") == 1 and all(name in table for name in market.sources if name != "htx")


async def test_without_any_exchange_it_says_why_in_each_row() -> None:
    process = await started("--once", SOURCES="okx,kraken", MARKET_URL=f"http://127.0.0.1:{free_port()}")
    assert process.stdout
    table = (await process.stdout.read()).decode()
    assert await ended(process) == (1, "") and table.count("cannot connect") == 2


@pytest.mark.parametrize("words", [["eth"], ["--nonsense"]])
async def test_what_is_no_pair_is_refused_in_a_line(words: list[Any]) -> None:
    code, complaint = await ended(await started(*words))
    assert code == 2 and "Traceback" not in complaint
