"""What a variable of the environment may contain, and how it is read."""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

from fastprice.domain.quote import Pair
from fastprice.infrastructure import redis_url

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)

MAX_SECONDS = 86_400.0
LOG_LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class Kind(Generic[Value]):
    """What a variable may contain: `parse` reads it, and raises ValueError if it cannot be used."""

    parse: Callable[[str], Value]
    accepted: str


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(text)
    return text


def number(convert: Callable[[str], Number], least: Number, most: Number, what: str) -> Kind[Number]:
    """A plain decimal number from `least` to `most`, made by `convert`."""

    def parse(text: str) -> Number:
        value = convert(_matching(r"([0-9]*\.)?[0-9]+", text))
        if not least <= value <= most:
            raise ValueError(text)
        return value

    return Kind(parse, f"{what} from {least:g} to {most:g}")


def whole(least: int, most: int, what: str = "a whole number") -> Kind[int]:
    """A whole number in decimal digits."""
    return number(int, least, most, what)


def seconds(least: float = 0.0) -> Kind[float]:
    """A time of at most a day."""
    return number(float, least, MAX_SECONDS, "seconds")


def one_of(*words: str) -> Kind[str]:
    """One of these words, in upper or lower case."""
    return Kind(lambda text: _matching("|".join(words), text.lower()), f"one of {', '.join(words)}")


def distinct(parse: Callable[[str], Value], accepted: str) -> Kind[tuple[Value, ...]]:
    """Different values in a list with commas."""

    def parse_each(text: str) -> tuple[Value, ...]:
        found = tuple(parse(word.strip().lower()) for word in text.split(","))
        if len(set(found)) != len(found):
            raise ValueError(text)
        return found

    return Kind(parse_each, f"{accepted}, none twice")


def or_empty(parse: Callable[[str], str], accepted: str) -> Kind[str]:
    """A text that `parse` accepts, or none."""
    return Kind(lambda text: text and parse(text), accepted)


def _directory(text: str) -> str:
    wanted = Path(text).absolute()
    nearest = next(path for path in (wanted, *wanted.parents) if path.exists())
    # A directory of another user could hold that user's prices.
    is_ours = nearest != wanted or nearest.stat().st_uid == os.getuid()
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) and is_ours):
        raise ValueError(text)
    return text


def _url(text: str) -> SplitResult:
    parts = urlsplit(text)
    _ = parts.port  # Raises ValueError if it is not a port.
    if not text.isprintable() or " " in text:
        raise ValueError(text)
    return parts


def _http_url(text: str, schemes: Sequence[str] = ("http", "https")) -> str:
    parts = _url(text)
    # A path is appended to it, so it cannot have a query.
    if parts.scheme not in schemes or parts.query or parts.fragment or "@" in parts.path:
        raise ValueError(text)
    _matching(redis_url.HOST_NAME, parts.hostname or "")
    return text


def _redis_url(text: str) -> str:
    redis_url.RedisUrl.parse(text)
    return text


def _switch(text: str) -> bool:
    return _matching("0|1|true|false", text.lower()) in ("1", "true")


def _log_level(text: str) -> str:
    """A level as the logging module names it; many people write `warn`."""
    return _matching("|".join(LOG_LEVELS), {"warn": "warning"}.get(text.lower(), text.lower()))


SWITCH = Kind(_switch, "0 or 1")
URL = or_empty(_http_url, "an http:// or https:// URL")
STREAM_URL = or_empty(partial(_http_url, schemes=("ws", "wss")), "a ws:// or wss:// URL")
PORT = whole(1, 65535, "a port: a whole number")
ANY_PORT = whole(0, 65535, "a port, or 0 for any free one: a whole number")
OPTIONAL_PORT = Kind(lambda text: PORT.parse(text) if text else 0, f"{PORT.accepted}; or empty")
HOST = Kind(partial(_matching, r"[A-Za-z0-9.:_-]+"), "an address or a host name")
PREFIX = Kind(partial(_matching, r"[A-Za-z0-9._:-]{1,64}"), "1 to 64 letters, digits, and any of . _ : -")
ANYTHING = Kind(str, "anything")
PROXY = or_empty(
    lambda text: _http_url(text if "://" in text else f"http://{text}"),
    "the URL of an http:// or https:// proxy, its name and password percent-encoded",
)
LOG_LEVEL = Kind(_log_level, f"one of {', '.join(LOG_LEVELS)}")
PAIRS = distinct(Pair.parse, "pairs like eth-usdt, separated by commas")
REDIS_URL = or_empty(_redis_url, redis_url.ACCEPTED)
DIRECTORY = or_empty(_directory, "a directory of this user that can be written to, or made")
