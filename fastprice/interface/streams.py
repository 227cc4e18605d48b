"""Which subscribers have which pairs, when each of them is due, and pushes cut into slices.

1. A newer price, or another state of freshness, gets a number: its version. 2. Every channel with that pair is pushed
to, at once or when its interval is over. 3. A push renders what is new since the channel's last one, and gives the same
bytes to all its subscribers, a few at a time. 4. A subscriber at another version, because it has just joined or has not
taken what it was sent before, gets what is new since its own version: always the newest price, and no price twice.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence

from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Clock
from fastprice.domain.quote import Freshness, Pair
from fastprice.interface.channel import Channel, Choice, Counts, Subscriber
from fastprice.interface.listing import PAIRS_PARAMETER, named
from fastprice.interface.middleware import PRICES, STREAMS
from fastprice.interface.parameters import UnknownPair, milliseconds, parameters
from fastprice.interface.price_snapshot import PricePlace, PriceSnapshot
from fastprice.interface.slices import Slices
from fastprice.interface.sse import COMMENT, Feed, Message, welcome

INTERVAL_PARAMETER = "min_interval_ms"
# How much is done per turn of the event loop: about 0.8 ms of writes, or of checking channels.
WRITES_PER_TURN, CHANNELS_PER_TURN = 128, 1_000
# How often to check for stale or expired prices and silent channels, and when a channel counts as silent.
LOOK_SECONDS, SILENCE_SECONDS = 0.25, 15.0


class Streams:
    """All subscribers of one worker, at most `most`; a pair is pushed at most every `interval` seconds."""

    def __init__(self, latest: LatestPrice[PriceSnapshot], clock: Clock, interval: float, most: int) -> None:
        self.interval, self.by_slug, self.clock = interval, latest.by_slug, clock
        self.counts = Counts()
        self.version = 0
        self._most = most
        self._feeds: dict[Pair, Feed] = {place.pair: Feed(place) for place in latest.by_slug.values()}
        self._channels: dict[Choice, Channel] = {}
        self._by_feed: dict[Feed, set[Channel]] = {feed: set() for feed in self._feeds.values()}
        self._subscribers: set[Subscriber] = set()
        self._dirty: dict[Feed, float] = {}
        self._slices = Slices()
        self._is_looking = False
        self._is_leaving = False
        latest.observers.append(self.changed)

    @property
    def subscribers(self) -> int:
        return len(self._subscribers)

    @property
    def is_full(self) -> bool:
        """Whether no more subscribers are taken."""
        return len(self._subscribers) >= self._most

    def choose(self, path: str, query: bytes) -> Choice:
        """What a request for a stream asks for. Raises BadParameter, and UnknownPair."""
        of_one = path != STREAMS
        if of_one:
            slugs: Sequence[str] = [path.removeprefix(f"{PRICES}/").removesuffix("/stream").lower()]
            if slugs[0] not in self.by_slug:
                raise UnknownPair(slugs[0])
            given = parameters(query, INTERVAL_PARAMETER)
        else:
            given = parameters(query, PAIRS_PARAMETER, INTERVAL_PARAMETER)
            slugs = named(given.get(PAIRS_PARAMETER), self.by_slug)
        least_ms = milliseconds(INTERVAL_PARAMETER, given.get(INTERVAL_PARAMETER, "0"))
        return Choice(tuple(slugs), of_one, max(self.interval, least_ms / 1000))

    def join(self, subscriber: Subscriber, choice: Choice, known: bytes | None) -> Message:
        """Add a subscriber; returns what to send it first. `known` is its Last-Event-ID."""
        now, channel = self.clock.monotonic(), self._channels.get(choice)
        if channel is None:
            feeds = tuple(self._feeds[self.by_slug[slug].pair] for slug in choice.slugs)
            channel = self._channels[choice] = Channel(feeds, choice, self.version, now)
            for feed in feeds:
                if not self._by_feed[feed] and feed.place.snapshot:
                    feed.state = feed.place.snapshot.freshness(now)
                self._by_feed[feed].add(channel)
        channel.add(subscriber)
        self._subscribers.add(subscriber)
        subscriber.channel, subscriber.version = channel, self.version
        if not self._is_looking:
            self._is_looking = True
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
        if self._is_leaving:  # This client waited in the queue. If it were refused, EventSource would give up for good.
            asyncio.get_running_loop().call_soon(subscriber.leave)
        first = welcome(channel.feeds, now, choice.of_one, known)
        self.counts.events += first.events
        return first

    def part(self, subscriber: Subscriber) -> None:
        """Remove a subscriber; an unknown one is ignored."""
        if subscriber not in self._subscribers:
            return
        channel = subscriber.channel
        self._subscribers.remove(subscriber)
        if channel.remove(subscriber):
            del self._channels[channel.choice]
            for feed in channel.feeds:
                self._by_feed[feed].remove(channel)

    def drain_counts(self) -> Counts:
        """What was counted since the last call."""
        counts, self.counts = self.counts, Counts()
        return counts

    def drain(self, seconds: float) -> None:
        """End all subscriptions, spread over `seconds`: the clients must not come to other workers all at once."""
        loop, self._is_leaving = asyncio.get_running_loop(), True
        for subscriber in self._subscribers:
            loop.call_later(random.random() * seconds, subscriber.leave)

    def changed(self, place: PricePlace) -> None:
        """Record that there is a newer price of a pair."""
        feed = self._feeds[place.pair]
        if self._by_feed[feed]:
            self.version += 1
            feed.price_at = self.version
            self._see(feed, self.clock.monotonic())
            self._mark(feed)

    def _see(self, feed: Feed, now: float) -> None:
        """Record a change of the state of freshness."""
        state = feed.place.snapshot.freshness(now) if feed.place.snapshot else None
        if state is not feed.state:
            # A first price that is fresh is not a change of state.
            if feed.state is not None or state is not Freshness.FRESH:
                self.version += 1
                feed.state_at = self.version
                self._mark(feed)
            feed.state = state

    def _mark(self, feed: Feed) -> None:
        if not self._dirty:
            self._slices.begin(self._wake())
        self._dirty.setdefault(feed, self.clock.monotonic())

    def _wake(self) -> Iterator[None]:
        """Schedule a push to every channel of the pairs that have changed."""
        dirty, self._dirty = self._dirty, {}
        looked = 0
        for feed, changed_at in dirty.items():
            for channel in tuple(self._by_feed[feed]):
                self._schedule(channel, changed_at)
                looked += 1
                if looked % CHANNELS_PER_TURN == 0:
                    yield

    def _schedule(self, channel: Channel, changed_at: float) -> None:
        if channel.changed_at is None:
            channel.changed_at = changed_at
        if not channel.is_due:
            channel.is_due = True
            wait = channel.pushed_at + channel.choice.interval - self.clock.monotonic()
            asyncio.get_running_loop().call_later(max(0.0, wait), self._slices.begin, self._push(channel))

    def _push(self, channel: Channel) -> Iterator[None]:
        """Push what is new, and then schedule a push of what has come meanwhile."""
        may_be_pushed_at = channel.pushed_at + channel.choice.interval
        channel.pushed_at = now = self.clock.monotonic()
        since = max(channel.changed_at or now, may_be_pushed_at)
        before, channel.changed_at, channel.sent = channel.sent, None, self.version
        try:
            common = channel.news(before, now)
            if common.body:
                channel.heard_at = now
                yield from self._give(channel, common, before, channel.sent)
                self.counts.seconds.append(self.clock.monotonic() - since)
        finally:
            channel.is_due = False
        if channel.changed_at is not None:
            self._schedule(channel, channel.changed_at)

    def _give(self, channel: Channel, common: Message, before: int, after: int) -> Iterator[None]:
        for kind, subscribers in tuple(channel.subscribers.items()):
            everybody = tuple(subscribers)
            for first in range(0, len(everybody), WRITES_PER_TURN):
                if first:
                    yield
                self.counts.events += kind.push(everybody[first : first + WRITES_PER_TURN], common, before, after)

    def _look(self) -> None:
        """Find prices that have become stale or expired, and channels that were silent for too long."""
        now = self.clock.monotonic()
        for feed, channels in self._by_feed.items():
            if channels:
                self._see(feed, now)
        for channel in self._channels.values():
            if not channel.is_due and now - channel.heard_at > SILENCE_SECONDS:
                channel.heard_at = now
                self._slices.begin(self._give(channel, COMMENT, channel.sent, channel.sent))
        self._is_looking = bool(self._subscribers)
        if self._is_looking:
            asyncio.get_running_loop().call_later(LOOK_SECONDS, self._look)
