"""What one connection is subscribed to, has requested and still has to request: plain state, with times passed in."""

from collections import deque
from collections.abc import Sequence

from fastprice.domain.errors import UnknownSymbol
from fastprice.infrastructure.exchanges.stream import Stream
from fastprice.infrastructure.exchanges.stream_messages import Ack, Op, Reject, Request, Topic

# A request without an answer is repeated once after so many seconds; after that the polls detect silent pairs.
ANSWER_SECONDS = 10.0
# A topic that was requested more recently than this may still deliver its first price.
SETTLED_SECONDS = 2.0


class Subscriptions:
    """The topics of one connection; `sent_at` is when the last request was sent, in monotonic seconds."""

    def __init__(self, stream: Stream, topics: Sequence[Topic]) -> None:
        self.sent_at: float | None = None
        self.is_acknowledged = False
        self._stream = stream
        self._topics = dict.fromkeys(topics)
        self._outbox: deque[Request] = deque()
        self._number = 0
        self._asked: dict[str, Request] = {}
        # When topics without an answer were asked for; those that were asked for twice are in `_repeated`.
        self._unanswered: dict[Topic, float] = {}
        self._repeated: set[Topic] = set()

    @property
    def is_empty(self) -> bool:
        """Whether the exchange has refused everything."""
        return not self._topics

    def are_settled(self, now: float) -> bool:
        """Whether the last request was sent a while ago."""
        return not self._outbox and self.sent_at is not None and now - self.sent_at > SETTLED_SECONDS

    def number(self) -> int:
        """A number that no other message to the exchange has."""
        self._number += 1
        return self._number

    def begin(self, wall_ms: int) -> None:
        """Request all topics."""
        self._request(Op.SUBSCRIBE, list(self._topics), wall_ms)

    def renew(self, topics: Sequence[Topic], wall_ms: int) -> None:
        """Subscribe again to those of the topics that are ours."""
        mine = [topic for topic in topics if topic in self._topics]
        self._request(Op.UNSUBSCRIBE, mine, wall_ms)
        self._request(Op.SUBSCRIBE, mine, wall_ms)

    def next(self, now: float) -> Request | None:
        """The request to send now."""
        if not self._outbox:
            return None
        request = self._outbox.popleft()
        self.sent_at = now
        self._unanswered |= {topic: now for topic in request.topics if topic in self._topics}
        return request

    def heard(self, topic: Topic) -> None:
        """Data of a topic came, which is as good as an answer."""
        self._unanswered.pop(topic, None)

    def acknowledged(self, ack: Ack) -> None:
        self.is_acknowledged = True
        asked = self._topics_of(ack.request)
        for topic in ack.topics or asked:
            self._unanswered.pop(topic, None)

    def rejected(self, reject: Reject, wall_ms: int) -> None:
        """Drop topics that are not listed there, and request again those that were refused only because of them."""
        asked = self._topics_of(reject.request)
        is_unlisted = isinstance(reject.error, UnknownSymbol)
        if is_unlisted and not reject.topics and len(asked) > 1:
            # One of them is not listed, and the exchange does not say which: it is found by halving.
            for half in asked[: len(asked) // 2], asked[len(asked) // 2 :]:
                self._request(Op.SUBSCRIBE, half, wall_ms)
            return
        named = reject.topics or asked
        # What was refused for another reason counts as unanswered: it is requested once more.
        if is_unlisted:
            for topic in (*named, *asked):
                self._unanswered.pop(topic, None)
            symbols = {topic.symbol for topic in named}
            self._topics = {topic: None for topic in self._topics if topic.symbol not in symbols}
        if reject.others_too and reject.topics:
            again = [topic for topic in asked or self._topics if topic in self._topics]
            self._request(Op.SUBSCRIBE, [topic for topic in again if topic not in reject.topics], wall_ms)

    def repeat_unanswered(self, now: float, wall_ms: int) -> None:
        """Request once more what had no answer for too long."""
        late = [topic for topic, at in self._unanswered.items() if now - at > ANSWER_SECONDS]
        for topic in late:
            del self._unanswered[topic]
        self._request(Op.SUBSCRIBE, [topic for topic in late if topic not in self._repeated], wall_ms)
        self._repeated.update(late)

    def _request(self, op: Op, topics: Sequence[Topic], wall_ms: int) -> None:
        if topics:
            requests = self._stream.requests(op, topics, self._number + 1, wall_ms)
            self._number += len(requests)
            self._outbox += requests
            self._asked |= {request.id: request for request in requests if request.id and op is Op.SUBSCRIBE}

    def _topics_of(self, request: str) -> tuple[Topic, ...]:
        asked = self._asked.pop(request, None)
        return asked.topics if asked else ()
