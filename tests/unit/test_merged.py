"""How polls and the stream of one source are merged for a pair: parts, times, and how a poll detects a bad stream."""

from typing import Any

import pytest

from fastprice.application.judgement import OFF, VERY_WRONG_MS, WRONG_MS
from fastprice.application.live_ports import Day, Update
from fastprice.application.merged import SAME_MS, SILENT_MS, Found, Merged
from fastprice.application.stamps import Stamps
from fastprice.domain.errors import InvalidQuote
from fastprice.domain.quote import MAX_SKEW_MS, Quote
from tests.fakes import ETH, START_MS, a_quote


class Source:
    """One pair of one source on a clock of milliseconds since the start."""

    def __init__(self, with_book: bool = True, lag_ms: int | None = None, same_stamps: bool = False) -> None:
        self.merged = Merged(with_book, Stamps(10_000 if same_stamps else lag_ms), same_stamps)
        self.found = Found()

    def poll(self, price: str, at: int, asked: int | None = None, **other: Any) -> Quote:
        """The answer to a poll that was sent 100 ms earlier, or at the time `asked`."""
        asked_ms = START_MS + (at - 100 if asked is None else asked)
        quote, self.found = self.merged.poll(a_quote(price, START_MS + at, **other), asked_ms)
        return quote

    def hear(self, at: int, price: str | None = None, **other: Any) -> bool:
        fields: dict[str, Any] = {"book": None, "day": None, "time_ms": None} | other
        return self.merged.hear(Update(ETH, price, read_at_ms=START_MS + at, **fields))

    def take(self) -> Quote:
        quote = self.merged.take()
        assert quote
        return quote


def test_a_part_that_a_message_does_not_carry_stays_as_it_was_said() -> None:
    source = Source()
    source.poll("100", 0, bid="99", ask="101", volume_24h="7", high_24h="110", source_time_ms=START_MS - 5)
    assert source.hear(10, "100.50")
    assert source.take() == a_quote(
        "100.50", START_MS + 10, bid="99", ask="101", volume_24h="7", high_24h="110", source_time_ms=START_MS - 5
    )
    source.hear(20, book=("100.4", None), time_ms=START_MS + 15)
    source.hear(21, day=Day("8", "120", "90", None))
    assert source.take() == a_quote(
        "100.50", START_MS + 21, bid="100.4", ask=None, volume_24h="8", high_24h="120", low_24h="90",
        source_time_ms=START_MS + 15,
    )  # fmt: skip


def test_the_stamp_is_the_newest_that_can_be_true() -> None:
    source = Source()
    source.poll("100", 0, source_time_ms=START_MS)
    source.hear(10, "101", time_ms=START_MS - 400)
    assert source.take().source_time_ms == START_MS
    source.hear(20, "102", time_ms=START_MS + 20 + MAX_SKEW_MS + 1)
    assert source.take().source_time_ms == START_MS


def test_a_poll_that_is_behind_the_stream_does_not_run_backwards() -> None:
    source = Source(lag_ms=7000)
    source.poll("100", 0, source_time_ms=START_MS - 900)
    source.hear(500, "100.1", time_ms=START_MS + 490)
    quote = source.poll("100", 1000, source_time_ms=START_MS + 100)
    assert (quote.price, quote.source_time_ms) == ("100", START_MS + 490)
    assert source.poll("100", 2000, source_time_ms=START_MS + 1100).source_time_ms == START_MS + 1100


def test_a_poll_that_is_old_or_older_than_the_one_before_keeps_its_stamp_and_stands_alone() -> None:
    for stamp_ms in START_MS - 7000, START_MS + 99:
        source = Source(lag_ms=7000)
        source.poll("100", 0, source_time_ms=START_MS + 100)
        source.hear(950, book=("99", "101"), time_ms=START_MS + 940)
        quote = source.poll("90", 1000, source_time_ms=stamp_ms)
        assert (quote.price, quote.bid, quote.source_time_ms) == ("90", None, stamp_ms)


def test_after_our_clock_was_set_back_polls_count_at_once() -> None:
    source = Source()
    source.poll("100", 0)
    source.hear(500, "100.1")
    source.take()
    back = source.poll("100.2", -90_000)
    assert back == a_quote("100.2", START_MS - 90_000)
    assert source.hear(-89_000, "100.3") and source.take().price == "100.3"


def test_a_number_with_more_zeros_is_the_same_number() -> None:
    source = Source()
    for number in range(10):
        source.poll("3030.10000", number * 1000, bid="3030.00", ask="3031")
        if number < 2:
            source.hear(number * 1000 + 500, "3030.1", book=("3030", "3031.0"))
    assert not source.merged.silences and not source.merged.doubted


def test_a_stream_that_speaks_before_the_first_poll_makes_no_quote() -> None:
    source = Source()
    assert not source.hear(0, "100") and source.merged.take() is None


def test_what_makes_no_quote_costs_nothing_that_was_said() -> None:
    source = Source()
    source.poll("100", 0, bid="99", ask="101")
    with pytest.raises(InvalidQuote):
        source.hear(10, "1e5")
    assert source.take().price == "100"


def test_what_is_read_in_the_millisecond_of_what_was_served_is_newer_than_it() -> None:
    source = Source()
    source.poll("100", 0)
    stamps = []
    for price in ("101", "102", "103"):
        source.hear(5, price)
        source.hear(5, price)
        stamps.append(source.take().fetched_at_ms - START_MS)
    assert stamps == [5, 6, 7]


def test_a_message_stamped_before_the_answer_that_was_read_before_it_is_left_out() -> None:
    source = Source()
    source.poll("100", 1000)
    assert not source.hear(999 - SAME_MS, "101") and source.take().price == "100"


def test_a_poll_that_was_asked_before_a_message_was_read_confirms_and_does_not_replace() -> None:
    source = Source()
    source.poll("100", 0, bid="99", ask="100", volume_24h="1")
    source.hear(500, "100.2", book=("100.1", "100.2"))
    other = source.poll("100.1", 600, asked=400, bid="100", ask="101", volume_24h="2")
    assert other == a_quote("100.2", START_MS + 500, bid="100.1", ask="100.2", volume_24h="2")
    same = source.poll("100.2", 700, asked=450, bid="100.1", ask="100.2", volume_24h="3")
    assert same == a_quote("100.2", START_MS + 700, bid="100.1", ask="100.2", volume_24h="3")


def test_a_poll_that_was_asked_after_the_last_message_replaces_it_part_by_part() -> None:
    source = Source()
    source.poll("100", 0, bid="99", ask="100")
    source.hear(500, "105")
    source.hear(700, book=("106", "107"))
    mixed = source.poll("105", 800, asked=600, bid="1", ask="2")
    assert (mixed.price, mixed.bid, mixed.ask, mixed.fetched_at_ms) == ("105", "106", "107", START_MS + 700)
    all_new = source.poll("107", 1000, asked=900, bid="3", ask="4")
    assert all_new == a_quote("107", START_MS + 1000, bid="3", ask="4")


def test_a_poll_that_is_older_by_its_stamp_than_the_stream_neither_replaces_it_nor_shows_it_silent() -> None:
    source = Source(same_stamps=True)
    source.poll("100", 0, source_time_ms=START_MS)
    source.hear(3000, "100.1", time_ms=START_MS + 3000)
    for number in range(4, 10):
        behind = source.poll("100", 1000 * number, source_time_ms=START_MS + 1900)
        assert behind == a_quote("100.1", START_MS + 3000, source_time_ms=START_MS + 3000) and not source.found.silences
    same = source.poll("100.1", 10_500, source_time_ms=START_MS + 1900)
    assert same == a_quote("100.1", START_MS + 10_500, source_time_ms=START_MS + 3000), "it confirms"
    newer = source.poll("100.2", 11_000, source_time_ms=START_MS + 3100)
    assert newer == a_quote("100.2", START_MS + 11_000, source_time_ms=START_MS + 3100)


def test_a_poll_whose_stamp_has_whole_seconds_is_not_older_and_shows_the_newest_stamp() -> None:
    source = Source(same_stamps=True)
    source.poll("100", 0, source_time_ms=START_MS, bid="1", ask="2")
    source.hear(900, "100.1", time_ms=START_MS + 900)
    polled = source.poll("100.2", 2000, source_time_ms=START_MS, bid="3", ask="4")
    assert polled == a_quote("100.2", START_MS + 2000, source_time_ms=START_MS + 900, bid="3", ask="4")


def test_a_poll_whose_own_stamps_run_backwards_is_left_as_it_is_for_the_round_to_refuse() -> None:
    source = Source()
    source.poll("100", 0, source_time_ms=START_MS)
    source.hear(900, "100.1", time_ms=START_MS + 900)
    assert source.poll("100.2", 2000, source_time_ms=START_MS - 1).source_time_ms == START_MS - 1


def test_where_stamps_mean_different_things_the_poll_that_was_asked_later_is_newer() -> None:
    source = Source()
    source.poll("100", 0, source_time_ms=START_MS)
    source.hear(1000, "100.1", time_ms=START_MS + 1000)
    assert source.poll("100", 2000, source_time_ms=START_MS + 900).price == "100"


def test_a_stream_whose_stamps_run_ahead_is_found_out_all_the_same() -> None:
    source = Source(same_stamps=True)
    source.poll("100", 0, source_time_ms=START_MS)
    for number in range(1, 30):
        at = number * 1000
        source.hear(at - 500, "101", time_ms=START_MS + at - 500 + MAX_SKEW_MS)
        source.poll("100", at, source_time_ms=START_MS + at)
        if source.found.is_wrong:
            break
    assert number < 10 and source.merged.take() is None


def polled(source: Source, prices: list[str], said: dict[int, str], every: int = 1000) -> list[Found]:
    """What each poll finds; between the polls the stream says the prices in `said`, at their times."""
    found = []
    for number, price in enumerate(prices):
        for at in range((number - 1) * every, number * every):
            if at in said:
                source.hear(at, said[at])
        source.poll(price, number * every)
        found.append(source.found)
    return found


def test_a_stream_that_does_not_tell_what_polls_see_is_found_silent_again_and_again() -> None:
    found = polled(Source(), ["100", *["101"] * 10], {})
    assert [each.silences for each in found] == [0, 0, 0, 0, 1, 0, 0, 2, 0, 0, 3]
    assert SILENT_MS == 3000


def test_a_stream_that_speaks_again_is_silent_no_more() -> None:
    found = polled(Source(), ["100", *["101"] * 5, *["102"] * 5], {4500: "101", 6200: "102"})
    assert [each.silences for each in found] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]


def test_a_stream_is_not_silent_where_nothing_changes_or_where_it_tells_once_a_second() -> None:
    assert not any(each.silences for each in polled(Source(), ["100"] * 20, {}))
    prices = [str(100 + number) for number in range(20)]
    said = {number * 1000 + 450: f"{100 + number}.5" for number in range(20)}
    assert not any(each.silences for each in polled(Source(), prices, said))


@pytest.mark.parametrize(("with_book", "silences"), [(True, 1), (False, 0)])
def test_silence_about_bid_and_ask_counts_where_the_stream_tells_each_change_of_them(
    with_book: bool, silences: int
) -> None:
    source = Source(with_book)
    for number in range(5):
        source.hear(number * 1000 - 500, "100")
        source.poll("100", number * 1000, bid=str(90 + number), ask="101")
    assert source.found.silences == silences


def test_a_stream_that_polls_contradict_is_not_listened_to_until_one_confirms_it() -> None:
    source = Source()
    source.poll("100", 0)
    assert source.hear(500, "102")
    assert source.poll("100", 1000).price == "100"
    assert not source.hear(1500, "102")
    assert source.poll("102", 2000).price == "102"
    assert source.hear(2500, "102.01")


def test_a_doubted_stream_that_has_told_nothing_since_the_last_poll_stays_doubted() -> None:
    """1. A poll contradicts the stream. 2. After two seconds a new window begins. 3. It tells before the next poll."""
    source = Source()
    source.poll("100", 0)
    source.hear(500, "102")
    for at in 1000, 2000, 2200:
        source.poll("100", at)
    assert not source.hear(2300, "102")


def test_what_a_doubted_stream_says_is_not_taken_though_there_was_something_to_take_before() -> None:
    source = Source()
    source.poll("100", 0)
    assert source.hear(500, "102")
    source.poll("100", 1000)
    assert not source.hear(1001, "102.1")
    assert source.merged.take() is None
    source.poll("102.1", 2000)
    assert source.take().price == "102.1"


@pytest.mark.parametrize(("price", "is_believed"), [("100.26", False), ("99.74", False), ("100.2", True)])
def test_a_poll_has_the_last_word_about_what_is_off_by_more_than_a_quarter_of_a_percent(
    price: str, is_believed: bool
) -> None:
    source = Source()
    source.poll("100", 0)
    assert source.hear(500, price)
    assert source.poll("100", 1000).price == "100"
    assert source.hear(1500, price) is is_believed


def test_a_stream_that_is_wrong_is_found_out_the_sooner_the_farther_it_is_off() -> None:
    def seconds_until_found(price: str) -> int:
        source = Source()
        source.poll("100", 0)
        for number in range(1, 60):
            for part in range(10):
                source.hear(number * 1000 - 900 + part * 100, price)
            source.poll("100", number * 1000)
            if source.found.is_wrong:
                return number
        return 0

    # The stream is judged every other second, from two seconds before a poll to two seconds after it.
    assert seconds_until_found("101") * 1000 in range(VERY_WRONG_MS, VERY_WRONG_MS + 5001)
    assert seconds_until_found("100.1") * 1000 in range(WRONG_MS, WRONG_MS + 5001)
    assert not seconds_until_found(str(100 * (1 + OFF / 2)))


def test_a_stream_is_not_wrong_where_the_market_moves_fast_and_it_tells_but_once_a_second() -> None:
    prices = [f"{100 * 1.002 ** number:.4f}" for number in range(60)]
    said = {number * 1000 + 450: f"{100 * 1.002 ** (number + 0.45):.4f}" for number in range(60)}
    assert not any(each.is_wrong for each in polled(Source(), prices, said))
