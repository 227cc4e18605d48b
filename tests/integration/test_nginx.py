"""What docker/nginx promises to clients, operators and the replicas behind it: a real nginx, scripted replicas."""

import asyncio
import json
import math
import re
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fastprice.market import Market
from fastprice.settings import Settings
from tests.declared import undeclared
from tests.nginx import PRICE, SOURCE, Front, Reply, answer, fronted, readable, unchunked
from tests.service import polling, running

pytestmark = pytest.mark.anyio

PLAIN_HEAD = f"GET {PRICE} HTTP/1.1\r\nHost: fastprice\r\n\r\n".encode()


def seen(front: Front) -> list[bytes]:
    return [head for replica in front.replicas.values() for head in replica.heads]


async def test_whatever_clients_send_along_the_replica_gets_the_same_bytes(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        await front.ask()
        await front.ask(User_Agent="curl/8", Cookie="a=1", X_Request_ID="7", Accept="*/*", Traceparent="00-1-2-03")
        await front.ask(Authorization="Bearer x", X_Forwarded_For="1.2.3.4", Accept_Encoding="gzip", Range="bytes=0-1")
        assert seen(front) == [PLAIN_HEAD] * 3


async def test_replica_is_told_who_asks_where_no_heads_are_learned_and_nowhere_else(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for path in "/", "/api", "/api/", "/docs", "/docs/docs.js", "/page/1/page.js", "/openapi.json", f"{PRICE}/recent":
            await front.ask(path, X_Request_ID="order-17", X_Forwarded_For="192.0.2.1")
            head = seen(front)[-1]
            assert head.startswith(b"GET %s HTTP/1.1\r\nHost: fastprice\r\n" % path.encode()), path
            assert b"\r\nX-Request-ID: order-17\r\n" in head and b"\r\nX-Forwarded-For: 127.0.0.1\r\n" in head, path
        for path in "/api/v1/prices", f"{PRICE}/sources", f"{PRICE}/stream", "/api/v1/stream", "/health/liveness":
            await front.ask(path, X_Request_ID="order-17")
            assert seen(front)[-1] == PLAIN_HEAD.replace(PRICE.encode(), path.encode()), path


async def test_a_condition_reaches_the_replica(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        front.replicas["127.0.0.2"].says = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
        assert (await front.ask(If_None_Match='"1"')).status == 304
        assert seen(front) == [PLAIN_HEAD.removesuffix(b"\r\n") + b'If-None-Match: "1"\r\n\r\n']


async def test_answers_come_through_nginx_as_the_service_gives_them(market: Market, tmp_path: Path) -> None:
    (tmp_path / "front").mkdir()
    async with running(market, tmp_path, CACHE_TTL=30, MAX_STALE=60) as service:
        await service.until(200)
        async with fronted(tmp_path / "front", 0, REPLICAS=f"127.0.0.1:{service.port}") as front:
            market.set_fault("all", "hang")  # No new price arrives, so both ways give the same one.
            for path in PRICE, "/api/v1/prices", "/api/", "/openapi.json", "/docs", "/docs/docs.js", "/health/liveness", "/api/v1/prices/no-pair":
                direct, fronted_reply = await service.get(path), await front.ask(path)
                assert (fronted_reply.status, fronted_reply.headers["content-type"]) == (
                    direct.status, direct.headers["content-type"],
                )
            index = unchunked(await front.ask("/api/"))
            assert b"/health/liveness" in index and not (b"readiness" in index or b"metrics" in index)
            reply = await front.ask()
            assert json.loads(reply.body)["symbol"] == "ETH-USDT"
            assert reply.headers["cache-control"].startswith("public, max-age=")
            assert (await front.ask(If_None_Match=reply.headers["etag"])).status == 304
            head = await front.ask(method="HEAD")
            assert (head.status, head.body) == (200, b"")
            assert (await front.ask(method="POST")).status == 405
            assert (await front.ask(method="OPTIONS")).headers["access-control-allow-origin"] == "*"


async def test_a_browser_gets_the_page_and_its_files_through_nginx_and_everybody_else_the_index(
    market: Market, tmp_path: Path
) -> None:
    (tmp_path / "front").mkdir()
    async with running(market, tmp_path, CACHE_TTL=30, MAX_STALE=60) as service:
        await service.until(200)
        market.set_fault("all", "hang")
        async with fronted(tmp_path / "front", 0, REPLICAS=f"127.0.0.1:{service.port}", MICRO_CACHE="1") as front:
            assert (await front.ask("/", Accept="*/*")).headers["content-type"] == "application/json"
            page = await front.ask("/", Accept="text/html", Accept_Language="ru")
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            for name in "content-security-policy", "referrer-policy", "x-content-type-options", "vary", "cache-control":
                assert name in page.headers
            assert page.headers["content-language"] == "ru" and b'lang="ru"' in page.body
            etag = page.headers["etag"]
            again = await front.ask("/", Accept="text/html", Accept_Language="ru", If_None_Match=etag)
            assert (again.status, again.body) == (304, b"")
            [script] = re.findall(rb'src="(page/[^"]+)"', page.body)
            file = await front.ask(f"/{script.decode()}")
            assert (file.status, file.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
            assert file.headers["cache-control"].endswith("immutable")
            assert json.loads((await front.ask(f"{PRICE}/recent")).body)["symbol"] == "ETH-USDT"


@pytest.mark.parametrize(
    "path",
    [
        "/metrics", "/health/readiness", "/metrics/", "/%6detrics", "//metrics", "/api/../metrics", "/api/..%2fmetrics",
        "/health/liveness/../readiness", "/health/readiness?x=1", "/stub_status", "/favicon.ico", "http://front/metrics",
    ],
)  # fmt: skip
async def test_what_is_for_operators_is_not_public(tmp_path: Path, path: str) -> None:
    async with fronted(tmp_path) as front:
        reply = await front.ask(path)
        assert (reply.status, json.loads(reply.body)["code"]) == (404, "not_found")
        assert reply.headers["content-type"] == "application/problem+json"
        assert not seen(front)


async def test_the_port_of_operators_has_the_metrics_of_a_replica_and_nothing_else_of_it(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for path in "/metrics", "/health/liveness":
            assert (await front.ask_at(front.status_port, path)).status == 200
        assert [head.split()[1] for head in seen(front)] == [b"/metrics", b"/health/liveness"]
        for path in PRICE, "/health/readiness", "/metrics/", "/":
            assert (await front.ask_at(front.status_port, path)).status == 404
        await front.replicas["127.0.0.2"].stop()
        assert (await front.ask_at(front.status_port, "/metrics")).status >= 500


async def test_large_heads_and_bodies_are_refused_before_a_replica_sees_them(tmp_path: Path) -> None:
    async with fronted(tmp_path, quicker=True) as front:
        assert (await front.ask(Cookie="x" * 5000)).status == 431
        assert (await front.ask(f"{PRICE}?{'x' * 5000}")).status == 414
        assert (await front.ask(**{f"X-{n}": "x" * 4000 for n in range(8)})).status == 431
        said = await front.send(f"POST {PRICE} HTTP/1.1\r\nHost: front\r\nContent-Length: 2000\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 413 ") and b'"code":"content_too_large"' in said
        assert not seen(front)


REFUSED = {
    "no request": (b"garbage\r\n\r\n", 400, "bad_request"),
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", 400, "bad_request"),
    "a head that is too long": (b"GET / HTTP/1.1\r\nHost: a\r\nCookie: %s\r\n\r\n" % (b"x" * 5000), 431, "request_header_fields_too_large"),
    "an address that is too long": (b"GET /%s HTTP/1.1\r\nHost: a\r\n\r\n" % (b"x" * 5000), 414, "uri_too_long"),
    "an address that leads out": (b"GET /../x HTTP/1.1\r\nHost: a\r\n\r\n", 400, "bad_request"),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 405, "method_not_allowed"),
    "a large body": (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n", 413, "content_too_large"),
    "an odd coding": (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501, "not_implemented"),
    "another version": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "http_version_not_supported"),
    "its own pages": (b"GET /refused/400 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 404, "not_found"),
}


async def test_what_nginx_refuses_by_itself_has_the_shape_of_every_error(tmp_path: Path) -> None:
    async with fronted(tmp_path, quicker=True) as front:
        for name, (request, status, code) in REFUSED.items():
            head, _, body = (await front.send(request)).partition(b"\r\n\r\n")
            told = json.loads(body)
            assert (told["status"], told["code"]) == (status, code) and head.startswith(b"HTTP/1.1 %d " % status), name
            assert b"Content-Type: application/problem+json" in head and b"Access-Control-Allow-Origin: *" in head, name
            assert not undeclared(status, [line.split(":")[0] for line in head.decode().split("\r\n")[1:]]), name
        assert not seen(front)


async def test_a_condition_that_is_not_met_does_not_make_nginx_ask_again(tmp_path: Path) -> None:
    async with fronted(tmp_path, 2) as front:
        for replica in front.replicas.values():
            replica.says = answer("412 Precondition Failed", "no-store", '{"code":"price_older_than_asked"}')
        reply = await front.ask(f"{PRICE}?max_age_ms=1")
        assert (reply.status, reply.headers["cache-control"], len(seen(front))) == (412, "no-store", 1)
        assert json.loads(reply.body) == {"code": "price_older_than_asked"}


async def test_a_body_that_is_sent_along_goes_nowhere(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        request = f"GET {PRICE} HTTP/1.1\r\nHost: front\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"
        assert (await front.send(request.encode())).startswith(b"HTTP/1.1 200 ")
        assert seen(front) == [PLAIN_HEAD]


async def test_slow_heads_are_cut_off(tmp_path: Path) -> None:
    async with fronted(tmp_path, quicker=True) as front:
        await front.send(f"GET {PRICE} HTTP/1.1\r\nHost: fr".encode())  # Returns only when the connection is closed.
        assert not seen(front)


async def test_every_answer_has_an_id_that_the_log_has_too(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        assert (await front.ask(X_Request_ID="order-17.a_B")).headers["x-request-id"] == "order-17.a_B"
        line = await front.logged("order-17.a_B")
        assert (line["status"], line["method"], line["uri"]) == (200, "GET", PRICE)
        assert line["replica"] == f"127.0.0.2:{front.replica_port}" and line["replica_status"] == "200"
        for hostile in ('"},{"a":"', "x" * 65, "a b"):
            given = (await front.ask("/none", X_Request_ID=hostile)).headers["x-request-id"]
            assert len(given) == 32 and given != hostile
            assert (await front.logged(given))["status"] == 404


async def test_access_log_can_be_switched_off(tmp_path: Path) -> None:
    async with fronted(tmp_path, NGINX_ACCESS_LOG="0") as front:
        await front.ask(X_Request_ID="quiet")
        front.process.terminate()
        await front.process.wait()
    assert not [line for line in front.log if "quiet" in line]


async def test_a_get_is_asked_again_of_another_replica_and_a_post_is_not(tmp_path: Path) -> None:
    async with fronted(tmp_path, 2) as front:
        front.replicas["127.0.0.2"].silent = math.inf
        for _ in range(20):
            assert (await front.ask()).status == 200
        assert front.replicas["127.0.0.2"].heads, "the silent one was asked as well"
        before = len(seen(front))
        statuses = [(await front.ask(method="POST")).status for _ in range(20)]
        assert set(statuses) == {200, 503}
        assert len(seen(front)) == before + 20


async def test_when_no_replica_is_left_to_ask_a_get_starts_over_once_and_a_post_does_not(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        front.replicas["127.0.0.2"].silent = 1
        assert (await front.ask()).status == 200
        assert len(seen(front)) == 2
        front.replicas["127.0.0.2"].silent = 1
        assert (await front.ask(method="POST")).status == 503
        assert len(seen(front)) == 3


@pytest.mark.parametrize("path", ["/", "/api/", "/docs", f"{PRICE}/recent", PRICE, "/api/v1/prices", f"{PRICE}/stream"])
async def test_a_replica_that_is_asked_again_gets_the_same_as_at_first(tmp_path: Path, path: str) -> None:
    index = '{"liveness":"/health/liveness","readiness":"/health/readiness","metrics":"/metrics","openapi":"/openapi.json"}'
    sent = {"Accept": "text/html", "Accept-Language": "ru", "X-Request-ID": "order-17", "Last-Event-ID": "7"}
    async with fronted(tmp_path) as front:
        replica = front.replicas["127.0.0.2"]
        replica.silent, replica.says = 1, answer(body=index)
        reply = await front.ask(path, If_None_Match='"0"', **sent)
        first, again = replica.heads
        assert reply.status == 200 and again == first
        assert b"metrics" not in unchunked(reply) or path not in ("/", "/api/"), "the index names what can be reached"


async def test_a_stream_that_was_asked_for_again_is_not_cut_in_a_pause_either(tmp_path: Path) -> None:
    async with fronted(tmp_path, quicker=True) as front:
        replica = front.replicas["127.0.0.2"]
        replica.silent, replica.says = 1, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\nretry: 1000\n\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", front.port)
        writer.write(f"GET {PRICE}/stream HTTP/1.1\r\nHost: front\r\n\r\n".encode())
        await reader.readuntil(b"retry: 1000\n\n\r\n")
        assert len(replica.heads) == 2
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):  # On all other paths a replica may pause for only one second here.
                await reader.read()
        writer.close()


async def test_a_replica_that_has_no_price_yet_is_not_the_one_that_answers(tmp_path: Path) -> None:
    async with fronted(tmp_path, 2) as front:
        front.replicas["127.0.0.2"].says = answer("503 Service Unavailable", "no-store")
        assert {(await front.ask()).status for _ in range(20)} == {200}
        front.replicas["127.0.0.3"].says = answer("503 Service Unavailable", "no-store", '{"code":"price_too_old"}')
        front.replicas["127.0.0.2"].says = front.replicas["127.0.0.3"].says
        reply = await front.ask()
        assert (reply.status, reply.headers["cache-control"]) == (503, "no-store")
        assert json.loads(reply.body) == {"code": "price_too_old"}, "when none has one, its own words come through"


async def test_replicas_come_and_go_without_a_reload(tmp_path: Path) -> None:
    # One worker: each worker looks up the name by itself, and another one might not know the new replica yet.
    async with fronted(tmp_path, 1, NGINX_WORKERS="1") as front:
        assert (await front.ask()).status == 200
        added = await front.add("127.0.0.3")
        for _ in polling():
            assert (await front.ask()).status == 200
            if added.heads:
                break
        assert added.heads
        front.names.addresses.remove("127.0.0.2")
        await front.replicas["127.0.0.2"].stop()
        assert {(await front.ask()).status for _ in range(50)} == {200}, "".join(front.log)


async def test_without_any_replica_the_answer_says_so_and_when_to_come_again(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        await front.replicas["127.0.0.2"].stop()
        assert_no_replica(await front.ask())


async def test_when_the_replicas_do_not_answer_in_time_that_is_told_in_the_same_way(tmp_path: Path) -> None:
    async with fronted(tmp_path, quicker=True) as front:
        front.replicas["127.0.0.2"].says = b""
        assert_no_replica(await front.ask())
        assert len(seen(front)) == 2, "once more, and that is all"


def assert_no_replica(reply: Reply) -> None:
    told = json.loads(reply.body)
    assert (reply.status, told["status"], told["code"]) == (503, 503, "no_replica")
    assert reply.headers["content-type"] == "application/problem+json" and reply.headers["cache-control"] == "no-store"
    assert reply.headers["retry-after"] == "1" and readable("retry-after", reply)
    assert not undeclared(503, reply.headers)


async def test_a_stream_comes_unbuffered_and_a_pause_does_not_cut_it(market: Market, tmp_path: Path) -> None:
    (tmp_path / "front").mkdir()
    path = "/api/v1/prices/eth-usdt/stream"
    async with running(market, tmp_path, REFRESH_INTERVAL=0.2, CACHE_TTL=2, MAX_STALE=30) as service:
        await service.until(200)
        async with (
            fronted(tmp_path / "front", 0, quicker=True, REPLICAS=f"127.0.0.1:{service.port}", STREAMS_PER_ADDRESS="2") as front,
            aiohttp.ClientSession(f"http://127.0.0.1:{front.port}") as session,
            session.get(path, timeout=aiohttp.ClientTimeout(sock_read=30)) as stream,
        ):
            assert stream.status == 200 and stream.headers["Content-Type"] == "text/event-stream"
            first, last = await fields_of_next(stream), await fields_of_next(stream)
            assert int(last["id"]) > int(first["id"]), "each comes when it is there"
            market.set_fault("all", "hang")
            began, known = time.monotonic(), ""
            while last["event"] != "state":
                known, last = last["id"], await fields_of_next(stream)
            assert json.loads(last["data"])["state"] == "stale"
            assert time.monotonic() - began > 1, "that is what nginx lets a replica pause at all other addresses"
            async with session.get(path, headers={"Last-Event-ID": known}) as again:
                assert (await fields_of_next(again))["event"] == "state", "the price that it names is not repeated"
                refused = await front.ask(path)
                assert (refused.status, json.loads(refused.body)["code"]) == (429, "too_many_streams")
                assert refused.headers["retry-after"] == "1" and readable("retry-after", refused)
            assert (await front.ask(PRICE)).status == 200


async def fields_of_next(stream: aiohttp.ClientResponse) -> dict[str, str]:
    """The next event; comments and a lone `retry` are skipped."""
    fields: dict[str, str] = {}
    async for line in stream.content:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if not name and "event" in fields:
            return fields
        fields = {} if not name else fields | {name: value}
    raise AssertionError("the stream has ended")


async def test_nothing_is_cached_unless_it_is_asked_for(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for _ in range(5):
            assert (await front.ask()).headers["cache-control"] == "public, max-age=4"
        assert len(seen(front)) == 5


async def test_micro_cache_absorbs_a_burst_and_lets_nobody_count_its_time_anew(tmp_path: Path) -> None:
    async with fronted(tmp_path, MICRO_CACHE="1") as front:
        replies = await asyncio.gather(*(front.ask() for _ in range(40)))
        assert {reply.status for reply in replies} == {200}
        assert len(seen(front)) < 40
        controls = [reply.headers["cache-control"] for reply in replies]
        assert controls.count("public, max-age=4") == len(seen(front)), "only what a replica has just said"
        assert set(controls) == {"public, max-age=4", "public, max-age=0"}
        assert (await front.ask(If_None_Match='"1"')).status == 304, "the cache answers conditions itself"
        assert (await front.ask(If_Match='"other"')).status == 200, "nobody else knows this one"
        assert set(seen(front)) == {PLAIN_HEAD}


@pytest.mark.parametrize("path", ["/api/v1/prices", f"{PRICE}/sources", f"{PRICE}/recent", f"{PRICE}?max_age_ms=800", "/api/"])
async def test_with_a_micro_cache_conditions_still_reach_the_replica_where_nothing_is_kept(tmp_path: Path, path: str) -> None:
    async with fronted(tmp_path, MICRO_CACHE="1") as front:
        front.replicas["127.0.0.2"].says = b'HTTP/1.1 304 Not Modified\r\nETag: "1"\r\n\r\n'
        assert (await front.ask(path, If_None_Match='"1"')).status == 304
        assert b'\r\nIf-None-Match: "1"\r\n' in seen(front)[0]


@pytest.mark.parametrize("max_age", [1, 2, 15])
async def test_micro_cache_keeps_what_may_be_kept_and_never_for_longer_than_a_second(tmp_path: Path, max_age: int) -> None:
    async with fronted(tmp_path, MICRO_CACHE="1") as front:
        front.replicas["127.0.0.2"].says = lambda: answer(cache_control=f"public, max-age={max_age}", body=f"{time.time()}")
        asked = 0
        told: set[float] = set()
        while len(told) < 4:
            before = time.time()
            told.add(made := float((await front.ask()).body))
            asked += 1
            assert before - made < 1.1, "nginx's clock may lag by a moment"
        assert asked > 2 * len(seen(front)), "it keeps something"


async def test_micro_cache_works_on_what_the_service_says_by_default(market: Market, tmp_path: Path) -> None:
    (tmp_path / "front").mkdir()
    defaults: Any = {"REFRESH_INTERVAL": 1, "CACHE_TTL": 5, "MAX_STALE": 60}
    async with running(market, tmp_path, **defaults) as service:
        await service.until(200)
        replica: Any = {"REPLICAS": f"127.0.0.1:{service.port}", "MICRO_CACHE": "1"}
        async with fronted(tmp_path / "front", 0, **replica) as front:
            replies = [await front.ask() for _ in range(100)]
            assert {reply.status for reply in replies} == {200}
            kept = [reply for reply in replies if reply.headers["cache-control"] == "public, max-age=0"]
            assert len(kept) > len(replies) / 2


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (PRICE, answer(cache_control="public, max-age=0")),
        (PRICE, answer(cache_control="no-store")),
        (PRICE, answer("503 Service Unavailable", "no-store")),
        (PRICE, answer("404 Not Found", "no-store")),
        (f"{PRICE}?max_age_ms=800", answer()),
        ("/api/v1/prices", answer()),
        (f"{PRICE}/sources", answer()),
        ("/health/liveness", answer()),
    ],
)
async def test_micro_cache_hides_nothing(tmp_path: Path, path: str, says: bytes) -> None:
    async with fronted(tmp_path, MICRO_CACHE="1") as front:
        front.replicas["127.0.0.2"].says = says
        for _ in range(5):
            await front.ask(path)
        assert len(seen(front)) >= 5


def test_connections_to_replicas_end_at_nginx_first() -> None:
    text = (SOURCE / "start.sh").read_text()
    seconds = int(text.split("keepalive_timeout ")[1].split("s;")[0])
    assert seconds < Settings.from_env({}).keep_alive
