"""Subscribers who are sent the same at the same times, and what each of them lacks."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from fastprice.interface.sse import Feed, Message, news


class Choice(NamedTuple):
    """What a subscriber wishes: of which pairs, if it is a stream of one pair, and at most every how many seconds."""

    slugs: tuple[str, ...]
    of_one: bool
    interval: float


class Subscriber(Protocol):
    """One who is sent events; `version` is what it has been sent up to. Its channel is given to it when it joins."""

    channel: "Channel"
    version: int

    @classmethod
    def push(cls, several: Sequence[Any], common: Message, before: int, after: int) -> int:
        """Send `common` to those that have the version `before`, and then have `after`; the others what they lack.

        Gives how many events were sent at once. It takes several, all of this class, because a call for each of them
        would take a good part of the time.
        """

    def leave(self) -> None:
        """End the stream, so that the client goes to another worker."""


class Channel:
    """Those who are sent the same at the same times. `sent` is the version of the last push."""

    def __init__(self, feeds: tuple[Feed, ...], choice: Choice, version: int, now: float) -> None:
        self.feeds, self.choice, self.sent = feeds, choice, version
        # By their class, in the order in which they came: so they lie in memory, in Python's and in the kernel's.
        self.subscribers: dict[type[Subscriber], dict[Subscriber, None]] = {}
        self.is_due = False
        # When the first change came that was not pushed yet.
        self.changed_at: float | None = None
        # When there was the last push of news, and when anything was sent to all.
        self.pushed_at, self.heard_at = float("-inf"), now

    def add(self, subscriber: Subscriber) -> None:
        self.subscribers.setdefault(type(subscriber), {})[subscriber] = None

    def remove(self, subscriber: Subscriber) -> bool:
        """Remove one; whether that was the last."""
        del self.subscribers[type(subscriber)][subscriber]
        return not any(self.subscribers.values())

    def news(self, version: int, now: float) -> Message:
        return news(self.feeds, version, now, self.choice.of_one)


class Counts:
    """What was counted since it was last drained; `seconds`: from when a change could be pushed to the last one."""

    def __init__(self) -> None:
        self.events = self.dropped = self.closed = 0
        self.seconds: list[float] = []
