"""WebSocket frames as bytes, so that one rendered frame serves every listener and a fault can change any byte."""

import struct

CONTINUED, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
_FINAL = 0x80


def frame(payload: bytes, opcode: int = TEXT, final: bool = True) -> bytes:
    """An unmasked frame, as a server sends it; with the defaults it is a whole message."""
    size, first = len(payload), _FINAL * final | opcode
    if size < 126:
        return struct.pack(">BB", first, size) + payload
    if size < 65_536:
        return struct.pack(">BBH", first, 126, size) + payload
    return struct.pack(">BBQ", first, 127, size) + payload


def closing(code: int, reason: str) -> bytes:
    """The frame that closes a connection."""
    return frame(struct.pack(">H", code) + reason.encode(), CLOSE)
