"""The table of live prices: what it shows, what it marks, and how it fits the terminal."""

import pytest

from fastprice.interface.watch_table import COUNTS_MS, PLAIN, UNDERLINED, Middle, Row, middle_of, plain_line, table
from tests.fakes import ETH, START_MS, a_quote

NOW_MS = START_MS + 400


def a_row(source: str, price: str, before: str = "", at_ms: int = START_MS) -> Row:
    return Row(source, a_quote(price, at_ms, source, bid="1.0", ask=None), "", "live", before)


ROWS = [a_row("binance", "100.00"), a_row("okx", "101.00"), a_row("kraken", "102.00"), Row("gate", None, "not listed", "live")]


def test_every_source_has_a_row_and_the_median_the_last_one() -> None:
    lines = table(ETH, ROWS, NOW_MS, 200)
    assert lines[0] == "ETH-USDT" and len(lines) == 7
    assert lines[2].split() == ["binance", "100.00", "1.0", "-", "0.4", "s", "-0.990%", "live"]
    assert lines[5].split() == ["gate", "-", "-", "-", "-", "-", "not", "listed"]
    assert lines[6].split() == ["median", "of", "3", "101.00"]


def test_what_is_old_does_not_count_in_the_median() -> None:
    old = a_row("old", "1.00", at_ms=NOW_MS - COUNTS_MS - 1)
    assert middle_of([*ROWS, old], NOW_MS) == Middle("101.00", 3)
    assert middle_of([old], NOW_MS) == Middle("", 0)
    assert table(ETH, [old], NOW_MS, 200)[-1].split() == ["median", "of", "0", "-"]


@pytest.mark.parametrize(("before", "price", "marked"), [
    ("100.00", "100.05", f"100.0{UNDERLINED}5{PLAIN}"), ("100.00", "101.00", f"10{UNDERLINED}1.00{PLAIN}"),
    ("99.99", "100.00", f"{UNDERLINED}100.00{PLAIN}"), ("100.00", "100.00", "100.00"), ("", "100.00", "100.00"),
])  # fmt: skip
def test_the_digits_that_changed_are_underlined(before: str, price: str, marked: str) -> None:
    assert f" {marked} " in f"{table(ETH, [a_row('okx', price, before)], NOW_MS, 200)[2]} "


@pytest.mark.parametrize("columns", [10, 20, 30, 45, 60, 80])
def test_no_line_is_wider_than_the_terminal_and_the_price_is_the_last_to_go(columns: int) -> None:
    lines = table(ETH, ROWS, NOW_MS, columns)
    assert all(len(line) <= columns for line in lines)
    assert columns < 20 or "100.00" in lines[2]


def test_a_line_for_other_programs_has_all_digits_and_the_time_of_the_price() -> None:
    quote = a_quote("0.00001200", START_MS, "okx", bid="0.000011")
    assert plain_line(quote) == "2025-07-23T19:46:40.000Z ETH-USDT okx 0.00001200 0.000011 -"
