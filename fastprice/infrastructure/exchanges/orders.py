"""What orders the messages of a stream: of each topic the newest order that was told, so that none is taken twice."""

from collections.abc import Iterable
from typing import Any

from fastprice.infrastructure.exchanges.stream import Channel
from fastprice.infrastructure.exchanges.stream_messages import Topic


class Orders:
    """The newest order of each topic; orders of one connection mean nothing to the one after a loss."""

    def __init__(self) -> None:
        self._newest: dict[Topic, int] = {}

    def is_newer(self, topic: Topic, channel: Channel, row: Any) -> bool:
        """Whether a row is neither late nor a duplicate; one without an order is as new as its arrival."""
        if (order := channel.order_of(row)) is None:
            return True
        last = self._newest.get(topic, -1)
        if (order < last and order != channel.restart) or (order == last and not channel.repeats):
            return False
        self._newest[topic] = order
        return True

    def forget(self, topics: Iterable[Topic]) -> None:
        """Begin anew to count the orders of these topics."""
        for topic in topics:
            self._newest.pop(topic, None)
