"""The whole application over real HTTP: what every endpoint promises to its clients."""

import asyncio
import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from email.utils import formatdate, parsedate_to_datetime
from typing import Any

import aiohttp
import pytest
import uvicorn
from multidict import CIMultiDict
from starlette.applications import Starlette
from yarl import URL

from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import PairReport, SourceReport
from fastprice.application.recent import RecentPrices
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.interface.app import make_app
from fastprice.interface.parts import Parts
from fastprice.interface.polled import MOMENT_SECONDS, Polled
from fastprice.interface.price_snapshot import price_snapshots
from fastprice.interface.streams import Streams
from fastprice.server.lane import Lane
from tests.fakes import BTC, ETH, START_MS, FakeClock, a_quote, settle

pytestmark = pytest.mark.anyio

PRICE, PRICES = "/api/v1/prices/eth-usdt", "/api/v1/prices"
SOURCES, RECENT = f"{PRICE}/sources", f"{PRICE}/recent"
LIVENESS, READINESS = "/health/liveness", "/health/readiness"
ENDPOINTS = (PRICE, PRICES, SOURCES, RECENT, LIVENESS, READINESS, "/metrics", "/openapi.json", "/", "/api", "/api/")
PRICE_TEMPLATE, SOURCES_TEMPLATE = "/api/v1/prices/{pair}", "/api/v1/prices/{pair}/sources"
RECENT_TEMPLATE = "/api/v1/prices/{pair}/recent"
TEMPLATE_OF = {PRICE: PRICE_TEMPLATE, SOURCES: SOURCES_TEMPLATE, RECENT: RECENT_TEMPLATE}
TEMPLATES = {TEMPLATE_OF.get(path, path) for path in ENDPOINTS} | {"other"}
EXPOSITION = b"# HELP fastprice_price The price.\n", "text/plain; version=1.0.0; charset=utf-8"
PROMISED = (
    b'{"symbol":"ETH-USDT","base":"ETH","quote":"USDT","price":"3120.45","bid":"3120.44","ask":"3120.46",'
    b'"volume_24h":"41325.02","high_24h":"3188.10","low_24h":"3050.00","open_24h":"3101.7","source":"binance","source_time_ms":1753300000012,"fetched_at_ms":1753300000190,'
    b'"stale":false}'
)
QUOTE = a_quote(
    "3120.45", START_MS + 190, bid="3120.44", ask="3120.46", volume_24h="41325.02", high_24h="3188.10",
    low_24h="3050.00", open_24h="3101.7", source_time_ms=START_MS + 12,
)  # fmt: skip
STRONG_ETAG = re.compile(r'"[^"]+"')


@dataclass
class Got:
    """An answer as a client sees it."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def max_age(self) -> str:
        return self.headers["Cache-Control"].removeprefix("public, max-age=")


class Service:
    """The application with a clock, prices and parts that the test sets; it records what was counted.

    A request that must wait for the first price puts itself in `waiting` and waits for `patience` seconds.
    """

    def __init__(self, refresh_interval: float = 1.5) -> None:
        self.clock = FakeClock()
        self.refresh_interval = refresh_interval
        limits = AgeLimits(5000, 60_000)
        self.latest = LatestPrice((ETH, BTC), limits, price_snapshots(self.clock, refresh_interval), self.clock)
        self.streams = Streams(self.latest, self.clock, 0.1, 100)
        self.recent = RecentPrices(self.latest, self.clock)
        self.counted: list[tuple[str, str, int]] = []
        self.tally = {"hit": 0, "stale": 0, "miss": 0}
        self.reports: tuple[SourceReport, ...] = ()
        self.redis = "not_configured"
        self.simulated: tuple[str, ...] = ()
        self.patience = 0.0
        self.waiting: asyncio.Queue[None] = asyncio.Queue()
        self.broken = False
        self.port = 0
        self._session: aiohttp.ClientSession

    def app(self) -> Starlette:
        return make_app(self.parts(), lambda app: contextlib.nullcontext())

    def parts(self) -> Parts:
        return Parts(
            version="1.2.3",
            latest=self.latest,
            clock=self.clock,
            reports=self._reports,
            standing=lambda pair: [(report, report.of(pair)) for report in self._reports()],
            live=lambda: (),
            redis=lambda: self.redis,
            scrape=self._scrape,
            count_request=lambda route, method, status, seconds: self.counted.append((route, method, status)),
            tally=self.tally,
            patience=self._patience,
            refresh_interval=self.refresh_interval,
            streams=self.streams,
            recent=self.recent,
            simulated=self.simulated,
        )

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Service"]:
        # asyncio sets TCP_NODELAY only on a socket whose protocol is explicitly TCP.
        with socket.socket(proto=socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(512)
            self.port = listener.getsockname()[1]
            config = uvicorn.Config(self.app(), http="httptools", lifespan="off", log_config=None, date_header=False)
            server = uvicorn.Server(config)
            serving = asyncio.create_task(server.serve([listener]))
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as self._session:
                await self.raw("GET", LIVENESS)  # After this answer the server is up.
                self.counted.clear()
                yield self
            # uvicorn's own way of stopping sleeps two tenths of a second.
            serving.cancel()
            await asyncio.wait([serving])
            for closing in server.servers:
                closing.close()
            for connection in list(server.server_state.connections):
                connection.shutdown()
            await settle()

    async def __call__(self, path: str = PRICE, method: str = "GET", *lines: tuple[str, str]) -> Got:
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self._session.request(method, url, headers=CIMultiDict(lines), allow_redirects=False) as reply:
            return Got(reply.status, reply.headers, await reply.read())

    async def raw(self, method: str, path: str) -> tuple[bytes, bytes]:
        """The head and everything after it, up to the end of the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: fastprice\r\nConnection: close\r\n\r\n".encode("latin-1"))
        head, _, rest = (await reader.read(-1)).partition(b"\r\n\r\n")
        writer.close()
        await writer.wait_closed()
        return head, rest

    def price(self, pair: Pair = ETH, age: float = 0.0, **fields: Any) -> None:
        """Give the pair a price that is `age` seconds old."""
        at_ms = self.clock.wall_ms() - round(age * 1000)
        assert self.latest.offer(replace(QUOTE, pair=pair, fetched_at_ms=at_ms, **fields))

    def _reports(self) -> tuple[SourceReport, ...]:
        self._break()
        return self.reports

    async def _scrape(self) -> tuple[bytes, str]:
        self._break()
        return EXPOSITION

    def _patience(self) -> float:
        self._break()
        self.waiting.put_nowait(None)
        return self.patience

    def _break(self) -> None:
        if self.broken:
            raise RuntimeError("a defect")


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


def is_problem(got: Got, status: int, code: str) -> bool:
    """Whether an answer is a complete problem+json with this code."""
    body = got.json
    assert {"type", "title", "status", "code", "detail"} <= body.keys() and "\n" not in body["detail"]
    assert got.headers["Content-Type"] == "application/problem+json"
    assert "max-age" not in got.headers["Cache-Control"]
    return (got.status, body["status"], body["code"]) == (status, status, code)


# A price


async def test_price_is_served_digit_for_digit_with_its_headers(service: Service) -> None:
    service.clock.now += 0.19
    assert service.latest.offer(QUOTE)
    got = await service()
    assert (got.status, got.body) == (200, PROMISED)
    assert got.headers["Content-Type"] == "application/json"
    assert STRONG_ETAG.fullmatch(got.headers["ETag"])
    assert got.headers["Last-Modified"] == formatdate(QUOTE.fetched_at_ms // 1000, usegmt=True)
    assert got.headers["Cache-Control"] == "public, max-age=2"
    assert {"ETag", "Last-Modified"} <= set(got.headers["Access-Control-Expose-Headers"].split(", "))
    assert parsedate_to_datetime(got.headers["Date"]) >= parsedate_to_datetime(got.headers["Last-Modified"])
    assert got.headers["Date"] == formatdate(service.clock.wall_ms() // 1000, usegmt=True)
    assert service.tally == {"hit": 1, "stale": 0, "miss": 0}


@pytest.mark.parametrize(
    ("interval", "age", "stale", "max_age"),
    [
        (1.5, 0, False, "2"), (1.5, 2.9, False, "2"), (1.5, 3.1, False, "1"), (1.5, 4.001, False, "0"),
        (1.5, 5, False, "0"), (1.5, 5.001, True, "1"), (1.5, 59, True, "1"), (1.5, 59.001, True, "0"),
        (1.5, 59.906, True, "0"), (1.5, 60, True, "0"),
        (0.02, 0, False, "1"), (1, 0, False, "1"), (1, 3.9, False, "1"), (1, 4.5, False, "0"),
        (4.9, 0, False, "5"), (4.9, 0.1, False, "4"), (4.9, 55, True, "1"),
    ],
)  # fmt: skip
async def test_caches_may_keep_a_price_for_an_interval_but_no_longer_than_it_stays_what_it_is(
    interval: float, age: float, stale: bool, max_age: str
) -> None:
    async with Service(interval).running() as service:
        service.price()
        service.clock.now += age
        for path in PRICE, PRICES, f"{PRICE}?max_age_ms=80000":
            for method, condition in ("GET", ""), ("HEAD", ""), ("GET", "*"):
                got = await service(path, method, ("If-None-Match", condition))
                assert (got.status, got.max_age) == (304 if condition else 200, max_age), (path, method)
        assert (await service()).json["stale"] is stale


async def test_all_prices_together_may_be_kept_as_long_as_the_one_that_changes_first(service: Service) -> None:
    service.price(ETH, age=59.5)
    service.price(BTC)
    assert (await service(PRICES)).max_age == "0"


async def test_age_counts_from_the_exchanges_answer_not_from_ours(service: Service) -> None:
    service.price(age=3.5)
    assert (await service()).max_age == "1"
    service.price(age=0)
    service.clock.step_wall(3600)
    assert (await service()).max_age == "2", "a step of the wall clock ages no price"


async def test_stale_price_differs_in_nothing_but_its_mark_and_its_etag(service: Service) -> None:
    service.price()
    fresh = await service()
    service.clock.now += 6
    stale = await service("/api/v1/prices/eth-usdt", "GET", ("If-None-Match", fresh.headers["ETag"]))
    assert (stale.status, stale.json) == (200, fresh.json | {"stale": True})
    assert stale.headers["ETag"] != fresh.headers["ETag"]
    assert service.tally == {"hit": 1, "stale": 1, "miss": 0}


async def test_price_past_max_stale_is_refused_with_when_to_come_back(service: Service) -> None:
    service.price()
    service.clock.now += 60.001
    got = await service()
    assert is_problem(got, 503, "price_too_old")
    assert got.headers["Retry-After"] == "2", "whole seconds, never less than a refresh takes"
    assert got.json["last_fetched_at_ms"] == START_MS
    assert "price" not in got.json and QUOTE.price.encode() not in got.body
    service.price()
    assert (await service()).status == 200


# Before the first price


@pytest.mark.parametrize("patience", [0.0, -5.0, 0.02])
async def test_without_a_price_the_answer_is_503_once_patience_is_over(service: Service, patience: float) -> None:
    service.patience = patience
    got = await service()
    assert is_problem(got, 503, "price_unavailable") and got.headers["Retry-After"] == "2"
    assert service.tally == {"hit": 0, "stale": 0, "miss": 1}


async def test_300_cold_requests_all_get_the_first_price(service: Service) -> None:
    service.patience = 20
    asked = [asyncio.create_task(service()) for _ in range(300)]
    for _ in asked:
        await service.waiting.get()
    assert not any(task.done() for task in asked)
    service.price()
    answers = await asyncio.gather(*asked)
    assert {(got.status, got.json["price"], got.max_age) for got in answers} == {(200, "3120.45", "2")}
    assert service.tally == {"hit": 300, "stale": 0, "miss": 0}


async def test_cold_client_that_leaves_takes_nobody_along(service: Service) -> None:
    service.patience = 20
    leaver, stayer = asyncio.create_task(service()), asyncio.create_task(service())
    for _ in range(2):
        await service.waiting.get()
    leaver.cancel()
    await asyncio.wait([leaver])
    service.price()
    assert (await stayer).status == 200


async def test_one_pair_without_a_price_does_not_hold_up_another(service: Service) -> None:
    service.price(ETH)
    assert (await service(PRICE)).status == 200
    assert service.waiting.empty(), "nobody waits where there is a price"
    assert is_problem(await service("/api/v1/prices/btc-usdt"), 503, "price_unavailable")


# Conditions


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["{tag}"], 304), (["W/{tag}"], 304), (['"a", {tag}'], 304), (['"a",W/{tag} , "b"'], 304), (["*"], 304),
        (['"a"', "{tag}"], 304), (['"a"'], 200), (["{bare}"], 200), (['"a"', '"b"'], 200), ([""], 200),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", [PRICE, PRICES])
async def test_if_none_match_saves_the_body_of_what_is_known(
    service: Service, path: str, lines: list[str], status: int
) -> None:
    service.price()
    known = await service(path)
    tag = known.headers["ETag"]
    words = [line.format(tag=tag, bare=tag.strip('"')) for line in lines]
    for method in "GET", "HEAD":
        got = await service(path, method, *(("If-None-Match", line) for line in words))
        assert got.status == status
        for name in "ETag", "Cache-Control", "Access-Control-Allow-Origin":
            assert got.headers[name] == known.headers[name]
        assert got.body == (b"" if status == 304 or method == "HEAD" else known.body)


async def test_new_price_is_not_mistaken_for_the_known_one(service: Service) -> None:
    service.price()
    tag = (await service()).headers["ETag"]
    service.clock.now += 1
    service.price()
    again = await service(PRICE, "GET", ("If-None-Match", tag))
    assert (again.status, again.json["fetched_at_ms"]) == (200, START_MS + 1000)


# Methods


@pytest.mark.parametrize("priced", [True, False])
@pytest.mark.parametrize("path", [*ENDPOINTS, "/nowhere", "/api/v1/prices/no-pair", f"{PRICE}?max_age_ms=x"])
async def test_head_is_get_without_its_body(service: Service, path: str, priced: bool) -> None:
    if priced:
        service.price()
    got = await service(path)
    head, rest = await service.raw("HEAD", path)
    lines = dict(line.split(": ", 1) for line in head.decode().splitlines()[1:])
    assert rest == b""
    assert int(head.split()[1]) == got.status
    assert int(lines["content-length"]) == len(got.body)
    sent = {name.lower(): value for name, value in got.headers.items()}
    assert lines | {"date": "", "connection": ""} == sent | {"date": "", "connection": ""}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "PURGE", "M-SEARCH"])
async def test_every_other_method_is_refused_with_those_that_are_not(service: Service, method: str) -> None:
    service.price()
    for path in (*ENDPOINTS, "/api/v1/prices/btc-usdt", f"{PRICE}?max_age_ms=0"):
        got = await service(path, method)
        assert is_problem(got, 405, "method_not_allowed"), path
        assert got.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert is_problem(await service("/nowhere", method), 404, "not_found")
    known = {"POST", "PUT", "PATCH", "DELETE"}
    assert {label for _, label, _ in service.counted} == {method if method in known else "other"}


@pytest.mark.parametrize("path", [*ENDPOINTS, "/api/v1/prices/no-pair"])
async def test_browsers_preflight_question_is_answered(service: Service, path: str) -> None:
    question = [
        ("Origin", "https://app.example"), ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "if-none-match"),
    ]  # fmt: skip
    got = await service(path, "OPTIONS", *question)
    assert (got.status, got.body) == (204, b"")
    assert got.headers["Access-Control-Allow-Origin"] == "*"
    assert got.headers["Access-Control-Allow-Methods"] == got.headers["Allow"] == "GET, HEAD, OPTIONS"
    # `*` allows whatever headers tracing or a framework adds; it does not include Authorization.
    assert {"*", "Authorization", "If-None-Match"} <= set(got.headers["Access-Control-Allow-Headers"].split(", "))
    assert int(got.headers["Access-Control-Max-Age"]) > 0
    assert not {"Content-Length", "Transfer-Encoding"} & got.headers.keys()


async def test_any_page_may_read_every_answer(service: Service) -> None:
    service.price()
    service.clock.now += 61
    asked = [*ENDPOINTS, "/nowhere", "/api/v1/prices/no-pair", f"{PRICE}?max_age_ms=x", "/api/v1/prices/btc-usdt"]
    answers = [await service(path) for path in asked] + [await service(PRICE, "POST")]
    service.broken = True
    answers.append(await service("/metrics"))
    service.price()
    answers.append(await service(f"{PRICE}?max_age_ms=0&x=1"))
    service.clock.now += 1
    answers.append(await service(f"{PRICE}?max_age_ms=0"))
    assert {got.status for got in answers} == {200, 400, 404, 405, 412, 500, 503}
    assert {got.headers["Access-Control-Allow-Origin"] for got in answers} == {"*"}
    for got in answers:
        exposed = {name.strip().lower() for name in got.headers["Access-Control-Expose-Headers"].split(",")}
        assert exposed >= {"etag", "last-modified", "retry-after"} & {name.lower() for name in got.headers}


# The last minutes


async def test_recent_prices_come_with_the_second_in_which_they_were_made(service: Service) -> None:
    assert (await service(RECENT)).json["points"] == []
    for price in "3120.40", "3120.45", "3120.5":
        service.price(price=price)
        service.clock.now += 1.5
    got = await service(RECENT.upper().replace("/API/V1/PRICES/", "/api/v1/prices/").replace("/RECENT", "/recent"))
    assert got.json == {
        "symbol": "ETH-USDT", "now_ms": START_MS + 4500, "seconds": 300, "points": [
            {"at_ms": START_MS, "price": "3120.40"}, {"at_ms": START_MS + 1000, "price": "3120.45"},
            {"at_ms": START_MS + 3000, "price": "3120.5"},
        ],
    }  # fmt: skip
    assert got.headers["Cache-Control"] == "public, max-age=1" and got.headers["Access-Control-Allow-Origin"] == "*"
    head = await service(RECENT, "HEAD")
    assert (head.status, head.body) == (200, b"")
    assert is_problem(await service(f"{RECENT}?x=1"), 400, "bad_parameter")


# Which pair


@pytest.mark.parametrize("path", ["/api/v1/prices/no-pair", "/api/v1/prices/no-pair/sources", "/api/v1/prices/no-pair/recent"])
async def test_unknown_pair_is_404_and_leaves_no_label(service: Service, path: str) -> None:
    got = await service(path)
    assert is_problem(got, 404, "unknown_pair")
    assert got.json["pairs"] == ["btc-usdt", "eth-usdt"] and "eth-usdt" in got.json["detail"]
    assert service.counted == [(path.replace("no-pair", "{pair}"), "GET", 404)]
    assert service.waiting.empty() and service.tally == {"hit": 0, "stale": 0, "miss": 0}


@pytest.mark.parametrize("odd", ["eth_usdt", "ethusdt", "B%00C", "%ff", "%2e%2e", "eth-usdt%20", "%D1%85", "a" * 20_000])
async def test_odd_pairs_are_unknown_pairs(service: Service, odd: str) -> None:
    for path in f"/api/v1/prices/{odd}", f"/api/v1/prices/{odd}/sources":
        got = await service(path)
        assert is_problem(got, 404, "unknown_pair")
        assert len(got.body) < 500, "what was asked for is not sent back"
    assert {route for route, _, _ in service.counted} == {PRICE_TEMPLATE, SOURCES_TEMPLATE}


@pytest.mark.parametrize("pair", ["ETH-USDT", "Eth-Usdt", "eth%2Dusdt"])
async def test_case_and_escapes_of_a_pair_do_not_matter(service: Service, pair: str) -> None:
    service.price()
    plain, other = await service(), await service(f"/api/v1/prices/{pair}")
    assert (other.status, other.body, other.headers["ETag"]) == (200, plain.body, plain.headers["ETag"])
    assert (await service(f"/api/v1/prices/{pair}/sources")).status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere", "/api/v1", "/api/v1/prices/", "/health", "//", "/API/", "/metrics/", "/documents", "/%00", "/%ff",
        f"{PRICE}/", f"{SOURCES}/", "/api/v1/prices//sources", "/api/v1/prices/eth-usdt/x", "/api/v1/prices/eth%2Fusdt",
    ],
)  # fmt: skip
async def test_what_is_not_here_is_404_and_never_a_redirect(service: Service, path: str) -> None:
    got = await service(path)
    assert is_problem(got, 404, "not_found") and "/api/" in got.json["detail"]
    assert {route for route, _, _ in service.counted} <= TEMPLATES


# The age a client accepts


@pytest.mark.parametrize(
    ("age", "most_ms", "max_age"),
    [
        (0, "0", "0"), (1, "1000", "0"), (1, "3000", "2"), (1, "60000", "2"), (1, "86400000", "2"), (1, "00003000", "2"),
        (10, "10000", "0"), (10, "20000", "1"), (10, "10999", "0"), (60, "86400000", "0"),
    ],
)  # fmt: skip
async def test_acceptable_age_limits_how_long_caches_may_keep_the_price(
    service: Service, age: float, most_ms: str, max_age: str
) -> None:
    service.price()
    service.clock.now += age
    got = await service(f"{PRICE}?max_age_ms={most_ms}")
    assert (got.status, got.max_age) == (200, max_age)
    plain = await service()
    assert (got.body, got.headers["ETag"]) == (plain.body, plain.headers["ETag"])
    assert (await service(f"{PRICE}?max_age_ms={most_ms}", "GET", ("If-None-Match", "*"))).status == 304


@pytest.mark.parametrize(("age", "most_ms", "retry_ms"), [(0.001, 0, 1499), (1, 999, 500), (10, 9999, 500), (59.9, 0, 100)])
async def test_price_older_than_accepted_is_the_clients_condition_and_no_failure(
    service: Service, age: float, most_ms: int, retry_ms: int
) -> None:
    service.price()
    service.clock.now += age
    for method, condition in ("GET", ""), ("GET", "*"), ("HEAD", "*"):
        got = await service(f"{PRICE}?max_age_ms={most_ms}", method, ("If-None-Match", condition))
        assert got.status == 412, "it goes before a 304"
        assert got.headers["Cache-Control"] == "no-store" and "Retry-After" not in got.headers
    got = await service(f"{PRICE}?max_age_ms={most_ms}")
    assert is_problem(got, 412, "price_older_than_asked")
    assert (got.json["age_ms"], got.json["retry_after_ms"]) == (round(age * 1000), retry_ms)
    assert "max_age_ms" in got.json["detail"] and QUOTE.price.encode() not in got.body
    assert service.tally == {"hit": 0, "stale": 0, "miss": 4}


async def test_where_there_is_no_price_at_all_it_is_not_the_clients_condition_that_fails(service: Service) -> None:
    assert is_problem(await service(f"{PRICE}?max_age_ms=1"), 503, "price_unavailable")
    service.price()
    service.clock.now += 61
    got = await service(f"{PRICE}?max_age_ms=86400000")
    assert is_problem(got, 503, "price_too_old") and got.headers["Retry-After"] == "2"
    assert "max_age_ms" not in got.json["detail"]


@pytest.mark.parametrize(
    "query",
    [
        f"max_age_ms={bad}" for bad in ("", "-1", "+1", "1.5", "1e3", "0x10", "x", "86400001", "9" * 5000, "%D9%A3", "%ff")
    ] + ["max_age_ms", "max_age_ms=1&max_age_ms=2"],
)  # fmt: skip
async def test_bad_acceptable_age_is_refused_with_what_is_accepted(service: Service, query: str) -> None:
    service.price()
    got = await service(f"{PRICE}?{query}")
    assert is_problem(got, 400, "bad_parameter")
    assert "max_age_ms" in got.json["detail"] and "86400000" in got.json["detail"]


@pytest.mark.parametrize("path", [path for path in ENDPOINTS if path != LIVENESS])
@pytest.mark.parametrize(
    "query", ["x=1", "_=1753300000", "=", "%00=%ff", "max_age=1", "MAX_AGE_MS=1", "?", "x=1&x=2", "max_age_ms=1&x", "strict=1&x"]
)  # fmt: skip
async def test_unknown_parameters_are_refused_not_ignored(service: Service, path: str, query: str) -> None:
    service.price()
    got = await service(f"{path}?{query}")
    assert is_problem(got, 400, "bad_parameter") and "known: " in got.json["detail"]
    assert len(got.json["detail"]) < 200 and got.json["detail"].isprintable()
    assert (await service(f"{path}?&&")).status == (await service(path)).status, "none is none"


async def test_what_is_not_there_is_told_before_what_was_asked_of_it(service: Service) -> None:
    assert is_problem(await service("/nowhere?x=1"), 404, "not_found")
    for path in "/api/v1/prices/no-pair", "/api/v1/prices/no-pair/sources":
        assert is_problem(await service(f"{path}?x=1"), 404, "unknown_pair")
    assert is_problem(await service(f"{PRICES}?x=1", "POST"), 405, "method_not_allowed")


# All prices


async def test_all_prices_are_the_single_answers_side_by_side(service: Service) -> None:
    service.price(ETH)
    service.price(BTC, age=2.5, price="61000.1", bid=None, ask=None)
    got = await service(PRICES)
    singles = [(await service(f"/api/v1/prices/{slug}")).json for slug in ("eth-usdt", "btc-usdt")]
    assert (got.status, got.json) == (200, {"prices": singles, "unavailable": []})
    assert (got.headers["Content-Type"], got.max_age) == ("application/json", "2")


@pytest.mark.parametrize(("query", "symbols"), [
    ("pairs=eth-usdt", ["ETH-USDT"]), ("pairs=btc-usdt,eth-usdt", ["BTC-USDT", "ETH-USDT"]),
    ("pairs=btc-usdt&pairs=eth-usdt", ["BTC-USDT", "ETH-USDT"]), ("pairs=ETH-usdt,eth-USDT", ["ETH-USDT"]),
    ("pairs=eth%2Dusdt%2Cbtc-usdt", ["ETH-USDT", "BTC-USDT"]), ("", ["ETH-USDT", "BTC-USDT"]),
])  # fmt: skip
async def test_some_prices_come_in_the_order_in_which_they_were_asked_for(
    service: Service, query: str, symbols: list[str]
) -> None:
    service.price(ETH)
    service.price(BTC, age=2.5)
    got = await service(f"{PRICES}?{query}")
    assert [price["symbol"] for price in got.json["prices"]] == symbols
    assert service.tally == {"hit": 1, "stale": 0, "miss": 0}, "one answer is one look-up"


@pytest.mark.parametrize("query", ["pairs=", "pairs=,", "pairs=&pairs=", "pair=eth-usdt", "pairs=eth-usdt&x=1"])
async def test_choice_of_pairs_that_names_none_is_refused(service: Service, query: str) -> None:
    service.price()
    assert is_problem(await service(f"{PRICES}?{query}"), 400, "bad_parameter")


@pytest.mark.parametrize("query", ["pairs=no-pair", "pairs=eth-usdt,no-pair", "pairs=eth-usdt,", "pairs=%20"])
async def test_choice_of_a_pair_that_is_not_served_is_refused(service: Service, query: str) -> None:
    service.price()
    assert is_problem(await service(f"{PRICES}?{query}"), 404, "unknown_pair")


async def test_choice_of_pairs_without_a_price_is_503(service: Service) -> None:
    service.price(ETH)
    got = await service(f"{PRICES}?pairs=btc-usdt")
    assert is_problem(got, 503, "price_unavailable") and service.tally["miss"] == 1
    assert (await service(f"{PRICES}?pairs=btc-usdt,eth-usdt")).json["unavailable"] == ["BTC-USDT"]


async def test_all_prices_name_those_that_are_missing(service: Service) -> None:
    service.price(ETH)
    got = await service(PRICES)
    assert [price["symbol"] for price in got.json["prices"]] == ["ETH-USDT"]
    assert got.json["unavailable"] == ["BTC-USDT"]
    service.price(BTC)
    service.clock.now += 58
    service.price(ETH)
    service.clock.now += 4
    got = await service(PRICES)
    assert ([price["symbol"] for price in got.json["prices"]], got.json["unavailable"]) == (["ETH-USDT"], ["BTC-USDT"])
    service.clock.now += 4
    got = await service(PRICES)
    assert (got.json["prices"][0]["stale"], got.max_age) == (True, "1")


async def test_no_price_at_all_is_503(service: Service) -> None:
    assert is_problem(await service(PRICES), 503, "price_unavailable")
    service.price(ETH)
    service.clock.now += 61
    got = await service(PRICES)
    assert is_problem(got, 503, "price_unavailable") and got.headers["Retry-After"] == "2"


# Sources and health

WELL = SourceReport("binance", "closed", pairs={ETH: PairReport(QUOTE)})
ILL = SourceReport(
    "okx", "open", START_MS + 9000, "429 Too many", "429 Too many", START_MS - 5,
    pairs={ETH: PairReport(None, "429 Too many", START_MS - 5)},
)  # fmt: skip
OVER = SourceReport(
    "kraken", "half_open", START_MS - 1, "429", "429", START_MS - 9,
    pairs={ETH: PairReport(replace(QUOTE, source="kraken"), deviation=0.0123456789, distrusted="frozen")},
)  # fmt: skip


async def test_sources_are_shown_as_they_stand(service: Service) -> None:
    service.reports = WELL, ILL, OVER
    service.clock.now += 1
    got = await service(SOURCES)
    assert (got.status, got.json["symbol"]) == (200, "ETH-USDT")
    well, ill, over = got.json["sources"]
    quote = json.loads(PROMISED)
    del quote["stale"]
    assert well == {
        "source": "binance", "breaker": "closed", "cooldown_until_ms": None, "cooldown_reason": None,
        "last_error": None, "last_error_at_ms": None, "stream": None, "age_ms": 810, "deviation": None, "distrusted": None,
        "last_quote": quote,
    }  # fmt: skip
    assert ill == {
        "source": "okx", "breaker": "open", "cooldown_until_ms": START_MS + 9000, "cooldown_reason": "429 Too many",
        "last_error": "429 Too many", "last_error_at_ms": START_MS - 5, "stream": None, "age_ms": None, "deviation": None,
        "distrusted": None, "last_quote": None,
    }  # fmt: skip
    assert (over["cooldown_until_ms"], over["cooldown_reason"]) == (None, None), "a cool-down that is over is none"
    assert (over["deviation"], over["distrusted"]) == (0.012346, "frozen")
    assert (over["last_error"], over["age_ms"]) == (None, 810), "an error is shown for the pair that it was about"
    other = (await service("/api/v1/prices/btc-usdt/sources")).json
    assert other["symbol"] == "BTC-USDT"
    assert [(row["source"], row["breaker"], row["last_quote"]) for row in other["sources"]] == [
        ("binance", "closed", None), ("okx", "open", None), ("kraken", "half_open", None)
    ]  # fmt: skip
    assert other["sources"][1]["cooldown_until_ms"] == START_MS + 9000, "a source cools down for all pairs"


UNLISTED = SourceReport(
    "okx", "closed", None, None, "429 Too many", START_MS - 5,
    unlisted={ETH: (START_MS + 30_000, "51001 No such pair")},
    pairs={
        ETH: PairReport(None, "51001 No such pair", START_MS, START_MS + 30_000),
        BTC: PairReport(replace(QUOTE, pair=BTC)),
    },
)  # fmt: skip


async def test_a_source_that_does_not_list_a_pair_is_told_of_for_that_pair(service: Service) -> None:
    service.reports = WELL, UNLISTED
    row = (await service(SOURCES)).json["sources"][1]
    assert (row["cooldown_until_ms"], row["cooldown_reason"]) == (START_MS + 30_000, "51001 No such pair")
    other = (await service("/api/v1/prices/btc-usdt/sources")).json["sources"][1]
    assert (other["cooldown_until_ms"], other["cooldown_reason"], other["last_error"]) == (None, None, None)
    readiness = (await service(READINESS)).json
    assert readiness["pairs"]["eth-usdt"]["unlisted"] == {
        "okx": {"until_ms": START_MS + 30_000, "reason": "51001 No such pair"}
    }
    assert "unlisted" not in readiness["pairs"]["btc-usdt"]
    assert readiness["sources"]["okx"]["cooldown_until_ms"] is None, "it is asked for other pairs"
    service.clock.now += 30
    assert "unlisted" not in (await service(READINESS)).json["pairs"]["eth-usdt"]
    row = (await service(SOURCES)).json["sources"][1]
    assert (row["cooldown_until_ms"], row["cooldown_reason"]) == (None, None)


@pytest.mark.parametrize(("until_ms", "told"), [
    (START_MS + 20_000, (START_MS + 30_000, "51001 No such pair")), (START_MS + 40_000, (START_MS + 40_000, "429")),
])  # fmt: skip
async def test_a_source_that_also_cools_down_is_told_of_until_it_can_be_asked_for_the_pair(
    service: Service, until_ms: int, told: tuple[int, str]
) -> None:
    service.reports = (replace(UNLISTED, cooldown_until_ms=until_ms, cooldown_reason="429"),)
    row = (await service(SOURCES)).json["sources"][0]
    assert (row["cooldown_until_ms"], row["cooldown_reason"]) == told
    readiness = (await service(READINESS)).json
    assert readiness["sources"]["okx"]["cooldown_until_ms"] == until_ms
    assert readiness["pairs"]["eth-usdt"]["unlisted"]["okx"]["until_ms"] == START_MS + 30_000


async def test_a_price_that_was_is_not_told_of_as_one_that_never_was(service: Service) -> None:
    """A worker that started after the price had expired knows of it from the store or, as leader, from the sources."""
    assert (await service(READINESS)).json["pairs"]["eth-usdt"]["state"] == "no_price_yet"
    got = await service()
    assert is_problem(got, 503, "price_unavailable") and "since this service started" in got.json["detail"]
    old = PairReport(replace(QUOTE, fetched_at_ms=START_MS - 90_000))
    service.reports = replace(WELL, pairs={ETH: old}), UNLISTED
    assert (await service(READINESS)).json["pairs"]["eth-usdt"] | {"unlisted": None} == {
        "state": "expired", "age_ms": 90_000, "source": "binance", "unlisted": None,
    }  # fmt: skip
    got = await service()
    assert is_problem(got, 503, "price_too_old") and got.json["last_fetched_at_ms"] == START_MS - 90_000
    service.latest.offer(replace(QUOTE, fetched_at_ms=START_MS - 80_000))
    assert (await service()).json["last_fetched_at_ms"] == START_MS - 80_000


@pytest.mark.parametrize("age_ms", [-1_000, 0, 300, 60_000])
async def test_what_a_source_said_a_moment_ago_is_not_called_too_old(service: Service, age_ms: int) -> None:
    """It is not believed, or not served yet, because the store takes its time."""
    young, old = (PairReport(replace(QUOTE, fetched_at_ms=START_MS - ago)) for ago in (age_ms, 90_000))
    service.reports = replace(WELL, pairs={ETH: young}), UNLISTED
    assert is_problem(await service(), 503, "price_unavailable")
    assert (await service(READINESS)).json["pairs"]["eth-usdt"]["state"] == "no_price_yet"
    service.reports = replace(WELL, pairs={ETH: young}), replace(WELL, source="okx", pairs={ETH: old})
    got = await service()
    assert is_problem(got, 503, "price_too_old") and got.json["last_fetched_at_ms"] == START_MS - 90_000


async def test_liveness_asks_nothing_of_the_world(service: Service) -> None:
    service.broken, service.redis = True, "down: connection refused"
    got = await service(LIVENESS)
    assert (got.status, got.json, got.headers["Cache-Control"]) == (200, {"status": "alive"}, "no-store")
    assert (await service(f"{LIVENESS}?x=1")).status == 200, "a restart would not cure it"


async def test_readiness_is_200_while_pairs_may_be_served_and_tells_all_of_them(service: Service) -> None:
    service.redis = "up"
    service.reports = WELL, ILL, OVER
    service.price(ETH)
    service.price(BTC, age=5.5, source="okx")
    got = await service(READINESS)
    assert (got.status, got.json["status"], got.json["missing"], got.json["redis"]) == (200, "ready", [], "up")
    assert got.json["pairs"] == {
        "eth-usdt": {"state": "fresh", "age_ms": 0, "source": "binance"},
        "btc-usdt": {"state": "stale", "age_ms": 5500, "source": "okx"},
    }
    assert {name: state["breaker"] for name, state in got.json["sources"].items()} == {
        "binance": "closed", "okx": "open", "kraken": "half_open",
    }  # fmt: skip
    assert got.json["sources"]["okx"]["last_error"] == "429 Too many"
    assert got.headers["Cache-Control"] == "no-store"


class Unasked(dict[Pair, PairReport]):
    """A source's reports about pairs, for readers of all of them: looking up pairs one by one would cost too much."""

    def get(self, key: Pair, default: object = None) -> Any:
        raise AssertionError(f"asked about {key}")


async def test_readiness_asks_no_source_about_pairs_that_have_a_price(service: Service) -> None:
    service.reports = (replace(UNLISTED, pairs=Unasked(UNLISTED.pairs)),)
    service.price(ETH)
    service.price(BTC)
    assert list((await service(READINESS)).json["pairs"]["eth-usdt"]["unlisted"]) == ["okx"]


async def test_readiness_is_503_and_says_which_pair_is_missing_and_why(service: Service) -> None:
    service.price(ETH)
    service.clock.now += 60.001
    service.redis = "down: no answer in time"
    service.reports = (ILL,)
    got = await service(READINESS)
    assert (got.status, got.json["status"], got.headers["Retry-After"]) == (503, "not_ready", "2")
    assert got.json["missing"] == ["eth-usdt", "btc-usdt"]
    assert got.json["pairs"] == {
        "eth-usdt": {"state": "expired", "age_ms": 60_001, "source": "binance"},
        "btc-usdt": {"state": "no_price_yet", "age_ms": None, "source": None},
    }
    assert got.json["redis"] == "down: no answer in time"
    assert got.json["sources"]["okx"]["last_error"] == "429 Too many"


async def test_one_dead_pair_does_not_take_the_others_off_the_network_unless_every_one_is_asked_for(service: Service) -> None:
    assert [(await service(f"{READINESS}{query}")).status for query in ("", "?strict=1", "?strict=0")] == [503] * 3
    service.price(ETH)
    got, strict = await service(READINESS), await service(f"{READINESS}?strict=1")
    assert (got.status, got.json["status"], got.json["missing"]) == (200, "degraded", ["btc-usdt"])
    assert (strict.status, strict.json, strict.headers["Retry-After"]) == (503, got.json, "2")
    assert (await service(f"{READINESS}?strict=0")).status == 200
    service.price(BTC)
    for query in "", "?strict=1":
        got = await service(f"{READINESS}{query}")
        assert (got.status, got.json["status"], got.json["missing"]) == (200, "ready", [])
    for bad in "strict", "strict=", "strict=2", "strict=yes", "strict=1&strict=1":
        assert is_problem(await service(f"{READINESS}?{bad}"), 400, "bad_parameter")


# About the service


async def test_metrics_come_as_they_were_rendered(service: Service) -> None:
    got = await service("/metrics")
    assert (got.status, got.body, got.headers["Content-Type"]) == (200, *EXPOSITION)


async def test_index_lists_what_is_here_and_all_of_it_is(service: Service) -> None:
    service.price(ETH)
    service.price(BTC)
    index = await service("/api/")
    assert index.json["name"] == "fastprice" and index.json["version"] == "1.2.3"
    assert index.body == (await service("/")).body == (await service("/api")).body
    links = [link for entry in index.json.values() for link in (entry.values() if isinstance(entry, dict) else [entry])]
    paths = [link for link in links if str(link).startswith("/")]
    assert {PRICE, "/api/v1/prices/btc-usdt", PRICES, SOURCES, LIVENESS, READINESS, "/openapi.json"} <= set(paths)
    assert {(await service(path, "HEAD" if path.endswith("stream") else "GET")).status for path in paths} == {200}


@pytest.mark.parametrize("sources", [(), ("binance",), ("binance", "okx")])
async def test_what_is_simulated_says_so(sources: tuple[str, ...]) -> None:
    service = Service()
    service.simulated = sources
    async with service.running():
        for path in "/", "/api/", READINESS:
            told = (await service(path)).json
            assert (told["simulated"], told["simulated_sources"]) == (bool(sources), list(sources))


@pytest.mark.parametrize("path", [READINESS, SOURCES])
async def test_answers_about_this_moment_are_prepared_and_the_same_as_those_of_the_ordinary_way(
    service: Service, path: str
) -> None:
    polled = Polled(service.latest, service.clock, service.refresh_interval)
    polled.answer_moments(service.parts())
    lane = Lane(polled.find, service.clock.monotonic)

    def by_lane() -> tuple[bytes, bytes] | None:
        here, there = socket.socketpair()
        with here, there:
            here.setblocking(False)
            served = lane.serve(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode(), here.fileno())
            head, _, body = there.recv(1 << 16).partition(b"\r\n\r\n") if served else (b"", b"", b"")
            return (head, body) if served else None

    if path == READINESS:
        assert by_lane() is None, "a 503 is for the ordinary way"
    service.price(ETH)
    service.reports = WELL, ILL
    for seconds in 0, MOMENT_SECONDS * 1.5, 3.0, 10.0:
        service.clock.now += seconds
        prepared, ordinary = by_lane(), await service(path)
        assert prepared and prepared[1] == ordinary.body
        fields = dict(line.split(b": ") for line in prepared[0].split(b"\r\n")[1:])
        assert {name.decode().title(): value.decode() for name, value in fields.items()} == {
            name.title(): value for name, value in ordinary.headers.items() if name.title() != "Server"
        } | {"Date": fields[b"date"].decode()}
    service.clock.now += MOMENT_SECONDS / 2
    assert by_lane() == prepared, "the same for those who ask within a moment"
    service.broken = True
    service.clock.now += 1
    assert by_lane() is None, "a defect is for the ordinary way"


async def test_scrapes_that_come_together_share_one_and_one_that_goes_away_takes_nothing_from_the_others() -> None:
    service, gate, scrapes = Service(), asyncio.Event(), 0

    async def scrape() -> tuple[bytes, str]:
        nonlocal scrapes
        scrapes += 1
        await gate.wait()
        return EXPOSITION

    service._scrape = scrape  # type: ignore[method-assign]
    async with service.running():
        waiting = [asyncio.create_task(service("/metrics")) for _ in range(10)]
        while not scrapes:
            await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait([waiting[0]])
        gate.set()
        assert {got.body for got in await asyncio.gather(*waiting[1:])} == {EXPOSITION[0]}
        assert scrapes < 10
        before = scrapes
        await service("/metrics")
        assert scrapes == before + 1, "a later one is made anew"


async def test_every_answer_is_counted_once_under_its_template(service: Service) -> None:
    service.price()
    for path in ENDPOINTS:
        await service(path)
    assert [route for route, _, _ in service.counted] == [
        TEMPLATE_OF.get(path, path) for path in ENDPOINTS
    ]
    assert {(method, status) for _, method, status in service.counted} == {("GET", 200)}


@pytest.mark.parametrize(("path", "template"), [
    (PRICE, PRICE_TEMPLATE), (SOURCES, SOURCES_TEMPLATE), (READINESS, READINESS), ("/metrics", "/metrics"),
])  # fmt: skip
async def test_defect_is_500_and_the_service_goes_on(
    service: Service, path: str, template: str, caplog: pytest.LogCaptureFixture
) -> None:
    service.broken = True
    got = await service(path, "GET", ("X-Request-ID", "7f\x85"))
    assert is_problem(got, 500, "internal_error") and b"a defect" in got.body and b"RuntimeError" not in got.body
    assert service.counted == [(template, "GET", 500)]
    assert "RuntimeError: a defect" in caplog.text, "the log has the details"
    assert f"a defect in answering GET '{path}', X-Request-ID '7f\\xc2\\x85'" in caplog.messages
    service.broken = False
    service.price()
    assert (await service()).status == 200
