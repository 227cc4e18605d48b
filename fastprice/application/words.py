"""What one source says of each pair: its last quote, its last error, whether it lists the pair, and is trusted."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from fastprice.application.ports import NOTHING_SAID, PairReport, SourceReport
from fastprice.domain.errors import LocalFailure, SourceError, UnknownSymbol
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote

# A pair that a source has priced before and suddenly does not know is asked for again after the first pause, which
# then doubles; any other unlisted pair after the longest.
FIRST_UNLISTED_SECONDS, MAX_UNLISTED_SECONDS = 30.0, 600.0
# A distrusted source is trusted again after it agreed with the others so many times in a row.
AGREEMENTS = 2


@dataclass(slots=True)
class _Word:
    """What the source last said of one pair; monotonic seconds until which it is not asked for it.

    `same_since_ms` is when it first said what it has said ever since, and `held_then` what was served then. `deviation`
    is how far it was from the price that was served when it was last compared. `doubt` is why it is distrusted,
    `doubted_at_ms` when it last disagreed, and `agreements` how often it has agreed since.
    """

    quote: Quote | None = None
    same_since_ms: int = 0
    held_then: Quote | None = None
    deviation: float | None = None
    doubt: str | None = None
    doubted_at_ms: int = 0
    agreements: int = 0
    stamp_ms: int = 0
    streamed: Quote | None = None
    error: str | None = None
    error_at_ms: int | None = None
    lost: bool = False
    unlisted_until: float = 0.0
    unlisted_until_ms: int | None = None
    unlisted_seconds: float = 0.0


class Words:
    """What one source said last, by pair."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._words: defaultdict[Pair, _Word] = defaultdict(_Word)
        # What was reported last: with many pairs most of the sources have said nothing new since.
        self._told = _of_pairs({})
        self._has_news = self._serves = False

    def lists(self, pair: Pair, now: float) -> bool:
        """Whether it may be asked for a pair; False for a while after it said that it does not list the pair."""
        return now >= self._words[pair].unlisted_until

    def is_distrusted(self, pair: Pair) -> bool:
        """Whether it is distrusted for a pair: others are asked before it."""
        word = self._words.get(pair)
        return word is not None and word.doubt is not None

    def said(self, pair: Pair) -> Quote | None:
        """What it last said of a pair that can be true."""
        word = self._words.get(pair)
        return word.quote if word else None

    def said_at_ms(self, pair: Pair) -> int:
        """When it last said something of a pair; 0 for never."""
        quote = self.said(pair)
        return quote.fetched_at_ms if quote else 0

    def newest_stamp_ms(self, quote: Quote, held: Quote | None) -> int:
        """The newest stamp that it has shown for a pair, here or in the held quote, and that can be true now.

        One that lies ahead of our clock by more than clocks differ is left out: were it remembered, every honest one
        after it would seem to run backwards until the time that it tells has come.
        """
        stamps, latest_ms = [self._words[quote.pair].stamp_ms], quote.fetched_at_ms + MAX_SKEW_MS
        if held is not None and held.source == self._source:
            stamps.append(held.source_time_ms or 0)
        return max((stamp_ms for stamp_ms in stamps if stamp_ms <= latest_ms), default=0)

    def last_error(self, pair: Pair) -> str:
        """Why it last gave no quote of a pair."""
        return self._words[pair].error or "not asked"

    def heard(self, quote: Quote, held: Quote | None) -> bool:
        """It gave a quote that can be true while `held` was served; whether it had been lost for this pair."""
        word = self._words[quote.pair]
        was_lost, word.lost = word.lost, False
        word.unlisted_seconds, word.unlisted_until, word.unlisted_until_ms = 0.0, 0.0, None
        self._take(quote, held)
        return was_lost

    def told(self, quote: Quote, held: Quote | None) -> None:
        """Its stream told this; whether it answers when it is asked is not shown by it."""
        self._words[quote.pair].streamed = quote
        self._take(quote, held)

    def newest(self, quote: Quote, wall_ms: int) -> Quote:
        """What it says of a pair now that an answer gave this quote: that, or what its stream has told since.

        1. The answer is read. 2. The stream tells a newer price, which is served. 3. The answer comes to be considered,
        and would seem to run backwards.
        """
        word = self._words.get(quote.pair)
        streamed = word.streamed if word else None
        if streamed and quote.fetched_at_ms < streamed.fetched_at_ms and not streamed.is_from_future(wall_ms):
            return streamed
        return quote

    def _take(self, quote: Quote, held: Quote | None) -> None:
        word = self._words[quote.pair]
        if word.quote is None or _digits(quote) != _digits(word.quote):
            word.same_since_ms, word.held_then = quote.fetched_at_ms, held
        word.quote, self._has_news = quote, True
        if quote.source_time_ms is not None and quote.source_time_ms <= quote.fetched_at_ms + MAX_SKEW_MS:
            word.stamp_ms = quote.source_time_ms

    def agreed(self, pair: Pair, deviation: float) -> bool:
        """What it last said of a pair is what the most say; whether it is trusted again only now."""
        word, self._has_news = self._words[pair], True
        word.deviation = deviation
        if word.doubt is None:
            return False
        # A price that stands still and happens to be right again shows nothing.
        word.agreements += word.same_since_ms > word.doubted_at_ms
        if word.agreements < AGREEMENTS:
            return False
        word.doubt = None
        return True

    def disagreed(self, quote: Quote, deviation: float, accepted: Quote) -> str | None:
        """What it said is not what the most say; why it is distrusted, None where it was so before."""
        word, self._has_news = self._words[quote.pair], True
        was_doubted = word.doubt is not None
        word.deviation, word.agreements, word.doubted_at_ms = deviation, 0, quote.fetched_at_ms
        stands_ms, then = quote.fetched_at_ms - word.same_since_ms, word.held_then or quote
        # Others have moved away from it, where it has not itself stepped away from them.
        if stands_ms > 0 and abs(quote.deviation(then)) < abs(quote.deviation(accepted)):
            word.doubt = f"frozen: still {quote.price} after {stands_ms / 1000:.0f} s, others say {accepted.price}"
        else:
            word.doubt = f"{quote.price} is {abs(deviation):.2%} off, others say {accepted.price}"
        return None if was_doubted else word.doubt

    def compared(self, pair: Pair, deviation: float) -> None:
        """What it last said was held against the price that is served, and nobody knows who is right."""
        self._words[pair].deviation, self._has_news = deviation, True

    def failed(self, pair: Pair, error: SourceError, held: Quote | None, now: float, wall_ms: int) -> bool:
        """It gave no quote of a pair, or one that is not believed; whether it is lost for this pair only now."""
        word, self._has_news = self._words[pair], True
        word.error, word.error_at_ms = str(error), wall_ms
        if isinstance(error, UnknownSymbol):
            has_priced = word.quote is not None or held is not None and held.source == self._source
            first = FIRST_UNLISTED_SECONDS if has_priced else MAX_UNLISTED_SECONDS
            word.unlisted_seconds = min(2 * word.unlisted_seconds or first, MAX_UNLISTED_SECONDS)
            word.unlisted_until = now + word.unlisted_seconds
            word.unlisted_until_ms = wall_ms + round(word.unlisted_seconds * 1000)
            word.doubt = None  # It says nothing of the pair any more that could be wrong.
        was_lost, word.lost = word.lost, word.lost or not isinstance(error, LocalFailure)
        return word.lost and not was_lost

    def report(self, served: Mapping[Pair, Quote]) -> SourceReport:
        """What it said of all pairs, without how it stands otherwise; quotes that are served are left out."""
        serves = any(quote.source == self._source for quote in served.values())
        if self._has_news or serves or self._serves:
            self._told = _of_pairs({pair: _report(word, served.get(pair)) for pair, word in self._words.items()})
            self._has_news, self._serves = False, serves
        return self._told


def _digits(quote: Quote) -> tuple[str | None, ...]:
    return quote.price, quote.bid, quote.ask


def _report(word: _Word, served: Quote | None) -> PairReport:
    quote = None if word.quote is served else word.quote
    return PairReport(quote, word.error, word.error_at_ms, word.unlisted_until_ms, word.deviation, word.doubt)


def _of_pairs(said: Mapping[Pair, PairReport]) -> SourceReport:
    """What a report says of all pairs together."""
    pairs = {pair: each for pair, each in said.items() if each != NOTHING_SAID}
    deviations = [each.deviation for each in pairs.values() if each.deviation is not None]
    unlisted = {
        pair: (each.unlisted_until_ms, each.error or "")
        for pair, each in pairs.items()
        if each.unlisted_until_ms is not None
    }
    distrusted = sum(each.distrusted is not None for each in pairs.values())
    largest = max(deviations, key=abs, default=None)
    return SourceReport("", "", deviation=largest, distrusted=distrusted, unlisted=unlisted, pairs=pairs)
