"""What the application needs of live feeds, as a protocol, and what passes through it."""

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
    """What one message of a stream says of a pair; `price`, `book` and `day` are None where it says nothing of them.

    `book` is best bid and best ask, each None where nobody bids or asks. `time_ms` is the source's own stamp,
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
    """How a source's stream stands: one of STREAM_STATES, since when, and when its last frame was read; wall times.

    Where it is given up, `since_ms` is until when.
    """

    source: str
    state: str = "off"
    since_ms: int | None = None
    frame_at_ms: int | None = None


class PriceStream(Protocol):
    """A source's live feed, opened and closed as often as wanted.

    `source_time` is what the stamps of its updates mean, and `book_as_of_trade` that its bid and ask are those of the
    last trade.
    """

    name: str
    source_time: SourceTime
    book_as_of_trade: bool

    def open(self, pairs: Sequence[Pair], news: Callable[[], None], refused: Callable[[SourceError], None]) -> None:
        """Keep a feed of these pairs open until it is closed, whatever happens; both functions return at once.

        `news` is told that there is something to take, `refused` what the exchange means by refusing or cutting us.
        """

    async def caught_up(self) -> None:
        """Wait until what lies there to be read was read: its oldest would else be taken for news."""

    def take(self, most: int) -> Iterable[Update]:
        """The newest of each pair and channel since the last look, the first so many of them; to be read at once."""

    def tells(self, pair: Pair) -> bool:
        """Whether it is connected and has asked for the pair a while ago, so that its silence would mean something."""

    def renew(self, pairs: Sequence[Pair]) -> None:
        """Subscribe anew to pairs that are silent."""

    def reconnect(self, pairs: Sequence[Pair]) -> None:
        """Let other connections carry these pairs."""

    def report(self, now_ms: int) -> StreamReport:
        """How the feed stands."""

    async def close(self) -> None:
        """End it; may be called at any time."""
