"""What one source says about one pair, by its polls and by its stream: plain state, with the times passed in.

The poll is the truth, the stream a hint that is usually newer:

1. A poll starts. 2. The stream sends a trade. 3. The poll's answer arrives, which was made before the trade.

So what the stream sent after a poll started stays, and the poll confirms it or not. What it sent before is replaced.
A poll also exposes a broken stream: one that has not sent what the poll sees is silent, one that keeps sending what the
poll does not see is wrong.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from fastprice.application.judgement import Judgement
from fastprice.application.live_ports import Day, Update
from fastprice.application.stamps import Stamps
from fastprice.domain.quote import MAX_SKEW_MS, Quote

# A stream that has not sent a change this long after a poll saw it does not work: some send only once a second.
SILENT_MS = 3_000
# A message that is read in the same millisecond as one that was served counts as read in the next, or it would not seem
# newer; this many may follow each other.
SAME_MS = 5
# What a time stamp in whole seconds cuts off at most.
WHOLE_MS = 1_000


class Found(NamedTuple):
    """What a poll shows about the stream: how often in a row it was found silent, and whether it is wrong."""

    silences: int = 0
    is_wrong: bool = False


class _Part:
    """One part of a quote: when the stream last sent it, and since when it has not sent what polls see; wall times."""

    __slots__ = ("missed_at_ms", "told_at_ms")

    def __init__(self) -> None:
        self.told_at_ms = self.missed_at_ms = 0

    def is_silent(self, is_other: bool, asked_ms: int, now_ms: int) -> bool:
        """Whether the stream fails to send this part; `is_other` says that the poll saw another value than we know."""
        if self.told_at_ms > self.missed_at_ms:
            self.missed_at_ms = 0
        if is_other and not self.missed_at_ms and self.told_at_ms <= asked_ms:
            self.missed_at_ms = now_ms
        return self.missed_at_ms > 0 and now_ms - self.missed_at_ms >= SILENT_MS


class Merged:
    """The state of one pair at one source; `quote` is what the source says now, None before its first price.

    `doubted` says that the last poll contradicted the stream, which is ignored until a poll confirms it.
    """

    __slots__ = (
        "doubted", "quote", "silences", "_book", "_day", "_given_ms", "_judgement", "_price", "_same_stamps", "_stamps",
        "_with_book",
    )  # fmt: skip

    def __init__(self, with_book: bool, stamps: Stamps, same_stamps: bool = False) -> None:
        self.quote: Quote | None = None
        self.doubted = False
        self.silences = 0
        # Whether the stream sends every change of bid and ask, so that its silence about one shows that it is broken.
        self._with_book = with_book
        # Whether the stamps of polls and of the stream mean the same, so that they show which of the two is older.
        self._same_stamps = same_stamps
        self._price, self._book, self._day = _Part(), _Part(), _Part()
        self._judgement: Judgement | None = None
        self._given_ms = 0
        self._stamps = stamps

    def restart(self) -> None:
        """Forget what the stream has sent, because it starts again or our clock was set back."""
        self._price, self._book, self._day = _Part(), _Part(), _Part()
        self._judgement = None
        self.doubted = False
        self.silences = 0

    def pardon(self) -> None:
        """Forget the silence of a stream that is not yet subscribed to the pair: it shows nothing."""
        self._price.missed_at_ms = self._book.missed_at_ms = self.silences = 0

    def hear(self, update: Update) -> bool:
        """Take over a message of the stream; return whether there is something to take. Raises InvalidQuote."""
        before, at_ms = self.quote, update.read_at_ms
        if before is None:
            return False  # The first poll comes within an interval, and has all parts.
        if at_ms < before.fetched_at_ms - SAME_MS:
            return False  # The event loop was blocked: nobody knows whether this came before the poll's answer.
        price, (bid, ask), day = before.price, (before.bid, before.ask), _day_of(before)
        if update.price is not None:
            price, self._price.told_at_ms = update.price, at_ms
            if self._judgement:
                self._judgement.hear(float(price))
        if update.book is not None:
            (bid, ask), self._book.told_at_ms = update.book, at_ms
        if update.day is not None:
            day, self._day.told_at_ms = update.day, at_ms
        stamp_ms = update.time_ms if (update.time_ms or 0) <= at_ms + MAX_SKEW_MS else None
        self._stamps.show(stamp_ms)
        self.quote = Quote(
            before.pair, price, bid, ask, *day, before.source, _newest(stamp_ms, before.source_time_ms),
            max(at_ms, self._given_ms + 1, before.fetched_at_ms),
        )  # fmt: skip
        return not self.doubted

    def take(self) -> Quote | None:
        """What the source says now, None while that is in doubt; what is heard after this call counts as newer."""
        if self.quote is None or self.doubted:
            return None
        self._given_ms = self.quote.fetched_at_ms
        return self.quote

    def poll(self, quote: Quote, asked_ms: int) -> tuple[Quote, Found]:
        """Merge the quote of a poll started at `asked_ms`; return what the source says now, and what the poll shows."""
        before = self.quote or quote
        if before.fetched_at_ms > quote.fetched_at_ms + MAX_SKEW_MS:
            # Our clock was set back: what was read before that seems newer than everything that follows.
            self.restart()
            before, self._given_ms = quote, 0
        # Some exchanges answer polls from a copy that is behind their stream; some stamps are in whole seconds.
        is_older = self._same_stamps and (quote.source_time_ms or 0) + WHOLE_MS < (before.source_time_ms or 0)
        found = self._found(before if is_older else quote, before, asked_ms, float(quote.price))
        sound = self._stamps.polled(quote)
        # A quote with an odd time stamp is not merged: it is judged elsewhere.
        said = sound or quote
        if sound and not self.doubted:
            # If the poll is older than the stream, everything that the stream sent is newer.
            said = self._with_newer_parts(sound, before, 0 if is_older else asked_ms)
        self.quote, self._given_ms = said, said.fetched_at_ms
        return said, found

    def _with_newer_parts(self, quote: Quote, before: Quote, asked_ms: int) -> Quote:
        """The poll's quote, except for the parts that the stream sent after the poll started."""
        has_price, has_book = self._price.told_at_ms > asked_ms, self._book.told_at_ms > asked_ms
        if not (has_price or has_book):
            return quote
        price = before.price if has_price else quote.price
        bid, ask = (before.bid, before.ask) if has_book else (quote.bid, quote.ask)
        confirms = _same((price, bid, ask), (quote.price, quote.bid, quote.ask))
        return Quote(
            quote.pair, price, bid, ask, *_day_of(before if self._day.told_at_ms > asked_ms else quote), quote.source,
            _newest(quote.source_time_ms, before.source_time_ms),
            quote.fetched_at_ms if confirms else before.fetched_at_ms,
        )  # fmt: skip

    def _found(self, quote: Quote, before: Quote, asked_ms: int, price: float) -> Found:
        now_ms = quote.fetched_at_ms
        silent = self._price.is_silent(not _same((quote.price,), (before.price,)), asked_ms, now_ms)
        if self._with_book:
            is_other = not _same((quote.bid, quote.ask), (before.bid, before.ask))
            silent = self._book.is_silent(is_other, asked_ms, now_ms) or silent
        if silent:
            self.silences += 1
            # Measured again from now, because something is done about it.
            self._price.missed_at_ms = self._price.missed_at_ms and now_ms
            self._book.missed_at_ms = self._book.missed_at_ms and now_ms
        elif not (self._price.missed_at_ms or self._book.missed_at_ms):
            self.silences = 0
        if self._judgement is None:
            self._judgement = Judgement(price, now_ms)
        self.doubted = self._judgement.doubts(price)
        return Found(self.silences if silent else 0, self._judgement.is_wrong(price, now_ms))


def _day_of(quote: Quote) -> Day:
    return Day(quote.volume_24h, quote.high_24h, quote.low_24h, quote.open_24h)


def _same(amounts: Sequence[str | None], others: Sequence[str | None]) -> bool:
    """Whether they are equal in value: polls and streams may write a number with more or fewer zeros."""
    return all(
        one == other or (one is not None and other is not None and Decimal(one) == Decimal(other))
        for one, other in zip(amounts, others, strict=True)
    )


def _newest(*stamps: int | None) -> int | None:
    return max((stamp for stamp in stamps if stamp is not None), default=None)
