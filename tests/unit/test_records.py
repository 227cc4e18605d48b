"""What the stores write is read back the same, and whatever else stands there counts as nothing."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprice.application.ports import Ban, SourceReport
from fastprice.application.records import dump_ban, dump_quote, dump_reports, load_ban, load_quote, load_reports
from fastprice.domain.quote import SOURCES
from tests.fakes import BTC, ETH, START_MS, a_quote

FULL = a_quote("0.0001000", bid="0.00009", ask="0.00011", volume_24h="0", source_time_ms=START_MS - 5)
REPORTS = (
    SourceReport("okx", "open", None, START_MS, "asked too often", 'é "quoted"', START_MS),
    SourceReport("binance", "half_open", FULL),
)


@pytest.mark.parametrize("quote", [a_quote(), FULL], ids=["bare", "full"])
def test_a_quote_is_read_back_as_it_was_written(quote: Any) -> None:
    record = dump_quote(quote)
    assert load_quote(record, ETH) == load_quote(record.encode(), ETH) == quote


@pytest.mark.parametrize("reports", [(), REPORTS], ids=["none", "two"])
def test_reports_are_read_back_as_they_were_written(reports: Any) -> None:
    record = dump_reports(reports)
    assert load_reports(record, ETH) == load_reports(record.encode(), ETH) == reports


@pytest.mark.parametrize("ban", [Ban("okx", None, START_MS, 'é "x"'), Ban("okx", ETH, START_MS, "")], ids=["all", "one"])
def test_a_ban_is_read_back_as_it_was_written(ban: Ban) -> None:
    record = dump_ban(ban)
    assert load_ban(record) == load_ban(record.encode()) == ban


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31m", "half a \ud800", "\u202e", "x" * 10_000], ids=ascii)
def test_a_text_that_would_not_be_read_again_is_made_one_that_is(text: str) -> None:
    report, ban = SourceReport("okx", "closed", last_error=text), Ban("okx", None, START_MS, text)
    (read,), (read_ban) = load_reports(dump_reports((report,)), ETH), load_ban(dump_ban(ban))
    assert read_ban is not None and read.last_error is not None
    assert read.last_error == read_ban.reason and read.last_error.isprintable()
    assert read.last_error[:3].strip() == text[:3].split("\x1b")[-1].strip("\u202e")
    assert len(read.last_error) <= len(text)


# What no text of ours is: it would break an answer, forge a line of the log, or fill it.
NO_TEXTS: dict[str, Any] = {
    "half a character": "\ud800", "the other half": "x\udfff", "two lines": "a\nb", "a return": "a\rb", "a nul": "\0",
    "an escape": "\x1b[31m", "a line separator": "a\u2028b", "a change of direction": "\u202eab", "endless": "x" * 5_000,
}  # fmt: skip
NO_SOURCES: dict[str, Any] = NO_TEXTS | {
    "empty": "", "made up": "mtgox", "in capitals": "BINANCE", "with a blank": "binance ", "a list": ["binance"],
}


BAN_CHANGES: dict[str, dict[str, Any]] = {
    "an older version": {"v": 0}, "no version": {"v": ...}, "no source": {"source": ...}, "no pair": {"pair": ...},
    "a number for a source": {"source": 5}, "what is no pair": {"pair": "eth"}, "a number for a pair": {"pair": 5},
    "no time": {"until_ms": ...}, "null for a time": {"until_ms": None}, "true for a time": {"until_ms": True},
    "seconds for a time": {"until_ms": START_MS // 1000}, "a boundless time": {"until_ms": 10**400},
    "null for a reason": {"reason": None}, "one field too many": {"x": 1}, "true for a version": {"v": True},
    **{f"{name} for a source": {"source": text} for name, text in NO_SOURCES.items()},
    **{f"{name} for a reason": {"reason": text} for name, text in NO_TEXTS.items()},
    **{f"{name} in a pair": {"pair": f"eth-usdt{text}"} for name, text in NO_TEXTS.items()},
}


@pytest.mark.parametrize("members", BAN_CHANGES.values(), ids=BAN_CHANGES)
def test_what_is_not_exactly_a_ban_of_ours_counts_as_none(members: dict[str, Any]) -> None:
    assert load_ban(changed(dump_ban(Ban("okx", ETH, START_MS, "x")), **members)) is None


def changed(record: str, **members: Any) -> str:
    """The record with these members; one that is `...` is left out."""
    content = json.loads(record) | members
    return json.dumps({name: value for name, value in content.items() if value is not ...})


GARBAGE: dict[str, str | bytes] = {
    "nothing": "", "spaces": "  ", "no json": "{", "html": "<html>", "bytes": b"\xff\xfe", "null bytes": b"\0" * 9,
    "null": "null", "true": "true", "a number": "1", "a text": '"v"', "a list": "[]", "a list of one": '[{"v":1}]',
    "an empty object": "{}", "only a version": '{"v":1}', "NaN": '{"v":NaN}', "deep lists": "[" * 100_000,
    "deep objects": '{"v":' * 100_000, "a huge number": '{"v":1' + "0" * 5_000 + "}",
    "a megabyte": dump_quote(FULL)[:-1] + " " * 1_000_000 + "}",
    "a duplicate key": dump_quote(FULL)[:-1] + ',"price":"0.0001"}', "a duplicate version": '{"v":1,' + dump_quote(FULL)[1:],
}
QUOTE_CHANGES: dict[str, dict[str, Any]] = {
    "an older version": {"v": 0}, "a newer version": {"v": 2}, "a text for a version": {"v": "1"},
    "no version": {"v": ...}, "another pair": {"pair": "btc-usdt"}, "no pair": {"pair": ...},
    "a pair in upper case": {"pair": "ETH-USDT"}, "a list for a pair": {"pair": ["ETH", "USDT"]},
    "one field too many": {"currency": "x"}, "no price": {"price": ...}, "no bid": {"bid": ...},
    "a number for a price": {"price": 1.5}, "null for a price": {"price": None}, "a list for a bid": {"bid": [1]},
    "true for a price": {"price": True}, "zero for a price": {"price": "0"}, "a negative price": {"price": "-1"},
    "an exponent": {"price": "1e3"}, "NaN": {"price": "NaN"}, "bid above ask": {"bid": "9", "ask": "8"},
    "no time": {"fetched_at_ms": ...}, "null for a time": {"fetched_at_ms": None},
    "true for a time": {"fetched_at_ms": True}, "a fraction for a time": {"fetched_at_ms": START_MS + 0.5},
    "a text for a time": {"fetched_at_ms": str(START_MS)}, "seconds for a time": {"fetched_at_ms": START_MS // 1000},
    "microseconds": {"fetched_at_ms": START_MS * 1000}, "a boundless time": {"fetched_at_ms": 10**400},
    "true for a source time": {"source_time_ms": True}, "seconds for a source time": {"source_time_ms": 1},
    "null for a source": {"source": None}, "a number for a source": {"source": 5},
    "true for a version": {"v": True}, "a fraction for a version": {"v": 1.0},
    **{f"{name} for a source": {"source": text} for name, text in NO_SOURCES.items()},
    **{f"{name} for a bid": {"bid": text} for name, text in NO_TEXTS.items()},
    **{f"{name} in a pair": {"pair": f"eth-usdt{text}"} for name, text in NO_TEXTS.items()},
}


@pytest.mark.parametrize("record", GARBAGE.values(), ids=GARBAGE)
def test_what_is_no_record_counts_as_none(record: str | bytes) -> None:
    assert (load_quote(record, ETH), load_reports(record, ETH), load_ban(record)) == (None, (), None)


@pytest.mark.parametrize("members", QUOTE_CHANGES.values(), ids=QUOTE_CHANGES)
def test_what_is_not_exactly_a_quote_of_ours_counts_as_none(members: dict[str, Any]) -> None:
    assert load_quote(changed(dump_quote(FULL), **members), ETH) is None


def test_a_quote_is_no_report_and_a_report_no_quote() -> None:
    assert load_quote(dump_reports(REPORTS), ETH) is None
    assert load_reports(dump_quote(FULL), ETH) == ()


REPORT_CHANGES: dict[str, dict[str, Any]] = {
    "no source": {"source": ...}, "null for a source": {"source": None}, "a number for a breaker": {"breaker": 1},
    "one field too many": {"x": 1}, "true for a time": {"cooldown_until_ms": True},
    "a text for a time": {"last_error_at_ms": "1"}, "a fraction for a time": {"cooldown_until_ms": 1.5},
    "a boundless time": {"cooldown_until_ms": 10**400}, "a number for an error": {"last_error": 7},
    "a text for a quote": {"quote": "x"}, "an empty quote": {"quote": {}}, "a list for a quote": {"quote": []},
    "zero for a quote": {"quote": 0}, "false for a quote": {"quote": False}, "no quote": {"quote": ...},
    "an unknown breaker": {"breaker": "ajar"}, "a list for a breaker": {"breaker": ["open"]},
    "a quote of another source": {"quote": json.loads(dump_reports(REPORTS))["reports"][1]["quote"]},
    **{f"{name} for a source": {"source": text} for name, text in NO_SOURCES.items()},
    **{
        f"{name} for {field}": {field: text}
        for name, text in NO_TEXTS.items() for field in ("breaker", "last_error", "cooldown_reason")
    },
}  # fmt: skip


@pytest.mark.parametrize("members", REPORT_CHANGES.values(), ids=REPORT_CHANGES)
def test_one_report_that_is_not_exactly_ours_discredits_them_all(members: dict[str, Any]) -> None:
    content = json.loads(dump_reports(REPORTS))
    content["reports"][0] = json.loads(changed(json.dumps(content["reports"][0]), **members))
    assert load_reports(json.dumps(content), ETH) == ()


@pytest.mark.parametrize("reports", [None, 5, "x", [None], [[]], [5], ["x"], {"a": 1}, [{}]], ids=repr)
def test_a_list_of_something_else_is_no_list_of_reports(reports: Any) -> None:
    assert load_reports(json.dumps({"v": 1, "reports": reports}), ETH) == ()


@pytest.mark.parametrize("count", [2, 2_000])
def test_a_source_is_reported_once(count: int) -> None:
    content = json.loads(dump_reports(REPORTS))
    content["reports"] = content["reports"][:1] * count
    assert load_reports(json.dumps(content), ETH) == ()


def test_a_full_record_is_read() -> None:
    reports = tuple(
        SourceReport(name, "closed", replace(FULL, source=name), START_MS, "😀" * 400, "😀" * 400, START_MS)
        for name in SOURCES
    )
    assert [report.source for report in load_reports(dump_reports(reports), ETH)] == list(SOURCES)


def test_reports_with_a_quote_of_another_pair_are_not_ours() -> None:
    assert load_reports(dump_reports(REPORTS), BTC) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)
FIELDS = st.fixed_dictionaries(
    {"v": st.just(1)},
    optional={name: JSON for name in json.loads(dump_quote(FULL)) if name != "v"} | {"reports": JSON},
)


@given(st.binary() | st.text() | JSON.map(json.dumps) | FIELDS.map(json.dumps))
def test_no_record_whatever_makes_reading_fail(record: str | bytes) -> None:
    assert load_quote(record, ETH) is None
    assert load_reports(record, ETH) == ()


@given(st.sampled_from(sorted(json.loads(dump_quote(FULL)))), JSON)
def test_a_quote_with_anything_in_one_field_is_a_valid_quote_or_none(name: str, content: Any) -> None:
    quote = load_quote(changed(dump_quote(FULL), **{name: content}), ETH)
    assert quote is None or load_quote(dump_quote(quote), ETH) == quote


@given(st.sampled_from(sorted(json.loads(dump_reports(REPORTS))["reports"][0])), JSON)
def test_a_report_with_anything_in_one_field_is_a_valid_report_or_none(name: str, content: Any) -> None:
    row = json.loads(dump_reports(REPORTS))["reports"][0] | {name: content}
    reports = load_reports(json.dumps({"v": 1, "reports": [row]}), ETH)
    assert reports == () or load_reports(dump_reports(reports), ETH) == reports
