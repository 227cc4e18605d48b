"""The messages of a stream in a form common to all exchanges, and helpers to write and to read them."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from fastprice.domain.errors import SourceError, SourceRefused
from fastprice.infrastructure.exchanges.reply import Errors, spoken
from fastprice.infrastructure.exchanges.strict_json import Ambiguous, Path


class Topic(NamedTuple):
    """What can be subscribed to: one channel of one symbol."""

    channel: str
    symbol: str


class Op(StrEnum):
    """What a request does to its topics."""

    SUBSCRIBE = "subscribe"
    UNSUBSCRIBE = "unsubscribe"


class Request(NamedTuple):
    """One frame that changes what is subscribed to; `id` is how the answers name it, empty where they do not."""

    frame: str
    topics: tuple[Topic, ...]
    id: str = ""


class Row(NamedTuple):
    """A part of what the exchange says of a symbol, as it was sent."""

    channel: str
    symbol: str
    data: Any


class Ack(NamedTuple):
    """Topics, or all of a request, are subscribed to from now on."""

    topics: tuple[Topic, ...] = ()
    request: str = ""


class Reject(NamedTuple):
    """Topics are refused, or, where it names none, all of a request.

    With `others_too` the other topics of the request are not served either, and must be requested again without
    these. `error` is what the refusal means: UnknownSymbol where this will not change soon, a CoolDown for the
    whole connection, anything else where another request later may help.
    """

    error: SourceError
    topics: tuple[Topic, ...] = ()
    request: str = ""
    others_too: bool = False


class Alive(NamedTuple):
    """A sign of life without a price: `pong`, `heartbeat`, `welcome`, `status`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Notice:
    """The exchange will close this connection within seconds or a minute."""


Said = Row | Ack | Reject | Alive | Notice


def in_groups(topics: Sequence[Topic], size: int) -> Iterable[tuple[Topic, ...]]:
    """Topics in groups of at most `size`, as they fit into requests."""
    for start in range(0, len(topics), size):
        yield tuple(topics[start : start + size])


def member(message: Any, path: Path) -> Any:
    """The value at a path of a message, or None: for values that may be missing or come in any shape."""
    for step in (path,) if isinstance(path, str) else path:
        # Text is indexable as well, and an object with a duplicate key is ambiguous.
        if isinstance(message, str | Ambiguous):
            return None
        try:
            message = message[step]
        except (LookupError, TypeError):
            return None
    return message


def rows(message: Any) -> list[Any]:
    """A list as it is, None as an empty list, and anything else as the only element of a list."""
    return message if isinstance(message, list) else [] if message is None else [message]


def row_of(channel: str, symbol: str, data: Any) -> list[Row]:
    """The row in a message, or none if the message names no symbol or its data is not an object."""
    return [Row(channel, symbol, data)] if symbol and isinstance(data, dict) else []


def frame(message: Any) -> str:
    """A message as compact JSON, since frames may be limited in size."""
    return json.dumps(message, separators=(",", ":"))


def numbered(
    topics: Sequence[Topic], size: int, number: int, message: Callable[[tuple[Topic, ...], int], Any]
) -> list[Request]:
    """Requests of at most `size` topics each, named by a number; `message(topics, number)` is their content."""
    groups = enumerate(in_groups(topics, size), number)
    return [Request(frame(message(group, at)), group, str(at)) for at, group in groups]


def unnamed(topics: Sequence[Topic], size: int, message: Callable[[tuple[Topic, ...]], Any]) -> list[Request]:
    """Requests of at most `size` topics each, whose answers do not say which request they answer."""
    return [Request(frame(message(group)), group) for group in in_groups(topics, size)]


def by_code(known: Errors, code: str, words: str) -> SourceError:
    """What a refusal means by its code; SourceRefused for an unknown code."""
    kind = next((kind for kind, codes in known.items() if code in codes), SourceRefused)
    return spoken(kind, f"{code} {words}")


def by_words(known: Errors, words: str) -> SourceError:
    """What a refusal without a code means, by parts of its text in lower case; SourceRefused for any other text."""
    small = words.casefold()
    kind = next((kind for kind, parts in known.items() if any(part in small for part in parts)), SourceRefused)
    return spoken(kind, words)


def is_duplicate(words: str) -> bool:
    """Whether an exchange complains that a subscription exists already, which is as good as a confirmation."""
    return "already subscribed" in words.casefold()
