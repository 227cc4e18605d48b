"""Answers before ASGI: a request whose bytes were seen before costs a look-up and a write."""

import os
from collections.abc import Callable

from fastprice.interface.polled import Holder, Resource
from fastprice.interface.prepared import CLOSED, UNCHANGED
from fastprice.interface.price_json import matches
from fastprice.server.plain_request import PlainRequest

# A longer head is left to the ordinary way.
MAX_HEAD_BYTES = 16 * 1024
# The limits of what a worker learns: at most 1 MiB of heads.
MAX_LEARNED, MAX_SEEN, MAX_LEARNED_BYTES = 1024, 1024, 1024
# How many resources with a query are kept: enough for each of 500 pairs with a max_age_ms.
MAX_ASKED = 512
# The first bucket of the histogram: only the durations of slower answers are kept one by one.
QUICK_SECONDS = 5e-5

# What is counted together: route, method, and whether the answers are prices.
Counted = tuple[str, str, bool]
# The part of an answer that the kernel did not take, and whether the connection closes after the answer.
Outcome = tuple[bytes, bool]
SENT, SENT_LAST = (b"", False), (b"", True)
# What a plain request asks for: where the answer is, the request's If-None-Match if it has one, the form of the answer,
# the counts of its route and method, and the outcome if all goes well.
Question = tuple[Holder, bytes | None, int, list[int], Outcome]


class Lane:
    """What the connections of one worker share: the resources, the learned heads and the counts.

    `find` returns the resource of a request's target, or None where the ordinary way has to answer. `clock` is the
    monotonic clock that the deadlines of prepared answers use.
    """

    def __init__(self, find: Callable[[bytes], Resource | None], clock: Callable[[], float]) -> None:
        self._find = find
        self._clock = clock
        self.learned: dict[bytes, Question] = {}
        self.seconds = 0.0
        self.slow: list[float] = []
        self.counts: dict[Counted, list[int]] = {}
        self._seen: set[int] = set()
        self._asked: dict[bytes, Resource] = {}
        self._reader = PlainRequest()

    def serve(self, data: bytes, descriptor: int) -> Outcome | None:
        """Answer these bytes if they are exactly one plain request for a prepared answer.

        Otherwise returns None: no byte of them counts as read, and the ordinary way gets them all. The descriptor must
        not block. An error counts as if the kernel had taken nothing; the code that sends the rest will meet it.
        """
        # All in one function, and with few look-ups: this is the path of nearly every request.
        question = self.learned.get(data) or self.read(data)
        if question is None:
            return None
        holder, condition, form, counts, outcome = question
        started = self._clock()
        prepared = holder.snapshot
        if prepared is None or started > prepared.valid_until and not prepared.renew(started):
            return None
        kind: int = prepared.is_stale
        if condition is not None and matches(condition, prepared.etag):
            form, kind = UNCHANGED + form % 3, kind + 2
        message = prepared.messages[form] or prepared.render(form)
        try:
            sent = os.write(descriptor, message)
        except OSError:
            sent = 0
        counts[kind] += 1
        elapsed = self._clock() - started
        self.seconds += elapsed
        if elapsed > QUICK_SECONDS:
            self.slow.append(elapsed)
        return outcome if sent == len(message) else (message[sent:], outcome[1])

    def read(self, data: bytes) -> Question | None:
        """What these bytes ask for, if they are exactly one plain request for a known resource."""
        if len(data) > MAX_HEAD_BYTES:
            return None
        request = self._reader
        if not request.read(data):
            self._reader = PlainRequest()
            return None
        resource = self._asked.get(request.url) or self._resource(request.url)
        if resource is None:
            return None
        conditions = [value for name, value in request.headers if name == b"if-none-match"] if resource.is_price else []
        counts = self.counts.setdefault((resource.route, request.method, resource.is_price), [0, 0, 0, 0])
        outcome = SENT_LAST if request.form % 3 == CLOSED else SENT
        question = resource.holder, b",".join(conditions) or None, request.form, counts, outcome
        self._learn(data, question)
        return question

    def count(self, route: str, method: str, seconds: float) -> None:
        """Count a 200 that was not answered by the lane."""
        self.counts.setdefault((route, method, False), [0, 0, 0, 0])[0] += 1
        self.seconds += seconds
        if seconds > QUICK_SECONDS:
            self.slow.append(seconds)

    def _resource(self, target: bytes) -> Resource | None:
        """The resource of a target that is not kept yet; if the target has a query, it is kept from then on.

        A learned head leads to a resource and so keeps it alive. Therefore both tables are cleared together: a worker
        never has more than MAX_ASKED resources with a query, and none of them twice.
        """
        resource = self._find(target)
        if resource is not None and b"?" in target and len(target) <= MAX_LEARNED_BYTES:
            if len(self._asked) >= MAX_ASKED:
                self._asked.clear()
                self.learned.clear()
            self._asked[target] = resource
        return resource

    def drain(self) -> tuple[dict[Counted, list[int]], float, list[float]]:
        """The counts by kind, the sum of all seconds, and each duration beyond QUICK_SECONDS, since the last call."""
        drained = {key: counts.copy() for key, counts in self.counts.items() if any(counts)}, self.seconds, self.slow
        for counts in self.counts.values():
            counts[:] = (0, 0, 0, 0)
        self.seconds, self.slow = 0.0, []
        return drained

    def _learn(self, head: bytes, question: Question) -> None:
        """Remember a head, accepted by the parser and every rule, when it comes for the second time.

        Otherwise heads that come only once would push out those that come again. A new head costs one look-up in a set.
        """
        if len(head) > MAX_LEARNED_BYTES:
            return
        # The look-up before this has computed the hash; the bytes themselves are not kept.
        mark = hash(head)
        if mark not in self._seen:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen.add(mark)
            return
        if len(self.learned) >= MAX_LEARNED:
            self.learned.clear()
        self.learned[head] = question
