"""The parts of an exchange's WebSocket dialect: its channels, how it reads client messages, and how long it waits."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from fastprice.domain.quote import Pair
from fastprice.market.forms import Json, encoded
from fastprice.market.frames import frame
from fastprice.market.limits import Limit
from fastprice.market.tick import Tick

if TYPE_CHECKING:
    from fastprice.market.connection import Connection
    from fastprice.market.feed import Feed

LAST, BOOK, WHOLE = ("price",), ("bid", "ask"), ("price", "bid", "ask")


class Topic(NamedTuple):
    """What a connection listens to: one channel of one symbol; without a pair it was acked, but nothing is pushed."""

    channel: str
    symbol: str
    pair: Pair | None


@dataclass(frozen=True)
class Channel:
    """One kind of push.

    `tells` names the parts of a tick that it carries; it is sent when one of them changes. It is sent at most once in
    `every_ms`, and again after `repeat_ms` without change, with the same key or, if `renewed`, with a new one. With
    `snapshot`, a new subscriber gets the current state at once.
    """

    write: Callable[["Push"], Json]
    tells: tuple[str, ...]
    every_ms: int = 0
    snapshot: bool = False
    repeat_ms: int = 0
    renewed: bool = False

    @cached_property
    def read(self) -> Callable[[Tick], object]:
        return attrgetter(*self.tells) if self.tells else lambda tick: None


@dataclass(frozen=True)
class Push:
    """One message of a channel: `key` orders it among those of its pair, `tick.time_ms` is when its price was made.

    `sent_ms` is when it is sent, which is later for a repeat. `is_first`: it is the snapshot after a subscribe.
    """

    channel: Channel
    symbol: str
    tick: Tick
    key: int
    sent_ms: int
    is_first: bool = False

    @property
    def told(self) -> object:
        """The parts of the tick that the channel carries."""
        return self.channel.read(self.tick)

    @property
    def time_us(self) -> str:
        """When the price was made, in microseconds."""
        return str(self.tick.time_ms * 1000)

    @property
    def body(self) -> bytes:
        return encoded(self.channel.write(self))

    @property
    def frame(self) -> bytes:
        return frame(self.body)


class Patience(NamedTuple):
    """A client is disconnected `seconds` after the moment `since`; close code 1006 means without a close frame.

    `since` names an attribute of the connection. `idle`: only a client that listens to nothing is disconnected.
    """

    seconds: float
    since: str
    code: int
    reason: str = ""
    idle: bool = False


def _no_greeting(connection: "Connection") -> None:
    pass


def _no_token(feed: "Feed", url: str) -> Json:
    return {}


def _cut_off(connection: "Connection") -> None:
    connection.close(1008, "Too many requests")


@dataclass(frozen=True)
class Dialect:
    """What one exchange documents about its WebSocket.

    `paths` are its paths; one that ends in `/*` is a prefix. `symbol` spells a pair, `greet` handles a new connection,
    `hear` a message. `attempts` limits new connections, which are refused with the HTTP status `refused`; `messages`
    limits the messages of a connection, `subscribes` those that subscribe; `flood` handles a message over the limit.
    With `counts_frames`, pings and pongs are messages too. A message has at most `message_bytes`, else the connection
    is closed with `too_long`. `ping_seconds` is the interval of the server's own pings. `heartbeat` is sent when
    nothing else was sent for a second. `notice` announces a planned disconnect. `token(feed, url)` answers a POST to
    `bullet`, where a client must ask for a token first.
    """

    name: str
    paths: tuple[str, ...]
    symbol: Callable[[Pair], str]
    hear: Callable[["Connection", str], None]
    channels: Mapping[str, Channel]
    greet: Callable[["Connection"], None] = _no_greeting
    patience: tuple[Patience, ...] = ()
    attempts: tuple[Limit, ...] = ()
    refused: int = 429
    messages: tuple[Limit, ...] = ()
    subscribes: tuple[Limit, ...] = ()
    flood: Callable[["Connection"], None] = _cut_off
    counts_frames: bool = False
    message_bytes: int = 1 << 20
    too_long: tuple[int, str] = (1009, "message too long")
    ping_seconds: float = 0.0
    heartbeat: Json | None = None
    notice: Callable[["Connection"], Json] | None = None
    bullet: str = ""
    token: Callable[["Feed", str], Json] = _no_token

    def serves(self, path: str) -> bool:
        return any(path == known or (known[-1] == "*" and path.startswith(known[:-1])) for known in self.paths)


def parsed(text: str) -> Any:
    """The JSON of a message; None if the text is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def strings(value: object) -> list[str]:
    """The value if it is a list of strings, else an empty list."""
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else []
