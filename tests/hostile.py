"""Bytes that nobody should send: damaged versions of documented ones, and large ones that are slow to read."""

import re
from collections.abc import Callable, Iterator
from time import process_time
from typing import Any

from hypothesis import strategies as st

# Every scalar of a JSON text, and the names of members.
SCALAR = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|true|false|null')
TOKENS = [
    b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b'"0"', b"1e-999", b"9" * 5_000, b'"' + b"9" * 5_000 + b'"', b"true", b"null",
    b"[]", b"{}", b'""', b'"\\ud800"', b'"\xff\xfe"', b'"\\u0000"', b'"\xd9\xa1"', b'"\xc2\xb2"', b'{"a":1,"a":2}', b"[" * 100_000,
    b'{"a":' * 100_000, b"[" * 900 + b"]" * 900, b'"1e99"', b"18446744073709551616", b"-9223372036854775809", b"1.5",
    b"253402300800000", b'"2020-02-30T00:00:00Z"', b'"9999-12-31T23:59:59-23:59"', b"[[[]]]", b'{"":""}', b'"\\n\\u202e"',
]  # fmt: skip


@st.composite
def spoilt(draw: st.DrawFn, bodies: list[bytes]) -> bytes:
    """One of the bodies with some scalars replaced; perhaps also with other bytes inserted, or without its end."""
    body = draw(st.sampled_from(bodies))
    for _ in range(draw(st.integers(0, 3))):
        found = [match.span() for match in SCALAR.finditer(body[:10_000])]
        if not found:
            break
        start, end = draw(st.sampled_from(found))
        body = body[:start] + draw(st.sampled_from(TOKENS) | st.binary(max_size=8)) + body[end:]
    if draw(st.booleans()):
        start = draw(st.integers(0, len(body)))
        body = body[:start] + draw(st.binary(max_size=8)) + body[draw(st.integers(start, len(body))) :]
    return body


def filled(unit: bytes, size: int, begin: bytes = b"", end: bytes = b"") -> bytes:
    return begin + unit * ((size - len(begin) - len(end)) // len(unit)) + end


def large(size: int) -> Iterator[tuple[str, bytes]]:
    """Bodies of this size, each of a kind that could take long to read."""
    for unit in b"9", b"[", b'{"a":', b"\xff", b" ", b"your ", b'"', b"\\":
        yield f"nothing but {unit!r}", filled(unit, size)
    for unit in b"1,", b"[],", b"{},", b'"",', b"[[1]],":
        yield f"a list of {unit!r}", filled(unit, size, b"[", b"1]")
    for unit in b"x", rb"\u00e9", rb"\ud800", b"\xc3\xa9", rb"\\", rb"\n":
        yield f"a text of {unit!r}", filled(unit, size, b'"', b'"')
    for name in b"msg", b"message", b"retMsg", b"err-msg", b"label", b"code":
        yield f"a long {name!r}", filled(b"\xc3\xa9 ", size, b'{"code":"1","status":"error","success":false,"%b":"' % name, b'"}')
    yield "a member again and again", filled(b'"a":1,', size, b"{", b'"b":2}')
    yield "members of other names", b"{%b}" % b",".join(b'"%d":1' % number for number in range(size // 12))
    yield "a time that is none", filled(b"9", size, b'{"error":["EService:Throttled:', b'"]}')
    yield "a list of warnings", filled(b'"W",', size, b'{"error":[', b'"W"]}')


def cost(call: Callable[[], Any]) -> float:
    """The seconds of CPU time that a call takes."""
    began = process_time()
    call()
    return process_time() - began
