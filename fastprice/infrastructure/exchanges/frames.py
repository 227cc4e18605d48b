"""Reading a frame of a stream: whatever it is, nothing is raised."""

import logging

from fastprice.domain.errors import InvalidQuote
from fastprice.infrastructure.exchanges.stream import Stream
from fastprice.infrastructure.exchanges.stream_messages import Said
from fastprice.infrastructure.exchanges.strict_json import read_json

logger = logging.getLogger(__name__)


def said_in(stream: Stream, frame: bytes) -> list[Said]:
    """What a frame says; nothing where it is not known, whichever opcode it came with."""
    message: object
    try:
        message = read_json(frame, many=True)
    except InvalidQuote:
        # Some speak JSON but for `pong`.
        message = frame.decode("utf-8", "replace")
    try:
        return list(stream.read(message))
    except Exception:
        logger.exception("a defect in reading a frame of a stream: it is left out")
        return []
