"""An exchange's raw reply, and what its status, its code and its words mean to us."""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from fastprice.domain.errors import (
    Banned, Blocked, CoolDown, InvalidQuote, InvalidReply, PairRefused, RateLimited, SourceDown, SourceError,
    SourceRefused
)
from fastprice.infrastructure.exchanges.strict_json import read_json

# Staying away for less would be no cool-down; for longer than three days (Binance's longest ban), a mistake.
MIN_COOL_DOWN_SECONDS, MAX_COOL_DOWN_SECONDS = 1.0, 3 * 86400.0

MAX_LINE, MAX_DIGITS = 160, 400
# How much of a refusal is searched for words: such pages are a few kilobytes long.
MAX_REFUSAL_BYTES = 64 * 1024

# An exchange's error codes, by what they mean to us.
Errors = Mapping[type[SourceError], Collection[str]]

_STATUS: Mapping[int, type[SourceError]] = {418: Banned, 429: RateLimited, 451: Blocked}
# Our requests differ only in the pair, so a refusal with an explanation and one of these statuses is about the pair.
_ABOUT_THE_PAIR = {400, 404, 410, 422}
# Seconds, where an exchange names none itself; Kraken's penalty lasts this long, those of the others are shorter.
_COOL_DOWN: Mapping[type[SourceError], float] = {RateLimited: 15.0, Banned: 120.0, Blocked: 6 * 3600.0}
_PLACE = re.compile(rb"\bcountry\b|\bjurisdiction\b|\b(?:your|restricted) (?:location|region)\b", re.IGNORECASE)
# HTTP and Kraken write whole seconds; a fraction is accepted too, because exchanges punish an early return.
_DECIMAL = re.compile(r"[0-9]+(?:\.[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply that was read to its end; header names are in lower case.

    `many` says that it is about many pairs, so a flaw in one row must not affect the others. `resets_in` is how many
    seconds of a rate limit are left by the exchange's own header. `gzip` says that the body is still compressed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at_ms: int
    many: bool = False
    resets_in: float | None = None
    gzip: bool = False


def read_body(reply: Reply) -> Any:
    """The parsed body, whatever the status: many exchanges explain an error in it.

    If the body is not JSON, raises the error that the status means, or for a 2xx what `read_json` raises.
    """
    try:
        return read_json(reply.body, reply.many)
    except InvalidQuote:
        check_status(reply)
        raise


def check_status(reply: Reply, message: str = "") -> None:
    """Raise what an HTTP status means at every exchange, with the exchange's own words if it had any; a 2xx passes.

    An exchange whose statuses mean something else checks them before it calls this.
    """
    if not 200 <= reply.status < 300:
        explained = bool(message.strip()) and reply.status in _ABOUT_THE_PAIR
        raise complaint(PairRefused if explained else _meaning(reply), reply, f"HTTP {reply.status} {message}")


def refuse(reply: Reply, code: str, message: str, known: Errors) -> NoReturn:
    """Raise what an exchange's error code means; for an unknown code what the status means, else PairRefused.

    A 2xx body without any code is not a complaint but invalid: InvalidReply.
    """
    for kind, codes in known.items():
        if code in codes:
            raise complaint(kind, reply, f"{code} {message}")
    check_status(reply, f"{code} {message}")
    if not code:
        raise InvalidReply("the body has no result code")
    raise complaint(PairRefused, reply, f"{code} {message}")


def complaint(kind: type[SourceError], reply: Reply, message: str) -> SourceError:
    """An exchange's complaint as our error, with the seconds to stay away where its kind has them."""
    if not issubclass(kind, CoolDown):
        return spoken(kind, message)
    seconds = _COOL_DOWN[kind]
    if kind is RateLimited and reply.resets_in is not None:
        seconds = cool_down(reply.resets_in)
    # A block depends on our location: a Retry-After with it is a habit of the edge servers, not the end of the block.
    if kind is not Blocked:
        seconds = retry_after(reply, seconds)
    return kind(one_line(message), seconds)


def spoken(kind: type[SourceError], message: str) -> SourceError:
    """A complaint without an HTTP reply, as in a stream; a cool-down has the default seconds of its kind."""
    line = one_line(message)
    return kind(line, _COOL_DOWN[kind]) if issubclass(kind, CoolDown) else kind(line)


def names_a_place(reply: Reply) -> bool:
    """Whether a refusal is about our location rather than about our requests."""
    return _PLACE.search(reply.body[:MAX_REFUSAL_BYTES]) is not None


def retry_after(reply: Reply, default: float) -> float:
    """Seconds left by the Retry-After header, a number or a date; `default` where it is missing or neither."""
    value = reply.headers.get("retry-after", "").strip()
    seconds = decimal(value)
    if seconds is None:
        try:
            until = parsedate_to_datetime(value)
            # A date without a zone, as asctime writes it, is in GMT as every HTTP date is, not in this machine's zone.
            seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - reply.received_at_ms / 1000
        except (ValueError, OverflowError):
            return default
    return cool_down(seconds)


def cool_down(seconds: float) -> float:
    """The seconds to stay away, kept within sensible limits."""
    return min(max(seconds, MIN_COOL_DOWN_SECONDS), MAX_COOL_DOWN_SECONDS)


def decimal(text: str) -> float | None:
    """A number written without a sign, whole or with a fraction; None for any other text."""
    # A number of so many digits is infinite already, and it would take long to read a million of them.
    return float(text[:MAX_DIGITS]) if _DECIMAL.fullmatch(text) else None


def seconds_left(header: str, per_second: float = 1.0, is_time: bool = False) -> Callable[[Reply], float | None]:
    """How to read the seconds until a rate limit ends from a header, which has a duration or, by `is_time`, a time."""

    def left(reply: Reply) -> float | None:
        value = decimal(reply.headers.get(header, ""))
        return None if value is None else value / per_second - (reply.received_at_ms / 1000 if is_time else 0.0)

    return left


def one_line(message: str) -> str:
    """Text from outside made fit for a log: one short printable line."""
    # There may be megabytes of it; what follows so many letters cannot be in the line, unless they are mostly blank.
    printable = "".join(letter if letter.isprintable() else " " for letter in message[: 10 * MAX_LINE])
    return " ".join(printable.split())[:MAX_LINE]


def _meaning(reply: Reply) -> type[SourceError]:
    # Only a 403 that says so is about the country; any other comes from a firewall and is temporary.
    if reply.status == 403:
        return Blocked if names_a_place(reply) else Banned
    return _STATUS.get(reply.status, SourceDown if reply.status >= 500 else SourceRefused)
