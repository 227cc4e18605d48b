"""Reading the body of a reply within its cap, also where it is compressed."""

import zlib
from dataclasses import dataclass

import aiohttp

from fastprice.domain.errors import InvalidReply


@dataclass(frozen=True, slots=True)
class Size:
    """How large a body may be, also when it is inflated, and the encoding that is asked for."""

    most: int
    encoding: str


SMALL, LARGE = Size(256 * 1024, "identity"), Size(2 * 1024 * 1024, "gzip")


@dataclass(frozen=True, slots=True)
class Body:
    """A body as it came."""

    content: bytes
    compressed: bool = False
    most: int = 0

    def plain(self) -> bytes:
        """The content, never more of it than `most`: a few compressed bytes may stand for a gigabyte."""
        return _inflated(self.content, self.most) if self.compressed else self.content


async def read_body(response: aiohttp.ClientResponse, size: Size) -> Body:
    """The body as it came, up to the cap; raises InvalidReply."""
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", size.encoding):
        raise InvalidReply("the body is compressed in a way that was not asked for")
    content = bytearray()
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > size.most:
            raise _too_long(size.most)
    return Body(bytes(content), encoding != "identity", size.most)


def _inflated(body: bytes, most: int) -> bytes:
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        content = gzip.decompress(body, most + 1)
    except zlib.error:
        raise InvalidReply("the body is not gzip") from None
    if len(content) > most:
        raise _too_long(most)
    if not gzip.eof:
        raise InvalidReply("the answer broke off")
    if gzip.unused_data:
        raise InvalidReply("something follows the gzip body")
    return content


def _too_long(most: int) -> InvalidReply:
    return InvalidReply(f"the body is longer than {most} bytes")
