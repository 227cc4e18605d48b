"""How the stores write things down: versioned JSON, validated again on reading as if a stranger had written it.

What is read is exactly a record that we could have written, or it counts as none.
"""

import json
from collections.abc import Callable
from dataclasses import fields
from typing import Any

from fastprice.application.ports import BREAKER_STATES, Ban, SourceReport
from fastprice.domain.errors import FastpriceError
from fastprice.domain.quote import MAX_TIME_MS, MIN_TIME_MS, SOURCES, Pair, Quote

VERSION = 1
# The longest text that is written, and more than twice the longest record: all sources with all their texts escaped.
MAX_TEXT, MAX_RECORD = 300, 131_072

_QUOTE_FIELDS = {field.name for field in fields(Quote)}
_REPORT_FIELDS = {field.name for field in fields(SourceReport)}
_BAN_FIELDS = {field.name for field in fields(Ban)}
_FREE_TEXTS = {"reason", "cooldown_reason", "last_error"}
_UNREADABLE = (ValueError, TypeError, KeyError, RecursionError, FastpriceError)


def _is_line(value: Any) -> bool:
    # What is not printable includes control characters, which could forge a line of the log, and lone surrogates, which
    # JSON can write but no answer can carry.
    return type(value) is str and len(value) <= MAX_TEXT and value.isprintable()


def _is_time(value: Any) -> bool:
    return type(value) is int and MIN_TIME_MS <= value <= MAX_TIME_MS


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


# Every field of every kind of record, but pairs and quotes, which have readers of their own.
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "source": SOURCES.__contains__,
    "breaker": BREAKER_STATES.__contains__,
    **dict.fromkeys(("price", "reason"), _is_line),
    **dict.fromkeys(("bid", "ask", "volume_24h", "cooldown_reason", "last_error"), _or_none(_is_line)),
    "cooldown_scope": _or_none(("source", "pair").__contains__),
    **dict.fromkeys(("fetched_at_ms", "until_ms"), _is_time),
    **dict.fromkeys(("source_time_ms", "cooldown_until_ms", "last_error_at_ms"), _or_none(_is_time)),
}


def dump_quote(quote: Quote) -> str:
    return _dump(_plain(quote))


def load_quote(record: str | bytes, pair: Pair | None = None) -> Quote | None:
    """The quote, or None if the record is anything but a valid quote of this pair, or of any, in this version."""
    try:
        return _quote(_load(record), pair)
    except _UNREADABLE:
        return None


def dump_reports(reports: tuple[SourceReport, ...]) -> str:
    return _dump({"reports": [_report_row(report) for report in reports]})


def load_reports(record: str | bytes, pair: Pair) -> tuple[SourceReport, ...]:
    """The reports, or none if the record is anything else."""
    try:
        reports = tuple(_report(row, pair) for row in _checked(_load(record), {"reports"})["reports"])
        if len({report.source for report in reports}) != len(reports):
            raise ValueError("a source is reported twice")
        return reports
    except _UNREADABLE:
        return ()


def dump_ban(ban: Ban) -> str:
    return _dump(_with_lines(_row(ban, _BAN_FIELDS)) | {"pair": ban.pair.slug if ban.pair else None})


def load_ban(record: str | bytes) -> Ban | None:
    """The ban, or None if the record is anything else."""
    try:
        row = _checked(_load(record), _BAN_FIELDS)
        return Ban(**row | {"pair": None if row["pair"] is None else Pair.parse(row["pair"])})
    except _UNREADABLE:
        return None


def _dump(content: dict[str, Any]) -> str:
    return json.dumps({"v": VERSION, **content}, separators=(",", ":"))


def _load(record: str | bytes) -> dict[str, Any]:
    if len(record) > MAX_RECORD:
        raise ValueError("longer than any record")
    content = json.loads(record, object_pairs_hook=_unique)
    version = content.pop("v") if isinstance(content, dict) else None
    # True and 1.0 are equal to 1, and not what we write.
    if type(version) is not int or version != VERSION:
        raise ValueError("a record of another version")
    return dict(content)


def _unique(items: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(items)
    if len(members) != len(items):
        raise ValueError("a duplicate key")
    return members


def _plain(quote: Quote) -> dict[str, Any]:
    return _row(quote, _QUOTE_FIELDS) | {"pair": quote.pair.slug}


def _row(item: Quote | SourceReport | Ban, names: set[str]) -> dict[str, Any]:
    # dataclasses.asdict copies deeply, which at a thousand pairs is the largest part of a refresh.
    return {name: getattr(item, name) for name in names}


def _report_row(report: SourceReport) -> dict[str, Any]:
    return _with_lines(_row(report, _REPORT_FIELDS)) | {"quote": report.quote and _plain(report.quote)}


def _with_lines(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its free texts as they are read again: one printable line of bounded length."""
    for name in _FREE_TEXTS & row.keys():
        if (text := row[name]) is not None and not _is_line(text):
            row[name] = "".join(letter if letter.isprintable() else " " for letter in text[:MAX_TEXT])
    return row


def _quote(row: dict[str, Any], pair: Pair | None) -> Quote:
    found = Pair.parse(row["pair"])
    if pair is not None and found != pair:
        raise ValueError("a record of another pair")
    return Quote(**_checked(row, _QUOTE_FIELDS) | {"pair": found})


def _report(row: dict[str, Any], pair: Pair) -> SourceReport:
    quote = None if row["quote"] is None else _quote(row["quote"], pair)
    report = SourceReport(**_checked(row, _REPORT_FIELDS) | {"quote": quote})
    if quote is not None and quote.source != report.source:
        raise ValueError("a quote of another source")
    return report


def _checked(row: dict[str, Any], names: set[str]) -> dict[str, Any]:
    """The row, if it has exactly these fields and in each of them what can have been written there."""
    if row.keys() != names:
        raise ValueError("a record with other fields")
    for name in names & _CHECKS.keys():
        if not _CHECKS[name](row[name]):
            raise ValueError(name)
    return row
