"""What ten exchanges may send, and the quotes that our modules make of it."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprice.domain.errors import InvalidQuote, InvalidReply, PairRefused, SourceError, UnknownSymbol
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.spec import MAX_TARGET_BYTES
from tests.documented import (
    EVERY, MANY, NOW_MS, SINGLE, WHOLE, Documented, Path, answers, btc_row, changed, form_of, row, with_rows, without
)
from tests.fakes import BTC, ETH

DEFAULT = "binance,okx,coinbase,kraken,bitget,gate,bybit,kucoin,bitstamp".split(",")
BASE_URLS = {
    "binance": "https://data-api.binance.vision",
    "okx": "https://www.okx.com",
    "coinbase": "https://api.exchange.coinbase.com",
    "kraken": "https://api.kraken.com",
    "bitget": "https://api.bitget.com",
    "gate": "https://api.gateio.ws",
    "bybit": "https://api.bybit.com",
    "kucoin": "https://api.kucoin.com",
    "bitstamp": "https://www.bitstamp.net",
    "htx": "https://api.huobi.pro",
}
SOURCE_TIMES = dict.fromkeys(BASE_URLS, SourceTime.PRICE) | {
    "coinbase": SourceTime.TRADE,
    "bybit": SourceTime.REPLY,
    "htx": SourceTime.REPLY,
    "kraken": SourceTime.NONE,
    "gate": SourceTime.NONE,
}

every_exchange = pytest.mark.parametrize("name", SINGLE)
every_form = pytest.mark.parametrize("key", EVERY)
every_form_for_many = pytest.mark.parametrize("key", MANY)
every_whole_form = pytest.mark.parametrize("key", [f"{name} whole" for name in WHOLE])
every_list_form = pytest.mark.parametrize("key", [key for key in MANY if key.endswith("several")])


def answer(key: str, body: str | bytes, pair: Pair = ETH) -> Any:
    """What a reply with HTTP 200 says about one pair; an error of the whole call is returned too."""
    try:
        return answers(key, body, pairs=(pair,))[pair]
    except SourceError as error:
        return error


def quoted(key: str, body: str | bytes, pair: Pair = ETH) -> Quote:
    quote = answer(key, body, pair)
    assert isinstance(quote, Quote), quote
    return quote


# Requests


def test_exchanges_are_listed_by_name_in_failover_order() -> None:
    assert list(EXCHANGES) == [*DEFAULT, "htx"] == [exchange.name for exchange in EXCHANGES.values()]
    assert [name for name, exchange in EXCHANGES.items() if exchange.by_default] == DEFAULT
    assert {name: exchange.base_url for name, exchange in EXCHANGES.items()} == BASE_URLS
    assert {name: exchange.source_time for name, exchange in EXCHANGES.items()} == SOURCE_TIMES


@every_form
def test_target_is_the_documented_one(key: str) -> None:
    name, form = form_of(key)
    pairs = (ETH, BTC) if key in MANY else (ETH,)
    assert form.target([EXCHANGES[name].symbol(pair) for pair in pairs]) == EVERY[key].target


@pytest.mark.parametrize(
    ("slug", "symbol"),
    [("btc-usdt", "XBTUSDT"), ("eth-btc", "ETHXBT"), ("doge-usd", "XDGUSD"), ("sol-usdt", "SOLUSDT")],
)
def test_kraken_is_asked_in_its_own_asset_codes(slug: str, symbol: str) -> None:
    assert EXCHANGES["kraken"].symbol(Pair.parse(slug)) == symbol


LONG = [Pair(f"{number:015}", "ABCDEFGHIJKLMNO") for number in range(1000)]


def chosen(name: str, pairs: int, listed: bool = True) -> str:
    exchange = EXCHANGES[name]
    form = exchange.form(LONG[:pairs], listed)
    return next(kind for kind in ("single", "several", "whole") if form is getattr(exchange, kind))


@every_exchange
def test_one_pair_is_asked_for_alone_and_many_at_once(name: str) -> None:
    assert chosen(name, 1) == chosen(name, 1, listed=False) == "single"
    many = "several" if name in ("binance", "kraken") else "single" if name == "coinbase" else "whole"
    assert chosen(name, 50) == many


@pytest.mark.parametrize("name", ["binance", "kraken"])
def test_a_list_that_is_too_long_or_would_be_spoilt_gives_way_to_the_whole_market(name: str) -> None:
    exchange = EXCHANGES[name]
    assert exchange.several is not None
    fitting = max(
        count for count in range(2, len(LONG))
        if len(exchange.several.target([exchange.symbol(pair) for pair in LONG[:count]])) <= MAX_TARGET_BYTES
    )  # fmt: skip
    assert 150 < fitting < 300, "names as long as they can be; real ones are half as long"
    assert (chosen(name, fitting), chosen(name, fitting + 1)) == ("several", "whole")
    assert chosen(name, 50, listed=False) == "whole"
    assert chosen(name, 2, listed=False) == ("single" if name == "binance" else "whole")


# Success


@every_form
def test_documented_body_yields_every_digit(key: str) -> None:
    assert answer(key, EVERY[key].body) == EVERY[key].quote(key.split()[0])


@every_form
@pytest.mark.parametrize("sent", ["3120.45000000", "0.000000010", "99999999999.123456789012345678"])
def test_price_sent_as_a_number_keeps_its_digits(key: str, sent: str) -> None:
    said = EVERY[key]
    body = changed(said, (said.paths[1], None), (said.paths[2], None), (said.price_at, "@"))
    assert quoted(key, body.replace('"@"', sent)).price == sent


@pytest.mark.parametrize("key", ["htx single", "htx whole"])
def test_htx_number_with_an_exponent_is_written_out(key: str) -> None:
    said = EVERY[key]
    plain = {"1.2e-7": "0.00000012", "1E-10": "0.0000000001", "3.1204e3": "3120.4", "12e2": "1200"}
    for sent, digits in plain.items():
        body = changed(said, (said.paths[1], "@"), (said.paths[2], None), (said.price_at, "@")).replace('"@"', sent)
        assert (quoted(key, body).price, quoted(key, body).bid) == (digits, digits)
    for sent in "1e999999999", "1e-999999999", "1e100", "1" * 50 + "e1", "0e5", "-1e3":
        body = changed(said, (said.paths[1], None), (said.paths[2], None), (said.price_at, "@")).replace('"@"', sent)
        assert type(answer(key, body)) is InvalidQuote, sent


def absent(said: Documented, quote: Quote, index: int) -> Quote:
    names = ("bid", "ask", "volume_24h", "high_24h", "low_24h", "open_24h")
    nothing: dict[str, Any] = {names[index - 1]: None}
    return replace(quote, **nothing)


NOTHING: list[Any] = [None, "", "x", {}, []]


@every_form
def test_what_a_ticker_does_not_give_or_gives_as_no_amount_is_none_and_the_rest_stands(key: str) -> None:
    said, whole = EVERY[key], EVERY[key].quote(key.split()[0])
    for index, path in enumerate(said.paths[1:], 1):
        if path:
            assert answer(key, without(said, path)) == absent(said, whole, index)
            for nothing in NOTHING:
                assert answer(key, changed(said, (path, nothing))) == absent(said, whole, index)
    for path in said.paths[1:3]:
        assert None in (quoted(key, changed(said, (path, "0.000"))).bid, quoted(key, changed(said, (path, "0.000"))).ask)
    if said.paths[3]:
        assert quoted(key, changed(said, (said.paths[3], "0.00"))).volume_24h == "0.00", "nothing was traded"


# Quote checks the amounts; the test of one exchange shows that no text gets around these checks.
NO_AMOUNTS = [
    "0E-8", "1.23E+7", "1e3", "-1", "-0.00000001", "+1", "1" * 50, "0." + "0" * 50, "9" * 5000, "9" * 30, "NaN",
    "Infinity", "null", "x", ".", ".5", "5.", "007", "1,000.5", "1 000", " 1", "1\n", "\u0661", "１", "\x00", "\ud800",
    True, {}, [], ["1"], {"a": "1"}, -0.5, 1.23e27, 1e-9, 10**30,
]  # fmt: skip


@pytest.mark.parametrize("amount", NO_AMOUNTS, ids=lambda amount: ascii(amount)[:20])
def test_text_that_is_no_amount_is_no_price_and_no_other_amount_either(amount: object) -> None:
    said = SINGLE["okx"]
    assert type(answer("okx single", changed(said, (said.price_at, amount)))) is InvalidQuote
    for index, path in enumerate(said.paths[1:], 1):
        assert answer("okx single", changed(said, (path, amount))) == absent(said, said.quote("okx"), index)


@every_form
@pytest.mark.parametrize("price", ["0", "-1", "NaN", "", None, [], {}], ids=ascii)
def test_bad_price_is_an_invalid_quote(key: str, price: object) -> None:
    said = EVERY[key]
    assert type(answer(key, changed(said, (said.price_at, price)))) is InvalidQuote
    assert type(answer(key, without(said, said.price_at))) is InvalidQuote


@every_form
def test_bid_above_ask_is_an_invalid_quote(key: str) -> None:
    said = EVERY[key]
    body = changed(said, (said.paths[2], "1.5"), (said.paths[1], "1.50000001"))
    assert type(answer(key, body)) is InvalidQuote


@pytest.mark.parametrize("part", ["a", "b", "c"])
def test_text_where_kraken_documents_a_list_is_not_read_letter_by_letter(part: str) -> None:
    body = changed(SINGLE["kraken"], (("result", "ETHUSDT", part), "30303.2"))
    if part == "c":
        assert type(answer("kraken single", body)) is InvalidQuote
    else:
        assert {"a": quoted("kraken single", body).ask, "b": quoted("kraken single", body).bid}[part] is None


# Times

TIMED = [key for key, said in EVERY.items() if said.time_at]
NO_TIMES = ["soon", "-1", "1e12", 1.5e12, True, {}, [], "１５９７０２６３８３０８５", "9" * 5000, 0, 7, 10**19, "1597026383.085"]


@pytest.mark.parametrize("key", TIMED)
def test_unreadable_source_time_is_none_and_the_price_stands(key: str) -> None:
    said = EVERY[key]
    for garbage in *NO_TIMES, None, said.time_ms and said.time_ms * (1 if "bitstamp" in key else 1000):
        assert quoted(key, changed(said, (said.time_at, garbage))).source_time_ms is None
    assert quoted(key, without(said, said.time_at)).price == said.amounts[0]


@pytest.mark.parametrize("key", [key for key in TIMED if "coinbase" not in key])
def test_time_is_read_as_a_number_and_as_a_string_in_its_own_unit_only(key: str) -> None:
    said, expected = EVERY[key], EVERY[key].time_ms
    assert expected is not None
    unit, other = (1000, 1) if "bitstamp" in key else (1, 1000)
    for sent in expected // unit, str(expected // unit):
        assert quoted(key, changed(said, (said.time_at, sent))).source_time_ms == expected
    assert quoted(key, changed(said, (said.time_at, expected // other))).source_time_ms is None


@pytest.mark.parametrize(
    ("stamp", "milliseconds"),
    [
        ("2020-03-20T00:22:57Z", 1584663777000),
        ("2020-03-20T00:22:57.8Z", 1584663777800),
        ("2020-03-20T00:22:57.833333Z", 1584663777833),
        ("2020-03-20T00:22:57.833999999Z", 1584663777833),
        ("2020-03-20T00:22:57.000999999Z", 1584663777000),
        ("2020-03-20T00:22:57.999999999Z", 1584663777999),
        ("2020-03-20T01:22:57.833+01:00", 1584663777833),
        ("2099-12-31T23:59:59.001Z", 4102444799001),
    ],
)
def test_coinbase_time_is_cut_to_milliseconds_without_rounding(stamp: str, milliseconds: int) -> None:
    assert quoted("coinbase single", changed(SINGLE["coinbase"], (("time",), stamp))).source_time_ms == milliseconds


@pytest.mark.parametrize(
    "stamp",
    [
        "2020-03-20", "2020-03-20T00:22:57", "2020-13-20T00:22:57Z", "2020-03-20T24:22:57Z",
        "2020-03-20T00:22:57+25:00", "2020-03-20 00:22:57Z", "2020-03-20T00:22:57.1234567890Z", "0000-00-00T00:00:00Z",
        "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "2020-W12-5T00:22:57Z",
        "1584663777", "2020-03-20T00:22:57.833Z\n", "２０２０-03-20T00:22:57Z",
    ],
)  # fmt: skip
def test_coinbase_time_that_is_not_rfc_3339_is_none(stamp: str) -> None:
    assert quoted("coinbase single", changed(SINGLE["coinbase"], (("time",), stamp))).source_time_ms is None


# The right symbol

WRONG_SYMBOLS: list[Any] = [
    "BTCUSDT", "BTC-USDT", "BTC_USDT", "BTC/USDT", "ETHUSDC", "ETHUSDT ", "ETHUSD", "", "x" * 5000, None, True, 7, {}, [],
    "E\r\nX: \x00", "\ud800",
]  # fmt: skip


@pytest.mark.parametrize("name", [name for name, said in SINGLE.items() if said.symbol_at])
def test_another_symbol_than_the_one_asked_for_is_refused(name: str) -> None:
    said = SINGLE[name]
    for wrong in *WRONG_SYMBOLS, "ETHUSDT" if name == "htx" else "ethusdt":
        assert type(answer(f"{name} single", changed(said, (said.symbol_at, wrong)))) is InvalidQuote, wrong
    assert type(answer(f"{name} single", without(said, said.symbol_at))) is InvalidQuote


@pytest.mark.parametrize("key", ["kraken single", "kraken several", "kraken whole"])
@pytest.mark.parametrize(
    ("slug", "symbol"),
    [
        ("eth-usdt", "ETHUSDT"), ("btc-usd", "XXBTZUSD"), ("btc-usd", "XBTUSD"), ("eth-usd", "XETHZUSD"),
        ("eth-btc", "XETHXXBT"), ("doge-btc", "XXDGXXBT"), ("doge-usd", "XDGUSD"), ("btc-usdt", "XBTUSDT"),
        ("usdt-usd", "USDTZUSD"), ("sol-eur", "SOLEUR"), ("eur-usd", "ZEURZUSD"), ("usdc-usd", "USDCUSD"),
    ],
)  # fmt: skip
def test_kraken_key_may_be_the_plain_or_the_old_spelling_of_the_pair(key: str, slug: str, symbol: str) -> None:
    assert quoted(key, EVERY[key].body.replace("ETHUSDT", symbol), Pair.parse(slug)).price == "30303.20000"


@pytest.mark.parametrize(
    ("slug", "symbol"),
    [
        ("eth-usdt", "XETHZUSD"), ("eth-usdt", "ETHUSD"), ("eth-usdt", "ETHUSDC"), ("eth-usdt", "XETHUSDTX"),
        ("eth-usdt", "ETHPYUSDT"), ("eth-usdt", "USDTETH"), ("eth-usdt", "ETH/USDT"), ("eth-usdt", "ethusdt"),
        ("eth-usdt", ""), ("eth-usd", "XETHZEUR"), ("eth-usd", "ETHUSDT"), ("eth-usd", "ZETHXUSD"),
        ("btc-usd", "BTCUSD"), ("btc-usd", "XETHZUSD"),
    ],
)  # fmt: skip
def test_kraken_key_of_another_pair_is_refused(slug: str, symbol: str) -> None:
    body, pair = SINGLE["kraken"].body.replace("ETHUSDT", symbol), Pair.parse(slug)
    assert type(answer("kraken single", body, pair)) is InvalidQuote
    assert type(answer("kraken several", body, pair)) is PairRefused


@pytest.mark.parametrize("name", [name for name in SINGLE if (SINGLE[name].list_at or name == "gate")])
def test_list_of_none_or_several_tickers_is_refused_where_one_was_asked_for(name: str) -> None:
    said = SINGLE[name]
    tickers = container(json.loads(said.body), said.list_at)
    wrongs: list[Any] = [[], tickers * 2, tickers[0], {"0": tickers[0]}, None, "x", [None], ["x"], [[]]]
    for wrong in wrongs:
        assert type(answer(f"{name} single", changed(said, (said.list_at, wrong)))) is InvalidQuote


def container(body: Any, path: Path) -> Any:
    for step in path:
        body = body[step]
    return body


def test_kraken_result_of_none_or_several_pairs_is_refused_where_one_was_asked_for() -> None:
    ticker = json.loads(SINGLE["kraken"].body)["result"]["ETHUSDT"]
    for result in {}, {"ETHUSDT": ticker, "XETHZUSD": ticker}, [ticker], None, "ETHUSDT":
        assert type(answer("kraken single", changed(SINGLE["kraken"], (("result",), result)))) is InvalidQuote


@pytest.mark.parametrize("name", ["kucoin", "coinbase", "bitstamp"])
def test_exchange_that_names_no_symbol_is_believed(name: str) -> None:
    assert quoted(f"{name} single", SINGLE[name].body, Pair("SOL", "EUR")).pair == Pair("SOL", "EUR")


# Many rows


@every_form_for_many
def test_each_pair_gets_its_row_in_whatever_order_and_whatever_stands_between(key: str) -> None:
    foreign = [row(key, "NO/SUCHPAIR"), *(["null", '"x"', "[]", "{}", "7"] if "kraken" not in key else [])]
    body = with_rows(key, btc_row(key, price="7.5", bid=None, ask=None), *foreign, row(key))
    found = answers(key, body, pairs=(ETH, BTC))
    assert found[ETH] == EVERY[key].quote(key.split()[0])
    assert (found[BTC].pair, found[BTC].price) == (BTC, "7.5")


SPOILT: dict[str, Any] = {
    "zero": {"price": "0"}, "empty": {"price": ""}, "null": {"price": None}, "text": {"price": "halted"},
    "object": {"price": {}}, "constant": {"price": float("nan")}, "crossed": {"bid": "9", "ask": "1"},
}  # fmt: skip


@every_form_for_many
def test_a_bad_row_costs_its_pair_and_no_other(key: str) -> None:
    good = EVERY[key].quote(key.split()[0])
    rows: dict[str, str | bytes] = {kind: btc_row(key, **changes) for kind, changes in SPOILT.items()}
    rows["duplicate key"] = btc_row(key)[:-1] + ',"x":1,"x":1}'
    rows["two rows"] = f"{btc_row(key)},{btc_row(key)}"
    rows["bad UTF-8"] = btc_row(key, price="@").encode().replace(b"@", b"\xff\xfe")
    rows["lone surrogate"] = btc_row(key, price="\ud800")
    for kind, spoilt in rows.items():
        body = with_rows(key, row(key), "@@").encode().replace(b"@@", spoilt if isinstance(spoilt, bytes) else spoilt.encode())
        found = answers(key, body, pairs=(ETH, BTC))
        assert found[ETH] == good, kind
        assert type(found[BTC]) is InvalidQuote or kind == "two rows" and "kraken" in key, kind


@every_whole_form
def test_a_pair_without_a_row_in_the_whole_market_is_not_listed(key: str) -> None:
    found = answers(key, EVERY[key].body, pairs=(ETH, BTC))
    assert type(found[BTC]) is UnknownSymbol and isinstance(found[ETH], Quote)


@every_list_form
def test_a_pair_without_a_row_in_an_accepted_list_is_known_but_not_traded(key: str) -> None:
    assert type(answers(key, EVERY[key].body, pairs=(ETH, BTC))[BTC]) is PairRefused
    assert {type(said) for said in answers(key, with_rows(key), pairs=(ETH, BTC)).values()} == {PairRefused}


@every_whole_form
def test_a_whole_market_without_any_row_or_of_another_shape_is_an_invalid_reply(key: str) -> None:
    assert type(answer(key, with_rows(key))) is InvalidReply
    said = EVERY[key]
    at: Path = ("result",) if "kraken" in key else said.list_at
    for wrong in None, "x", 7, "" if at else None:
        assert type(answer(key, changed(said, (at, wrong)))) is InvalidReply


@pytest.mark.parametrize(
    "perpetual", [{"market_type": "PERPETUAL"}, {"pair": "ETH/USDT-PERP"}, {"pair": "", "market_type": "SPOT"}], ids=str
)
def test_bitstamps_perpetual_contracts_stand_for_no_pair(perpetual: dict[str, str]) -> None:
    contract = json.loads(row("bitstamp whole", price="1")) | perpetual
    found = answers("bitstamp whole", with_rows("bitstamp whole", row("bitstamp whole"), json.dumps(contract)))
    assert found[ETH] == WHOLE["bitstamp"].quote("bitstamp")


def test_kucoins_renamed_coin_is_known_by_the_symbol_that_it_is_asked_for() -> None:
    renamed = json.dumps(json.loads(row("kucoin whole", "OLD-USDT")) | {"symbolName": "NEW-USDT"})
    found = answers("kucoin whole", with_rows("kucoin whole", renamed), pairs=(Pair("OLD", "USDT"), Pair("NEW", "USDT")))
    assert [type(said) for said in found.values()] == [Quote, UnknownSymbol]


# Nonsense

NONSENSE: dict[str, str | bytes] = {
    "html": "<!DOCTYPE html><html><body>We will be right back</body></html>",
    "empty": "",
    "blank": " \r\n",
    "null": "null",
    "object": "{}",
    "string": '"x"',
    "number": "3120.45",
    "huge number": "9" * 10000,
    "NaN": "NaN",
    "bad UTF-8": b'{"price":"\xff\xfe"}',
    "UTF-16": '{"price":"1"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "deep list": "[" * 20000,
    "deep closed list": "[" * 20000 + "]" * 20000,
    "deep object": '{"a":' * 20000,
    "lone surrogate": '{"\\ud800":"\\udfff"}',
}


@every_form
def test_nonsense_is_an_invalid_quote_and_of_many_an_invalid_reply(key: str) -> None:
    for kind, body in NONSENSE.items():
        error = answer(key, body)
        assert isinstance(error, InvalidReply if "whole" in key else InvalidQuote | PairRefused), (kind, error)
    assert isinstance(answer(key, "[]"), InvalidQuote | PairRefused)


@every_form
def test_body_cut_or_prolonged_anywhere_is_an_invalid_reply(key: str) -> None:
    body = EVERY[key].body
    for length in range(0, len(body), 3):
        assert type(answer(key, body[:length])) is InvalidReply
    for extra in "{}", "x", ",", "\x00", "]}":
        assert type(answer(key, body + extra)) is InvalidReply


@every_exchange
def test_duplicate_key_is_an_invalid_reply_where_one_pair_was_asked_for(name: str) -> None:
    said = SINGLE[name]
    key = next(step for step in reversed(said.price_at) if isinstance(step, str))
    doubled = said.body.replace(f'"{key}":', f'"{key}":"1","{key}":')
    assert doubled != said.body
    assert type(answer(f"{name} single", doubled)) is InvalidReply


@every_form_for_many
def test_duplicate_key_around_the_rows_is_an_invalid_reply(key: str) -> None:
    body = EVERY[key].body
    if body.startswith("{"):
        assert type(answer(key, body[:-1] + ',"x":1,"x":1}')) is InvalidReply


@every_exchange
@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_constant_that_is_no_json_is_refused_even_in_a_member_nobody_reads(name: str, constant: str) -> None:
    body = SINGLE[name].body.replace("{", f'{{"unread":{constant},', 1)
    assert type(answer(f"{name} single", body)) is InvalidQuote


# Anything at all

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
HEADERS = st.dictionaries(
    st.sampled_from(
        ["retry-after", "gw-ratelimit-reset", "x-bapi-limit-reset-timestamp", "x-gate-ratelimit-reset-timestamp"]
    ),
    st.text(max_size=8),
)
HTTP_STATUSES = st.sampled_from([200, 200, 200, 204, 301, 400, 403, 404, 418, 429, 451, 500, 503])
KEYS = st.sampled_from(list(EVERY))


def assert_quotes_or_our_errors(key: str, body: bytes, status: int, headers: Mapping[str, str]) -> None:
    try:
        found = answers(key, body, status, headers, (ETH, BTC) if key in MANY else (ETH,))
    except SourceError as error:
        assert str(error).isprintable()
        return
    for pair, said in found.items():
        if isinstance(said, Quote):
            assert status // 100 == 2
            assert (said.pair, said.source, said.fetched_at_ms) == (pair, key.split()[0], NOW_MS)
        else:
            assert isinstance(said, SourceError) and str(said).isprintable()


def places(value: Any, path: Path = ()) -> list[Path]:
    """The paths of all values within a parsed body."""
    steps: list[str | int] = list(value) if isinstance(value, dict) else []
    steps = list(range(len(value))) if isinstance(value, list) else steps
    return [path, *(deeper for step in steps for deeper in places(value[step], (*path, step)))]


@settings(max_examples=600, deadline=None, database=None)
@given(key=KEYS, data=st.data(), status=HTTP_STATUSES, headers=HEADERS)
def test_bytes_changed_at_random_give_quotes_or_our_errors(
    key: str, data: st.DataObject, status: int, headers: Mapping[str, str]
) -> None:
    body = bytearray(EVERY[key].body.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(body)))
        end = start + data.draw(st.integers(0, 8))
        body[start:end] = data.draw(st.binary(max_size=4))
    assert_quotes_or_our_errors(key, bytes(body), status, headers)


@settings(max_examples=600, deadline=None, database=None)
@given(key=KEYS, data=st.data(), value=JSON_VALUES, status=HTTP_STATUSES, headers=HEADERS)
def test_values_replaced_at_random_give_quotes_or_our_errors(
    key: str, data: st.DataObject, value: Any, status: int, headers: Mapping[str, str]
) -> None:
    path = data.draw(st.sampled_from(places(json.loads(EVERY[key].body))))
    assert_quotes_or_our_errors(key, changed(EVERY[key], (path, value)).encode(), status, headers)


COMPLAINT_KEYS = st.sampled_from(["code", "msg", "retCode", "error", "label", "data", "result", "message", "reason"])


@settings(max_examples=600, deadline=None, database=None)
@given(key=KEYS, body=st.dictionaries(COMPLAINT_KEYS, JSON_VALUES) | JSON_VALUES, status=HTTP_STATUSES, headers=HEADERS)
def test_any_json_gives_quotes_or_our_errors(key: str, body: Any, status: int, headers: Mapping[str, str]) -> None:
    assert_quotes_or_our_errors(key, json.dumps(body).encode(), status, headers)


@pytest.mark.parametrize("depth", [50, 300, 600, 1500, 5000])
@every_form
def test_no_depth_of_nesting_escapes_as_a_foreign_error(key: str, depth: int) -> None:
    opened, closed = "[" * depth, "]" * depth
    for member in "code", "retCode", "error", "label", "data", "result", "last", "price", "symbol":
        assert not isinstance(answer(key, f'{{"{member}":{opened}{closed}}}'), Quote)
    assert not isinstance(answer(key, opened + EVERY[key].body + closed), Quote)
