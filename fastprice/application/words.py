"""What one source says about each pair: its last quote and error, whether it lists the pair, whether it is trusted."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from fastprice.application.ports import NOTHING_SAID, PairReport, SourceReport
from fastprice.domain.errors import LocalFailure, SourceError, UnknownSymbol
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote

# A pair that a source has priced before and suddenly does not know is asked for again after the first pause, which
# then doubles; any other unlisted pair after the longest.
FIRST_UNLISTED_SECONDS, MAX_UNLISTED_SECONDS = 30.0, 600.0
# A distrusted source is trusted again after it agreed with the others this many times in a row.
AGREEMENTS = 2


@dataclass(slots=True)
class _Word:
    """What the source last said about one pair; `unlisted_until` is in monotonic seconds.

    `same_since_ms` is since when it has repeated the same prices, and `held_then` what was served then. `deviation`
    is how far it was from the served price at the last comparison. `doubt` is why it is distrusted, `doubted_at_ms`
    when it last disagreed, and `agreements` how often it has agreed since.
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
        # The last report, to be used again: with many pairs, most sources have said nothing new since.
        self._told = _of_pairs({})
        self._has_news = self._serves = False

    def lists(self, pair: Pair, now: float) -> bool:
        """Whether the source may be asked for a pair; False for a while after it said that it does not list it."""
        return now >= self._words[pair].unlisted_until

    def is_distrusted(self, pair: Pair) -> bool:
        """Whether the source is distrusted for a pair, so that others are asked before it."""
        word = self._words.get(pair)
        return word is not None and word.doubt is not None

    def said(self, pair: Pair) -> Quote | None:
        """The source's last quote of a pair that can be true."""
        word = self._words.get(pair)
        return word.quote if word else None

    def said_at_ms(self, pair: Pair) -> int:
        """When the source gave that last quote of a pair; 0 for never."""
        quote = self.said(pair)
        return quote.fetched_at_ms if quote else 0

    def newest_stamp_ms(self, quote: Quote, held: Quote | None) -> int:
        """The newest stamp that the source has shown for a pair, here or in the held quote, and that can be true now.

        A stamp too far ahead of our clock is left out: otherwise every correct one after it would seem to run backwards
        until that time has come.
        """
        stamps, latest_ms = [self._words[quote.pair].stamp_ms], quote.fetched_at_ms + MAX_SKEW_MS
        if held is not None and held.source == self._source:
            stamps.append(held.source_time_ms or 0)
        return max((stamp_ms for stamp_ms in stamps if stamp_ms <= latest_ms), default=0)

    def last_error(self, pair: Pair) -> str:
        """Why the source last gave no quote of a pair."""
        return self._words[pair].error or "not asked"

    def heard(self, quote: Quote, held: Quote | None) -> bool:
        """Record a quote that can be true, given while `held` was served; return whether it ends a loss of the pair."""
        word = self._words[quote.pair]
        was_lost, word.lost = word.lost, False
        word.unlisted_seconds, word.unlisted_until, word.unlisted_until_ms = 0.0, 0.0, None
        self._take(quote, held)
        return was_lost

    def told(self, quote: Quote, held: Quote | None) -> None:
        """Record a quote of the source's stream, which does not show whether the source answers polls."""
        self._words[quote.pair].streamed = quote
        self._take(quote, held)

    def newest(self, quote: Quote, wall_ms: int) -> Quote:
        """The quote of an answer, or what the source's stream has sent since, if that is newer.

        1. The answer is read. 2. The stream sends a newer price, which is served. 3. The answer is considered, and its
        time would seem to run backwards.
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
        """Record that the source agrees with the majority; return whether it is trusted again from now on."""
        word, self._has_news = self._words[pair], True
        word.deviation = deviation
        if word.doubt is None:
            return False
        # A frozen price that happens to be right again shows nothing.
        word.agreements += word.same_since_ms > word.doubted_at_ms
        if word.agreements < AGREEMENTS:
            return False
        word.doubt = None
        return True

    def disagreed(self, quote: Quote, deviation: float, accepted: Quote) -> str | None:
        """Record that the source disagrees with the majority; return why it is distrusted, None if it already was."""
        word, self._has_news = self._words[quote.pair], True
        was_doubted = word.doubt is not None
        word.deviation, word.agreements, word.doubted_at_ms = deviation, 0, quote.fetched_at_ms
        stands_ms, then = quote.fetched_at_ms - word.same_since_ms, word.held_then or quote
        # It is frozen if the others moved away from its price, and wrong if its price jumped away from theirs.
        if stands_ms > 0 and abs(quote.deviation(then)) < abs(quote.deviation(accepted)):
            word.doubt = f"frozen: still {quote.price} after {stands_ms / 1000:.0f} s, others say {accepted.price}"
        else:
            word.doubt = f"{quote.price} is {abs(deviation):.2%} off, others say {accepted.price}"
        return None if was_doubted else word.doubt

    def compared(self, pair: Pair, deviation: float) -> None:
        """Record a comparison with the served price that does not show which of the two is right."""
        self._words[pair].deviation, self._has_news = deviation, True

    def failed(self, pair: Pair, error: SourceError, held: Quote | None, now: float, wall_ms: int) -> bool:
        """Record that the source gave no believed quote of a pair; return whether it is lost for it from now on."""
        word, self._has_news = self._words[pair], True
        word.error, word.error_at_ms = str(error), wall_ms
        if isinstance(error, UnknownSymbol):
            has_priced = word.quote is not None or held is not None and held.source == self._source
            first = FIRST_UNLISTED_SECONDS if has_priced else MAX_UNLISTED_SECONDS
            word.unlisted_seconds = min(2 * word.unlisted_seconds or first, MAX_UNLISTED_SECONDS)
            word.unlisted_until = now + word.unlisted_seconds
            word.unlisted_until_ms = wall_ms + round(word.unlisted_seconds * 1000)
            word.doubt = None  # It no longer gives prices of the pair that could be wrong.
        was_lost, word.lost = word.lost, word.lost or not isinstance(error, LocalFailure)
        return word.lost and not was_lost

    def report(self, served: Mapping[Pair, Quote]) -> SourceReport:
        """A report with only what the source said about pairs; quotes that are served are left out."""
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
    """A report with only what was said about pairs, and its totals."""
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
