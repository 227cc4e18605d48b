"""How the stores write things down, and read them again as if a stranger had written them.

Three records, because they live for different times: the round (made at, quotes, failing pairs), the reports, and the
bans. Each is JSON of arrays in a fixed order; quotes repeat no names, because there may be a thousand of them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any

import orjson

from fastprice.application.ports import BREAKER_STATES, Ban, PairReport, SourceReport, Stored
from fastprice.domain.errors import FastpriceError
from fastprice.domain.quote import MAX_TIME_MS, MIN_TIME_MS, Pair, Quote

# Raised when the form changes: a record of another version counts as none.
VERSION = 2
MAX_TEXT = 400

# The members of a quote in its own order, but for the pair.
_quote_row = attrgetter("pair.slug", *(member.name for member in fields(Quote)[1:]))

# Whatever a stranger's record makes the reading raise.
_STRANGE = (ValueError, TypeError, LookupError, FastpriceError)


class Records:
    """Writes and reads records about the pairs and sources of this service; anything else in them is left out.

    What was written or read last is remembered, so that it is not read again.
    """

    def __init__(self, pairs: Iterable[Pair], sources: Iterable[str]) -> None:
        self._pairs = {pair.slug: pair for pair in pairs}
        self._sources = frozenset(sources)
        self._last: tuple[Sequence[bytes | None], Stored] = ((), Stored())

    def dump(self, stored: Stored) -> tuple[bytes, bytes, bytes]:
        """The round, the reports and the bans."""
        quotes = [_quote_row(quote) for quote in stored.quotes]
        failing = [pair.slug for pair in stored.failing]
        records = (
            orjson.dumps([VERSION, stored.made_at_ms, quotes, failing]),
            orjson.dumps([VERSION, [_report_row(report) for report in stored.reports]]),
            orjson.dumps([VERSION, [[ban.source, ban.until_ms, ban.reason] for ban in stored.bans]]),
        )
        self._last = records, stored
        return records

    def load(self, records: Sequence[bytes | None]) -> Stored:
        """What the round, the reports and the bans say; None is a record that is not there."""
        if tuple(records) == self._last[0]:
            return self._last[1]
        round_, reports, bans = records
        made_at_ms, quotes, failing = self._round(round_)
        stored = Stored(made_at_ms, quotes, failing, self._reports(reports), self._bans(bans))
        self._last = tuple(records), stored
        return stored

    def _round(self, record: bytes | None) -> tuple[int, tuple[Quote, ...], frozenset[Pair]]:
        try:
            made_at_ms, quotes, failing = _content(record, 3)
            found = tuple(quote for row in quotes if (quote := self._quote(row)))
            known = frozenset(self._pairs[slug] for slug in failing if slug in self._pairs)
            return _time(made_at_ms), found, known
        except _STRANGE:
            return 0, (), frozenset()

    def _quote(self, row: Any) -> Quote | None:
        """The quote in a row; None for one of another pair or source, and for one that is not valid."""
        try:
            slug, *rest = row
            *_, source, source_time_ms, fetched_at_ms = rest
            if source not in self._sources or type(fetched_at_ms) is not int:
                return None
            if source_time_ms is not None and type(source_time_ms) is not int:
                return None
            return Quote(self._pairs[slug], *rest)
        except _STRANGE:
            return None

    def _reports(self, record: bytes | None) -> tuple[SourceReport, ...]:
        try:
            (rows,) = _content(record, 1)
            reports = {row[0]: self._report(row) for row in rows if row[0] in self._sources}
            return tuple(reports.values())
        except _STRANGE:
            return ()

    def _report(self, row: Any) -> SourceReport:
        source, breaker, until_ms, reason, error, error_at_ms, pairs = row
        if breaker not in BREAKER_STATES:
            raise ValueError(breaker)
        said = {self._pairs[slug]: self._pair_report(*rest) for slug, *rest in pairs if slug in self._pairs}
        until_ms, error_at_ms = _optional_time(until_ms), _optional_time(error_at_ms)
        return SourceReport(source, breaker, until_ms, _words(reason), _words(error), error_at_ms, said)

    def _pair_report(self, quote: Any, error: Any, error_at_ms: Any, unlisted_until_ms: Any) -> PairReport:
        found = None if quote is None else self._quote(quote)
        return PairReport(found, _words(error), _optional_time(error_at_ms), _optional_time(unlisted_until_ms))

    def _bans(self, record: bytes | None) -> tuple[Ban, ...]:
        try:
            (rows,) = _content(record, 1)
            return tuple(
                Ban(source, _time(until_ms), _words(reason) or "")
                for source, until_ms, reason in rows
                if source in self._sources
            )
        except _STRANGE:
            return ()


def _report_row(report: SourceReport) -> list[Any]:
    pairs = [
        [pair.slug, said.quote and _quote_row(said.quote), said.error, said.error_at_ms, said.unlisted_until_ms]
        for pair, said in report.pairs.items()
    ]
    return [
        report.source, report.breaker, report.cooldown_until_ms, report.cooldown_reason, report.error,
        report.error_at_ms, pairs,
    ]  # fmt: skip


def _content(record: bytes | None, length: int) -> list[Any]:
    """The content of a record of this version."""
    content: list[Any]
    version, *content = orjson.loads(record or b"[0]")
    if version != VERSION or len(content) != length:
        raise ValueError("a record of another version")
    return content


def _time(value: Any) -> int:
    if type(value) is not int or not MIN_TIME_MS <= value <= MAX_TIME_MS:
        raise ValueError(value)
    return value


def _optional_time(value: Any) -> int | None:
    return None if value is None else _time(value)


def _words(value: Any) -> str | None:
    """Words fit for a log and a page: one printable line, not long."""
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()):
        raise ValueError(value)
    return value
