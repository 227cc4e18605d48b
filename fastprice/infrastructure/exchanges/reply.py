"""What an exchange's module is made of: the exchange's facts, its raw reply, and the rules that all replies share."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn

from fastprice.domain.errors import (
    Banned, Blocked, CoolDown, InvalidQuote, InvalidReply, PairRefused, RateLimited, SourceDown, SourceError,
    SourceRefused
)
from fastprice.domain.quote import MAX_TIME_MS, MIN_TIME_MS, PRICES, VOLUMES, Pair, Quote, SourceTime, read_amount

# Where an exchange names no time itself; Kraken's penalty lasts this long, and the others forgive sooner.
RATE_LIMIT_SECONDS = 15.0
BAN_SECONDS = 120.0
BLOCK_SECONDS = 6 * 3600.0
# Staying away for less would be no cool-down; for longer than three days (Binance's longest ban), a mistake.
MIN_COOL_DOWN_SECONDS, MAX_COOL_DOWN_SECONDS = 1.0, 3 * 86400.0

MAX_LINE = 160

_STATUS: Mapping[int, type[SourceError]] = {418: Banned, 429: RateLimited, 451: Blocked}
# The pair is all that differs between our questions, so an explained refusal under these is about it.
_ABOUT_THE_PAIR = {400, 404, 410, 422}
_COOL_DOWN: Mapping[type[SourceError], float] = {RateLimited: RATE_LIMIT_SECONDS, Banned: BAN_SECONDS}
_PLACE = re.compile(rb"\bcountry\b|\bjurisdiction\b|\b(?:your|restricted) (?:location|region)\b", re.IGNORECASE)
# HTTP and Kraken write whole seconds; a fraction is understood all the same, because to return early is punished.
_SECONDS = re.compile(r"[0-9]+(?:\.[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply read to its end: header names in lower case, body at most 64 KiB."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class Exchange:
    """One exchange: where to ask and how to read the answer.

    `target(pair)` is path and query of its lightest ticker; `parse(pair, reply)` is pure, gives a Quote or raises
    SourceError.
    """

    name: str
    base_url: str
    source_time: SourceTime
    target: Callable[[Pair], str]
    parse: Callable[[Pair, Reply], Quote]


def read_json(body: bytes) -> Any:
    """Parse a body strictly; every number comes as the digits that were sent, so nothing is rounded on the way.

    Raises InvalidReply on bad UTF-8, a duplicate key, bottomless nesting, or anything but one value; InvalidQuote on
    NaN and Infinity, which some write where a pair has no price.
    """
    try:
        return json.loads(
            body.decode("utf-8"),
            parse_float=str,
            parse_int=str,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except RecursionError:
        raise InvalidReply("the body is nested too deeply") from None
    except ValueError as error:
        raise InvalidReply(f"the body is not acceptable JSON ({_first_line(error)})") from None


def read_body(reply: Reply) -> Any:
    """The parsed body, whatever the status: many exchanges explain an error in it.

    Raises what the status means where the body is not JSON; under a 2xx what `read_json` raises.
    """
    try:
        return read_json(reply.body)
    except InvalidQuote:
        check_status(reply)
        raise


def check_status(reply: Reply, message: str = "") -> None:
    """Raise what an HTTP status means at every exchange, with the exchange's own words if it had any; a 2xx passes.

    An exchange whose statuses mean something else looks at them before it calls this.
    """
    if not 200 <= reply.status < 300:
        explained = bool(message.strip()) and reply.status in _ABOUT_THE_PAIR
        raise complaint(PairRefused if explained else _meaning(reply), reply, f"HTTP {reply.status} {message}")


def refuse(reply: Reply, code: str, message: str, known: Mapping[str, type[SourceError]]) -> NoReturn:
    """Raise what an exchange's error code means; where that is not known, what the status means, else PairRefused.

    A 2xx body without any code is no complaint but nonsense: InvalidReply.
    """
    if code in known:
        raise complaint(known[code], reply, f"{code} {message}")
    check_status(reply, f"{code} {message}")
    if not code:
        raise InvalidReply("the body has no result code")
    raise complaint(PairRefused, reply, f"{code} {message}")


def complaint(kind: type[SourceError], reply: Reply, message: str) -> SourceError:
    """An exchange's complaint as our error, with the seconds to stay away where its kind has them."""
    if not issubclass(kind, CoolDown):
        return kind(one_line(message))
    # A block is a matter of place: a Retry-After beside it is the edge's habit, not the end of the block.
    seconds = BLOCK_SECONDS if kind is Blocked else retry_after(reply, _COOL_DOWN[kind])
    return kind(one_line(message), seconds)


def names_a_place(reply: Reply) -> bool:
    """Whether a refusal speaks of where we are rather than of what we did."""
    return _PLACE.search(reply.body) is not None


def retry_after(reply: Reply, default: float) -> float:
    """Seconds until what the Retry-After header says, a number or a date; `default` where it is missing or neither."""
    value = reply.headers.get("retry-after", "").strip()
    seconds = decimal_seconds(value)
    if seconds is None:
        try:
            until = parsedate_to_datetime(value)
            # A date without a zone, as asctime writes it, is in GMT as every HTTP date is, not in this machine's zone.
            seconds = (until if until.tzinfo else until.replace(tzinfo=UTC)).timestamp() - reply.received_at_ms / 1000
        except (ValueError, OverflowError):
            return default
    return cool_down(seconds)


def cool_down(seconds: float) -> float:
    """A time to stay away, kept within sense."""
    return min(max(seconds, MIN_COOL_DOWN_SECONDS), MAX_COOL_DOWN_SECONDS)


def decimal_seconds(text: str) -> float | None:
    """Seconds written without a sign, whole or with a fraction; None for any other text."""
    return float(text) if _SECONDS.fullmatch(text) else None


def whole(digits: str) -> float | None:
    """The value of plain digits, None for any other text; a float, because int refuses very long ones."""
    return float(digits) if digits.isascii() and digits.isdigit() else None


def one_line(message: str) -> str:
    """Words from outside made fit for a log: printable, one line, not long."""
    printable = "".join(letter if letter.isprintable() else " " for letter in message)
    return " ".join(printable.split())[:MAX_LINE]


def field(data: Any, *path: str | int) -> Any:
    """The value at `path` in a parsed body, or InvalidQuote naming what is missing."""
    for step in path:
        # Text is indexable as well: unchecked, "3030"[0] would pass for the price in a list of one.
        if isinstance(data, str):
            raise InvalidQuote(f"the body has no {_name(path)}")
        try:
            data = data[step]
        except (LookupError, TypeError):
            raise InvalidQuote(f"the body has no {_name(path)}") from None
    return data


def sole(data: Any, *path: str | int) -> Any:
    """The only element of the list at `path`; InvalidQuote where there is no list, or none or several in it."""
    elements = field(data, *path)
    if not isinstance(elements, list) or len(elements) != 1:
        raise InvalidQuote(f"{_name(path) or 'the body'} is not a list of one ticker")
    return elements[0]


def text(data: Any, *path: str | int) -> str:
    """The scalar at `path` as the digits or letters that were sent."""
    value = field(data, *path)
    if not isinstance(value, str):
        raise InvalidQuote(f"{_name(path)} is not a number or a string")
    return value


def optional_price(data: Any, *path: str | int) -> str | None:
    """A bid or an ask, or None where the exchange gives none that is one; some write zero for none."""
    return _optional_amount(said(data, *path), PRICES)


def optional_volume(data: Any, *path: str | int) -> str | None:
    """A volume, or None where the exchange gives none, or another text than a plain amount. Zero is a value."""
    return _optional_amount(said(data, *path), VOLUMES)


def optional_time(data: Any, *path: str | int, unit_ms: int = 1) -> int | None:
    """A time stamp in milliseconds, sent as a whole number of `unit_ms`; None where that is no such time."""
    digits = said(data, *path)
    return None if whole(digits) is None or len(digits) > 16 else sane_time(int(digits) * unit_ms)


def sane_time(stamp_ms: int) -> int | None:
    """The stamp, or None where it is in another unit or means that there is none."""
    return stamp_ms if MIN_TIME_MS <= stamp_ms <= MAX_TIME_MS else None


def said(data: Any, *path: str | int) -> str:
    """What the body says at `path`, or nothing: for what may be missing or come in any shape."""
    try:
        return text(data, *path)
    except InvalidQuote:
        return ""


def expect(what: str, expected: str, got: str) -> None:
    """Raise InvalidQuote unless the body names what was asked for."""
    if got != expected:
        raise InvalidQuote(one_line(f"asked for {expected}, the body says {what} {got[:40]!r}"))


def _optional_amount(text: str, limits: tuple[Decimal, Decimal]) -> str | None:
    """The text if it is an amount. The rest of a ticker is worth having without it, so that is no reason to refuse."""
    try:
        read_amount("", text, limits)
    except InvalidQuote:
        return None
    return text


def _meaning(reply: Reply) -> type[SourceError]:
    # Only a 403 that says so is about the country; any other comes from a firewall and passes.
    if reply.status == 403:
        return Blocked if names_a_place(reply) else Banned
    return _STATUS.get(reply.status, SourceDown if reply.status >= 500 else SourceRefused)


def _name(path: tuple[str | int, ...]) -> str:
    return ".".join(map(str, path))


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidQuote(f"{name} in the body is not a number")


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    pairs = dict(items)
    if len(pairs) != len(items):
        raise ValueError("a key stands twice")
    return pairs


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:120]
