"""What the application needs from live feeds, as a protocol, and the data that passes through it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from fastprice.domain.errors import SourceError
from fastprice.domain.quote import Pair, SourceTime


class Day(NamedTuple):
    """The figures of the last 24 hours, as in a Quote."""

    volume: str | None
    high: str | None
    low: str | None
    open: str | None


@dataclass(frozen=True, slots=True)
class Update:
    """What one message of a stream says about a pair; `price`, `book` and `day` are None if it does not contain them.

    `book` is the best bid and the best ask, each None if nobody bids or asks. `time_ms` is the source's own stamp,
    `read_at_ms` the wall time at which the message was read.
    """

    pair: Pair
    price: str | None
    book: tuple[str | None, str | None] | None
    day: Day | None
    time_ms: int | None
    read_at_ms: int


STREAM_STATES = ("off", "connecting", "live", "given_up")


@dataclass(frozen=True, slots=True)
class StreamReport:
    """The state of a source's stream: one of STREAM_STATES, since when, and when its last frame was read; wall times.

    If the stream is given up, `since_ms` is until when.
    """

    source: str
    state: str = "off"
    since_ms: int | None = None
    frame_at_ms: int | None = None


class PriceStream(Protocol):
    """A source's live feed, opened and closed as often as wanted.

    `source_time` is what the stamps of its updates mean, `book_as_of_trade` whether its bid and ask are those of the
    last trade.
    """

    name: str
    source_time: SourceTime
    book_as_of_trade: bool

    def open(self, pairs: Sequence[Pair], news: Callable[[], None], refused: Callable[[SourceError], None]) -> None:
        """Keep a feed of these pairs open until it is closed, whatever happens; both functions return at once.

        `news` is called when there is something to take, `refused` with the error if the exchange refuses or cuts us.
        """

    async def caught_up(self) -> None:
        """Wait until all received data was read: otherwise the oldest part of it would be taken for new."""

    def take(self, most: int) -> Iterable[Update]:
        """The newest update of each pair and channel since the last call, at most `most` of them; read them at once."""

    def tells(self, pair: Pair) -> bool:
        """Whether it is connected and asked for the pair long enough ago for its silence to mean something."""

    def renew(self, pairs: Sequence[Pair]) -> None:
        """Subscribe again to pairs that are silent."""

    def reconnect(self, pairs: Sequence[Pair]) -> None:
        """Let other connections carry these pairs."""

    def report(self, now_ms: int) -> StreamReport:
        """The state of the feed."""

    async def close(self) -> None:
        """Close the feed; may be called at any time."""
