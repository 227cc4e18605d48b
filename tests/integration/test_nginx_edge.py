"""nginx at the edge of the network: TLS, compression, an index of the reachable paths, and a log of limited size."""

import asyncio
import gzip
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.declared import undeclared
from tests.nginx import PRICE, Front, answer, fronted, unchunked
from tests.service import PATIENCE, polling

pytestmark = pytest.mark.anyio

LARGE = json.dumps({"prices": [{"symbol": f"C{number}-USDT"} for number in range(200)], "unavailable": []})


def heads(front: Front) -> str:
    return b"".join(head for replica in front.replicas.values() for head in replica.heads).decode().lower()


async def test_large_answers_are_compressed_and_conditions_hold_and_a_price_is_left_as_it_is(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        replica = front.replicas["127.0.0.2"]
        replica.says = answer(body=LARGE)
        packed = await front.ask("/api/v1/prices", Accept_Encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip" and packed.headers["vary"] == "Accept-Encoding"
        assert packed.headers["etag"] == 'W/"1"', "the bytes are not those of the strong one"
        assert gzip.decompress(unchunked(packed)).decode() == LARGE
        plain = await front.ask("/api/v1/prices")
        assert plain.headers["etag"] == '"1"' and plain.body.decode() == LARGE
        await front.ask("/api/v1/prices", Accept_Encoding="gzip", If_None_Match='W/"1"')
        assert 'if-none-match: w/"1"\r\n' in heads(front), "the replica compares, and takes a weak one as well"
        replica.says = answer()
        price = await front.ask(Accept_Encoding="gzip")
        assert "content-encoding" not in price.headers and "vary" not in price.headers and price.headers["etag"] == '"1"'


async def test_the_index_names_nothing_that_cannot_be_reached(tmp_path: Path) -> None:
    index = '{"liveness":"/health/liveness","readiness":"/health/readiness","metrics":"/metrics","openapi":"/openapi.json"}'
    async with fronted(tmp_path) as front:
        front.replicas["127.0.0.2"].says = answer(body=index)
        for path in "/api/", "/api", "/":
            told = json.loads(unchunked(await front.ask(path)))
            assert told == {"liveness": "/health/liveness", "openapi": "/openapi.json"}, path


async def test_the_log_keeps_a_sample_of_what_is_well_and_of_what_goes_wrong(tmp_path: Path) -> None:
    async with fronted(tmp_path, NGINX_ACCESS_LOG="sample") as front:
        for number in range(50):
            await front.ask(X_Request_ID=f"well-{number}")
        await front.replicas["127.0.0.2"].stop()
        asked = 0
        for _ in polling():
            assert (await front.ask()).status == 503
            asked += 1
            if any('"status":503' in line for line in front.log):
                break
    assert sum('"id":"well-' in line for line in front.log) < 10
    assert 0 < sum('"status":503' in line for line in front.log) <= 10 + asked / 10
    assert not [line for line in front.log if "connect() failed" in line], "an outage would be a flood of these"


async def test_why_a_replica_does_not_answer_is_told_where_that_is_asked_for(tmp_path: Path) -> None:
    async with fronted(tmp_path, NGINX_ERROR_LOG="error") as front:
        await front.replicas["127.0.0.2"].stop()
        assert (await front.ask()).status == 503
        front.process.terminate()
        await front.process.wait()
    assert any("connect() failed (111: Connection refused)" in line for line in front.log)


async def test_a_setting_of_nginx_that_cannot_be_used_is_one_clear_line(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for name, value, accepted in (
            ("NGINX_ACCESS_LOG", "some", "sample, 1 for every request, or 0"),
            ("NGINX_ERROR_LOG", "debug", "crit, error, warn or info"),
            ("NGINX_WORKERS", "0", "a whole number from 1 to 32"),
            ("NGINX_WORKERS", "33", "a whole number from 1 to 32"),
            ("STREAMS_PER_ADDRESS", "65536", "a whole number from 0 to 65535"),
            ("REQUESTS_PER_ADDRESS", "-1", "a whole number from 0 to 1000000"),
            ("REQUESTS_PER_ADDRESS", "9" * 30, "a whole number from 0 to 1000000"),
            ("CONNECTIONS_PER_ADDRESS", "1.5", "a whole number from 0 to 65535"),
            ("MICRO_CACHE", "yes", "a whole number from 0 to 1"),
        ):
            assert await front.reload(**{name: value}) == (2, f"{name} is '{value}', but must be {accepted}\n")


async def test_what_is_at_the_ends_of_a_range_is_taken_over(tmp_path: Path) -> None:
    async with fronted(tmp_path) as front:
        for workers, limit, requests in ("1", "0", "0"), ("2", "65535", "1000000"):
            limits = {"STREAMS_PER_ADDRESS": limit, "CONNECTIONS_PER_ADDRESS": limit, "REQUESTS_PER_ADDRESS": requests}
            assert await front.reload(NGINX_WORKERS=workers, **limits) == (0, "")


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="openssl or curl is not here")
async def test_tls_is_served_over_http_2_and_a_renewed_certificate_is_taken_over(tmp_path: Path) -> None:
    port = free_port()
    await certificate(tmp_path, "old.example")
    cert, key = f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem"
    async with fronted(tmp_path / "front", TLS_CERTIFICATE=cert, TLS_KEY=key, NGINX_TLS_PORT=str(port)) as front:
        assert await asked_by_curl(tmp_path, "old.example", port) == "2 200"
        assert await asked_by_curl(tmp_path, "old.example", port, "--tls-max", "1.1") == "0 000"
        await certificate(tmp_path, "new.example")
        assert await front.reload() == (0, "")
        async with asyncio.timeout(PATIENCE):
            while await asked_by_curl(tmp_path, "new.example", port) != "2 200":
                await asyncio.sleep(0.05)
        assert (await front.ask()).status == 200, "the plain port goes on"
        plain = await front.ask_at(port, PRICE)
        assert (plain.status, json.loads(plain.body)["code"]) == (400, "bad_request")
        assert plain.headers["content-type"] == "application/problem+json"
        assert plain.headers["access-control-allow-origin"] == "*" and not undeclared(400, plain.headers)


async def certificate(directory: Path, name: str) -> None:
    """A self-signed certificate for a name."""
    await said_by(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
        "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{directory}/key.pem",
        "-out", f"{directory}/cert.pem",
    )  # fmt: skip


async def asked_by_curl(directory: Path, name: str, port: int, *more: str) -> str:
    """The HTTP version and the status; zeros if no connection was established."""
    return await said_by(
        "curl", "--silent", "--cacert", f"{directory}/cert.pem", "--connect-to", f"{name}:443:127.0.0.1:{port}",
        "--output", "/dev/null", "--write-out", "%{http_version} %{http_code}", *more, f"https://{name}{PRICE}",
    )  # fmt: skip


async def said_by(*words: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    said, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
    return said.decode()
