"""The market as a program: it prints its address and how to use it, and runs until it is told to stop."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterable
from typing import NoReturn

from fastprice.market.app import Market
from fastprice.market.exchanges import EXCHANGES
from fastprice.market.floor import OTHERS

# There may be a thousand pairs.
SHOWN_PAIRS = 10


def source_urls(base: str) -> dict[str, str]:
    """The environment that points every source of fastprice at a market: `{"BINANCE_URL": base + "/binance", ...}`."""
    return {f"{name.upper()}_URL": f"{base.rstrip('/')}/{name}" for name in EXCHANGES}


async def serve(
    host: str,
    port: int,
    pairs: Iterable[str],
    seed: int,
    latency: float,
    limits: bool = True,
    others: int = OTHERS,
) -> None:
    """Run a market until SIGINT or SIGTERM; SystemExit 2 on a bad pair, 1 if the port is not available."""
    try:
        market = Market(pairs, seed, latency, limits=limits, others=others)
    except ValueError as error:
        _give_up(str(error), 2)
    try:
        await market.start(host, port)
    except OSError as error:
        _give_up(f"cannot listen on {host}:{port} ({_reason(error)}); choose another one with --port", 1)
    try:
        await _told_to_stop(_start_text(market))
    finally:
        await market.stop()


async def _told_to_stop(start_text: str) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(start_text, flush=True)
    await stop.wait()


def _start_text(market: Market) -> str:
    slugs = [pair.slug for pair in market.walks]
    more = f" and {len(slugs) - SHOWN_PAIRS} more" if len(slugs) > SHOWN_PAIRS else ""
    pairs = ", ".join(slugs[:SHOWN_PAIRS]) + more
    lines = [
        f"fastprice market: {len(EXCHANGES)} simulated exchanges at {market.url} for {pairs}",
        f"  what is here      curl {market.url}/",
        f"""  break a source    curl -X PUT {market.url}/faults/binance -d '{{"fault": "hang"}}'""",
        f"  heal them all     curl -X DELETE {market.url}/faults/all",
        f"  serve its prices  MARKET_URL={market.url} fastprice serve",
        "  stop it           Ctrl+C",
    ]
    return "\n".join(lines)


def _reason(error: OSError) -> str:
    # asyncio wraps the system's message in its own; a failed name lookup has a negative errno and only a message.
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error.strerror)


def _give_up(words: str, code: int) -> NoReturn:
    print(f"fastprice market: {words}", file=sys.stderr)
    raise SystemExit(code)
