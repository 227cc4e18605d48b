"""What it means if an exchange refuses a WebSocket connection."""

import asyncio
import time

import aiohttp

from fastprice.domain.errors import SourceError, SourceRefused
from fastprice.infrastructure.exchanges.reply import Reply, check_status, one_line

# Enough to see whether a refusal mentions a country.
READ_BYTES, READ_SECONDS = 16 * 1024, 2.0


async def refused_upgrade(response: aiohttp.ClientResponse) -> SourceError:
    """What a refusal means: the same as for any other request to the exchange."""
    body = b""
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await response.content.read(READ_BYTES)
    except (aiohttp.ClientError, OSError):
        pass  # The status says most of it.
    finally:
        response.close()
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        check_status(Reply(response.status, headers, body, round(time.time() * 1000)))
    except SourceError as error:
        error.args = one_line(f"its stream: {error}"), *error.args[1:]
        return error
    return SourceRefused(f"its stream: HTTP {response.status} in place of a WebSocket connection")
