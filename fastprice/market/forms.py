"""How a reply is written: a row for each pair, and the body around the rows."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from fastprice.market.tick import Tick

Json = dict[str, Any] | list[Any]
Query = Mapping[str, str]

# `json.dumps` would create an encoder for each call.
_COMPACT = json.JSONEncoder(separators=(",", ":"))
_NUMBER = re.compile(r'"#([^"]*)"')


@dataclass(frozen=True, eq=False)
class Form:
    """How one kind of reply is written.

    `row(tick, symbol)` is the row of a pair, `whole(rows, time_ms)` the body around all rows. `price_key` is the
    member that holds the last price. The reply shows prices of the last whole `every_ms`. `extra` are rows that every
    reply about the whole market contains and that belong to no pair. `shows_delisted`: delisted pairs are included.
    """

    row: Callable[[Tick, str], Json]
    whole: Callable[[list[Any], int], Json]
    price_key: str = ""
    names_symbol: bool = True
    every_ms: int = 1
    extra: tuple[Json, ...] = ()
    shows_delisted: bool = False


class Choice(NamedTuple):
    """What a request asks for: some symbols, or with None the whole market.

    `cost` is the weight of the call in the limit. With `trading`, halted pairs are left out, or refused if a pair is
    requested `alone`.
    """

    form: Form
    symbols: tuple[str, ...] | None
    cost: int = 1
    trading: bool = False
    alone: bool = False


def only(rows: list[Any], time_ms: int) -> Json:
    """The body is the one row."""
    row: Json = rows[0]
    return row


def array(rows: list[Any], time_ms: int) -> Json:
    """The body is the array of all rows."""
    return rows


def merged(rows: list[Any], time_ms: int = 0) -> dict[str, Any]:
    """The body is one object of all rows, each of which is an object of one or more members."""
    return {name: value for row in rows for name, value in row.items()}


def values(rows: list[Any], time_ms: int = 0) -> list[Any]:
    """The body is the array of the values of all rows, each of them once."""
    return list(merged(rows).values())


def currencies(tick: Tick, row: Callable[[str], Json]) -> Json:
    """Rows for the two currencies of a pair, to be merged."""
    return {name: row(name) for name in (tick.pair.base, tick.pair.quote)}


def encoded(body: Json) -> bytes:
    """Compact JSON, in which amounts that `number` marked are written without quotes."""
    text = _COMPACT.encode(body)
    return (_NUMBER.sub(r"\1", text) if '"#' in text else text).encode()


def number(digits: str | None) -> str | None:
    """An amount that is a JSON number on the wire, digit for digit."""
    return digits and f"#{digits}"


def decimals(tick: Tick) -> int:
    """How many decimals the source shows of this pair's price."""
    return len(tick.price.partition(".")[2])


def unit(tick: Tick) -> str:
    """The smallest step of this pair's price."""
    return f"{Decimal(1).scaleb(-decimals(tick)):f}"
