"""Reading the body of a reply within its cap, compressed or not."""

import zlib
from dataclasses import dataclass

import aiohttp

from fastprice.domain.errors import InvalidReply


@dataclass(frozen=True, slots=True)
class Size:
    """How large a body may be, also after decompression, and the encoding that is requested."""

    most: int
    encoding: str


SMALL, LARGE = Size(256 * 1024, "identity"), Size(2 * 1024 * 1024, "gzip")


async def read_body(response: aiohttp.ClientResponse, size: Size) -> tuple[bytes, bool]:
    """The body as it came, up to the cap, and whether it is compressed; raises InvalidReply."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", size.encoding):
        raise InvalidReply("the body is compressed in a way that was not asked for")
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > size.most:
            raise _too_long(size.most)
    return bytes(content), encoding != "identity"


def inflated(body: bytes) -> bytes:
    """The decompressed body, never more than the cap: a few bytes may expand to a gigabyte."""
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = gzip.decompress(body, LARGE.most + 1)
    except zlib.error:
        raise InvalidReply("the body is not gzip") from None
    if len(content) > LARGE.most:
        raise _too_long(LARGE.most)
    if not gzip.eof:
        raise InvalidReply("the answer broke off")
    if gzip.unused_data:
        raise InvalidReply("something follows the gzip body")
    return content


def _too_long(most: int) -> InvalidReply:
    return InvalidReply(f"the body is longer than {most} bytes")
