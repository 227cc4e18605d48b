"""Records are read back as they were written; anything else counts as none, whatever it is."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprice.application.live_ports import StreamReport
from fastprice.application.ports import Ban, PairReport, SourceReport, Stored
from fastprice.domain.quote import MAX_TIME_MS, MIN_TIME_MS, Agreement, Pair
from fastprice.infrastructure.records import MAX_TEXT, VERSION, Records
from tests.fakes import BTC, ETH, START_MS, a_quote

SOURCES = ("binance", "okx")
FULL = a_quote(
    bid="3120.44", ask="3120.46", volume_24h="41325.02", high_24h="3200", low_24h="3000.5", open_24h="3100",
    source_time_ms=START_MS - 178,
)
MEDIAN = a_quote(source="median", pair=BTC, agreement=Agreement(("okx", "binance"), "0.000321", START_MS + 5))
REPORT = SourceReport(
    "okx", "half_open", START_MS + 1, "asked too often", "refused", START_MS, -0.02, 1, {BTC: (START_MS, "not listed")},
    {ETH: PairReport(FULL, "x", START_MS, START_MS, 0.0012, "frozen"), BTC: PairReport(error="not listed")},
)
BAN = Ban("okx", START_MS + 1, "banned")
STREAM = StreamReport("okx", "live", START_MS, START_MS + 1)
EVERYTHING = Stored(START_MS, (FULL, MEDIAN), frozenset({BTC}), (REPORT,), (BAN,), (STREAM,))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=12,
)


class Plain:
    """Records with synchronous methods."""

    def __init__(self) -> None:
        self._records = Records((ETH, BTC), SOURCES)

    def dump(self, stored: Stored) -> tuple[bytes, bytes, bytes]:
        return asyncio.run(self._records.dump(stored))

    def load(self, records: Sequence[bytes | None]) -> Stored:
        return asyncio.run(self._records.load(records))


def fresh() -> Plain:
    return Plain()


def row() -> list[Any]:
    """The row of FULL."""
    quotes: list[list[Any]] = orjson.loads(fresh().dump(EVERYTHING)[0])[2]
    return quotes[0]


def load(
    quotes: Any = (), failing: Any = (), reports: Any = (), bans: Any = (), made_at_ms: Any = START_MS, streams: Any = ()
) -> Stored:
    """What is read from records with these contents."""
    contents = [VERSION, made_at_ms, quotes, failing, streams], [VERSION, reports], [VERSION, bans]
    return fresh().load([orjson.dumps(content) for content in contents])


@pytest.mark.parametrize("stored", [EVERYTHING, Stored(), Stored(START_MS)], ids=["everything", "nothing", "no quote"])
def test_what_is_written_is_read_back(stored: Stored) -> None:
    written = fresh().dump(stored)
    assert fresh().load(written) == stored


@pytest.mark.parametrize(
    "bad", [None, [], ["okx"], ["okx", "odd", None, None], ["kraken", "live", None, None], ["okx", "live", "1", None]]
)
def test_a_report_of_a_stream_that_is_none_makes_the_record_none(bad: Any) -> None:
    assert load(quotes=[row()], streams=[bad]) == Stored()


def test_a_quote_that_is_as_it_was_is_neither_written_nor_read_again() -> None:
    records, reader = fresh(), fresh()
    first = reader.load(records.dump(EVERYTHING))
    newer = replace(FULL, price="3121", fetched_at_ms=START_MS + 9)
    second = reader.load(records.dump(replace(EVERYTHING, made_at_ms=START_MS + 9, quotes=(newer, MEDIAN))))
    assert second.quotes == (newer, MEDIAN) and second.quotes[1] is first.quotes[1]


def test_what_was_written_or_read_last_is_not_read_again() -> None:
    records = fresh()
    written = records.dump(EVERYTHING)
    assert records.load(list(written)) is EVERYTHING
    other = fresh()
    assert other.load(written) is other.load(list(written))


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_record_that_is_not_there_costs_itself_alone(missing: int) -> None:
    written: list[bytes | None] = list(fresh().dump(EVERYTHING))
    written[missing] = None
    expected = [
        replace(EVERYTHING, made_at_ms=0, quotes=(), failing=frozenset(), streams=()), replace(EVERYTHING, reports=()),
        replace(EVERYTHING, bans=()),
    ]
    assert fresh().load(written) == expected[missing]


def test_a_bad_row_costs_its_pair_and_no_other() -> None:
    good, bad = row(), row()
    bad[1] = "-1"
    assert load(quotes=[bad, good, None, [], "x"]).quotes == (FULL,)


@pytest.mark.parametrize(("place", "content"), [
    (0, "sol-usdt"), (0, "ETH-USDT"), (0, None), (0, ["eth-usdt"]), (1, 3120.45), (1, None), (1, "1e3"), (1, "NaN"),
    (1, "0"), (2, 1), (2, "3121"), (4, "-1"), (4, True), (5, "high"), (8, "made up"), (8, "\u0000"), (8, None), (8, []),
    (9, True), (9, 1.5), (9, "1753300000000"), (9, 1), (10, None), (10, float(START_MS)), (10, 10**15), (10, "x"),
], ids=repr)  # fmt: skip
def test_a_row_that_is_not_exactly_a_quote_of_ours_counts_as_none(place: int, content: Any) -> None:
    changed = row()
    changed[place] = content
    assert load(quotes=[changed]).quotes == ()


# What is not accepted as an agreement in a row of the source "median".
NO_AGREEMENTS: list[Any] = [
    None, [], ["okx"], [["okx"], "0.1"], [["made up"], "0.1", START_MS], [[], "0.1", START_MS], [["okx"], "-1", START_MS],
    [["okx"], 0.1, START_MS], [["okx"], "0.1", 1], [["okx"], "0.1", str(START_MS)], ["okx", "0.1", START_MS], [["okx"], None, START_MS],
]


@pytest.mark.parametrize("agreement", NO_AGREEMENTS, ids=repr)
def test_a_median_without_a_whole_agreement_counts_as_none(agreement: Any) -> None:
    changed = row()
    changed[8], changed[11] = "median", agreement
    assert load(quotes=[changed]).quotes == ()
    changed[11] = [["okx"], "0.1", START_MS]
    assert load(quotes=[changed]).quotes != ()
    changed[8] = "okx"
    assert load(quotes=[changed]).quotes == (), "a price of one source needs none"


@pytest.mark.parametrize("made_at_ms", [None, 0, -1, True, 1.5, str(START_MS), MIN_TIME_MS - 1, MAX_TIME_MS + 1], ids=repr)
def test_a_round_of_no_sane_time_counts_as_none(made_at_ms: Any) -> None:
    assert load(quotes=[row()], made_at_ms=made_at_ms) == Stored()


def test_pairs_and_sources_of_others_are_left_out() -> None:
    report: list[Any] = ["made up", "closed", None, None, None, None, None, 0, [], []]
    other = [
        "okx", "closed", None, None, None, None, None, 0, [["sol-usdt", START_MS, "x"]],
        [["sol-usdt", None, "x", None, None, None, None], ["eth-usdt", None, "y", None, None, None, None]],
    ]
    stored = load(
        failing=["sol-usdt", "btc-usdt", "nonsense"], reports=[report, other], bans=[["made up", START_MS, "x"]]
    )
    assert (stored.failing, stored.bans) == (frozenset({BTC}), ())
    assert stored.reports == (SourceReport("okx", "closed", pairs={ETH: PairReport(error="y")}),)


def test_two_thousand_made_up_sources_are_none() -> None:
    rows: list[list[Any]] = [[f"source {number}", "closed", None, None, None, None, None, 0, [], []] for number in range(2_000)]
    assert load(reports=rows).reports == ()


def test_a_source_that_is_reported_twice_is_there_once() -> None:
    rows: list[list[Any]] = [["okx", state, None, None, None, None, None, 0, [], []] for state in ("open", "closed")]
    assert load(reports=rows).reports == (SourceReport("okx", "closed"),)


@pytest.mark.parametrize("words", [
    "two\nlines", "\x1b[31mred", "\u202ereversed", "x" * (MAX_TEXT + 1), 5, True, ["x"], {},
], ids=repr)  # fmt: skip
def test_words_that_are_not_fit_for_a_log_make_the_record_none(words: Any) -> None:
    assert load(reports=[["okx", "closed", START_MS, words, None, None, None, 0, [], []]]).reports == ()
    assert load(reports=[["okx", "closed", None, None, words, None, None, 0, [], []]]).reports == ()
    unlisted = [["eth-usdt", START_MS, words]]
    assert load(reports=[["okx", "closed", None, None, None, None, None, 0, unlisted, []]]).reports == ()
    for row_ in ["eth-usdt", None, words, None, None, None, None], ["eth-usdt", None, None, None, None, None, words]:
        report, = load(reports=[["okx", "closed", None, None, None, None, None, 0, [], [row_]]]).reports
        assert report.of(ETH) == PairReport(), "it costs what was said of its pair alone"
    assert load(bans=[["okx", START_MS, words]]).bans == ()


@pytest.mark.parametrize("state", ["", "OPEN", "ajar", None, 1, []], ids=repr)
def test_a_breaker_in_no_state_that_there_is_makes_the_report_none(state: Any) -> None:
    assert load(reports=[["okx", state, None, None, None, None, None, 0, [], []]]).reports == ()


@pytest.mark.parametrize("record", [
    b"", b"null", b"5", b"[]", b"{}", b"[3]", b"[3,", b"\xff\xfe", b"[" * 5_000, b"[1,1,[],[]]", b'["3",1,[],[]]',
    rb'[3,1753300000000,[["\ud800"]],[]]', b"[3,NaN,[],[]]", b"[3,1e400,[],[]]", b"[3," + b"9" * 400 + b",[],[]]",
], ids=lambda record: repr(record[:20]))  # fmt: skip
def test_what_is_no_record_counts_as_none(record: bytes) -> None:
    assert fresh().load([record] * 3) == Stored()


@given(st.binary(max_size=200))
def test_no_bytes_whatever_make_reading_fail(record: bytes) -> None:
    assert fresh().load([record] * 3) == Stored()


@settings(max_examples=300)
@given(ANYTHING, st.integers(0, 11))
def test_anything_in_one_place_of_a_row_is_a_valid_quote_or_none(content: Any, place: int) -> None:
    changed = row()
    changed[place] = content
    for quote in load(quotes=[changed]).quotes:
        assert quote.pair in (ETH, BTC) and quote.source in (*SOURCES, "median")


@settings(max_examples=300)
@given(ANYTHING)
def test_anything_in_place_of_content_is_read_without_failing(content: Any) -> None:
    stored = load(content, content, content, content, content)
    assert all(isinstance(pair, Pair) for pair in stored.failing)
    assert load(reports=[content], bans=[content], quotes=[content]).quotes == ()


def test_words_of_an_exchange_may_have_many_brackets() -> None:
    words = "[{" * 60
    report = replace(REPORT, error=words, pairs={pair: PairReport(error=words) for pair in (ETH, BTC)})
    assert fresh().load(fresh().dump(replace(EVERYTHING, reports=(report,)))).reports == (report,)
