"""How the stores write things down: versioned JSON, validated again on reading as if a stranger had written it."""

import json
from dataclasses import fields
from typing import Any

from fastprice.application.ports import Ban, SourceReport
from fastprice.domain.errors import FastpriceError
from fastprice.domain.quote import MAX_TIME_MS, MIN_TIME_MS, Pair, Quote

VERSION = 1
_QUOTE_FIELDS = {field.name for field in fields(Quote)}
_REPORT_FIELDS = {field.name for field in fields(SourceReport)}
_BAN_FIELDS = {field.name for field in fields(Ban)}
_TEXTS = {"price", "source", "breaker", "reason"}
_TIMES = {"fetched_at_ms", "until_ms"}
_OPTIONAL_TEXTS = {"bid", "ask", "volume_24h", "cooldown_reason", "last_error"}
_OPTIONAL_TIMES = {"source_time_ms", "cooldown_until_ms", "last_error_at_ms"}


def dump_quote(quote: Quote) -> str:
    return _dump(_plain(quote))


def load_quote(record: str | bytes, pair: Pair) -> Quote | None:
    """The quote, or None if the record is anything but a valid quote of this pair in this version."""
    try:
        return _quote(_load(record), pair)
    except (ValueError, TypeError, KeyError, RecursionError, FastpriceError):
        return None


def announced_quote(slug: str, record: str | bytes) -> Quote | None:
    """The quote of a pair that is known by its slug alone, or None if either is anything else."""
    try:
        return load_quote(record, Pair.parse(slug))
    except ValueError:
        return None


def dump_reports(reports: tuple[SourceReport, ...]) -> str:
    rows = [_row(report, _REPORT_FIELDS) | {"quote": report.quote and _plain(report.quote)} for report in reports]
    return _dump({"reports": rows})


def load_reports(record: str | bytes, pair: Pair) -> tuple[SourceReport, ...]:
    """The reports, or none if the record is anything else."""
    try:
        return tuple(_report(row, pair) for row in _load(record)["reports"])
    except (ValueError, TypeError, KeyError, RecursionError, FastpriceError):
        return ()


def dump_ban(ban: Ban) -> str:
    return _dump(_row(ban, _BAN_FIELDS) | {"pair": ban.pair.slug if ban.pair else None})


def load_ban(record: str | bytes) -> Ban | None:
    """The ban, or None if the record is anything else."""
    try:
        row = _typed(_load(record), _BAN_FIELDS)
        return Ban(**row | {"pair": None if row["pair"] is None else Pair.parse(row["pair"])})
    except (ValueError, TypeError, KeyError, RecursionError, FastpriceError):
        return None


def _dump(content: dict[str, Any]) -> str:
    return json.dumps({"v": VERSION, **content}, separators=(",", ":"))


def _load(record: str | bytes) -> dict[str, Any]:
    content = json.loads(record)
    if not isinstance(content, dict) or content.pop("v") != VERSION:
        raise ValueError("a record of another version")
    return dict(content)


def _plain(quote: Quote) -> dict[str, Any]:
    return _row(quote, _QUOTE_FIELDS) | {"pair": quote.pair.slug}


def _row(item: Quote | SourceReport | Ban, names: set[str]) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which at a thousand pairs is the largest part of a refresh.
    return {name: getattr(item, name) for name in names}


def _quote(row: dict[str, Any], pair: Pair) -> Quote:
    if Pair.parse(row["pair"]) != pair:
        raise ValueError("a record of another pair")
    return Quote(**_typed(row, _QUOTE_FIELDS) | {"pair": pair})


def _report(row: dict[str, Any], pair: Pair) -> SourceReport:
    quote = None if row["quote"] is None else _quote(row["quote"], pair)
    return SourceReport(**_typed(row, _REPORT_FIELDS) | {"quote": quote})


def _typed(row: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The row with exactly these fields, each of the type it was written with."""
    if row.keys() != names:
        raise ValueError("a record with other fields")
    for name, value in row.items():
        if name in _TEXTS and not isinstance(value, str):
            raise TypeError(name)
        if name in _OPTIONAL_TEXTS and not isinstance(value, str | None):
            raise TypeError(name)
        if name in _TIMES and type(value) is not int:
            raise TypeError(name)
        if name in _TIMES and not MIN_TIME_MS <= value <= MAX_TIME_MS:
            raise ValueError(name)
        if name in _OPTIONAL_TIMES and value is not None and type(value) is not int:
            raise TypeError(name)
        if name in _OPTIONAL_TIMES and value is not None and not MIN_TIME_MS <= value <= MAX_TIME_MS:
            raise ValueError(name)
    return row
