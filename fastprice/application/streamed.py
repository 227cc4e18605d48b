"""A source that is polled and also has a live stream: one PriceSource that returns the newest of both."""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from fastprice.application.live_ports import PriceStream, StreamReport, Update
from fastprice.application.merged import Merged
from fastprice.application.ports import Answers, Call, Clock, PriceSource
from fastprice.application.slices import SLICE, in_slices
from fastprice.application.stamps import Stamps
from fastprice.domain.errors import InvalidQuote, SourceError
from fastprice.domain.quote import Pair, Quote, SourceTime

logger = logging.getLogger(__name__)

# What is done about a pair on which the stream is silent, by how often in a row a poll found it silent: that is every
# three seconds, so after a while only once in 90 seconds. A connection carries many pairs, so it is changed only once.
RENEW_AT, RECONNECT_AT, EVERY = {1, 4, 8, 16}, 2, 32
# From this many silences on a pair counts as lost; if more than this share of pairs is, the stream is given up.
LOST_AT, MOST_LOST = 3, 0.5


class Streamed:
    """A PriceSource; while its stream is open, its answers contain what the stream said if that is newer.

    `lag_ms` is how old a message may be by its own stamp when it is read, `trade_lag_ms` if the stamp is that of the
    last trade. `wrong` says why the stream is not believed, until it is opened again.
    """

    def __init__(self, source: PriceSource, stream: PriceStream, clock: Clock, lag_ms: int, trade_lag_ms: int) -> None:
        self.name, self.source_time, self.limit = source.name, source.source_time, source.limit
        self.calls = source.calls
        self.wrong: str | None = None
        self._source = source
        self._stream = stream
        self._clock = clock
        lags_ms = {SourceTime.PRICE: lag_ms, SourceTime.TRADE: trade_lag_ms}
        self._lag_ms, poll_lag_ms = lags_ms.get(stream.source_time), lags_ms.get(source.source_time)
        # Kept while the stream is closed: the next polls are still behind what it has sent.
        self._stamps: defaultdict[Pair, Stamps] = defaultdict(partial(Stamps, poll_lag_ms))
        self._pairs: dict[Pair, Merged] = {}
        self._changed: dict[Pair, Merged] = {}

    @property
    def is_open(self) -> bool:
        return bool(self._pairs)

    async def fetch(self, call: Call) -> Answers:
        asked_ms = self._clock.wall_ms()
        answers = await self._source.fetch(call)
        if not self._stamps:
            return answers
        # Stream messages that were read before the answer must not count as newer than it.
        await self.listen()
        said, silent = dict[Pair, Quote | SourceError](), dict[Pair, int]()
        async for pair, answer in in_slices(answers.items()):
            said[pair] = self._merged(answer, asked_ms, silent) if isinstance(answer, Quote) else answer
        self._act(silent)
        return said

    def open(self, pairs: Sequence[Pair], news: Callable[[], None], refused: Callable[[SourceError], None]) -> None:
        """Listen to the stream of these pairs from now on; see PriceStream."""
        self.wrong = None
        same = self._stream.source_time is self.source_time in (SourceTime.PRICE, SourceTime.TRADE)
        with_book = not self._stream.book_as_of_trade
        self._pairs = {pair: Merged(with_book, self._stamps[pair], same) for pair in pairs}
        self._stream.open(pairs, news, refused)

    async def close(self) -> None:
        """Stop listening, and forget what the stream said."""
        self._pairs, self._changed = {}, {}
        await self._stream.close()

    def report(self, now_ms: int) -> StreamReport:
        return self._stream.report(now_ms)

    def take(self) -> list[Quote]:
        """The source's current quotes of the pairs that its stream has said something about since the last call."""
        changed, self._changed = self._changed, {}
        return [quote for merged in changed.values() if (quote := merged.take())]

    async def listen(self) -> None:
        """Take over the messages that were read, a few at a time: a burst must not keep requests waiting."""
        await self._stream.caught_up()
        while self.hear(SLICE):
            await asyncio.sleep(0)

    def hear(self, most: int) -> bool:
        """Take over at most `most` of the messages that were read; return whether there were that many."""
        count = 0
        try:
            for update in self._stream.take(most):
                count += 1
                self._hear(update)
        except Exception as error:  # The stream is a hint: it must not make the poll fail.
            logger.exception("a defect in how the stream of %s is read", self.name)
            self.wrong = f"it cannot be read ({type(error).__name__}), see the log"
        return count == most

    def _hear(self, update: Update) -> None:
        merged = self._pairs.get(update.pair)
        if merged is None or self._is_late(update):
            return
        with contextlib.suppress(InvalidQuote):
            if merged.hear(update):
                self._changed[update.pair] = merged

    def _is_late(self, update: Update) -> bool:
        lag_ms = update.read_at_ms - (update.time_ms or update.read_at_ms)
        return self._lag_ms is not None and lag_ms > self._lag_ms

    def _merged(self, quote: Quote, asked_ms: int, silent: dict[Pair, int]) -> Quote:
        if (merged := self._pairs.get(quote.pair)) is None:
            return self._stamps[quote.pair].polled(quote) or quote
        if not self._stream.tells(quote.pair):
            merged.pardon()
        said, found = merged.poll(quote, asked_ms)
        if found.silences:
            silent[quote.pair] = found.silences
        if found.is_wrong:
            self.wrong = f"it says other prices of {quote.pair.symbol} than the polls, which say {quote.price}"
        return said

    def _act(self, silent: Mapping[Pair, int]) -> None:
        """Renew the pairs on which a poll has just found the stream silent, or change their connection."""
        if renew := [pair for pair, times in silent.items() if times in RENEW_AT or times % EVERY == 0]:
            self._stream.renew(renew)
        if reconnect := [pair for pair, times in silent.items() if times == RECONNECT_AT]:
            self._stream.reconnect(reconnect)
        lost = sum(merged.silences >= LOST_AT for merged in self._pairs.values())
        if lost > MOST_LOST * len(self._pairs):
            self.wrong = f"it does not tell what polls see of {lost} pairs, although it was subscribed to anew"
