"""How the stores serialise a quote, and check it on reading as if it came from an untrusted writer.

A row is an array in the order of a Quote's own members.
"""

from collections.abc import Mapping
from dataclasses import fields
from operator import attrgetter
from types import NoneType
from typing import Any

import orjson

from fastprice.domain.errors import FastpriceError
from fastprice.domain.quote import MAX_TIME_MS, MEDIAN, MIN_TIME_MS, Agreement, Pair, Quote

# The members of a quote in its own order, with the slug in place of the pair and without the agreement.
_members = attrgetter("pair.slug", *(member.name for member in fields(Quote)[1:-1]))

# Everything that reading an invalid record can raise.
STRANGE = (ValueError, TypeError, LookupError, FastpriceError)


class QuoteRows:
    """Writes and reads the rows of quotes of these pairs (by slug) and sources.

    The last row written or read of each pair is remembered: streams update some of the pairs many times a second.
    """

    def __init__(self, pairs: Mapping[str, Pair], sources: frozenset[str]) -> None:
        self._pairs = pairs
        self._sources = sources
        self._written: dict[Pair, tuple[Quote, orjson.Fragment]] = {}
        self._read: dict[str, tuple[list[Any], Quote | None]] = {}

    def write(self, quote: Quote) -> orjson.Fragment:
        """The row of a quote."""
        written, row = self._written.get(quote.pair, (None, None))
        if row is None or written is not quote:
            row = orjson.Fragment(orjson.dumps(quote_row(quote)))
            self._written[quote.pair] = quote, row
        return row

    def read(self, row: Any) -> Quote | None:
        """The quote in a row, the same object as before where the row is the same; None as for `parse`."""
        if not isinstance(row, list) or not row or not isinstance(row[0], str) or row[0] not in self._pairs:
            return None
        before, quote = self._read.get(row[0], (None, None))
        if before != row:
            quote = self.parse(row)
            self._read[row[0]] = row, quote
        return quote

    def parse(self, row: Any) -> Quote | None:
        """The quote in a row; None for one of another pair or source, and for one that is not valid."""
        try:
            slug, *rest, agreement = row
            *_, source, source_time_ms, fetched_at_ms = rest
            agreed = None if agreement is None else self._agreement(*agreement)
            if type(fetched_at_ms) is not int or type(source_time_ms) not in (int, NoneType):
                return None
            if source not in ((MEDIAN,) if agreed else self._sources):
                return None
            return Quote(*(self._pairs[slug], *rest, agreed))
        except STRANGE:
            return None

    def _agreement(self, sources: Any, spread: Any, made_at_ms: Any) -> Agreement:
        if not self._sources.issuperset(sources):
            raise ValueError(sources)
        return Agreement(tuple(sources), spread, time_of(made_at_ms))


def quote_row(quote: Quote) -> tuple[Any, ...]:
    """The members of a quote in the order of a row."""
    agreed = quote.agreement
    return *_members(quote), agreed and (agreed.sources, agreed.spread, agreed.made_at_ms)


def time_of(value: Any) -> int:
    """The value if it is a time in wall milliseconds; raises ValueError otherwise."""
    if type(value) is not int or not MIN_TIME_MS <= value <= MAX_TIME_MS:
        raise ValueError(value)
    return value
