"""What nine exchanges send on their live feeds, and what our modules make of it."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastprice.application.live_ports import Update
from fastprice.domain.errors import (
    Blocked, CoolDown, InvalidQuote, InvalidReply, RateLimited, SourceDown, SourceError, SourceRefused
)
from fastprice.domain.quote import Pair, SourceTime
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.reply import Reply
from fastprice.infrastructure.exchanges.stream import Channel, Stream
from fastprice.infrastructure.exchanges.stream_messages import Alive, Notice, Op, Reject, Row, Said, Topic
from fastprice.infrastructure.exchanges.strict_json import read_json
from tests.documented_streams import ANSWERS, BYBIT_BOOK, KRAKEN, OKX, ROWS, SUBSCRIBES, Refused
from tests.fakes import BTC, ETH

NOW_MS = 1_753_300_000_190
WALL_MS = 1_611_542_200_000
STREAMS: dict[str, Stream] = {name: each.stream for name, each in EXCHANGES.items() if each.stream is not None}
WITH_BOOK = [key for key, told in ROWS.items() if told.book]
WITH_PRICE = [key for key, told in ROWS.items() if told.price]

every_stream = pytest.mark.parametrize("name", STREAMS)
every_row = pytest.mark.parametrize("key", ROWS)


def parsed(frame: str | bytes) -> Any:
    """A frame in the form in which a stream gets it."""
    body = frame.encode("utf-8", "surrogatepass") if isinstance(frame, str) else frame
    try:
        return read_json(body, many=True)
    except InvalidReply:
        return body.decode("utf-8", "replace")


def said(name: str, frame: str | bytes) -> list[Said]:
    return list(STREAMS[name.split()[0]].read(parsed(frame)))


def the_row(key: str, frame: str) -> tuple[Channel, Row]:
    row, = said(key, frame)
    assert isinstance(row, Row)
    return STREAMS[key.split()[0]].channels[row.channel], row


def update(key: str, frame: str) -> Update:
    channel, row = the_row(key, frame)
    return channel.update(ETH, row.data, NOW_MS)


def price_in(key: str, price: str | None = None) -> str:
    """The member with the price in a documented frame; another price is written in the same format."""
    told = ROWS[key]
    for name in ("c", "last", "price_str", "price", "lastPrice", "lastPr"):
        for mark in ('"', ""):
            if told.frame.count(f'"{name}":{mark}{told.price}{mark}') == 1:
                return f'"{name}":{mark}{price or told.price}{mark}'
    raise AssertionError(f"{key} has no price")


def with_price(key: str, price: str) -> str:
    return ROWS[key].frame.replace(price_in(key), price_in(key, price))


def topics(name: str, pairs: Iterable[Pair]) -> list[Topic]:
    stream, pairs = STREAMS[name], list(pairs)
    return [Topic(channel, stream.symbol(pair)) for channel in stream.channels for pair in pairs]


# What is declared


def test_every_exchange_that_is_asked_by_default_has_a_stream() -> None:
    assert list(STREAMS) == [name for name, exchange in EXCHANGES.items() if exchange.by_default]
    assert {told.channel for told in ROWS.values()} == {channel for each in STREAMS.values() for channel in each.channels}


URLS = {
    "binance": "wss://data-stream.binance.vision/ws", "okx": "wss://ws.okx.com:8443/ws/v5/public",
    "coinbase": "wss://ws-feed.exchange.coinbase.com", "kraken": "wss://ws.kraken.com/v2",
    "bitget": "wss://ws.bitget.com/v2/ws/public", "gate": "wss://api.gateio.ws/ws/v4/",
    "bybit": "wss://stream.bybit.com/v5/public/spot", "kucoin": "wss://ws-api-spot.kucoin.com",
    "bitstamp": "wss://ws.bitstamp.net",
}  # fmt: skip
SOURCE_TIMES = dict.fromkeys(URLS, SourceTime.PRICE) | {
    "coinbase": SourceTime.TRADE, "kucoin": SourceTime.TRADE, "bybit": SourceTime.REPLY, "gate": SourceTime.REPLY,
}  # fmt: skip
# The allowed number of connections, and in how many seconds.
CONNECTS = {
    "binance": (300, 300), "okx": (3, 1), "coinbase": (8, 1), "kraken": (150, 600), "bitget": (300, 300),
    "gate": (100, 60), "bybit": (500, 300), "kucoin": (30, 60), "bitstamp": (100, 60),
}  # fmt: skip


def test_addresses_and_stamps_are_the_documented_ones() -> None:
    assert {name: stream.host + stream.path for name, stream in STREAMS.items()} == URLS
    assert {name: stream.source_time for name, stream in STREAMS.items()} == SOURCE_TIMES
    assert [name for name, stream in STREAMS.items() if stream.book_as_of_trade] == ["coinbase"]
    assert [name for name, stream in STREAMS.items() if stream.waits_for_welcome] == ["kucoin"]
    assert {name for name, stream in STREAMS.items() if stream.lifetime_seconds} == {"binance", "kucoin", "bitget"}


@every_stream
def test_connections_stay_within_what_is_allowed(name: str) -> None:
    (count, seconds), connects = CONNECTS[name], STREAMS[name].limits.connects
    assert 1 <= connects.burst + connects.per_second * seconds <= count


@every_stream
def test_a_ping_is_answered_before_patience_ends(name: str) -> None:
    stream = STREAMS[name]
    # Our patience with Kraken needs no pong: its heartbeats come every second. The ping is for Kraken itself.
    if stream.keep_alive is not None and name != "kraken":
        assert stream.keep_alive.every_seconds + 10 <= stream.patience.any_frame


def test_pings_are_the_documented_ones() -> None:
    pings = {name: each.keep_alive.frame(7, WALL_MS) for name, each in STREAMS.items() if each.keep_alive}
    assert pings == {
        "okx": "ping", "kraken": '{"method":"ping","req_id":7}', "bitget": "ping",
        "gate": '{"time":1611542200,"channel":"spot.ping"}', "bybit": '{"req_id":"p7","op":"ping"}',
        "kucoin": '{"id":"p7","type":"ping"}', "bitstamp": '{"event":"bts:heartbeat"}',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        ("binance", 1008, RateLimited), ("binance", 3001, SourceRefused), ("okx", 4004, SourceDown),
        ("okx", 4009, RateLimited), ("kraken", 1008, RateLimited), ("bitstamp", 1009, SourceRefused),
    ],
)  # fmt: skip
def test_close_codes_have_their_documented_meaning(name: str, code: int, error: type[SourceError]) -> None:
    assert STREAMS[name].closes[code] is error


# Requests


@every_stream
def test_subscribes_as_documented(name: str) -> None:
    asked = topics(name, (ETH, BTC))
    requests = STREAMS[name].requests(Op.SUBSCRIBE, asked, 1, WALL_MS)
    assert [request.frame for request in requests] == SUBSCRIBES[name]
    assert [topic for request in requests for topic in request.topics] == asked


@every_stream
def test_unsubscribes_from_the_same(name: str) -> None:
    asked = topics(name, (ETH, BTC))
    (first, *rest), (on, *_) = (STREAMS[name].requests(op, asked, 1, WALL_MS) for op in (Op.UNSUBSCRIBE, Op.SUBSCRIBE))
    expected = on.frame.replace("subscribe", "unsubscribe").replace("SUBSCRIBE", "UNSUBSCRIBE")
    # What only a subscribe says: the snapshot option, and the heartbeat channel, which must go on.
    for beginning in ',"snapshot":true', ',{"name":"heartbeat","product_ids":["ETH-USDT"]}':
        expected = expected.replace(beginning, "")
    assert first.frame == expected
    assert [topic for request in (first, *rest) for topic in request.topics] == asked


def test_symbols_of_kraken_are_not_its_old_codes() -> None:
    assert STREAMS["kraken"].symbol(Pair("BTC", "USD")) == "BTC/USD"
    assert STREAMS["kraken"].symbol(Pair("DOGE", "USD")) == "DOGE/USD"


LONG = [Pair(f"{number:015}", "ABCDEFGHIJKLMNO") for number in range(500)]
# Limits: bytes and topics of a message, and the bytes of all topics of a connection.
SIZES: dict[str, tuple[int, int, int]] = {
    "binance": (4096, 1024, 1 << 20), "okx": (4096, 480, 1 << 20), "coinbase": (4096, 100, 1 << 20),
    "kraken": (4096, 100, 1 << 20), "bitget": (4096, 25, 1 << 20), "gate": (4096, 100, 1 << 20),
    "bybit": (4096, 10, 21_000), "kucoin": (4096, 100, 1 << 20), "bitstamp": (512, 1, 1 << 20),
}  # fmt: skip


@every_stream
@pytest.mark.parametrize("op", Op)
def test_500_pairs_with_the_longest_names_fit_into_documented_messages(name: str, op: Op) -> None:
    asked, (most_bytes, most_topics, all_bytes) = topics(name, LONG), SIZES[name]
    requests = STREAMS[name].requests(op, asked, 5, WALL_MS)
    assert [topic for request in requests for topic in request.topics] == asked
    assert max(len(request.frame) for request in requests) <= most_bytes
    assert max(len(request.topics) for request in requests) <= min(most_topics, STREAMS[name].limits.topics)
    named = [request.id for request in requests if request.id]
    assert named == [str(number) for number in range(5, 5 + len(named))] and len(named) in (0, len(requests))
    on_one = topics(name, LONG[: STREAMS[name].limits.pairs])
    assert sum(len(f'"{topic.channel}.{topic.symbol}",') for topic in on_one) <= all_bytes


def test_one_product_alone_has_a_heartbeat() -> None:
    requests = STREAMS["coinbase"].requests(Op.SUBSCRIBE, topics("coinbase", LONG), 1, WALL_MS)
    assert len(requests) == 10 and [request.frame.count("heartbeat") for request in requests] == [1] + 9 * [0]


# Prices


@every_row
def test_documented_message_yields_every_digit(key: str) -> None:
    told = ROWS[key]
    channel, row = the_row(key, told.frame)
    assert (row.channel, row.symbol) == (told.channel, told.symbol)
    assert row.symbol == STREAMS[key.split()[0]].symbol(ETH)
    assert channel.order_of(row.data) == told.order
    expected = Update(ETH, told.price, told.book, told.day, told.time_ms, NOW_MS)
    assert channel.update(ETH, row.data, NOW_MS) == expected


@pytest.mark.parametrize("key", WITH_PRICE)
@pytest.mark.parametrize("price", ["3120.45000000", "0.00000010", "123456789.123456789012345678901", "1"])
def test_price_keeps_its_digits(key: str, price: str) -> None:
    assert update(key, with_price(key, price)).price == price


@pytest.mark.parametrize("key", ["kraken", "bitstamp"])
@pytest.mark.parametrize(("sent", "digits"), [("1e-7", "0.0000001"), ("1.25E-10", "0.000000000125"), ("12e2", "1200")])
def test_number_with_an_exponent_is_written_out(key: str, sent: str, digits: str) -> None:
    assert update(key, with_price(key, sent)).price == digits


@pytest.mark.parametrize("key", WITH_PRICE)
@pytest.mark.parametrize("price", ["0", "0.000", "-1", "1e999999", "1" * 50])
def test_what_is_no_price_costs_the_row(key: str, price: str) -> None:
    with pytest.raises(InvalidQuote):
        update(key, with_price(key, price))


def with_book(key: str, bid: Any, ask: Any) -> str:
    """The documented frame with a different best bid and ask."""
    channel, row = the_row(key, ROWS[key].frame)
    body = json.loads(ROWS[key].frame)
    for path, value in ((channel.ticker.bid, bid), (channel.ticker.ask, ask)):
        steps = (path,) if isinstance(path, str) else path
        inner = body if steps[0] in body else body["data"]
        inner = inner[0] if isinstance(inner, list) else inner
        for step in steps[:-1]:
            inner = inner[step]
        inner[steps[-1]] = value
    return json.dumps(body)


@pytest.mark.parametrize("key", WITH_BOOK)
@pytest.mark.parametrize("nothing", ["", "0", "0.00", 0, None, [], {}, "NaN"])
def test_empty_side_is_none_and_the_rest_stands(key: str, nothing: Any) -> None:
    told = ROWS[key]
    assert told.book
    for book, bid, ask in ((None, told.book[1]), nothing, told.book[1]), ((told.book[0], None), told.book[0], nothing):
        now = update(key, with_book(key, bid, ask))
        assert (now.price, now.book, now.day) == (told.price, book, told.day)


@pytest.mark.parametrize("bids", ["[]", "null", "[[]]", "{}"])
def test_side_without_levels_is_none(bids: str) -> None:
    assert update("bybit book", BYBIT_BOOK.replace('[["16493.50","0.006"]]', bids)).book == (None, "16611.00")


@pytest.mark.parametrize("key", WITH_BOOK)
def test_crossed_book_costs_the_row(key: str) -> None:
    with pytest.raises(InvalidQuote, match="above"):
        update(key, with_book(key, "2.5", "2.4"))


def test_pair_that_was_never_traded_has_no_price() -> None:
    for nothing in "0", "0.00":
        assert said("okx", OKX.replace('"lastSz":"0.1"', f'"lastSz":"{nothing}"')) == []
    assert said("okx", OKX.replace('"lastSz":"0.1",', "")) != []


@pytest.mark.parametrize(
    ("key", "old", "new"),
    [
        ("okx", '"instId":"ETH-USDT","last"', '"instId":"BTC-USDT","last"'),
        ("bitget", '"instId":"ETHUSDT","lastPr"', '"instId":"BTCUSDT","lastPr"'),
        ("bitget", "SPOT", "USDT-FUTURES"), ("bybit", '"symbol":"ETHUSDT"', '"symbol":"BTCUSDT"'),
        ("bybit book", '"s":"ETHUSDT"', '"s":"BTCUSDT"'), ("bybit", "snapshot", "delta"),
    ],
)  # fmt: skip
def test_message_that_says_two_things_says_nothing(key: str, old: str, new: str) -> None:
    assert old in ROWS[key].frame and said(key, ROWS[key].frame.replace(old, new)) == []


# Order


def test_repeated_book_of_bybit_confirms_and_a_count_of_one_is_a_new_one() -> None:
    channel = STREAMS["bybit"].channels["orderbook.1"]
    assert channel.repeats and channel.restart == 1
    assert not any(each.repeats for stream in STREAMS.values() for each in stream.channels.values() if each is not channel)


def test_kraken_is_ordered_within_a_millisecond_and_by_arrival_where_it_has_no_stamp() -> None:
    def order(stamp: str) -> int | None:
        channel, row = the_row("kraken", KRAKEN.replace("2023-09-25T09:04:31.742599123Z", stamp))
        return channel.order_of(row.data)

    stamps = ["2023-09-25T09:04:31Z", "2023-09-25T09:04:31.742Z", "2023-09-25T09:04:31.742599Z"]
    orders = [order(stamp) or 0 for stamp in (*stamps, "2023-09-25T09:04:31.742599124Z", "2023-09-25T11:04:32+02:00")]
    assert orders == sorted(set(orders)) and orders[0] == 1695632671 * 10**9
    assert [order(stamp) for stamp in ("", "soon", "2023-13-25T09:04:31Z", "1695632671742")] == 4 * [None]


@pytest.mark.parametrize("order", ["", "-1", "x", "1.5", "\u0661", "9" * 25])
def test_what_is_no_order_orders_nothing(order: str) -> None:
    channel = STREAMS["coinbase"].channels["ticker"]
    assert channel.order_of({"sequence": order}) is None and channel.order_of([]) is None


# Everything else


def comparable(each: Said) -> Said | Refused:
    return Refused(type(each.error), *each[1:]) if isinstance(each, Reject) else each


@pytest.mark.parametrize(("name", "frame", "meaning"), ANSWERS, ids=[f"{name} {frame[:40]}" for name, frame, _ in ANSWERS])
def test_answers_mean_what_is_documented(name: str, frame: str, meaning: list[Said | Refused]) -> None:
    heard = said(name, frame)
    assert list(map(comparable, heard)) == meaning
    for error in (each.error for each in heard if isinstance(each, Reject)):
        assert str(error) and (not isinstance(error, CoolDown) or error.seconds == 15.0)


def test_every_stream_with_pings_has_its_pong() -> None:
    ponged = {name for name, _, meaning in ANSWERS if meaning == [Alive("pong")]}
    assert ponged == {name for name, stream in STREAMS.items() if stream.keep_alive}


# Nonsense

FRAMES = [(key.split()[0], told.frame) for key, told in ROWS.items()] + [(name, frame) for name, frame, _ in ANSWERS]
JUNK: list[Any] = [None, [], {}, "", "x", 0, 1, -1.5, True, [[]], [None], {"a": None}, "pong", ["pong"], [{}], "\ud800"]


def heard_without_harm(name: str, message: Any) -> None:
    """The stream accepts any message, and no row of it raises anything but InvalidQuote."""
    stream = STREAMS[name]
    for each in stream.read(message):
        if isinstance(each, Row):
            assert isinstance(each.symbol, str) and each.channel in stream.channels
            stream.channels[each.channel].order_of(each.data)
            try:
                stream.channels[each.channel].update(ETH, each.data, NOW_MS)
            except InvalidQuote:
                pass
        elif not isinstance(each, Alive | Notice):
            hash(each[0] if not isinstance(each, Reject) else each[1:])


def spoilt(value: Any) -> Iterable[Any]:
    """Variants of a message: junk in place of each part, each part missing, and each part nested in a list."""
    yield from JUNK
    yield [value]
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {other: each for other, each in value.items() if other != key}
            yield from ({**value, key: worse} for worse in spoilt(inner))
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from ([*value[:at], worse, *value[at + 1 :]] for worse in spoilt(inner))


@every_stream
def test_no_part_of_any_message_is_trusted(name: str) -> None:
    for owner, frame in FRAMES:
        if owner == name:
            for message in spoilt(parsed(frame)):
                heard_without_harm(name, message)


@every_stream
@pytest.mark.parametrize("frame", ["", "{", "null", "[]", "3", '"x"', "NaN", "[" * 100_000, '{"a":' * 100_000, "\x00", "é"])
def test_what_is_no_message_says_nothing(name: str, frame: str) -> None:
    assert said(name, frame) == []
    assert said(name, b"\xff\xfe") == []


@every_stream
def test_messages_of_others_and_truncated_ones_do_no_harm(name: str) -> None:
    for _, frame in FRAMES:
        heard_without_harm(name, parsed(frame))
        for end in range(0, len(frame), 7):
            heard_without_harm(name, parsed(frame[:end]))


@pytest.mark.parametrize("key", WITH_PRICE)
def test_price_that_comes_twice_is_none(key: str) -> None:
    frame = ROWS[key].frame.replace(price_in(key), f"{price_in(key)},{price_in(key, '77')}")
    for row in said(key, frame):
        assert isinstance(row, Row)
        with pytest.raises(InvalidQuote):
            STREAMS[key.split()[0]].channels[row.channel].update(ETH, row.data, NOW_MS)


names = sorted({word for _, frame in FRAMES for word in frame.split('"') if 0 < len(word) < 30})
values = st.recursive(
    st.sampled_from([None, True, False, "pong", "1", "0", "1e-7", "9" * 30]) | st.sampled_from(names) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(names), inner, max_size=6),
    max_leaves=15,
)


@every_stream
@settings(max_examples=150, deadline=None)
@given(message=values)
def test_no_message_raises(name: str, message: Any) -> None:
    heard_without_harm(name, message)


# KuCoin's token

BULLET = '{"code":"200000","data":{"token":"2neAi==","instanceServers":[{"endpoint":"wss://ws-api-spot.kucoin.com/",' \
    '"encrypt":true,"protocol":"websocket","pingInterval":18000,"pingTimeout":10000}]}}'  # fmt: skip


def address(body: str, status: int = 200) -> Any:
    token = STREAMS["kucoin"].token
    assert token is not None and token.path == "/api/v1/bullet-public"
    return token.read(Reply(status, {}, body.encode(), NOW_MS))


def test_token_says_where_and_how_often_to_ping() -> None:
    url = f"wss://ws-api-spot.kucoin.com/?token=2neAi%3D%3D&connectId={NOW_MS}"
    assert address(BULLET) == (url, 18.0)
    assert address(BULLET.replace("18000", '"soon"')) == (url, 0.0)


@pytest.mark.parametrize("body", ["{}", "[]", BULLET.replace('"token"', '"x"'), BULLET.replace("[{", "[").replace("}]", "]")])
def test_answer_without_a_token_is_an_error(body: str) -> None:
    with pytest.raises(SourceError):
        address(body)


def test_token_is_refused_as_a_poll_is() -> None:
    with pytest.raises(Blocked):
        address('{"code":"400302","msg":"not in your country"}')
    with pytest.raises(RateLimited):
        address('{"code":"429000","msg":"too many"}', 429)
