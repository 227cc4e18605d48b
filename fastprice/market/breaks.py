"""The stream faults that change what is pushed.

The function's name is the fault's name, its docstring the fault's meaning; it returns the frames to send for one push.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from fastprice.domain.quote import Pair
from fastprice.market.dialect import Push, Topic
from fastprice.market.forms import encoded
from fastprice.market.frames import BINARY, CONTINUED, TEXT, frame

if TYPE_CHECKING:
    from fastprice.market.feed import Feed

SURPRISE = b'{"type":"surprise","event":"surprise","channel":"surprise","data":[{"price":"1"}]}'
KEYS_BACK, SECONDS_BACK = 1000, 10
FRAGMENT_BYTES = 10


@dataclass(frozen=True, slots=True)
class Shot:
    """One push that is due."""

    feed: "Feed"
    topic: Topic
    push: Push

    def priced(self, price: str) -> list[bytes]:
        """The frames of the push with this text as price, bid and ask."""
        return [self.with_tick(price=price, bid=price, ask=price)]

    def with_tick(self, **changes: str | Pair | None) -> bytes:
        return replace(self.push, tick=replace(self.push.tick, **changes)).frame  # type: ignore[arg-type]


def stalled(shot: Shot) -> list[bytes]:
    """Nothing is pushed, while pings, heartbeats and subscribes are answered."""
    return []


def duplicates(shot: Shot) -> list[bytes]:
    """Every push comes twice."""
    return [shot.push.frame] * 2


def swapped(shot: Shot) -> list[bytes]:
    """Every other push is held back and sent after the next."""
    memory = shot.feed.switch.memory
    if shot.topic not in memory:
        memory[shot.topic] = shot.push.frame
        return []
    return [shot.push.frame, memory.pop(shot.topic)]


def old_keys(shot: Shot) -> list[bytes]:
    """After each push an older one is sent again, 10 seconds and 1000 keys behind, at `factor` (default 1.5)."""
    push = shot.push
    late = _later(_times(push, shot.feed.switch.factor), -SECONDS_BACK)
    return [push.frame, replace(late, key=push.key - KEYS_BACK).frame]


def key_reset(shot: Shot) -> list[bytes]:
    """Keys count from 1 again, as after a restart of the exchange; times go on. Heals to the large keys of before."""
    first = shot.feed.switch.memory.setdefault(shot.topic.pair, shot.push.key)
    return [replace(shot.push, key=shot.push.key - first + 1).frame]


def crossed(shot: Shot) -> list[bytes]:
    """The bid above the ask."""
    return [shot.with_tick(bid=shot.push.tick.ask, ask=shot.push.tick.bid)]


def empty_side(shot: Shot) -> list[bytes]:
    """No bid, written as the exchange writes none."""
    return [shot.with_tick(bid=shot.feed.source.exchange.nothing)]


def zero(shot: Shot) -> list[bytes]:
    """Price, bid and ask are zero."""
    return shot.priced("0")


def nan(shot: Shot) -> list[bytes]:
    """Price, bid and ask are NaN, as a text where prices are texts."""
    return shot.priced("NaN")


def text_null(shot: Shot) -> list[bytes]:
    """Price, bid and ask are the word null, as a text where prices are texts."""
    return shot.priced("null")


def lie(shot: Shot) -> list[bytes]:
    """Price, bid and ask times `factor` (default 1.5)."""
    return [_times(shot.push, shot.feed.switch.factor).frame]


def frozen(shot: Shot) -> list[bytes]:
    """Price, bid and ask stay as they were when the fault was set; keys and times go on."""
    held = shot.feed.switch.held[shot.push.tick.pair]
    return [shot.with_tick(price=held.price, bid=held.bid, ask=held.ask)]


def old(shot: Shot) -> list[bytes]:
    """All times lie `seconds` in the past (default 3600), keys that are no times go on."""
    return [_later(shot.push, -shot.feed.switch.seconds).frame]


def ahead(shot: Shot) -> list[bytes]:
    """All times lie `seconds` in the future (default 50), keys that are no times go on."""
    return [_later(shot.push, shot.feed.switch.seconds).frame]


def wrong_symbol(shot: Shot) -> list[bytes]:
    """The push names a pair in another quote currency, which nobody subscribed to."""
    pair = shot.push.tick.pair
    other = Pair(pair.base, "EUR" if pair.quote == "USD" else "USD")
    return [replace(shot.push, symbol=shot.feed.dialect.symbol(other)).frame]


def unknown_type(shot: Shot) -> list[bytes]:
    """Before each push comes a message of a kind that no document names."""
    return [frame(SURPRISE), shot.push.frame]


def truncated(shot: Shot) -> list[bytes]:
    """Every push is a whole frame with half the JSON."""
    return [frame(shot.push.body[: len(shot.push.body) // 2])]


def fragments(shot: Shot) -> list[bytes]:
    """Every push comes as one message in many frames of 10 bytes."""
    body = shot.push.body
    parts = [body[start : start + FRAGMENT_BYTES] for start in range(0, len(body), FRAGMENT_BYTES)]
    last = len(parts) - 1
    return [frame(part, CONTINUED if number else TEXT, number == last) for number, part in enumerate(parts)]


def binary(shot: Shot) -> list[bytes]:
    """The same JSON under the binary opcode."""
    return [frame(encoded(shot.push.channel.write(shot.push)), BINARY)]


def _later(push: Push, seconds: float) -> Push:
    ms = round(seconds * 1000)
    return replace(push, sent_ms=push.sent_ms + ms, tick=replace(push.tick, time_ms=push.tick.time_ms + ms))


def _times(push: Push, factor: float) -> Push:
    tick, by = push.tick, Decimal(str(factor))

    def multiplied(amount: str | None) -> str | None:
        return amount and f"{Decimal(amount) * by:.{len(amount.partition('.')[2])}f}"

    price = multiplied(tick.price) or ""
    return replace(push, tick=replace(tick, price=price, bid=multiplied(tick.bid), ask=multiplied(tick.ask)))


BREAKS: dict[str, Callable[[Shot], list[bytes]]] = {
    fault.__name__: fault
    for fault in (
        stalled, duplicates, swapped, old_keys, key_reset, crossed, empty_side, zero, nan, text_null, lie, frozen,
        old, ahead, wrong_symbol, unknown_type, truncated, fragments, binary,
    )
}  # fmt: skip
# These tell the truth except for some parts.
HALF_TRUE_BREAKS: dict[str, dict[str, None]] = {"empty_side": {"bid": None}, "crossed": {"bid": None, "ask": None}}
# These tell the true price, among other things.
HONEST_BREAKS = {
    "duplicates", "swapped", "old_keys", "key_reset", "old", "ahead", "unknown_type", "fragments", "binary",
}  # fmt: skip
