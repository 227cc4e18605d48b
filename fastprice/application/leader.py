"""The beat: one worker of the fleet leads and runs a round for all pairs per interval; the others take what it stored.

A turn reads the store once and takes over what is newer. If nobody holds the claim, the turn tries to take it; the
holder of the claim leads, under a lease that ends no later than the claim does.
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
# Followers read a little less often than the leader writes: its notification comes first. Each has its own pace.
FOLLOWER_JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Pace:
    """This worker's name in claims, and how often a round begins; `random` returns numbers from 0 to 1."""

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
                with contextlib.suppress(StoreUnavailable):  # The claim expires by itself.
                    await self._store.release(self._pace.holder)

    async def turn(self) -> None:
        """Read the store, find out whether this worker leads, and begin a round if it leads and one is due."""
        asked_at, failure = self._clock.monotonic(), None
        try:
            leads = await self._look(asked_at)
        except StoreUnavailable as error:
            # Without any store there is no way to coordinate: one caller too many is better than a stale price.
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
        """Take over what is stored; return whether this worker leads."""
        holder, stored = await self._store.read()
        await self._rounds.adopt(stored, self.leads)
        # If nothing was stored for this long, the claim that we see cannot be that of a live leader.
        silence_seconds = 2 * max(self._pace.claim_seconds, self._pace.interval_seconds)
        if holder not in (None, self._pace.holder) and asked_at - self._rounds.seen_at <= silence_seconds:
            return False
        if not await self._store.claim(self._pace.holder, self._pace.claim_seconds):
            return False
        if not self.leads:
            # 1. We read round 7. 2. The leader stores round 8 and gives the claim back. 3. We take the claim, and would
            # overwrite round 8 with round 7. While we hold the claim nobody else writes, so read once more.
            _, stored = await self._store.read()
            await self._rounds.adopt(stored, self.leads)
            self._turns_to_round = self._turns_left(stored)
        return True

    def _turns_left(self, stored: Stored) -> int:
        """After how many turns the next round is due; 0 if a pair has no price that may be served."""
        since = (self._clock.wall_ms() - stored.made_at_ms) / 1000
        if not 0 <= since < self._pace.interval_seconds or not all(map(self._latest.held, self._latest.pairs)):
            return 0
        return math.ceil((self._pace.interval_seconds - since) / self._pace.turn_seconds)

    async def _lead(self) -> None:
        if self._rounds.is_under_way:
            # A source is slow: publish what the others have answered without waiting for it.
            await self._rounds.publish_new()
        elif self._turns_to_round > 0:
            self._turns_to_round -= 1
        else:
            self._turns_to_round = self._pace.turns - 1
            self._rounds.begin(self._may_ask)

    def _may_ask(self) -> bool:
        """Whether our lease still holds: a leader that was paused and resumes too late must not call any source."""
        return self._clock.monotonic() < self._lease_until

    def _watch_freshness(self) -> None:
        moved: dict[Freshness | None, list[Pair]] = {}
        since_start_ms = round((self._clock.monotonic() - self._started_at) * 1000)
        for pair in self._latest.pairs:
            # A first price that is fresh is no event; having no price at all is one after `fresh_ms`.
            now, before = self._latest.freshness(pair), self._freshness.get(pair, Freshness.FRESH)
            if now is not before and (now is not None or since_start_ms > self._latest.limits.fresh_ms):
                self._freshness[pair] = now
                moved.setdefault(now, []).append(pair)
        for freshness, pairs in moved.items():
            ages = [since_start_ms if freshness is None else self._latest.age_ms(pair) or 0 for pair in pairs]
            self._events(FreshnessMoved(tuple(pairs), freshness, max(ages)))

    def next_due(self, due: float) -> float:
        """When the next turn is due: a leader has a fixed beat, a follower its own pace; never in the past."""
        now = self._clock.monotonic()
        if self.leads:
            return max(due + self._pace.turn_seconds, now)
        return now + self._pace.turn_seconds * (1.0 + FOLLOWER_JITTER * self._pace.random())

    async def _wait(self, due: float) -> None:
        """Wait until the next turn is due or, as a follower, until the leader has stored something."""
        seconds = due - self._clock.monotonic()
        if self.leads or self._alone:
            await self._clock.sleep(seconds)
            return
        try:
            await self._store.news(seconds)
        except StoreUnavailable:
            await self._clock.sleep(due - self._clock.monotonic())
