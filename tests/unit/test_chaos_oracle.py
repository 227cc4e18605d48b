"""The oracle of `make chaos` detects what it should: every promise is broken once, and correct answers pass."""

import time
from collections.abc import Callable
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import orjson
import pytest

from bench.chaos.exchange import NotingExchange
from bench.chaos.ledger import Ledger
from bench.chaos.oracle import CACHE_TTL, MAX_STALE, Oracle, Standing
from bench.chaos.wire import PRICES, Answer, Ask, Line, wall_ms
from fastprice.domain.quote import Pair
from fastprice.market.call import Call

ETH, BTC = Pair.parse("eth-usdt"), Pair.parse("btc-usdt")
ASK = Ask(f"{PRICES}/eth-usdt", (200, 304, 412, 503), "eth-usdt")
PROBLEM = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "code": "price_too_old", "detail": "."}


class World:
    """An exchange that said a price some time ago, and an oracle that checks a service's answers now."""

    def __init__(self, age_ms: int = 200, fault: str = "") -> None:
        self.now_ms = wall_ms()
        self.said_ms = self.now_ms - age_ms
        self.exchange = NotingExchange(("eth-usdt", "btc-usdt"), 1, MAX_STALE * 1000, lambda: self.said_ms)
        self.ledger = Ledger(1)
        self.oracle = Oracle(self.exchange, self.ledger)
        self.oracle.learn(
            {"components": {"schemas": {"Problem": {"properties": {"code": {"enum": ["price_too_old"]}}}}}, "paths": {}}
        )
        self.service, self.line = Standing("service"), Line(None, None)  # type: ignore[arg-type]
        self.say(fault)

    def say(self, fault: str) -> None:
        if fault:
            self.exchange.set_fault("binance", fault)
        for pair in (ETH, BTC):
            self.exchange.note(self.call(pair))

    def call(self, pair: Pair) -> Call:
        binance = self.exchange.sources["binance"]
        choice = binance.read("/api/v3/ticker/24hr", {"symbol": pair.base + pair.quote})
        call = choice and binance.reply(choice)
        assert isinstance(call, Call)
        return call

    def price(self, pair: Pair = ETH, **changes: Any) -> dict[str, Any]:
        tick = self.call(pair).tick
        return {
            "symbol": pair.symbol, "price": tick.price, "bid": tick.bid, "ask": tick.ask, "volume_24h": tick.volume,
            "source": "binance", "source_time_ms": tick.time_ms, "fetched_at_ms": self.said_ms + 20, "stale": False,
        } | changes  # fmt: skip

    def answer(self, content: Any, status: int = 200, etag: str = '"1"', **headers: str) -> Answer:
        fetched_ms = content.get("fetched_at_ms", 0) if isinstance(content, dict) else 0
        usual = {
            "access-control-allow-origin": "*", "cache-control": "public, max-age=0", "etag": etag,
            "date": formatdate(self.now_ms // 1000), "last-modified": formatdate(fetched_ms // 1000),
            "content-type": "application/problem+json" if status >= 400 else "application/json", "retry-after": "1",
        }  # fmt: skip
        body = content if isinstance(content, bytes) else orjson.dumps(content)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        return Answer(status, usual | given, body, self.now_ms, self.now_ms)

    def found(self, answer: Answer, ask: Ask | None = ASK) -> list[str]:
        self.oracle.judge(self.service, self.line, ask, answer)
        return [kind.removeprefix("service: ") for kind in self.ledger.found]


def test_the_truth_is_no_finding() -> None:
    world = World()
    assert not world.found(world.answer(world.price(), cache_control="public, max-age=1"))


def test_an_old_price_that_says_so_is_no_finding() -> None:
    world = World(age_ms=3000)
    assert not world.found(world.answer(world.price(stale=True), cache_control="public, max-age=1"))


LIES: dict[str, Callable[[World], dict[str, Any]]] = {
    "other digits": lambda world: {"price": "3000.00"},
    "a zero less": lambda world: {"price": world.price()["price"][:-1]},
    "another pair's digits": lambda world: {"price": world.price(BTC)["price"]},
    "another source's": lambda world: {"source": "okx"},
    "another bid": lambda world: {"bid": world.price()["ask"]},
    "an invented volume": lambda world: {"volume_24h": "1"},
    "another stamp": lambda world: {"source_time_ms": world.said_ms - 60_000},
    "no stamp where there is one": lambda world: {"source_time_ms": None},
    "fetched long after it was said": lambda world: {"fetched_at_ms": world.said_ms + 1000},
}


@pytest.mark.parametrize("lie", LIES)
def test_what_the_exchange_never_said_is_found(lie: str) -> None:
    world = World(age_ms=1200)
    assert "never said by" in " ".join(world.found(world.answer(world.price(**LIES[lie](world)))))


@pytest.mark.parametrize("fault", ["zero", "nan", "crossed", "wrong_symbol", "duplicate_keys", "exponent", "truncated"])
def test_what_no_service_may_believe_is_found_though_its_digits_are_true(fault: str) -> None:
    world = World(fault=fault)
    assert world.found(world.answer(world.price())) == ["never said by binance"]


AGES: dict[str, tuple[float, dict[str, Any], dict[str, Any]]] = {
    "past MAX_STALE": (MAX_STALE + 0.1, {"stale": True}, {}),
    "called fresh and is stale": (CACHE_TTL + 0.1, {}, {}),
    "called stale and is fresh": (0.1, {"stale": True}, {}),
    "max-age goes too far": (CACHE_TTL - 0.9, {}, {"cache_control": "public, max-age=1"}),
}


@pytest.mark.parametrize("kind", AGES)
def test_each_limit_of_age_is_held(kind: str) -> None:
    seconds, changes, headers = AGES[kind]
    world = World(age_ms=round(seconds * 1000))
    assert kind in world.found(world.answer(world.price(fetched_at_ms=world.said_ms, **changes), **headers))


def test_the_limits_of_the_client_are_held() -> None:
    world = World(age_ms=1000)
    ask = Ask(f"{ASK.path}?max_age_ms=500", ASK.statuses, ASK.pair, most_ms=500)
    assert world.found(world.answer(world.price()), ask) == ["older than max_age_ms"]


def test_a_price_does_not_go_back_in_time_on_a_connection() -> None:
    world = World(age_ms=500)
    assert not world.found(world.answer(world.price()))
    assert world.found(world.answer(world.price(fetched_at_ms=world.said_ms), etag='"2"')) == ["went back in time"]


def test_etags_and_bodies_are_one_to_one() -> None:
    world = World()
    assert not world.found(world.answer(world.price()))
    assert world.found(world.answer(world.price(), etag='"2"')) == ["ETag and body are not one to one"]


def test_a_304_is_judged_by_the_body_it_stands_for() -> None:
    world = World(age_ms=1000)
    world.found(world.answer(world.price()))
    late = world.answer(b"", status=304)
    late.sent_ms = late.received_ms = world.said_ms + 9000
    assert {"past MAX_STALE", "304 for another ETag"} <= set(world.found(late))


def test_dates_are_those_of_the_answer_and_of_the_price() -> None:
    world, ago = World(), formatdate(0)
    assert "Date is not when it was answered" in world.found(world.answer(world.price(), date=ago))
    assert "Last-Modified is not fetched_at_ms" in world.found(world.answer(world.price(), last_modified=ago))


def test_a_jump_is_a_finding_unless_the_service_may_have_forgotten_what_it_held() -> None:
    world = World()
    world.say("jump")
    truth = world.price()
    jumped = world.answer(truth | {name: f"{Decimal(truth[name]) * Decimal('1.5'):.8f}" for name in ("price", "bid", "ask")})
    world.service.forgot_at = time.monotonic()
    assert not world.found(jumped)
    world.service.forgot_at -= 60
    assert world.found(jumped) == ["a jump was believed"]


def test_a_missing_price_is_a_finding_only_while_a_source_is_honest_and_the_service_at_rest() -> None:
    world = World()
    missing = world.answer(PROBLEM, status=503)
    assert not world.found(missing)
    world.oracle.honest_since = time.monotonic() - 60
    world.service.upset()
    assert not world.found(missing)
    world.service.upset_at -= 60
    assert world.found(missing) == ["no price although a source is honest"]


@pytest.mark.parametrize(
    "changes", [{"code": "made_up"}, {"status": 500}, {"last_fetched_at_ms": 4_102_444_800_000}], ids=str
)
def test_a_wrong_problem_is_found(changes: dict[str, Any]) -> None:
    world = World()
    assert world.found(world.answer(PROBLEM | changes, status=503))


def test_counters_never_fall() -> None:
    world = World()
    for value in (7, 8):
        assert not world.found(world.answer(b'a_total{b="c"} %d' % value), Ask("/metrics"))
        world.now_ms += 1
    assert world.found(world.answer(b'a_total{b="c"} 6'), Ask("/metrics")) == ["counters fell, first a_total"]


def test_what_cannot_be_read_is_found() -> None:
    world = World()
    assert world.found(world.answer(b"{}"))
    assert world.found(world.answer(b"no JSON", status=400), None)
