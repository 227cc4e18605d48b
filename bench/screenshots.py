"""The pictures of the live page that README shows: `python -m bench.screenshots ADDRESS MARKET DIRECTORY`.

They are taken of a service that takes its prices from the simulated exchange at MARKET, after SECONDS of prices.
"""

import argparse
import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

from playwright.async_api import Browser

from tests.browser import chromium, visiting

WIDE: dict[str, Any] = {"viewport": {"width": 1000, "height": 1010}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 790}, "is_mobile": True, "color_scheme": "dark"}
# Larger files would be too slow for readers of README on a mobile network.
MOST_BYTES = 150_000


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("address")
    words.add_argument("market")
    words.add_argument("directory", type=Path)
    words.add_argument("--seconds", type=float, default=240.0)
    asyncio.run(take(words.parse_args()))


async def take(words: argparse.Namespace) -> None:
    """Take the normal page, the page on a phone in dark mode, and the page when no source has answered for too long."""
    await asyncio.sleep(words.seconds)
    async with chromium() as browser:
        await shoot(browser, words.address, words.directory / "page.png", "fresh", **WIDE)
        await shoot(browser, words.address, words.directory / "page-phone.png", "fresh", **PHONE)
        put(f"{words.market}/faults/all", fault="error")
        put(f"{words.market}/streams/all", fault="stalled")
        await shoot(browser, words.address, words.directory / "page-stale.png", "stale", **PHONE)
        await shoot(browser, words.address, words.directory / "page-gone.png", "expired", **PHONE)


async def shoot(browser: Browser, address: str, file: Path, state: str, **context: Any) -> None:
    """Take one picture, when the pair is in this state and its sources are shown."""
    async with visiting(browser, address, **context) as visit:
        await visit.until("() => document.querySelectorAll('tbody tr').length > 1")
        if state == "fresh":
            await visit.until("() => document.querySelector('.digits mark')")
        await visit.until_state(state)
        await visit.page.screenshot(path=file)
    size = file.stat().st_size
    assert size < MOST_BYTES, f"{file} has {size} bytes"
    print(f"{file}: {size // 1000} kB", flush=True)


def put(address: str, **content: str) -> None:
    request = urllib.request.Request(address, data=json.dumps(content).encode(), method="PUT")
    urllib.request.urlopen(request, timeout=10).close()


if __name__ == "__main__":
    main()
