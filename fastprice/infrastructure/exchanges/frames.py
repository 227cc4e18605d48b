"""Reading a frame of a stream, without raising an error, whatever its content is."""

import logging

from fastprice.domain.errors import InvalidQuote
from fastprice.infrastructure.exchanges.stream import Stream
from fastprice.infrastructure.exchanges.stream_messages import Said
from fastprice.infrastructure.exchanges.strict_json import read_json

logger = logging.getLogger(__name__)


def said_in(stream: Stream, frame: bytes) -> list[Said]:
    """What a frame says, whichever opcode it came with; empty for an unknown message."""
    message: object
    try:
        message = read_json(frame, many=True)
    except InvalidQuote:
        # Some exchanges send JSON except for `pong`.
        message = frame.decode("utf-8", "replace")
    try:
        return list(stream.read(message))
    except Exception:
        logger.exception("a defect in reading a frame of a stream: it is left out")
        return []
