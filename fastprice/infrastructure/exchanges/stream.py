"""What an exchange's module declares about its live feed: its address, its requests, and how its frames are read.

A stream is data and pure functions. Connecting, keeping alive, pacing and all the rest are the same for every exchange,
and are implemented in connection.py and live.py.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fastprice.application.live_ports import Update
from fastprice.application.ports import Limit
from fastprice.domain.errors import SourceError
from fastprice.domain.quote import PRICES, Pair, SourceTime, check_amount
from fastprice.infrastructure.exchanges.reply import Reply
from fastprice.infrastructure.exchanges.stream_messages import Op, Request, Said, Topic
from fastprice.infrastructure.exchanges.strict_json import Path, said, text
from fastprice.infrastructure.exchanges.ticker import Ticker

# Larger than any frame of the channels in use, and read in some milliseconds; a longer frame ends the connection.
MAX_FRAME_BYTES = 256 * 1024
# No exchange has an order key with more digits.
MAX_ORDER_DIGITS = 24


def whole_number(digits: str) -> int | None:
    """An order key that is sent as a whole number; None for any other text."""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= MAX_ORDER_DIGITS else None


@dataclass(frozen=True, slots=True)
class Channel:
    """One kind of message: where a row has its part of a quote, and the integer that orders the rows of a symbol.

    A `ticker` without a price has bid and ask only, one without a bid has the price only. Without `order` the time
    stamp orders the rows, or, without a stamp, their arrival. With `repeats` a message with an order that was seen
    before says that nothing has changed; otherwise it is a duplicate. `restart` is an order that begins a new count.
    `read_order` converts the text at `order` to an integer.
    """

    ticker: Ticker
    order: Path = ()
    repeats: bool = False
    restart: int | None = None
    read_order: Callable[[str], int | None] = whole_number

    def order_of(self, row: Any) -> int | None:
        """The order of a row among those of its symbol; None where only their arrival orders them."""
        if self.order:
            return self.read_order(said(row, self.order))
        return self.ticker.read_time(said(row, self.ticker.time)) if self.ticker.time else None

    def update(self, pair: Pair, row: Any, read_at_ms: int) -> Update:
        """What a row says about a pair, checked; raises InvalidQuote where it cannot be true."""
        ticker, price, book, day = self.ticker, None, None, None
        if ticker.price:
            price = ticker.digits(text(row, ticker.price))
            check_amount("price", price, PRICES)
        if ticker.bid:
            book = ticker.book(row)
        if ticker.volume:
            day = ticker.day(row)
        time_ms = ticker.read_time(said(row, ticker.time)) if ticker.time else None
        return Update(pair, price, book, day, time_ms, read_at_ms)


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """What must be sent every `every_seconds`, whether data flows or not.

    `frame(number, wall_ms)` is the text to send; the answer is an Alive of kind `pong`.
    """

    frame: Callable[[int, int], str]
    every_seconds: float


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may do; `pairs` per connection is for isolation as much as for the exchange's limit.

    A request has at most `topics`, and requests are `pause_seconds` apart. `connects` is the budget of connections from
    one IP address.
    """

    pairs: int
    topics: int
    pause_seconds: float
    connects: Limit


@dataclass(frozen=True, slots=True)
class Patience:
    """After how many seconds without any frame, and without any data, a connection is given up; 0 for never."""

    any_frame: float
    any_data: float = 0.0


class Address(NamedTuple):
    """Where to connect, and how often the exchange wants to hear from us; 0 where it does not say."""

    url: str
    keep_alive_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Token:
    """How to ask an exchange, with a POST, where to connect: `read` gives the address, or raises SourceError.

    `path` follows the base URL of the exchange's REST API.
    """

    path: str
    read: Callable[[Reply], Address]


@dataclass(frozen=True, slots=True)
class Stream:
    """One exchange's live feed.

    `host` is its scheme and host, which `<SOURCE>_STREAM_URL` replaces unless a token names it; `path` is what follows.
    Each pair takes one topic in each of `channels`. `requests(op, topics, number, wall_ms)` makes the frames to send,
    numbered from `number` on. `read(message)` interprets a frame: parsed JSON, with numbers as the digits that were
    sent, or the text itself if it is not JSON; it never raises, and returns nothing for unknown messages.
    `source_time` is what the stamps of its rows mean. With `waits_for_welcome` nothing may be sent before an Alive
    of kind `welcome`. `closes` says what the exchange's own close codes mean. `book_as_of_trade` says that bid and
    ask are those of the last trade, so they may differ from the poll's.
    """

    host: str
    path: str
    channels: Mapping[str, Channel]
    symbol: Callable[[Pair], str]
    requests: Callable[[Op, Sequence[Topic], int, int], list[Request]]
    read: Callable[[Any], Iterable[Said]]
    limits: Limits
    patience: Patience
    source_time: SourceTime
    keep_alive: KeepAlive | None = None
    token: Token | None = None
    lifetime_seconds: float = 0.0
    waits_for_welcome: bool = False
    book_as_of_trade: bool = False
    closes: Mapping[int, type[SourceError]] = field(default_factory=dict)
