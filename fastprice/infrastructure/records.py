"""How the stores serialise their data, and check it on reading as if it came from an untrusted writer.

There are three records, because they are kept for different times: the round (made at, quotes, failing pairs, streams),
the reports, and the bans. Each is JSON of arrays in a fixed order, because there may be a thousand quotes. What a
source said about a pair is parsed only when somebody looks at that pair.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import NoneType
from typing import Any

import orjson

from fastprice.application.live_ports import STREAM_STATES, StreamReport
from fastprice.application.ports import BREAKER_STATES, NOTHING_SAID, Ban, PairReport, SourceReport, Stored
from fastprice.application.slices import in_slices
from fastprice.domain.quote import Pair, Quote
from fastprice.infrastructure.quote_rows import STRANGE, QuoteRows, quote_row, time_of

# Raised when the format changes: a record of another version counts as missing.
VERSION = 4
MAX_TEXT = 400
# The limits of a record for each possible pair and source, including brackets in an exchange's words. Parsing
# megabytes of hardly anything but brackets would take half a second.
LISTS_EACH, BYTES_EACH = 64, 4096


class Records:
    """Writes and reads records about the pairs and sources of this service; anything else in them is left out.

    The records that were written or read last are remembered, so that they are not parsed again.
    """

    def __init__(self, pairs: Iterable[Pair], sources: Iterable[str]) -> None:
        self._pairs = {pair.slug: pair for pair in pairs}
        self._sources = frozenset(sources)
        self._last: tuple[Sequence[bytes | None], Stored] = ((), Stored())
        # The rows of the pairs of each source, as they were written last: most of them stay the same for a long time.
        self._written: dict[str, tuple[Mapping[Pair, PairReport], orjson.Fragment]] = {}
        self._quotes = QuoteRows(self._pairs, self._sources)
        self._most = (len(self._pairs) + 1) * (len(self._sources) + 1)

    async def dump(self, stored: Stored) -> tuple[bytes, bytes, bytes]:
        """The round, the reports and the bans."""
        quotes = [self._quotes.write(quote) async for quote in in_slices(stored.quotes)]
        failing = [pair.slug for pair in stored.failing]
        streams = [[each.source, each.state, each.since_ms, each.frame_at_ms] for each in stored.streams]
        # Between two rounds the reports are the same.
        is_known = bool(self._last[0]) and stored.reports is self._last[1].reports
        reports = self._last[0][1] if is_known else None
        records = (
            orjson.dumps([VERSION, stored.made_at_ms, quotes, failing, streams]),
            reports or orjson.dumps([VERSION, [self._report_row(report) for report in stored.reports]]),
            orjson.dumps([VERSION, [[ban.source, ban.until_ms, ban.reason] for ban in stored.bans]]),
        )
        self._last = records, stored
        return records

    async def load(self, records: Sequence[bytes | None]) -> Stored:
        """The content of the round, the reports and the bans; None stands for a missing record."""
        if tuple(records) == self._last[0]:
            return self._last[1]
        round_, reports, bans = records
        made_at_ms, quotes, failing, streams = await self._round(round_)
        # With many pairs the reports are most of the data, and they change only once per check of the sources.
        told = self._last[1].reports if reports in self._last[0][1:2] else self._reports(reports)
        stored = Stored(made_at_ms, quotes, failing, told, self._bans(bans), streams)
        self._last = tuple(records), stored
        return stored

    def _content(self, record: bytes | None, length: int) -> list[Any]:
        """The content of a record of this version; raises ValueError for any other record."""
        record = record or b"[0]"
        lists = len(record) - len(record.translate(None, b"[{"))
        if len(record) > self._most * BYTES_EACH or lists > self._most * LISTS_EACH:
            raise ValueError("a record of more than there can be")
        content: list[Any]
        version, *content = orjson.loads(record)
        if version != VERSION or len(content) != length:
            raise ValueError("a record of another version")
        return content

    async def _round(
        self, record: bytes | None
    ) -> tuple[int, tuple[Quote, ...], frozenset[Pair], tuple[StreamReport, ...]]:
        try:
            made_at_ms, quotes, failing, streams = self._content(record, 4)
            found = [quote async for row in in_slices(quotes) if (quote := self._quotes.read(row))]
            missing = frozenset(self._pairs[slug] for slug in failing if slug in self._pairs)
            return time_of(made_at_ms), tuple(found), missing, tuple(self._stream(*row) for row in streams)
        except STRANGE:
            return 0, (), frozenset(), ()

    def _stream(self, source: Any, state: Any, since_ms: Any, frame_at_ms: Any) -> StreamReport:
        if source not in self._sources or state not in STREAM_STATES:
            raise ValueError(source)
        return StreamReport(source, state, _optional_time(since_ms), _optional_time(frame_at_ms))

    def _reports(self, record: bytes | None) -> tuple[SourceReport, ...]:
        try:
            (rows,) = self._content(record, 1)
            reports = {row[0]: self._report(row) for row in rows if row[0] in self._sources}
            return tuple(reports.values())
        except STRANGE:
            return ()

    def _report(self, row: Any) -> SourceReport:
        source, breaker, until_ms, reason, error, error_at_ms, deviation, distrusted, unlisted, pairs = row
        if breaker not in BREAKER_STATES or type(distrusted) is not int:
            raise ValueError(breaker)
        return SourceReport(
            source, breaker, _optional_time(until_ms), _words(reason), _words(error), _optional_time(error_at_ms),
            _optional_share(deviation), distrusted,
            {self._pairs[slug]: (time_of(ms), _words(why) or "") for slug, ms, why in unlisted if slug in self._pairs},
            _Rows({self._pairs[slug]: rest for slug, *rest in pairs if slug in self._pairs}, self._pair_report),
        )  # fmt: skip

    def _pair_report(self, row: Any) -> PairReport:
        try:
            quote, error, error_at_ms, until_ms, deviation, distrusted = row
            found = None if quote is None else self._quotes.parse(quote)
            times = _optional_time(error_at_ms), _optional_time(until_ms)
            return PairReport(found, _words(error), *times, _optional_share(deviation), _words(distrusted))
        except STRANGE:
            return NOTHING_SAID

    def _report_row(self, report: SourceReport) -> list[Any]:
        written, pairs = self._written.get(report.source, ({}, None))
        if pairs is None or written is not report.pairs:
            pairs = orjson.Fragment(orjson.dumps([_pair_row(pair, said) for pair, said in report.pairs.items()]))
            self._written[report.source] = report.pairs, pairs
        return [
            report.source, report.breaker, report.cooldown_until_ms, report.cooldown_reason, report.error,
            report.error_at_ms, report.deviation, report.distrusted,
            [[pair.slug, until_ms, why] for pair, (until_ms, why) in report.unlisted.items()], pairs,
        ]  # fmt: skip

    def _bans(self, record: bytes | None) -> tuple[Ban, ...]:
        try:
            (rows,) = self._content(record, 1)
            return tuple(Ban(name, time_of(ms), _words(why) or "") for name, ms, why in rows if name in self._sources)
        except STRANGE:
            return ()


class _Rows(Mapping[Pair, PairReport]):
    """What a source said about each pair, parsed when it is looked at."""

    def __init__(self, rows: Mapping[Pair, Any], read: Callable[[Any], PairReport]) -> None:
        self._rows, self._read = rows, read

    def __getitem__(self, pair: Pair) -> PairReport:
        return self._read(self._rows[pair])

    def __iter__(self) -> Iterator[Pair]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self) == dict(other)


def _pair_row(pair: Pair, said: PairReport) -> list[Any]:
    quote = said.quote and quote_row(said.quote)
    return [pair.slug, quote, said.error, said.error_at_ms, said.unlisted_until_ms, said.deviation, said.distrusted]


def _optional_time(value: Any) -> int | None:
    return None if value is None else time_of(value)


def _optional_share(value: Any) -> float | None:
    if type(value) not in (int, float, NoneType):
        raise ValueError(value)
    return value if value is None else float(value)


def _words(value: Any) -> str | None:
    """The text, if it is fit for a log and a page: one short printable line; raises ValueError otherwise."""
    if value is not None and not (isinstance(value, str) and len(value) <= MAX_TEXT and value.isprintable()):
        raise ValueError(value)
    return value
