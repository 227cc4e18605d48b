"""The live feed of one exchange: as many connections as its pairs need, and the newest data that they deliver.

The reader keeps the newest row of each symbol and channel; a row is interpreted when it is taken. So a burst costs no
more than its last rows.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from fastprice.application.budget import Budget
from fastprice.application.live_events import StreamBack, StreamLost, StreamReconnected
from fastprice.application.live_ports import StreamReport, Update
from fastprice.application.ports import Clock, Events
from fastprice.domain.errors import CoolDown, InvalidQuote, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, SourceTime
from fastprice.infrastructure.exchanges.body import SMALL
from fastprice.infrastructure.exchanges.connection import Connection
from fastprice.infrastructure.exchanges.delays import Delays
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.orders import Orders
from fastprice.infrastructure.exchanges.pulse import Pulse
from fastprice.infrastructure.exchanges.shard import Shard
from fastprice.infrastructure.exchanges.spec import Exchange
from fastprice.infrastructure.exchanges.stream import Address, Stream
from fastprice.infrastructure.exchanges.stream_messages import Row, Topic
from fastprice.infrastructure.exchanges.stream_tally import StreamTally
from fastprice.infrastructure.exchanges.url_secrets import keep_secrets, secrets_of
from fastprice.infrastructure.exchanges.watch import Watch
from fastprice.infrastructure.exchanges.websocket import HANDSHAKE_SECONDS, Ended

# The share by which the lifetimes of connections differ, so that not all of them end at the same time.
LIFE_JITTER = 0.04
# The least time between two renewals of subscriptions, since Bitget allows 240 requests an hour, and this takes two or
# more; and the pause before a connection is tried again if none of its pairs is listed.
RENEW_SECONDS, UNLISTED_SECONDS = 40.0, 600.0


class LiveStream:
    """A PriceStream; `host` is the scheme and host of its address, `base_url` that of the REST API, for tokens."""

    def __init__(
        self, exchange: Exchange, stream: Stream, host: str, base_url: str, session: Session, clock: Clock,
        events: Events, random: Callable[[], float],
    ) -> None:  # fmt: skip
        self.name, self.source_time, self.book_as_of_trade = exchange.name, stream.source_time, stream.book_as_of_trade
        self._stream = stream
        self._url = host.rstrip("/") + stream.path
        self._base_url = base_url.rstrip("/")
        self._secrets = (secrets_of(host) | secrets_of(base_url)) - {self.name}
        self._session, self._clock, self._events, self._random = session, clock, events, random
        self._budget = Budget(stream.limits.connects, clock)
        self._pulse = Pulse(clock)
        self._pairs: dict[str, Pair] = {}
        self._shards, self._tasks = list[Shard](), list[asyncio.Task[None]]()
        self._rows, self._orders = dict[Topic, tuple[Row, int]](), Orders()
        self._report, self._is_lost = StreamReport(self.name), False
        self._renewed_at = clock.monotonic() - RENEW_SECONDS
        self._tally, self._delays = StreamTally(self.name, clock, events), Delays()

    def open(self, pairs: Sequence[Pair], news: Callable[[], None], refused: Callable[[SourceError], None]) -> None:
        """See PriceStream."""
        self._news, self._refused = news, refused
        self._pairs = {self._stream.symbol(pair): pair for pair in pairs}
        self._rows, self._orders, self._is_lost = {}, Orders(), False
        self._move("connecting")
        self._pulse.start()
        symbols = list(self._pairs)
        # Dealt out like cards, because the pairs that are named first are usually traded most.
        for at in range(count := -(-len(pairs) // self._stream.limits.pairs)):
            begin = partial(self._begin, self._topics(symbols[at::count]))
            self._shards.append(shard := Shard(begin, self._lost, self._clock, self._random))
            self._tasks.append(asyncio.create_task(shard.run(), name=f"stream of {self.name}"))

    async def caught_up(self) -> None:
        """See PriceStream."""
        while any(connection.is_behind for connection in self._connections()):
            await asyncio.sleep(0)

    def take(self, most: int) -> Iterator[Update]:
        """See PriceStream; an invalid row is left out."""
        for topic in list(islice(self._rows, most)):
            row, read_at_ms = self._rows.pop(topic)
            try:
                update = self._stream.channels[topic.channel].update(self._pairs[topic.symbol], row.data, read_at_ms)
            except InvalidQuote:
                self._tally.counts["invalid"] += 1
                continue
            if update.time_ms is not None and self.source_time is SourceTime.PRICE:
                self._tally.lagged(read_at_ms - update.time_ms)
            if self.source_time is SourceTime.PRICE or self.book_as_of_trade:  # The stamp is that of the whole row.
                update = self._delays.judged(topic.channel, update, self._clock.wall_ms())
            yield update
        self._tally.tell(connection.counts for connection in self._connections())

    def tells(self, pair: Pair) -> bool:
        """See PriceStream."""
        topic = self._topics([self._stream.symbol(pair)])
        return any(each.is_settled and each.carries(topic) for each in self._connections())

    def renew(self, pairs: Sequence[Pair]) -> None:
        """See PriceStream."""
        if self._clock.monotonic() - self._renewed_at < RENEW_SECONDS:
            return  # Pairs that stay silent will be found again.
        self._renewed_at = self._clock.monotonic()
        topics = self._topics(map(self._stream.symbol, pairs))
        self._orders.forget(topics)
        for connection in self._connections():
            connection.renew(topics)

    def reconnect(self, pairs: Sequence[Pair]) -> None:
        """See PriceStream."""
        topics = self._topics(map(self._stream.symbol, pairs))
        for connection in self._connections():
            if connection.carries(topics):
                connection.leave()

    def report(self, now_ms: int) -> StreamReport:
        """See PriceStream."""
        frames = [at for connection in self._connections() if (at := connection.frame_at_ms)]
        newest = max([self._report.frame_at_ms or 0, *frames]) or None
        return replace(self._report, frame_at_ms=newest)

    async def close(self) -> None:
        """See PriceStream."""
        tasks, self._tasks, self._shards = self._tasks, [], []
        self._move("off")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self._tasks:  # It may have been opened again meanwhile.
            await self._pulse.stop()

    def _connections(self) -> list[Connection]:
        return [connection for shard in self._shards for connection in shard.connections]

    def _topics(self, symbols: Iterable[str]) -> list[Topic]:
        return [Topic(channel, symbol) for symbol in symbols for channel in self._stream.channels]

    async def _begin(self, topics: Sequence[Topic]) -> Connection:
        """A started connection, within the budget."""
        await self._budget.spend()
        if not any(connection.is_live and connection.carries(topics) for connection in self._connections()):
            self._orders.forget(topics)
            self._delays = Delays()
        life = 1.0 - LIFE_JITTER * self._random()
        connection = Connection(self._stream, topics, self._row, self._session, self._pulse, self._clock, life)
        connection.start(self._address)
        return connection

    async def _address(self) -> Address:
        if self._stream.token is None:
            return Address(self._url)
        async with Watch(self._clock) as watch:
            url = self._base_url + self._stream.token.path
            return self._stream.token.read(await self._session.get(url, HANDSHAKE_SECONDS, SMALL, watch, "POST"))

    def _row(self, row: Row, read_at_ms: int) -> None:
        """Keep a row, if it is newer than the last one of its symbol and channel."""
        topic, channel = Topic(row.channel, row.symbol), self._stream.channels.get(row.channel)
        if channel is None or row.symbol not in self._pairs:
            self._tally.counts["ignored"] += 1
            return
        if not self._orders.is_newer(topic, channel, row.data):
            self._tally.counts["late"] += 1
            return
        self._tally.counts["data"] += 1
        if self._report.state != "live":
            self._live()
        self._rows.pop(topic, None)  # So that the rows are in the order of reading.
        self._rows[topic] = row, read_at_ms
        self._news()

    def _live(self) -> None:
        self._move("live")
        if self._is_lost:
            self._events(StreamBack(self.name))
            self._is_lost = False

    def _lost(self, end: Ended) -> float:
        """Handle the end of a connection; the result is the least pause before the next one."""
        keep_secrets(end.error, self._secrets)
        if isinstance(end.error, UnknownSymbol):
            return UNLISTED_SECONDS  # The exchange works, but lists none of these pairs.
        self._events(StreamReconnected(self.name, end.reason))
        if not self._is_lost and end.reason not in ("asked", "planned"):
            self._is_lost = True
            self._events(StreamLost(self.name, str(end)))
        if not any(connection.is_live for connection in self._connections()):
            self._move("connecting")
        if isinstance(end.error, CoolDown):
            self._refused(end.error)
            return end.error.seconds
        return 0.0

    def _move(self, state: str) -> None:
        if state != self._report.state:
            self._report = replace(self.report(0), state=state, since_ms=self._clock.wall_ms())
