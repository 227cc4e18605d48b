"""Clients that send requests all the time: well-behaved ones, whose every answer is judged, and hostile ones."""

import asyncio
import contextlib
import random

from bench.chaos.fleet import PAIRS, Group, Service
from bench.chaos.wire import PRICES, Ask, Line, any_ask, wall_ms

PAUSES = (0.0, 0.01, 0.03, 0.1)
KEPT, MOST_PIPELINED, SHARE_PIPELINED = (1, 5, 200), 12, 0.15
# Bytes of requests that a greedy client sends per connection, its most connections, and the connections of a crowd.
GREEDY_BYTES, GREEDY, CROWD = 256 * 1024, 12, 600
PLAIN = Ask(f"{PRICES}/{PAIRS[0]}").data
HALF_HEADS = (b"", b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000, PLAIN[:-1])
GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/9.9\r\n\r\n", b"GET /\r\n\r\n",
    b"GET / HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", PLAIN + b"\x00\xff\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n\r\n" * 50 + PLAIN,
)  # fmt: skip


async def honest(group: Group, service: Service, rng: random.Random) -> None:
    """Send requests forever, on connections that are kept for a while, one by one or several in one write."""
    etags: dict[str, str] = {}
    while True:
        asks: list[Ask] = []
        line = None
        try:
            line = await Line.to(service.port)
            with contextlib.closing(line):
                for _ in range(rng.choice(KEPT)):
                    count = rng.randrange(2, MOST_PIPELINED) if rng.random() < SHARE_PIPELINED else 1
                    asks = [any_ask(rng, PAIRS, etags) for _ in range(count)]
                    for ask, answer in zip(asks, await line.ask(*asks), strict=True):
                        group.oracle.judge(service, line, ask, answer)
                        if answer.status == 200:
                            etags[ask.pair] = answer.headers.get("etag", '"none"')
                    await asyncio.sleep(rng.choice(PAUSES))
        except OSError as error:
            # The trouble that broke the connection may be noted a moment later.
            await asyncio.sleep(0.2)
            excused = service.is_upset or group.ledger.busy or service.is_crowded and line is not None and line.is_kept
            if not excused:
                group.ledger.find(service.name, f"unanswered: {type(error).__name__}", " + ".join(map(str, asks)))


async def hostile(group: Group, service: Service, rng: random.Random) -> None:
    """Misbehave in one way after the other."""
    while True:
        await asyncio.sleep(rng.uniform(0.1, 2))
        manner = rng.choices((_talks_garbage, _half_asks, _asks_for_too_much, _crowds), (6, 3, 2, 1))[0]
        with group.ledger.on(f"{service.name}: a client {manner.__name__[1:].replace('_', ' ')}"):
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with contextlib.AsyncExitStack() as stack:
                    await manner(group, service, rng, stack)


async def _talks_garbage(group: Group, service: Service, rng: random.Random, stack: contextlib.AsyncExitStack) -> None:
    line = await _line(service, stack)
    line.writer.write(rng.choice(GARBAGE) if rng.random() < 0.7 else rng.randbytes(rng.randrange(1, 3000)))
    async with asyncio.timeout(rng.uniform(0.5, 3)):
        while True:
            group.oracle.judge(service, line, None, await line.answer(wall_ms()))


async def _half_asks(group: Group, service: Service, rng: random.Random, stack: contextlib.AsyncExitStack) -> None:
    (await _line(service, stack)).writer.write(rng.choice(HALF_HEADS))
    await _stay(service, rng)


async def _asks_for_too_much(
    group: Group, service: Service, rng: random.Random, stack: contextlib.AsyncExitStack
) -> None:
    for _ in range(rng.randrange(1, GREEDY)):
        line = await _line(service, stack)
        line.writer.transport.pause_reading()  # type: ignore[attr-defined]
        line.writer.write(PLAIN * (GREEDY_BYTES // len(PLAIN)))
    await _stay(service, rng)


async def _crowds(group: Group, service: Service, rng: random.Random, stack: contextlib.AsyncExitStack) -> None:
    service.crowded()
    for _ in range(CROWD):
        line = await _line(service, stack)
        if rng.random() < 0.5:
            line.writer.write(PLAIN)
    await _stay(service, rng)


async def _line(service: Service, stack: contextlib.AsyncExitStack) -> Line:
    return stack.enter_context(contextlib.closing(await Line.to(service.port)))


async def _stay(service: Service, rng: random.Random) -> None:
    """Stay for some seconds, or until the service is about to stop: a client that stays longer would delay the stop."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(service.leaving.wait(), rng.uniform(0.5, 5))
