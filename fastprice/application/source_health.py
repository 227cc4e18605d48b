"""How one source is doing: whether it may be asked now, and what every outcome of asking it changes."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fastprice.application.ports import (
    MAX_BAN_SECONDS, NOTHING_SAID, Ban, Breaker, Call, PairReport, PriceSource, SourceReport
)
from fastprice.domain.errors import CoolDown, LocalFailure, SourceError, SourceTimeout, UnknownSymbol, UnlistedAmong
from fastprice.domain.quote import MAX_SKEW_MS, Pair, Quote

# A pair that a source has priced before and suddenly does not know is asked for again after the first pause, which
# then doubles; any other unlisted pair after the longest.
FIRST_UNLISTED_SECONDS, MAX_UNLISTED_SECONDS = 30.0, 600.0
# Rounds begin a few milliseconds early or late; on average the limit holds all the same.
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Patience:
    """Attempts per round, longest first pause between them, and for how long a source that stalled is asked last."""

    attempts: int
    base_seconds: float
    stall_seconds: float


@dataclass(slots=True)
class _Word:
    """What the source last said of one pair; monotonic seconds until which it is not asked for it."""

    quote: Quote | None = None
    stamp_ms: int = 0
    error: str | None = None
    error_at_ms: int | None = None
    lost: bool = False
    unlisted_until: float = 0.0
    unlisted_seconds: float = 0.0


class SourceHealth:
    """One source with everything that decides whether and how it is asked.

    Times are monotonic seconds, passed in; what is told to others is in wall milliseconds.
    """

    def __init__(
        self, source: PriceSource, breaker: Breaker, patience: Patience, random: Callable[[], float], now: float
    ) -> None:
        self.source, self.name = source, source.name
        self._ban: Ban | None = None
        self._breaker = breaker
        self._patience = patience
        self._random = random
        self._units, self._units_at = source.limit.burst, now
        self._stalled_until = self._banned_until = 0.0
        self._attempts = 0
        self._error: str | None = None
        self._error_at_ms: int | None = None
        self._words: defaultdict[Pair, _Word] = defaultdict(_Word)

    def stalled(self, now: float) -> bool:
        """Whether it let a call run out of time a short while ago: such a source is asked last."""
        return now < self._stalled_until

    def refusal(self, now: float) -> str | None:
        """Why the source must not be asked now, or None."""
        if ban := self.active_ban(now):
            return f"left alone for {self._banned_until - now:.0f} s more: {ban.reason}"
        return self._breaker.refusal(now)

    def lists(self, pair: Pair, now: float) -> bool:
        """Whether it may be asked for a pair; False for a while after it said that it does not list the pair."""
        return now >= self._words[pair].unlisted_until

    def affordable(self, pairs: Sequence[Pair], now: float) -> list[Call]:
        """The calls for these pairs that its documented limit has room for now; they count as made."""
        limit = self.source.limit
        self._units = min(limit.burst, self._units + (now - self._units_at) * limit.per_second)
        self._units_at = now
        taken = []
        for call in self.source.calls(pairs):
            if call.units > self._units + JITTER * min(call.units, limit.burst):
                break
            self._units -= call.units
            taken.append(call)
        return taken

    def begin(self, now: float, again: bool) -> None:
        """It is asked now; only the first attempt of a round needs the breaker's admission."""
        self._attempts = self._attempts + 1 if again else 1
        if not again:
            self._breaker.admit(now)

    def record(self, error: SourceError | None, now: float, wall_ms: int) -> float | None:
        """The outcome of asking it: an error of everything, or None where it gave something acceptable.

        Returns the pause after which it is to be asked again in the same round, None where asking again cannot help.
        """
        if error is None:
            self._stalled_until = 0.0
            self._breaker.record(False, now)
            return None
        self._error, self._error_at_ms = str(error), wall_ms
        if isinstance(error, SourceTimeout):
            self._stalled_until = now + self._patience.stall_seconds
        if isinstance(error, CoolDown):
            self.take(Ban(self.name, wall_ms + round(error.seconds * 1000), str(error)), now, wall_ms)
        if error.retryable and self._attempts < self._patience.attempts:
            return self._random() * self._patience.base_seconds * 2.0 ** (self._attempts - 1)
        if isinstance(error, CoolDown | LocalFailure | UnlistedAmong):
            # A source that says "not now" works, and what is missing on our side is not its failure.
            self._breaker.record(None, now)
        elif not error.concerns_pair:
            self._breaker.record(True, now)
        elif self._breaker.state == "half_open":
            self._breaker.record(False, now)  # What it says of single pairs shows at least that it answers again.
        return None

    def take(self, ban: Ban, now: float, wall_ms: int) -> None:
        """Obey a ban that the source spoke, to us or to another worker; the longest one holds."""
        left = (ban.until_ms - wall_ms) / 1000
        if 0 < left <= MAX_BAN_SECONDS and now + left > self._banned_until:
            self._ban, self._banned_until = ban, now + left

    def newest_stamp_ms(self, quote: Quote, held: Quote | None) -> int:
        """The newest stamp that it has shown for a pair, here or in the held quote, and that can be true now.

        One that lies ahead of our clock by more than clocks differ is left out: were it remembered, every honest one
        after it would seem to run backwards until the time that it tells has come.
        """
        stamps, latest_ms = [self._words[quote.pair].stamp_ms], quote.fetched_at_ms + MAX_SKEW_MS
        if held is not None and held.source == self.name:
            stamps.append(held.source_time_ms or 0)
        return max((stamp_ms for stamp_ms in stamps if stamp_ms <= latest_ms), default=0)

    def last_error(self, pair: Pair) -> str:
        """Why it last gave no quote of a pair."""
        return self._words[pair].error or "not asked"

    def believed(self, quote: Quote) -> bool:
        """It gave a quote that is believed; whether it had been lost for this pair."""
        word = self._words[quote.pair]
        was_lost, word.lost = word.lost, False
        word.quote, word.unlisted_seconds, word.unlisted_until = quote, 0.0, 0.0
        if quote.source_time_ms is not None and quote.source_time_ms <= quote.fetched_at_ms + MAX_SKEW_MS:
            word.stamp_ms = quote.source_time_ms
        return was_lost

    def failed(self, pair: Pair, error: SourceError, held: Quote | None, now: float, wall_ms: int) -> bool:
        """It gave no quote of a pair, or one that is not believed; whether it is lost for this pair only now."""
        word = self._words[pair]
        word.error, word.error_at_ms = str(error), wall_ms
        if isinstance(error, UnknownSymbol):
            has_priced = word.quote is not None or held is not None and held.source == self.name
            first = FIRST_UNLISTED_SECONDS if has_priced else MAX_UNLISTED_SECONDS
            word.unlisted_seconds = min(2 * word.unlisted_seconds or first, MAX_UNLISTED_SECONDS)
            word.unlisted_until = now + word.unlisted_seconds
        was_lost, word.lost = word.lost, word.lost or not isinstance(error, LocalFailure)
        return word.lost and not was_lost

    def active_ban(self, now: float) -> Ban | None:
        return self._ban if now < self._banned_until else None

    def report(self, now: float, wall_ms: int, served: Mapping[Pair, Quote]) -> SourceReport:
        """How it stands; its last quote of a pair is left out where that is the one served, which everybody has."""
        ban = self.active_ban(now)
        pairs = {pair: _pair_report(word, now, wall_ms, served.get(pair)) for pair, word in self._words.items()}
        return SourceReport(
            source=self.name,
            breaker=self._breaker.state,
            cooldown_until_ms=ban.until_ms if ban else None,
            cooldown_reason=ban.reason if ban else None,
            error=self._error,
            error_at_ms=self._error_at_ms,
            pairs={pair: said for pair, said in pairs.items() if said != NOTHING_SAID},
        )


def _pair_report(word: _Word, now: float, wall_ms: int, served: Quote | None) -> PairReport:
    left = word.unlisted_until - now
    until_ms = wall_ms + round(left * 1000) if left > 0 else None
    return PairReport(None if word.quote is served else word.quote, word.error, word.error_at_ms, until_ms)
