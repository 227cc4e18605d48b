"""Reading JSON strictly: every digit as it was sent, and nothing that could be read in two ways."""

import json
from typing import Any, NoReturn

from fastprice.domain.errors import InvalidQuote, InvalidReply

# A path of members and list indexes: "last", or ("c", 0). An empty path stands for what an exchange does not give.
Path = str | tuple[str | int, ...]

# Brackets, commas and backslashes: the whole market of Binance, the largest of all, has 80,000. To read a body of the
# same size that consists of little else would take a tenth of a second, in which nothing else is done.
MAX_PARTS = 100_000


class Ambiguous(dict[str, Any]):
    """An object with a duplicate key, so that its content is ambiguous."""


def read_json(body: bytes, many: bool = False) -> Any:
    """Parse a body strictly; every number comes as the digits that were sent, so nothing is rounded on the way.

    Raises InvalidReply on bad UTF-8, a duplicate key, too deep nesting, too many parts, or anything but one value;
    InvalidQuote on NaN and Infinity, which some exchanges write where a pair has no price. With `many`, a flaw in a
    single row stays in that row: a character that cannot be decoded, an Ambiguous object, or such a constant as text,
    which is not a valid amount.
    """
    # Faster than counting these characters where there are many.
    if len(body) > MAX_PARTS and len(body) - len(body.translate(None, b"[{,\\")) > MAX_PARTS:
        raise InvalidReply("the body has too many parts")
    try:
        return _MANY.decode(body.decode("utf-8", "replace")) if many else _ONE.decode(body.decode())
    except RecursionError:
        raise InvalidReply("the body is nested too deeply") from None
    except ValueError as error:
        reason = str(error).splitlines()[0][:120]
        raise InvalidReply(f"the body is not acceptable JSON ({reason})") from None


def field(data: Any, path: Path) -> Any:
    """The value at a path in a parsed body, or InvalidQuote naming what is missing."""
    for step in _steps(path):
        # Text is indexable as well: unchecked, "3030"[0] would pass for the price in a list of one.
        if isinstance(data, str | Ambiguous):
            raise InvalidQuote(f"the body has no {_name(path)}, or two of a name")
        try:
            data = data[step]
        except (LookupError, TypeError):
            raise InvalidQuote(f"the body has no {_name(path)}") from None
    return data


def text(data: Any, path: Path) -> str:
    """The scalar at a path as the digits or letters that were sent."""
    value = field(data, path)
    if not isinstance(value, str):
        raise InvalidQuote(f"{_name(path)} is not a number or a string")
    return value


def said(data: Any, path: Path) -> str:
    """The text at a path of a body, or an empty one: for values that may be missing or come in any shape."""
    if type(data) is dict and type(path) is str:  # The usual case, which needs no steps of a path.
        value = data.get(path)
        return value if isinstance(value, str) else ""
    try:
        return text(data, path)
    except InvalidQuote:
        return ""


def _steps(path: Path) -> tuple[str | int, ...]:
    return (path,) if isinstance(path, str) else path


def _name(path: Path) -> str:
    return ".".join(map(str, _steps(path)))


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidQuote(f"{name} in the body is not a number")


def _object(items: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(items)
    return members if len(members) == len(items) else Ambiguous(members)


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    members = _object(items)
    if isinstance(members, Ambiguous):
        raise ValueError("a duplicate key")
    return members


# Made once, because making a decoder takes as long as reading a small message.
_ONE = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_refuse_constant, object_pairs_hook=_unique)
_MANY = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_object)
