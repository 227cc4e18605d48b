"""Requests and answers over a bare connection, with the times at which they were sent and received."""

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import orjson

PRICES = "/api/v1/prices"
# A time limit, not a measurement: an answer that takes longer will not come.
PATIENCE_SECONDS = 20.0
MAX_AGES = ("0", "1", "200", "500", "1000", "3000", "86400000")
NO_AGES = ("-1", "x", "1.5", "", "86400001")
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket")
PRICE, MAYBE = (200, 503), (200, 304, 503)


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Ask:
    """A request, and which answers are allowed; `pair` is set if one price is requested."""

    path: str
    statuses: tuple[int, ...] = (200,)
    pair: str = ""
    method: str = "GET"
    headers: tuple[str, ...] = ()
    etag: str = ""
    most_ms: float = float("inf")

    @property
    def data(self) -> bytes:
        condition = (f"If-None-Match: {self.etag}",) if self.etag else ()
        lines = (f"{self.method} {self.path} HTTP/1.1", "Host: chaos", *self.headers, *condition, "", "")
        return "\r\n".join(lines).encode()

    def __str__(self) -> str:
        return self.data.decode().strip().replace("\r\n", " | ")


@dataclass(slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    sent_ms: int
    received_ms: int

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass(slots=True)
class Line:
    """A connection to one worker; `newest` is the last fetched_at_ms that it has shown for each pair.

    `is_kept`: the worker has answered on it before.
    """

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    newest: dict[str, int] = field(default_factory=dict)
    is_kept: bool = False

    @classmethod
    async def to(cls, port: int, host: str = "127.0.0.1") -> "Line":
        async with asyncio.timeout(PATIENCE_SECONDS):
            return cls(*await asyncio.open_connection(host, port, limit=1 << 22))

    async def ask(self, *asks: Ask) -> list[Answer]:
        """Send all requests in one write and read the answers; OSError if one does not come."""
        sent_ms = wall_ms()
        self.writer.write(b"".join(ask.data for ask in asks))
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                return [await self.answer(sent_ms, ask.method) for ask in asks]
        except asyncio.IncompleteReadError as error:
            raise ConnectionResetError("closed before the answer") from error

    async def answer(self, sent_ms: int, method: str = "GET") -> Answer:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        received_ms, self.is_kept = wall_ms(), True
        first, *lines = head[:-4].split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        status = int(first.split(" ")[1])
        bare = method == "HEAD" or status in (204, 304)
        body = b"" if bare else await self.reader.readexactly(int(headers["content-length"]))
        return Answer(status, headers, body, sent_ms, received_ms)

    def close(self) -> None:
        self.writer.transport.abort()


def any_ask(rng: random.Random, pairs: tuple[str, ...], etags: dict[str, str]) -> Ask:
    """One of all the requests that a client may send, a plain one most of the time."""
    pair, most_ms = rng.choice(pairs), rng.choice(MAX_AGES)
    path = f"{PRICES}/{pair}"
    asks = {
        Ask(path, PRICE, pair): 35,
        Ask(path, MAYBE, pair, etag=etags.get(pair, '"none"')): 15,
        Ask(path, PRICE, pair, headers=(f"X-Request-ID: {rng.getrandbits(64):x}",)): 10,
        Ask(path, PRICE, pair, method="HEAD"): 5,
        Ask(f"{path}?max_age_ms={most_ms}", (200, 412, 503), pair, most_ms=int(most_ms)): 8,
        Ask(f"{path}?max_age_ms={rng.choice(NO_AGES)}", (400,)): 2,
        Ask(PRICES, MAYBE): 4,
        Ask(PRICES, MAYBE, etag=etags.get("", '"none"')): 4,
        Ask("/health/readiness", PRICE): 2,
        Ask("/metrics"): 2,
        Ask(f"{path}/sources"): 2,
        Ask(path, (204,), method="OPTIONS"): 1,
        Ask(path, (405,), method="DELETE"): 1,
        Ask(path, PRICE, pair, headers=UPGRADE): 1,
        Ask(f"{PRICES}/xyz-usdt", (404,)): 1,
        **dict.fromkeys((Ask("/health/liveness"), Ask("/openapi.json"), Ask("/api/"), Ask("/nothing", (404,))), 1),
    }
    return rng.choices(list(asks), list(asks.values()))[0]
