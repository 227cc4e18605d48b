"""The order of the messages of a stream: the newest order of each topic, so that no message is taken twice."""

from collections.abc import Iterable
from typing import Any

from fastprice.infrastructure.exchanges.stream import Channel
from fastprice.infrastructure.exchanges.stream_messages import Topic


class Orders:
    """The newest order of each topic; after a loss, orders of the old connection mean nothing for the next one."""

    def __init__(self) -> None:
        self._newest: dict[Topic, int] = {}

    def is_newer(self, topic: Topic, channel: Channel, row: Any) -> bool:
        """Whether a row is neither late nor a duplicate; a row without an order always counts as newer."""
        if (order := channel.order_of(row)) is None:
            return True
        last = self._newest.get(topic, -1)
        if (order < last and order != channel.restart) or (order == last and not channel.repeats):
            return False
        self._newest[topic] = order
        return True

    def forget(self, topics: Iterable[Topic]) -> None:
        """Forget the orders of these topics: any next row counts as newer."""
        for topic in topics:
            self._newest.pop(topic, None)
