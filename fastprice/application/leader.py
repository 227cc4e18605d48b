"""The beat: one worker of the fleet leads and runs a round for all pairs per interval; the others take what it stored.

A turn reads the store once and takes over what is newer. Where nobody holds the claim, the turn tries it; who holds
the claim leads, under a lease that ends no later than the claim does.
"""

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fastprice.application.events import CoordinationBack, CoordinationLost, FreshnessMoved, LeaderMoved
from fastprice.application.feed import Feed
from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Clock, Events, PriceStore, Stored
from fastprice.application.rounds import Rounds, survived
from fastprice.domain.errors import StoreUnavailable
from fastprice.domain.quote import Freshness, Pair

# The claim is renewed at least this often, however long the interval is.
MAX_TURN_SECONDS = 1.0
# A claim outlives one missed renewal, so that a busy moment does not change the leader.
CLAIM_TURNS = 2.0
# Followers look a little less often than the leader writes: its news comes first, and each looks at its own pace.
FOLLOWER_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """Who we are in claims, and how often a round begins; `random` gives shares of one."""

    holder: str
    interval_seconds: float
    random: Callable[[], float]

    @property
    def turns(self) -> int:
        """Turns per round."""
        return math.ceil(self.interval_seconds / MAX_TURN_SECONDS)

    @property
    def turn_seconds(self) -> float:
        return self.interval_seconds / self.turns

    @property
    def claim_seconds(self) -> float:
        return self.turn_seconds * CLAIM_TURNS


class Leader:
    """Keeps L1 fresh until it is cancelled, as leader or as follower, whatever the store and the sources do."""

    def __init__(
        self, rounds: Rounds, feed: Feed, store: PriceStore, latest: LatestPrice[Any], pace: Pace, clock: Clock,
        events: Events,
    ) -> None:  # fmt: skip
        self.leads = False
        self._rounds = rounds
        self._feed = feed
        self._store = store
        self._latest = latest
        self._pace = pace
        self._clock = clock
        self._events = events
        self._lease_until = 0.0
        self._turns_to_round = 0
        self._started_at = clock.monotonic()
        self._freshness: dict[Pair, Freshness | None] = {}
        self._alone = False

    async def run(self) -> None:
        """Take turns until cancelled; then stop the round under way and give the claim back."""
        due = self._clock.monotonic()
        try:
            while True:
                await survived(self.turn())
                due = self.next_due(due)
                await self._wait(due)
        finally:
            await self._rounds.stop()
            if self.leads:
                self._events(LeaderMoved(False))
                with contextlib.suppress(StoreUnavailable):  # The claim ends by itself.
                    await self._store.release(self._pace.holder)

    async def turn(self) -> None:
        """Look at the store, lead if it falls to us, and begin a round when it is time for one."""
        asked_at, failure = self._clock.monotonic(), None
        try:
            leads = await self._look(asked_at)
        except StoreUnavailable as error:
            # With no store at all nobody can be asked: a caller too many is better than a price too old.
            leads, failure = True, str(error)
        if self._alone and failure is None:
            self._events(CoordinationBack())
        if not self._alone and failure is not None:
            self._events(CoordinationLost(failure))
        self._alone = failure is not None
        self._lease_until = asked_at + self._pace.claim_seconds if leads else 0.0
        if leads is not self.leads:
            self.leads = leads
            self._events(LeaderMoved(leads))
        self._feed.turn(self._may_ask if leads else None)
        if leads:
            await self._lead()
        self._watch_freshness()

    async def _look(self, asked_at: float) -> bool:
        """Take over what is stored; whether we lead."""
        holder, stored = await self._store.read()
        await self._rounds.adopt(stored, self.leads)
        # Where nothing was stored for so long, the claim that we see cannot be one of a living leader.
        silence_seconds = 2 * max(self._pace.claim_seconds, self._pace.interval_seconds)
        if holder not in (None, self._pace.holder) and asked_at - self._rounds.seen_at <= silence_seconds:
            return False
        if not await self._store.claim(self._pace.holder, self._pace.claim_seconds):
            return False
        if not self.leads:
            # 1. We read round 7. 2. The leader stores round 8 and gives the claim back. 3. We claim, and would write
            # over round 8 with what we know of round 7. Under the claim nobody else writes, so look once more.
            _, stored = await self._store.read()
            await self._rounds.adopt(stored, self.leads)
            self._turns_to_round = self._turns_left(stored)
        return True

    def _turns_left(self, stored: Stored) -> int:
        """After how many turns the next round is due; none where a pair waits for its first price."""
        since = (self._clock.wall_ms() - stored.made_at_ms) / 1000
        if not 0 <= since < self._pace.interval_seconds or not all(map(self._latest.held, self._latest.pairs)):
            return 0
        return math.ceil((self._pace.interval_seconds - since) / self._pace.turn_seconds)

    async def _lead(self) -> None:
        if self._rounds.is_under_way:
            # A source is slow: what others have answered meanwhile does not wait for it.
            await self._rounds.publish_new()
        elif self._turns_to_round > 0:
            self._turns_to_round -= 1
        else:
            self._turns_to_round = self._pace.turns - 1
            self._rounds.begin(self._may_ask)

    def _may_ask(self) -> bool:
        """Whether our lease still holds: who was paused and comes back late may ask nobody."""
        return self._clock.monotonic() < self._lease_until

    def _watch_freshness(self) -> None:
        moved: dict[Freshness | None, list[Pair]] = {}
        since_start_ms = round((self._clock.monotonic() - self._started_at) * 1000)
        for pair in self._latest.pairs:
            # The first fresh price is no news; that there is none after the time in which one is fresh, is.
            now, before = self._latest.freshness(pair), self._freshness.get(pair, Freshness.FRESH)
            if now is not before and (now is not None or since_start_ms > self._latest.limits.fresh_ms):
                self._freshness[pair] = now
                moved.setdefault(now, []).append(pair)
        for freshness, pairs in moved.items():
            ages = [since_start_ms if freshness is None else self._latest.age_ms(pair) or 0 for pair in pairs]
            self._events(FreshnessMoved(tuple(pairs), freshness, max(ages)))

    def next_due(self, due: float) -> float:
        """When the next turn is: on a fixed beat for the leader, at its own pace for a follower, never in the past."""
        now = self._clock.monotonic()
        if self.leads:
            return max(due + self._pace.turn_seconds, now)
        return now + self._pace.turn_seconds * (1.0 + FOLLOWER_JITTER * self._pace.random())

    async def _wait(self, due: float) -> None:
        """Until the next turn is due, or, for a follower, until the leader has stored something."""
        seconds = due - self._clock.monotonic()
        if self.leads or self._alone:
            await self._clock.sleep(seconds)
            return
        try:
            await self._store.news(seconds)
        except StoreUnavailable:
            await self._clock.sleep(due - self._clock.monotonic())
