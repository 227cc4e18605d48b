"""Whatever bytes arrive at the port, in whatever pieces: the client gets an HTTP answer or a close, the worker goes on.

FUZZ=20000 sends that many requests instead of a few hundred.
"""

import asyncio
import os
import random
import re
import socket
import time
from pathlib import Path

import pytest

from fastprice.market import Market
from tests.declared import FILE, undeclared
from tests.service import PATIENCE, PRICE, polling, running

pytestmark = pytest.mark.anyio

HEADS = [
    f"{line}\r\nHost: a\r\n{more}\r\n".encode("latin-1")
    for line, more in [
        (f"GET {PRICE} HTTP/1.1", ""), (f"HEAD {PRICE} HTTP/1.1", "Connection: close\r\n"), (f"GET {PRICE} HTTP/1.0", ""),
        (f"GET {PRICE}?max_age_ms=100 HTTP/1.1", 'If-None-Match: "x", W/"y", *\r\n'), (f"OPTIONS {PRICE} HTTP/1.1", "Origin: b\r\n"),
        (f"GET {PRICE}/stream?min_interval_ms=500 HTTP/1.1", "Last-Event-ID: 1753300000190\r\n"),
        ("GET /api/v1/stream?pairs=eth-usdt HTTP/1.0", ""), (f"GET {PRICE}/stream HTTP/1.1", "Connection: Upgrade\r\nUpgrade: x\r\n"),
        ("GET / HTTP/1.1", "Accept: text/html;q=0.\xb2\r\nAccept-Language: ru;q=1.000\r\n"), ("GET /docs HTTP/1.1", ""),
        ("POST /api/v1/prices HTTP/1.1", "Content-Length: 5\r\n\r\nabcde"),
        (f"PUT {PRICE} HTTP/1.1", "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n5\r\nabcde\r\n0\r\n"),
        ("GET /health/liveness HTTP/1.1", "X: " + "y" * 3_000 + "\r\n"), ("GET http://a/metrics HTTP/1.1", ""),
    ]
]  # fmt: skip
PARTS = [
    b"\r\n", b"\r\n\r\n", b"\n", b"\0", b"\xff\xfe", b" ", b":", b"Host: b\r\n", b"HTTP/1.1", b"HTTP/9.9", b"%00", b"%", b"?", b"//", b"a" * 20_000,
    b"Content-Length: 99999999999999999999\r\n", b"Content-Length: -1\r\n", b"Transfer-Encoding: chunked\r\n", b"fffffffffffffffff\r\n",
    b"GET ", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00", b"X: \x80\r\n", b"X : y\r\n", b" folded\r\n", b"Upgrade: h2c\r\n",
]  # fmt: skip
STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) [\x20-\x7e]*")
FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+: ?[\t\x20-\x7e\x80-\xff]*")


def spoilt(chance: random.Random) -> bytes:
    """One or two requests with something wrong in them, or only noise."""
    if chance.random() < 0.1:
        return chance.randbytes(chance.randrange(1, 400))
    data = b"".join(chance.choices(HEADS, k=chance.choice((1, 1, 1, 2))))
    for _ in range(chance.randrange(4)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 0, 1, 1, 8, 200)))
        data = data[:start] + chance.choice((b"", data[start:end] * 2, chance.choice(PARTS), chance.randbytes(2))) + data[end:]
    return data or b"\0"


def answered(port: int, data: bytes, cuts: list[int], to_the_end: bool = True) -> bytes:
    """Everything that comes back for these bytes, which are sent in pieces; then the client's sending side is closed.

    Unless `to_the_end`, the client leaves at the end of a line: a stream with another request pipelined behind it does
    not notice the end.
    """
    said = bytearray()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                client.sendall(data[start:end])
            client.shutdown(socket.SHUT_WR)
            began = time.monotonic()
            while piece := client.recv(65_536):
                said += piece
                assert time.monotonic() - began < PATIENCE, f"no end for {data!r}, cut at {cuts}"  # As streams may.
                if not to_the_end and said.endswith(b"\n"):
                    break
        except (ConnectionResetError, BrokenPipeError):
            pass  # This is an end too: a client sees it if its last bytes were never read.
        except OSError as error:
            assert not isinstance(error, TimeoutError), f"neither an answer nor an end for {data!r}, cut at {cuts}"
    return bytes(said)


def statuses(said: bytes) -> list[int]:
    """The statuses of the answers in it; fails if it is not HTTP. A reset may have cut off the last answer."""
    found = []
    while said:
        head, end, said = said.partition(b"\r\n\r\n")
        assert end, head
        first, *fields = head.split(b"\r\n")
        line = STATUS_LINE.fullmatch(first)
        assert line and all(map(FIELD.fullmatch, fields)), head
        named = {name.lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        assert len(named) >= len(fields) - 1, head
        found.append(int(line[1]))
        if line[1].decode() in FILE["x-every-operation"]:
            assert not undeclared(found[-1], [name.decode() for name in named]), head
        if found[-1] in (100, 204, 304) or said.startswith(b"HTTP/1.1 "):
            continue  # The same applies to the answer to HEAD.
        if named.get(b"transfer-encoding") == b"chunked":
            said = after_chunks(said)
        else:
            said = said[int(named[b"content-length"]) :] if b"content-length" in named else b""
    return found


def after_chunks(said: bytes) -> bytes:
    """What follows a chunked body; a stream may end without a last chunk after its client has closed."""
    while said:
        size, _, said = said.partition(b"\r\n")
        assert re.fullmatch(rb"[0-9a-fA-F]+", size), size
        assert said[int(size, 16) :][:2] == b"\r\n"
        said = said[int(size, 16) + 2 :]
        if int(size, 16) == 0:
            break
    return said


def attack(port: int, chance: random.Random, times: int) -> set[int]:
    """The statuses of the answers to so many damaged requests; after each of them a good one is answered."""
    seen = set[int]()
    for _ in range(times):
        data = spoilt(chance)
        cuts = sorted(chance.sample(range(1, len(data)), min(len(data) - 1, chance.choice((0, 0, 1, 3)))))
        said = answered(port, data, cuts, b"stream" not in data)
        try:
            seen.update(statuses(said))
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{data!r}, cut at {cuts}, was answered with {said!r}") from error
        assert statuses(answered(port, HEADS[0], [])) == [200], data
    return seen


@pytest.mark.parametrize("lane", [1, 0])
async def test_any_bytes_are_answered_or_ended_and_the_worker_goes_on(market: Market, tmp_path: Path, lane: int) -> None:
    seed, times = random.randrange(1 << 32), int(os.environ.get("FUZZ", "300"))
    print(f"seed {seed}")
    async with running(market, tmp_path, WORKERS=1, FAST_LANE=lane) as service:
        await service.until(200)
        before = service.workers()
        opened = Path(f"/proc/{before[0]}/fd")
        count = len(list(opened.iterdir()))
        for _ in range(10):
            for head in HEADS[5:8]:
                assert statuses(await asyncio.to_thread(answered, service.port, head, [])) == [200], "a stream ends with its client"
        seen = await asyncio.to_thread(attack, service.port, random.Random(seed), times)
        # 100 is only interim, 204 answers OPTIONS, and only a price has 304 and 412.
        assert {200, 400} <= seen <= {100, 200, 204, 304, 412} | {int(status) for status in FILE["x-every-operation"]}, seen
        assert service.workers() == before
        for _ in polling():
            if len(list(opened.iterdir())) <= count + 2:
                break
            await asyncio.sleep(0.1)
        assert len(list(opened.iterdir())) <= count + 2, "descriptors are left over"
        assert not [line for line in service.log if "Traceback" in line], service.log
