"""Subscribers who are sent the same at the same times, and what each of them lacks."""

from typing import NamedTuple, Protocol

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

    def push(self, common: Message, before: int, after: int) -> int:
        """Send what is new: `common` to one that has the version `before`, and then has `after`; else what it lacks.

        Gives how many events were sent at once.
        """

    def leave(self) -> None:
        """End the stream, so that the client goes to another worker."""


class Channel:
    """Those who are sent the same at the same times. `sent` is the version of the last push."""

    def __init__(self, feeds: tuple[Feed, ...], choice: Choice, version: int, now: float) -> None:
        self.feeds, self.choice, self.sent = feeds, choice, version
        # In the order in which they came: so they lie in memory, in Python's and in the kernel's.
        self.subscribers: dict[Subscriber, None] = {}
        self.is_due = False
        # When the first change came that was not pushed yet.
        self.changed_at: float | None = None
        # When there was the last push of news, and when anything was sent to all.
        self.pushed_at, self.heard_at = float("-inf"), now

    def news(self, version: int, now: float) -> Message:
        return news(self.feeds, version, now, self.choice.of_one)


class Counts:
    """What was counted since it was last drained; `seconds` are those from a change to the last subscriber."""

    def __init__(self) -> None:
        self.events = self.dropped = self.closed = 0
        self.seconds: list[float] = []
