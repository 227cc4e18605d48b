"""Who may not be asked now: bans that a source spoke, shared by all workers, and pairs that a source does not list."""

from collections import Counter

from fastprice.application.events import SourceCooling
from fastprice.application.ports import MAX_BAN_SECONDS, Ban, Clock, Events, QuoteStore
from fastprice.domain.errors import CoolDown, SourceError, StoreUnavailable, UnknownSymbol
from fastprice.domain.quote import Pair

# A pair that a source does not list may be listed one day, or the answer was a mistake of a minute.
UNLISTED_SECONDS = 600.0
# Where the source has priced the pair a mistake is likely: it is asked again soon, then twice as late each time.
DELISTED_SECONDS = 30.0

Key = tuple[str, Pair | None]


class Bans:
    """What this worker knows of bans; those of a whole source are kept in step with the store.

    The store holds wall times, because they travel; here each ban ends by the monotonic clock, so that a step of the
    wall clock neither shortens nor lengthens one that is known. That a pair is not listed stays with the worker that
    heard it: only the holder of the pair's claim asks, so a successor's one question costs less than a mistake that
    outlives a restart.
    """

    def __init__(self, store: QuoteStore, interval_seconds: float, clock: Clock, events: Events) -> None:
        self._known: dict[Key, tuple[Ban, float]] = {}
        self._store = store
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._events = events
        self._learned_at = float("-inf")
        self._refusals: Counter[tuple[str, Pair]] = Counter()

    def of(self, source: str, pair: Pair | None = None) -> Ban | None:
        """The ban that keeps us from asking a source, for every pair, or for this one, now."""
        now = self._clock.monotonic()
        for key in ((source, None), (source, pair)):
            ban, ends_at = self._known.get(key, (None, 0.0))
            if ban is not None and ends_at > now:
                return ban
        return None

    def refusal(self, source: str, pair: Pair) -> str | None:
        """Why a source must not be asked for a pair, or None."""
        ban = self.of(source, pair)
        if ban is None:
            return None
        left = self._known[ban.source, ban.pair][1] - self._clock.monotonic()
        return f"left alone for {left:.0f} s more: {ban.reason}"

    async def note(self, source: str, pair: Pair, error: SourceError, priced: bool = False) -> None:
        """A source said that it wants to be left alone, by everybody; or that it does not list a pair.

        `priced` says whether it has given a price of the pair before.
        """
        if isinstance(error, UnknownSymbol):
            seconds = self._unlisted_seconds(source, pair) if priced else UNLISTED_SECONDS
            self._take(Ban(source, pair, self._until_ms(seconds), str(error)))
        elif isinstance(error, CoolDown):
            ban = Ban(source, None, self._until_ms(error.seconds), str(error))
            if self._take(ban):
                self._events(SourceCooling(source, ban.until_ms))
                await self._tell(ban)

    def priced(self, source: str, pair: Pair) -> None:
        """A source gave a price: if it says again that it does not list the pair, that is a new mistake."""
        self._refusals.pop((source, pair), None)

    async def learn(self) -> None:
        """Take over what the store knows, and tell it what it does not know (any more); at most twice an interval."""
        now = self._clock.monotonic()
        if now - self._learned_at < self._interval_seconds / 2:
            return
        try:
            stored = {(ban.source, ban.pair): ban for ban in await self._store.get_bans() if ban.pair is None}
        except StoreUnavailable:
            return  # What we know stands; the store itself tells that it failed.
        self._learned_at = now
        for ban in stored.values():
            self._take(ban)
        for key, (ban, ends_at) in list(self._known.items()):
            if ends_at <= now:
                del self._known[key]
            elif ban.pair is None and (key not in stored or stored[key].until_ms < ban.until_ms):
                # It was emptied, or it is the one that we fell back on.
                await self._tell(ban)

    def _take(self, ban: Ban) -> bool:
        """The longest ban holds: neither a shorter one nor an answer that was under way ends it."""
        left = (ban.until_ms - self._clock.wall_ms()) / 1000
        known, _ = self._known.get((ban.source, ban.pair), (None, 0.0))
        if not 0 < left <= MAX_BAN_SECONDS or known is not None and known.until_ms >= ban.until_ms:
            return False
        self._known[ban.source, ban.pair] = ban, self._clock.monotonic() + left
        return True

    async def _tell(self, ban: Ban) -> None:
        try:
            await self._store.put_ban(ban)
        except StoreUnavailable:
            pass  # It will be told when it is back, by `learn`.

    def _unlisted_seconds(self, source: str, pair: Pair) -> float:
        refusals = self._refusals[source, pair]
        self._refusals[source, pair] += 1
        return min(DELISTED_SECONDS * 2.0**min(refusals, 9), UNLISTED_SECONDS)

    def _until_ms(self, seconds: float) -> int:
        return self._clock.wall_ms() + round(seconds * 1000)
