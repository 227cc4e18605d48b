"""Subscribers that are sent the same events at the same times, and the events that each of them lacks."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from fastprice.interface.sse import Feed, Message, news


class Choice(NamedTuple):
    """What a subscriber wants: which pairs, whether in a stream of one pair, and the shortest interval in seconds."""

    slugs: tuple[str, ...]
    of_one: bool
    interval: float


class Subscriber(Protocol):
    """A client that has been sent events up to `version`; its `channel` is set when it joins."""

    channel: "Channel"
    version: int

    @classmethod
    def push(cls, several: Sequence[Any], common: Message, before: int, after: int) -> int:
        """Send `common` to those at version `before`, which are then at `after`; send the others what they lack.

        Returns how many events were sent at once. It takes several subscribers, all of this class, because a call for
        each of them would take a good part of the time.
        """

    def leave(self) -> None:
        """End the stream, so that the client goes to another worker."""


class Channel:
    """Subscribers that are sent the same events at the same times; `sent` is the version of the last push."""

    def __init__(self, feeds: tuple[Feed, ...], choice: Choice, version: int, now: float) -> None:
        self.feeds, self.choice, self.sent = feeds, choice, version
        # By class, in the order in which they came, which is also their order in the memory of Python and the kernel.
        self.subscribers: dict[type[Subscriber], dict[Subscriber, None]] = {}
        self.is_due = False
        # When the first change came that has not been pushed yet.
        self.changed_at: float | None = None
        # When events were last pushed, and when anything, such as a comment, was last sent to all.
        self.pushed_at, self.heard_at = float("-inf"), now

    def add(self, subscriber: Subscriber) -> None:
        self.subscribers.setdefault(type(subscriber), {})[subscriber] = None

    def remove(self, subscriber: Subscriber) -> bool:
        """Remove a subscriber; returns whether it was the last one."""
        del self.subscribers[type(subscriber)][subscriber]
        return not any(self.subscribers.values())

    def news(self, version: int, now: float) -> Message:
        return news(self.feeds, version, now, self.choice.of_one)


class Counts:
    """Counts since the last drain; `seconds`: from when each change could be pushed to the end of its push."""

    def __init__(self) -> None:
        self.events = self.dropped = self.closed = 0
        self.seconds: list[float] = []
