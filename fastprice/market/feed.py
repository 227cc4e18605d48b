"""The streams of one source: its connections, what each listens to, and the true prices that were pushed."""

import time
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from fastprice.domain.quote import Pair
from fastprice.market.breaks import BREAKS, HALF_TRUE_BREAKS, HONEST_BREAKS, Shot
from fastprice.market.connection import Connection
from fastprice.market.deeds import DEEDS, Deed
from fastprice.market.dialect import WHOLE, Channel, Dialect, Push, Topic
from fastprice.market.pace import Pace
from fastprice.market.source import Source
from fastprice.market.stream_switch import NONE_SET
from fastprice.market.tick import Status, Tick

REMEMBERED = 2000
# A late beat does not delay the next one, so the pause between two pushes may shrink to this share of the documented.
CLOSEST = 0.5


class Pushed(NamedTuple):
    """A true price that was pushed; what the channel does not carry is None. `at_ns` is wall time."""

    at_ns: int
    pair: str
    channel: str
    price: str | None
    bid: str | None
    ask: str | None
    key: int


@dataclass
class Line:
    """One topic with its listeners; `last` is the last push, or the state when the first listener came."""

    last: Push
    due_at: float
    sent_at: float
    listeners: dict[Connection, None]


class Feed:
    """The streams of one source; every method is immediate, and what it sends goes straight to the sockets."""

    def __init__(self, source: Source, dialect: Dialect, pace: Pace) -> None:
        self.source, self.dialect, self.pace = source, dialect, pace
        self.switch = NONE_SET
        self.connections: dict[Connection, None] = {}
        self.lines: dict[Pair, dict[Topic, Line]] = {}
        self.pushed: deque[Pushed] = deque(maxlen=max(REMEMBERED, 40 * len(source.walked)))
        self.exceeded: Counter[str] = Counter()
        self.opened = self.frames = 0
        self.tokens: set[str] = set()
        self.attempts = [limit.meter() for limit in dialect.attempts]
        self._unsent: list[Pushed] = []
        self._first_key = pace.now_ms()
        self._states: dict[Pair, tuple[Tick, int]] = {}
        self._symbols: dict[str, Pair] = {}

    def find(self, symbol: str) -> Pair | None:
        """The pair of a symbol, if it is listed."""
        if not self._symbols:
            self._symbols = {self.dialect.symbol(pair): pair for pair in self.source.all_pairs}
        pair = self._symbols.get(symbol)
        return pair if pair and self.source.status(pair) in (Status.TRADING, Status.HALTED) else None

    def permits(self, deed: Deed, pair: Pair | None = None) -> bool:
        """Whether the current fault allows a deed."""
        fault = DEEDS.get(self.switch.fault)
        return fault is None or not self.switch.concerns(pair) or fault(deed)

    def line(self, topic: Topic) -> Line | None:
        return self.lines.get(topic.pair, {}).get(topic) if topic.pair else None

    def add(self, connection: Connection, topic: Topic) -> None:
        """Let a connection listen to a topic; it gets the current state at once if the channel has snapshots."""
        pair, at = topic.pair, self.pace.clock()
        if pair is None or not self.permits(Deed.LISTEN, pair):
            return
        channel, lines = self.dialect.channels[topic.channel], self.lines.setdefault(pair, {})
        if topic not in lines:
            lines[topic] = Line(self._push(channel, topic, self._state(pair)), at, at, {})
        lines[topic].listeners[connection] = None
        if channel.snapshot and self.source.status(pair) is Status.TRADING:
            first = replace(self._push(channel, topic, self._state(pair)), is_first=True)
            self._send(topic, first, [connection])

    def remove(self, connection: Connection, topic: Topic) -> None:
        line = self.line(topic)
        if line and topic.pair:
            line.listeners.pop(connection, None)
            if not line.listeners:
                del self.lines[topic.pair][topic]
            if not self.lines[topic.pair]:
                del self.lines[topic.pair]

    def attempts_too_often(self) -> bool:
        """Count a new connection; true if it must be refused."""
        self.opened, now_ms = self.opened + 1, int(self.pace.clock() * 1000)
        is_over = any(meter.wait_ms(1, now_ms) for meter in self.attempts)
        for meter in () if is_over else self.attempts:
            meter.spend(1, now_ms)
        self.exceeded["attempts"] += is_over
        return is_over and self.pace.limits

    def enter(self, connection: Connection) -> None:
        self.connections[connection] = None
        self.dialect.greet(connection)

    def leave(self, connection: Connection) -> None:
        connection.unlisten(*list(connection.topics))
        self.connections.pop(connection, None)

    def move(self, pair: Pair, by_hand: bool = False) -> None:
        """Push what is due for a pair; a move by hand does not wait if `every_ms` is set."""
        lines = self.lines.get(pair)
        if not lines or self.source.status(pair) is not Status.TRADING:
            return
        at, every_ms, state = self.pace.clock(), self.pace.every_ms, self._state(pair)
        for topic, line in list(lines.items()):
            channel = self.dialect.channels[topic.channel]
            if at < line.due_at and not (by_hand and every_ms is not None):
                continue
            push = self._push(channel, topic, state)
            is_due = channel.repeat_ms and at - line.sent_at >= channel.repeat_ms / 1000
            if push.told == line.last.told and is_due and channel.renewed:
                state = self._renewed(pair)
                push = self._push(channel, topic, state)
            if is_due or push.told != line.last.told:
                pause = (channel.every_ms if every_ms is None else every_ms) / 1000
                line.due_at, line.sent_at = max(line.due_at + pause, at + CLOSEST * pause), at
                self._send(topic, push, line.listeners)
                line.last = push

    def flush(self) -> None:
        """Send what was queued with `put`, and record it with the current time."""
        at_ns = time.time_ns()
        for connection in list(self.connections):
            connection.flush()
        self.pushed.extend(told._replace(at_ns=at_ns) for told in self._unsent)
        self._unsent.clear()

    def next_key(self, pair: Pair) -> int:
        """Use up a key."""
        tick, key = self._state(pair)
        self._states[pair] = tick, key + 1
        return key + 1

    def _push(self, channel: Channel, topic: Topic, state: tuple[Tick, int]) -> Push:
        tick, key = state
        return Push(channel, topic.symbol, tick, key, max(self.pace.now_ms(), tick.time_ms))

    def _renewed(self, pair: Pair) -> tuple[Tick, int]:
        """The same prices under a new key and a later time."""
        tick, key = self._state(pair)
        self._states[pair] = replace(tick, time_ms=max(self.pace.now_ms(), tick.time_ms + 1)), key + 1
        return self._states[pair]

    def _state(self, pair: Pair) -> tuple[Tick, int]:
        """The current tick and its key; every change has a larger key and a later time than the one before."""
        tick = self.source.tick(pair, self.pace.now_ms())
        old, key = self._states.get(pair, (tick, self._first_key))
        if (tick.price, tick.bid, tick.ask) != (old.price, old.bid, old.ask):
            old, key = tick if tick.time_ms > old.time_ms else replace(tick, time_ms=old.time_ms + 1), key + 1
        self._states[pair] = old, key
        return old, key

    def _send(self, topic: Topic, push: Push, listeners: Iterable[Connection]) -> None:
        switch, pair = self.switch, push.tick.pair
        fault = switch.fault if switch.concerns(pair) else ""
        frames = BREAKS[fault](Shot(self, topic, push)) if fault in BREAKS else [push.frame]
        if not self.permits(Deed.WRITE):
            return
        if frames and (fault not in BREAKS or fault in HONEST_BREAKS):
            self._remember(topic, push)
        elif untrue := HALF_TRUE_BREAKS.get(fault):
            self._remember(topic, replace(push, tick=replace(push.tick, **untrue)))  # type: ignore[arg-type]
        for connection in listeners:
            self.frames += len(frames)
            for one in frames:
                connection.put(one)

    def _remember(self, topic: Topic, push: Push) -> None:
        price, bid, ask = (getattr(push.tick, name) if name in push.channel.tells else None for name in WHOLE)
        if price or bid or ask:
            self._unsent.append(Pushed(0, push.tick.pair.slug, topic.channel, price, bid, ask, push.key))
