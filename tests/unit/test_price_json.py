"""A quote as bytes and headers, to the letter."""

import json
import re
from email.utils import formatdate

import pytest

from fastprice.domain.quote import Quote
from fastprice.interface.price_json import Answer, matches, price_answer
from tests.fakes import BTC, START_MS, a_quote

KEYS = [
    "symbol", "base", "quote", "price", "bid", "ask", "volume_24h", "high_24h", "low_24h", "open_24h", "source",
    "source_time_ms", "fetched_at_ms", "stale",
]  # fmt: skip
FULL = a_quote(
    "3120.45", START_MS + 190, bid="3120.44", ask="3120.46", volume_24h="41325.02", high_24h="3188.10",
    low_24h="3050.00", open_24h="3101.7", source_time_ms=START_MS + 12,
)  # fmt: skip
BODY = (
    b'{"symbol":"ETH-USDT","base":"ETH","quote":"USDT","price":"3120.45","bid":"3120.44","ask":"3120.46",'
    b'"volume_24h":"41325.02","high_24h":"3188.10","low_24h":"3050.00","open_24h":"3101.7","source":"binance","source_time_ms":1753300000012,"fetched_at_ms":1753300000190,'
    b'"stale":false}'
)
TAG = b'"abc"'


def test_body_is_the_promised_one_to_the_byte() -> None:
    assert price_answer(FULL, stale=False).body == BODY
    assert price_answer(FULL, stale=True).body == BODY.replace(b'"stale":false', b'"stale":true')


@pytest.mark.parametrize("price", ["3120.45000000", "0.0000243", "61000", "0.10", "1." + "0" * 30 + "1", "9" * 15])
def test_digits_are_those_that_were_sent(price: str) -> None:
    quote = a_quote(price, bid=price, volume_24h="0", high_24h=price, low_24h=price, open_24h=price)
    for stale in False, True:
        body = json.loads(price_answer(quote, stale).body)
        assert [body[key] for key in ("price", "bid", "high_24h", "low_24h", "open_24h")] == [price] * 5
        assert body["volume_24h"] == "0"


def test_what_the_exchange_does_not_give_is_null_and_keeps_its_place() -> None:
    body = json.loads(price_answer(a_quote("61000.1", pair=BTC, source="kraken"), stale=False).body)
    assert list(body) == KEYS == list(json.loads(BODY))
    assert {key for key in KEYS if body[key] is None} == {
        "bid", "ask", "volume_24h", "high_24h", "low_24h", "open_24h", "source_time_ms"
    }  # fmt: skip
    assert (body["symbol"], body["base"], body["quote"], body["source"]) == ("BTC-USDT", "BTC", "USDT", "kraken")


def test_etag_is_strong_the_same_for_the_same_bytes_and_else_another() -> None:
    quotes: list[Quote] = [FULL, a_quote("3120.45"), a_quote("3120.46"), a_quote(at_ms=START_MS + 1), a_quote(source="okx")]
    tags = [price_answer(quote, stale).etag for quote in quotes for stale in (False, True)]
    assert len(set(tags)) == len(tags) == 10
    assert all(re.fullmatch(rb'"[0-9a-f]+"', tag) for tag in tags)
    assert tags[0] == price_answer(FULL, stale=False).etag == Answer(BODY).etag


def test_headers_for_200_and_304_say_the_same_but_for_the_body() -> None:
    answer = price_answer(FULL, stale=False)
    full, bare = answer.headers(4)
    assert dict(full) == dict(bare) | {b"content-type": b"application/json", b"content-length": b"%d" % len(BODY)}
    assert dict(bare)[b"cache-control"] == b"public, max-age=4"
    assert dict(answer.headers(3)[1])[b"cache-control"] == b"public, max-age=3"
    assert dict(bare)[b"etag"] == answer.etag
    assert dict(bare)[b"last-modified"].decode() == formatdate(FULL.fetched_at_ms // 1000, usegmt=True)
    assert dict(bare)[b"access-control-allow-origin"] == b"*"
    for headers in full, bare:
        assert all(name == name.lower() for name, _ in headers), "ASGI wants them so"
        assert len(dict(headers)) == len(headers)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b'"abc"', True), (b'W/"abc"', True), (b'"x", "abc"', True), (b'"x",W/"abc","y"', True), (b' "abc" ', True),
        (b'\t"abc"\t,', True), (b"*", True), (b' * ', True), (b'"x", *', True),
        (b'"x"', False), (b"abc", False), (b'"ABC"', False), (b'w/"abc"', False), (b"", False), (b",", False),
        (b'"abc', False), (b'x"abc"', False), (b'"abc"', True), (b'W/*', True), (b'"abc"x', False), (b'W/W/"abc"', False), (b"**", False), (b'"*"', False),
    ],
)  # fmt: skip
def test_condition_names_the_tag_or_does_not(field: bytes, expected: bool) -> None:
    assert matches(field, TAG) is expected
