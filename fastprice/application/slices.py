"""Long work on the event loop, cut into slices, so that no request waits for all of it."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import TypeVar

Item = TypeVar("Item")

# One item is a message, or a quote, which takes 5 to 30 µs.
SLICE = 10


async def in_slices(items: Iterable[Item]) -> AsyncIterator[Item]:
    """The items; other tasks run after each ten of them, so the collection they come from must not change meanwhile."""
    for number, item in enumerate(items, 1):
        yield item
        if number % SLICE == 0:
            await asyncio.sleep(0)
