"""What `fastprice quote` prints."""

from typing import Any

from fastprice.application.ask_each import Asked
from fastprice.domain.quote import SourceTime
from fastprice.interface.quote_table import table
from tests.fakes import ETH, START_MS, a_quote


def answered(source: str, price: str, kind: SourceTime = SourceTime.NONE, lag_ms: int | None = None, **more: Any) -> Asked:
    stamp = None if lag_ms is None else START_MS - lag_ms
    return Asked(source, kind, 0.0834, a_quote(price, source=source, source_time_ms=stamp, **more), None)


def silent(source: str) -> Asked:
    return Asked(source, SourceTime.NONE, 2.0, None, "no answer within 2 s")


def test_table_says_of_each_source_what_it_said_and_what_to_think_of_it() -> None:
    rows = [
        answered("binance", "3000.00", SourceTime.PRICE, 250, bid="2999.99", ask="3000.01"),
        answered("okx", "3003.00"),
        answered("coinbase", "2997", SourceTime.TRADE, 1500),
        answered("bybit", "3300.5", SourceTime.REPLY, -40),
        silent("kraken"),
    ]
    assert table(ETH, rows, 0.05).splitlines() == [
        "source      price      bid      ask  latency            clock  from median  verdict",
        "binance   3000.00  2999.99  3000.01    83 ms          -0.25 s      -0.050%  ok",
        "okx       3003.00        -        -    83 ms                -      +0.050%  ok",
        "coinbase     2997        -        -    83 ms  -1.50 s (trade)      -0.150%  ok",
        "bybit      3300.5        -        -    83 ms  +0.04 s (reply)      +9.962%  more than 5.0% from the median",
        "kraken          -        -        -  2000 ms                -            -  no answer within 2 s",
        "",
        "ETH-USDT: 4 of 5 sources answered, median 3001.50",
    ]


def test_deviation_is_judged_in_both_directions_and_its_limit_is_still_ok() -> None:
    lines = table(ETH, [answered("a", "95.1"), answered("b", "100"), answered("c", "105.1")], 0.05).splitlines()
    assert [line.split("%  ")[1] for line in lines[1:4]] == ["ok", "ok", "more than 5.0% from the median"]


def test_the_median_of_an_even_number_has_the_digits_of_the_finer_of_the_middle_two() -> None:
    prices = {"a": "2999", "b": "3000.01", "c": "3000.04", "d": "3001.5"}
    *_, last = table(ETH, [answered(source, price) for source, price in prices.items()], 0.05).splitlines()
    assert last.endswith(", median 3000.02"), "the mean is 3000.025, and half of a digit goes to the even one"


def test_when_none_answers_the_table_says_what_may_be_wrong() -> None:
    *_, last = table(ETH, [silent("okx"), silent("gate")], 0.05).splitlines()
    assert last.startswith("ETH-USDT: 0 of 2 sources answered. ") and "fastprice market" in last
