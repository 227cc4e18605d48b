"""A live stream against a scripted server: what it requests, accepts, skips and survives, and what each close means."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import WSMsgType, web

from fastprice.application.live_events import StreamBack, StreamHeard, StreamLost, StreamReconnected
from fastprice.application.ports import Limit
from fastprice.domain.errors import Banned, Blocked, CoolDown, RateLimited, SourceError
from fastprice.domain.quote import Pair
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.live import LiveStream
from fastprice.infrastructure.exchanges.stream import KeepAlive, Patience, Stream
from tests.fakes import BTC, ETH, RecordingEvents
from tests.service import polling
from tests.toy_exchange import STREAM, TOY, ToyServer

pytestmark = pytest.mark.anyio

SOL = Pair("SOL", "USDT")


@pytest.fixture
async def server() -> AsyncIterator[ToyServer]:
    server = ToyServer()
    await server.start()
    yield server
    await server.stop()


class Client:
    """A live stream, and its updates and events."""

    def __init__(self, server: ToyServer, session: Session, stream: Stream, random: float) -> None:
        self.events = RecordingEvents()
        self.refused: list[SourceError] = []
        self.news = 0
        args = server.host, "http://toy.test", session, SystemClock(), self.events
        self.stream = LiveStream(TOY, stream, *args, lambda: random)

    def open(self, *pairs: Pair) -> "Client":
        self.stream.open(pairs, self._tell, self.refused.append)
        return self

    def prices(self) -> dict[str, str | None]:
        return {update.pair.base: update.price for update in self.stream.take(1000)}

    def state(self) -> str:
        return self.stream.report(0).state

    async def until_prices(self, wanted: dict[str, str]) -> None:
        seen: dict[str, Any] = {}
        await until(lambda: (seen.update(self.prices()) or seen) == wanted, f"{wanted}, but {seen}")

    def _tell(self) -> None:
        self.news += 1


async def until(condition: Callable[[], object], what: str = "") -> None:
    for _ in polling():
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"never came {what}")


MakeClient = Callable[..., Awaitable[Client]]


@pytest.fixture
async def client(server: ToyServer) -> AsyncIterator[Callable[..., Client]]:
    made: list[Client] = []
    async with Session("fastprice/test") as session:

        def make(stream: Stream = STREAM, random: float = 0.0) -> Client:
            made.append(Client(server, session, stream, random))
            return made[-1]

        yield make
        for each in made:
            await each.stream.close()
        assert not [task for task in asyncio.all_tasks() if "stream" in task.get_name() or task.get_name() == "pulse"]


async def test_pairs_are_dealt_out_to_connections_and_asked_for_in_requests_that_fit(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH, BTC, SOL)
    await until(lambda: len(server.asked("subscribe")) == 3)
    assert server.attempts == 2 and toy.state() == "connecting"
    assert sorted(server.asked("subscribe")) == ["ticker:BTCUSDT", "ticker:ETHUSDT", "ticker:SOLUSDT"]
    await server.say("ETHUSDT", "100.10", 1, bid="100.0", ask="100.2", time=1_753_300_000_000)
    await until(lambda: toy.news)
    update, = toy.stream.take(1000)
    assert (update.pair, update.price, update.book, update.time_ms) == (
        ETH, "100.10", ("100.0", "100.2"), 1_753_300_000_000
    )  # fmt: skip
    assert toy.state() == "live" and toy.stream.report(0).frame_at_ms


async def test_only_the_newest_row_of_a_pair_is_kept_and_late_and_repeated_ones_are_left_out(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH, BTC)
    await server.came.wait()
    for symbol, price, order in (
        ("ETHUSDT", "1", 5), ("BTCUSDT", "9", 5), ("ETHUSDT", "2", 6), ("ETHUSDT", "3", 6), ("ETHUSDT", "4", 4),
        ("NOBODY", "5", 9),
    ):  # fmt: skip
        await server.say(symbol, price, order)
    await server.say("BTCUSDT", "10", 7)
    await toy.until_prices({"ETH": "2", "BTC": "10"})
    await server.say("ETHUSDT", "6", 1)  # The exchange has restarted its counter.
    await toy.until_prices({"ETH": "6"})


async def test_a_row_that_cannot_be_true_costs_no_other_one(server: ToyServer, client: Callable[..., Client]) -> None:
    toy = client().open(ETH, BTC)
    await server.came.wait()
    await server.say("ETHUSDT", "0", 5)
    await server.say("BTCUSDT", "9", 5, bid="9", ask="8")
    await until(lambda: toy.news >= 2)
    assert not toy.prices()
    await server.say("ETHUSDT", "NaN", 6)
    await server.say("BTCUSDT", "9", 6, bid="8", ask="")
    await toy.until_prices({"BTC": "9"})


ODD = [b"", b"{", b"null", b"[]", b"7", b'"text"', b"\xff\xfe", b'{"channel":[]}', b'{"a":1,"a":2}', b"[" * 100_000,
       b'{"defect":1}', b"NaN"]  # fmt: skip


async def test_whatever_comes_nothing_ends_the_stream(
    server: ToyServer, client: Callable[..., Client], caplog: pytest.LogCaptureFixture
) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    socket = server.connections[-1]
    with caplog.at_level(logging.CRITICAL):
        for frame in ODD:
            await socket.send_bytes(frame)
            if frame.isascii():
                await socket.send_str(frame.decode())
        await socket.ping(b"are you there")
        await socket.send_bytes(json.dumps({"channel": "ticker", "symbol": "ETHUSDT", "price": "7", "order": 1}).encode())
        await toy.until_prices({"ETH": "7"})
    await until(lambda: WSMsgType.PONG in server.frames)
    assert server.attempts == 1


async def test_a_burst_lets_others_have_their_turns_and_costs_one_row(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    turns, done = 0, False

    async def others() -> None:
        nonlocal turns
        while not done:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(others())
    taken = 0
    for order in range(20_000):
        await server.connections[-1].send_str(f'{{"channel":"ticker","symbol":"ETHUSDT","price":"{order + 1}","order":{order}}}')
    seen: dict[str, Any] = {}
    while seen.get("ETH") != "20000":
        await asyncio.sleep(0.001)
        taken += len(found := toy.prices())
        seen |= found
    done = True
    await counting
    assert turns > 20 and taken < 5_000


REFUSALS: list[tuple[web.Response, type[SourceError], float | None]] = [
    (web.Response(status=429, headers={"Retry-After": "77"}), RateLimited, 77.0),
    (web.Response(status=418, headers={"Retry-After": "99"}), Banned, 99.0),
    (web.Response(status=451), Blocked, None),
    (web.Response(status=403, text="not in your country"), Blocked, None),
    (web.Response(status=403, text="<html>no</html>"), Banned, None),
]


@pytest.mark.parametrize("number", range(len(REFUSALS)))
async def test_a_refusal_that_asks_us_to_stay_away_is_told(
    number: int, server: ToyServer, client: Callable[..., Client]
) -> None:
    answer, kind, seconds = REFUSALS[number]
    server.refusal = lambda: web.Response(status=answer.status, headers=answer.headers, body=answer.body)
    toy = client().open(ETH)
    await until(lambda: toy.refused)
    error = toy.refused[0]
    assert type(error) is kind and isinstance(error, CoolDown)
    assert seconds is None or error.seconds == seconds
    assert str(error).startswith("its stream: HTTP 4")
    assert [event.reason for event in toy.events.of(StreamReconnected)] == ["refused"]
    assert server.attempts == 1


@pytest.mark.parametrize("status", [200, 301, 404, 500, 503])
async def test_any_other_refusal_is_no_reason_to_ask_less(
    status: int, server: ToyServer, client: Callable[..., Client]
) -> None:
    server.refusal = lambda: web.Response(status=status, headers={"Location": server.host.replace("ws", "http") + "/live"})
    toy = client().open(ETH)
    await until(lambda: server.attempts >= 3)
    assert not toy.refused and len(toy.events.of(StreamLost)) == 1
    server.refusal = None
    await until(lambda: server.connections)
    await server.say("ETHUSDT", "1", 1)
    await toy.until_prices({"ETH": "1"})
    assert len(toy.events.of(StreamBack)) == 1


@pytest.mark.parametrize("code", [1000, 1001, 1009, 1011, 4000])
async def test_after_a_close_it_connects_anew_and_counts_orders_anew(
    code: int, server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    await server.say("ETHUSDT", "1", 100)
    await toy.until_prices({"ETH": "1"})
    server.came.clear()
    await server.connections[-1].close(code=code)
    await server.came.wait()
    await server.say("ETHUSDT", "2", 7)
    await toy.until_prices({"ETH": "2"})
    assert [event.reason for event in toy.events.of(StreamReconnected)] == ["lost"]
    assert f"closed with {code}" in toy.events.of(StreamLost)[0].reason


@pytest.mark.parametrize("code", [1008, 4008])
async def test_a_close_for_what_we_did_is_a_ban(code: int, server: ToyServer, client: Callable[..., Client]) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    await server.connections[-1].close(code=code, message=b"Too many requests")
    await until(lambda: toy.refused)
    assert type(toy.refused[0]) is RateLimited and "Too many requests" in str(toy.refused[0])


async def test_a_rejection_for_asking_too_much_is_a_ban(server: ToyServer, client: Callable[..., Client]) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    await server.connections[-1].send_json({"too_many": 1})
    await until(lambda: toy.refused)
    assert type(toy.refused[0]) is RateLimited


async def test_a_reset_and_a_frame_of_twenty_megabytes_end_a_connection_and_no_more(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    server.came.clear()
    server.reset()
    await server.came.wait()
    server.came.clear()
    with contextlib.suppress(ConnectionError):
        await server.connections[-1].send_bytes(bytes(20 << 20))
    await server.came.wait()
    await server.say("ETHUSDT", "2", 7)
    await toy.until_prices({"ETH": "2"})
    assert [event.reason for event in toy.events.of(StreamReconnected)] == ["lost", "too_large"]


async def test_before_a_planned_cut_the_next_connection_tells_before_the_first_is_closed(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    await server.say("ETHUSDT", "1", 5)
    await toy.until_prices({"ETH": "1"})
    first = server.connections[0]
    await first.send_json({"notice": 60})
    await until(lambda: len(server.connections) == 2)
    assert toy.state() == "live"
    await first.send_json({"channel": "ticker", "symbol": "ETHUSDT", "price": "2", "order": 6})
    await toy.until_prices({"ETH": "2"})
    # The second connection does not repeat what the first has told.
    await server.say("ETHUSDT", "1.5", 6)
    await until(lambda: first.closed)
    await server.say("ETHUSDT", "3", 7)
    await toy.until_prices({"ETH": "3"})
    assert [event.reason for event in toy.events.of(StreamReconnected)] == ["planned"]
    assert not toy.events.of(StreamLost)


async def test_where_the_next_connection_is_refused_the_first_is_used_to_its_end(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    await server.say("ETHUSDT", "1", 5)
    await toy.until_prices({"ETH": "1"})
    server.refusal = lambda: web.Response(status=503)
    await server.connections[0].send_json({"notice": 60})
    await until(lambda: server.attempts == 2)
    await server.say("ETHUSDT", "2", 6)
    await toy.until_prices({"ETH": "2"})
    server.refusal = None
    await server.connections[0].close()
    await until(lambda: server.attempts == 3)


async def test_an_unknown_symbol_is_dropped_and_the_others_of_its_request_are_asked_for_again(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    server.answers = False
    toy = client().open(ETH, BTC)
    await until(lambda: server.frames)
    await server.connections[-1].send_json({"reject": server.frames[0]["id"], "symbol": "BTCUSDT"})
    await until(lambda: len(server.frames) == 2)
    assert server.frames[1]["topics"] == ["ticker:ETHUSDT"]
    toy.stream.renew([ETH, BTC])
    await until(lambda: len(server.frames) == 4)
    assert [frame["op"] for frame in server.frames[2:]] == ["unsubscribe", "subscribe"]
    assert server.frames[3]["topics"] == ["ticker:ETHUSDT"] and server.attempts == 1


async def test_after_subscribing_anew_orders_count_anew(server: ToyServer, client: Callable[..., Client]) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    await server.say("ETHUSDT", "1", 100)
    await toy.until_prices({"ETH": "1"})
    toy.stream.renew([ETH])
    await server.say("ETHUSDT", "2", 50)
    await toy.until_prices({"ETH": "2"})


async def test_only_the_connections_of_silent_pairs_are_changed(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    toy = client().open(ETH, BTC, SOL)
    await until(lambda: len(server.connections) == 2)
    toy.stream.reconnect([ETH, SOL])
    await until(lambda: server.attempts == 3)
    assert [event.reason for event in toy.events.of(StreamReconnected)] == ["asked"]
    assert not toy.events.of(StreamLost)


@pytest.mark.parametrize(
    ("patience", "reason"), [(Patience(0.2), "silent"), (Patience(60.0, any_data=0.2), "no_data")], ids=str
)
async def test_a_connection_that_is_silent_is_given_up(
    patience: Patience, reason: str, server: ToyServer, client: Callable[..., Client]
) -> None:
    keep_alive = KeepAlive(lambda number, wall_ms: "ping", 0.05) if reason == "no_data" else None
    toy = client(replace(STREAM, patience=patience, keep_alive=keep_alive)).open(ETH)
    await server.came.wait()
    await server.say("ETHUSDT", "1", 1)
    await until(lambda: toy.events.of(StreamReconnected))
    assert toy.events.of(StreamReconnected)[0].reason == reason
    assert ("ping" in server.frames) is (reason == "no_data")


async def test_never_more_connections_are_opened_than_the_budget_allows(
    server: ToyServer, client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refusal = lambda: web.Response(status=503)
    limits = replace(STREAM.limits, pairs=1, connects=Limit(3.0, 2.0))
    loop = asyncio.get_running_loop()
    began = loop.time()
    client(replace(STREAM, limits=limits)).open(ETH, BTC, SOL)
    await until(lambda: server.attempts >= 6)
    assert server.attempts <= 3 + 2 * (loop.time() - began) + 1


async def test_it_may_be_closed_at_any_moment_and_opened_again(
    server: ToyServer, client: Callable[..., Client]
) -> None:
    hanging = asyncio.Event()

    async def hang() -> web.Response:
        await hanging.wait()
        return web.Response(status=503)

    server.refusal = hang
    toy = client().open(ETH, BTC, SOL)
    await until(lambda: server.attempts)
    await toy.stream.close()
    assert toy.state() == "off"
    hanging.set()
    server.refusal = None
    toy.open(ETH)
    await until(lambda: server.connections)
    await toy.stream.close()
    await until(lambda: not server.connections)
    toy.open(ETH)
    await until(lambda: server.connections)
    await server.say("ETHUSDT", "1", 1)
    await toy.until_prices({"ETH": "1"})


async def test_what_came_is_counted_and_told_once_a_second(server: ToyServer, client: Callable[..., Client]) -> None:
    toy = client().open(ETH)
    await server.came.wait()
    await server.say("ETHUSDT", "1", 1, time=SystemClock().wall_ms() - 500)
    await until(lambda: toy.prices() or toy.events.of(StreamHeard))
    await until(lambda: toy.prices() or toy.events.of(StreamHeard))
    heard = toy.events.of(StreamHeard)[0]
    assert heard.counts["data"] == 1 and heard.counts["ack"] == 1
    assert heard.lag_seconds >= 0.5
