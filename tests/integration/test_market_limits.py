"""The simulated exchanges refuse what exceeds their documented limits, as documented, and count it."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
import pytest

from fastprice.market import Market
from fastprice.market.limits import Limit
from tests.market import SINGLE

pytestmark = pytest.mark.anyio

NOW_MS = 1_753_300_000_000
# This many single calls at once are allowed; REFUSED is the answer to the next one, and for how many ms it stays so.
ALLOWED = {
    "binance": 3000, "okx": 20, "coinbase": 15, "kraken": 2, "bitget": 20, "gate": 200, "bybit": 600, "kucoin": 1000,
    "bitstamp": 400, "htx": 4500,
}  # fmt: skip
REFUSED: dict[str, tuple[int, dict[str, Any] | str, int]] = {
    "binance": (429, {"code": -1003}, 60_000),
    "okx": (429, {"code": "50011", "data": []}, 2_000),
    "coinbase": (429, {"message": "Public rate limit exceeded"}, 100),
    "kraken": (200, {"error": ["EGeneral:Too many requests"]}, 5_000),
    "bitget": (429, {"code": "429"}, 1_000),
    "gate": (429, {"label": "TOO_MANY_REQUESTS"}, 10_000),
    "bybit": (403, "403, access too frequent", 600_000),
    "kucoin": (429, {"code": "429000"}, 30_000),
    "bitstamp": (429, {"code": "400.002"}, 1_000),
    "htx": (429, {"err-code": "base-request-exceed-frequency-limit"}, 300_000),
}
RESET = {
    "binance": {"Retry-After": "60", "X-MBX-USED-WEIGHT-1M": "6000"},
    "gate": {
        "X-Gate-RateLimit-Requests-Remain": "0", "X-Gate-RateLimit-Limit": "200",
        "X-Gate-RateLimit-Reset-Timestamp": str(NOW_MS // 1000 + 10),
    },
    "bybit": {"X-Bapi-Limit-Reset-Timestamp": str(NOW_MS + 600_000), "X-Bapi-Limit-Status": "0"},
    "kucoin": {"gw-ratelimit-limit": "2000", "gw-ratelimit-remaining": "0", "gw-ratelimit-reset": "30000"},
}  # fmt: skip


class World:
    """A market with limits, the clock that it uses, and a client."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session, self.ms = session, NOW_MS
        self.market = Market(("eth-usdt", "btc-usdt"), limits=True, now_ms=lambda: self.ms)

    async def ask(self, source: str, path: str = "") -> tuple[int, Any, Any]:
        async with self.session.get(f"{self.market.url}/{source}{path or SINGLE[source]}") as reply:
            body = await (reply.json() if "json" in reply.content_type else reply.text())
            return reply.status, body, reply.headers

    def use_up(self, source: str, calls: int) -> None:
        """Use up the limit without HTTP, which would make thousands of calls slow."""
        one, (target, _, query) = self.market.sources[source], SINGLE[source].partition("?")
        choice = one.read(target, dict(parse_qsl(query)))
        assert choice and not any(one.pay(target, choice).wait_ms for _ in range(calls))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with aiohttp.ClientSession() as session:
        world = World(session)
        await world.market.start()
        yield world
        await world.market.stop()


def is_refused(source: str, status: int, body: Any) -> bool:
    expected, words, _ = REFUSED[source]
    return status == expected and (body == words if isinstance(words, str) else words.items() <= body.items())


@pytest.mark.parametrize("source", SINGLE)
async def test_what_is_documented_is_allowed_and_one_call_more_is_refused_until_it_is_reset(
    world: World, source: str
) -> None:
    world.use_up(source, ALLOWED[source] - 1)
    status, body, _ = await world.ask(source)
    assert (status, is_refused(source, status, body)) == (200, False)
    assert world.market.limits_exceeded[source] == 0
    status, body, headers = await world.ask(source)
    assert is_refused(source, status, body), body
    assert {name: headers[name] for name in RESET.get(source, {})} == RESET.get(source, {})
    assert ("Retry-After" in headers) is (source == "binance"), "no one else documents it"
    assert world.market.limits_exceeded == dict.fromkeys(SINGLE, 0) | {source: 1}
    world.ms += REFUSED[source][2]
    status, body, _ = await world.ask(source)
    assert (status, is_refused(source, status, body)) == (200, False)
    assert world.market.limits_exceeded[source] == 1


@pytest.mark.parametrize("source", ["okx", "bitget", "gate"])
async def test_limit_of_an_endpoint_is_that_endpoints_alone(world: World, source: str) -> None:
    others = {"okx": "/api/v5/market/tickers?instType=SPOT", "bitget": "/api/v2/spot/public/symbols",
              "gate": "/api/v4/spot/currency_pairs"}  # fmt: skip
    world.use_up(source, ALLOWED[source])
    assert is_refused(source, *(await world.ask(source))[:2])
    assert (await world.ask(source, others[source]))[0] == 200


async def test_bitstamp_also_limits_what_is_asked_in_ten_minutes(world: World) -> None:
    for _ in range(10_000 // ALLOWED["bitstamp"]):
        world.use_up("bitstamp", ALLOWED["bitstamp"])
        world.ms += 1000
    assert is_refused("bitstamp", *(await world.ask("bitstamp"))[:2])
    world.ms += 575_000
    assert not is_refused("bitstamp", *(await world.ask("bitstamp"))[:2])


@pytest.mark.parametrize(
    ("path", "weight"),
    [
        ("/api/v3/ticker/24hr?symbol=ETHUSDT", 2),
        ('/api/v3/ticker/24hr?symbols=["ETHUSDT","BTCUSDT"]', 2),
        ("/api/v3/ticker/24hr?symbols=[" + ",".join(['"ETHUSDT"'] * 21) + "]", 40),
        ("/api/v3/ticker/24hr?symbols=[" + ",".join(['"ETHUSDT"'] * 101) + "]", 80),
        ("/api/v3/ticker/24hr", 80),
        ("/api/v3/ticker/price?symbol=ETHUSDT", 2),
        ('/api/v3/ticker/price?symbols=["ETHUSDT"]', 4),
        ("/api/v3/ticker/price", 4),
        ("/api/v3/ticker/bookTicker?symbol=ETHUSDT", 2),
        ('/api/v3/ticker/bookTicker?symbols=["ETHUSDT"]', 4),
        ("/api/v3/ticker/bookTicker", 4),
        ("/api/v3/exchangeInfo", 20),
    ],
)
async def test_binance_weighs_each_form_and_says_what_is_used(world: World, path: str, weight: int) -> None:
    assert (await world.ask("binance", path))[2]["X-MBX-USED-WEIGHT-1M"] == str(weight)
    world.ms += 30_000
    assert (await world.ask("binance", path))[2]["X-MBX-USED-WEIGHT-1M"] == str(2 * weight)
    world.ms += 30_000
    assert (await world.ask("binance", path))[2]["X-MBX-USED-WEIGHT-1M"] == str(2 * weight), "the first is forgotten"


async def test_kucoin_weighs_each_form_and_says_what_remains(world: World) -> None:
    remaining = []
    for path in SINGLE["kucoin"], "/api/v1/market/allTickers", "/api/v1/market/stats?symbol=ETH-USDT":
        remaining.append((await world.ask("kucoin", path))[2]["gw-ratelimit-remaining"])
    assert remaining == ["1998", "1983", "1968"]


async def test_binance_bans_a_client_that_goes_on_asking_each_time_for_longer(world: World) -> None:
    async def until_banned() -> tuple[int, Any, Any]:
        world.use_up("binance", ALLOWED["binance"])
        statuses = [(await world.ask("binance"))[0] for _ in range(5)]
        assert statuses == [429] * 5
        return await world.ask("binance")

    for seconds in 120, 240, 480:
        status, body, headers = await until_banned()
        assert (status, body["code"], headers["Retry-After"]) == (418, -1003, str(seconds))
        assert f"IP banned until {world.ms + seconds * 1000}." in body["msg"]
        world.ms += seconds * 1000 - 1
        assert (await world.ask("binance"))[0] == 418
        world.ms += 1
        assert (await world.ask("binance"))[0] == 200
        world.ms += 60_000


async def test_bybit_shuts_an_address_out_for_ten_minutes(world: World) -> None:
    world.use_up("bybit", ALLOWED["bybit"])
    for _ in range(2):
        assert (await world.ask("bybit"))[:2] == (403, "403, access too frequent")
        world.ms += 599_999
        assert (await world.ask("bybit"))[0] == 403
        world.ms += 1
        assert (await world.ask("bybit"))[0] == 200
        world.use_up("bybit", ALLOWED["bybit"] - 1)


async def test_kraken_starts_the_penalty_again_for_a_client_that_goes_on_asking(world: World) -> None:
    world.use_up("kraken", ALLOWED["kraken"])
    for _ in range(3):
        assert is_refused("kraken", *(await world.ask("kraken"))[:2])
        world.ms += 4999
    assert is_refused("kraken", *(await world.ask("kraken"))[:2])
    world.ms += 5000
    assert not is_refused("kraken", *(await world.ask("kraken"))[:2])


@pytest.mark.parametrize(("source", "interval_ms"), [("kraken", 1000), ("coinbase", 100)])
async def test_steady_client_at_the_documented_rate_is_never_refused(
    world: World, source: str, interval_ms: int
) -> None:
    for _ in range(100):
        world.use_up(source, 1)
        world.ms += interval_ms
    assert world.market.limits_exceeded[source] == 0


async def test_refused_call_costs_nothing_and_asks_no_pair_of_a_fault(world: World) -> None:
    world.market.set_fault("okx", "zero")
    world.use_up("okx", ALLOWED["okx"])
    world.ms += 1000
    assert is_refused("okx", *(await world.ask("okx"))[:2])
    world.ms += 1000
    world.use_up("okx", ALLOWED["okx"])


async def test_clock_that_is_set_back_does_not_lock_anyone_out(world: World) -> None:
    for source in "okx", "coinbase":
        world.use_up(source, ALLOWED[source] - 1)
    world.ms -= 3_600_000
    for source in "okx", "coinbase":
        world.use_up(source, 1)


async def test_limits_are_counted_but_not_enforced_when_switched_off(world: World) -> None:
    async with world.session.put(f"{world.market.url}/limits", json={"enforced": False}) as reply:
        assert (await reply.json())["enforced"] is False
    world.use_up("okx", ALLOWED["okx"])
    status, _, headers = await world.ask("okx")
    assert (status, world.market.limits_exceeded["okx"]) == (200, 1)
    assert [(await world.ask("kraken"))[0] for _ in range(3)] == [200] * 3
    world.ms += 2000
    await world.ask("kraken")
    assert world.market.limits_exceeded["kraken"] == 1, "no penalty comes after it"
    assert "X-MBX-USED-WEIGHT-1M" not in (await world.ask("binance"))[2]
    async with world.session.get(f"{world.market.url}/calls") as reply:
        assert (await reply.json())["limits_exceeded"]["okx"] == 1
    async with world.session.delete(f"{world.market.url}/calls"), world.session.get(f"{world.market.url}/limits") as reply:
        assert await reply.json() == {"enforced": False, "exceeded": dict.fromkeys(SINGLE, 0)}


def test_wait_of_a_window_is_until_enough_has_left_it() -> None:
    meter = Limit(10, 1).meter()
    for moment in 0, 100, 200:
        assert meter.wait_ms(3, moment) == 0
        meter.spend(3, moment)
    assert (meter.wait_ms(1, 300), meter.wait_ms(2, 300), meter.wait_ms(5, 300), meter.wait_ms(11, 300)) == (
        0, 700, 800, 1000
    )  # fmt: skip
    assert meter.wait_ms(11, 5000) == 1000, "more than fits is never allowed"
