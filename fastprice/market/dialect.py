"""What an exchange's dialect of WebSocket is made of: its channels, how it hears a client, and how long it waits."""

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
    """What a connection listens to: one channel of one symbol. Without a pair it was acked and stays silent."""

    channel: str
    symbol: str
    pair: Pair | None


@dataclass(frozen=True)
class Channel:
    """One kind of push.

    `tells` is what of a tick it carries, and so which changes it is sent for. It is sent at most once in `every_ms`,
    and again after `repeat_ms` without change, with the key of before or, if `renewed`, with a new one. With
    `snapshot`, whoever subscribes gets the present state at once.
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
        """What the channel carries of the tick."""
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
    """A client that lets `seconds` pass is cut, with close code 1006 without a close frame.

    `since` names the moment of the connection that counts. `idle`: only a client that listens to nothing is cut.
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
    """One exchange's documented side of its WebSocket.

    `paths` are where it is; one that ends in `/*` is the start of many. `symbol` is how a pair is called, `greet` what
    a new connection is told, `hear` how a message is taken. `attempts` limits new connections, refused with the HTTP
    status `refused`; `messages` limits those of a connection, `subscribes` those that subscribe; what happens then is
    `flood`. With `counts_frames`, pings and pongs are messages too. A message has at most `message_bytes`, else the
    connection is closed with `too_long`. `ping_seconds`: the server's own pings. `heartbeat` comes when nothing else
    was sent for a second. `notice` announces a planned cut. `token(feed, url)` answers a POST to `bullet`, where a
    client must ask for a token first.
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
    """The JSON of a message; None where it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def strings(value: object) -> list[str]:
    """A list of texts as it is; anything else is an empty one."""
    return value if isinstance(value, list) and all(isinstance(one, str) for one in value) else []
