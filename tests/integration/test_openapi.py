"""/openapi.json is valid OpenAPI 3.1, names every route, and every real answer matches it."""

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from fastprice.domain.quote import MEDIAN, Agreement
from fastprice.interface.responses import CODES
from fastprice.server.refusals import REFUSALS, refusal
from tests.declared import FILE, OF_HTTP, resolved, undeclared
from tests.fakes import BTC, ETH, START_MS
from tests.integration.test_http import (
    ILL, LIVENESS, OVER, PRICE, PRICE_TEMPLATE, PRICES, READINESS, RECENT, RECENT_TEMPLATE, SOURCES, SOURCES_TEMPLATE,
    UNLISTED, WELL, Got, Service
)

pytestmark = pytest.mark.anyio

ALIASES = {"/": "/api/", "/api": "/api/"}
# Pages for people only.
NOT_OF_THE_API = {"/docs", "/docs/{name}", "/page/{digest}/{name}"}
# Headers that only some of these answers have: nginx adds them.
OF_NGINX = {"x-request-id"}
STREAM, STREAMS = "/api/v1/prices/eth-usdt/stream", "/api/v1/stream"
ROOT = Path(__file__).parents[2]
BTC_PRICE = "/api/v1/prices/btc-usdt"
# The fields that an exchange may leave out; a median never has any of them but bid and ask.
NOTHING: dict[str, Any]
NOTHING = dict.fromkeys(("bid", "ask", "volume_24h", "high_24h", "low_24h", "open_24h", "source_time_ms"))
AGREED = Agreement(("binance", "okx", "kraken"), "0.000321", START_MS)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


async def document(service: Service) -> dict[str, Any]:
    return dict((await service("/openapi.json")).json)


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Draft202012Validator:
    """A validator for a schema, whose references point to the document's components."""
    return Draft202012Validator(schema | {"components": document["components"]})


def declared(document: dict[str, Any], path: str, status: int) -> dict[str, Any]:
    return resolved(document, document["paths"][path]["get"]["responses"][str(status)])


def hold(document: dict[str, Any], path: str, got: Got) -> None:
    """Check an answer against what is declared for it."""
    response = declared(document, path, got.status)
    sent = {header.lower() for header in got.headers} - OF_HTTP
    stated = {header.lower() for header in response["headers"]}
    assert sent == stated - OF_NGINX, (path, got.status)
    if "content" not in response:
        assert got.body == b"" and "Content-Type" not in got.headers
        return
    media_type = got.headers["Content-Type"].split(";")[0]
    body = got.json if media_type.endswith("json") else got.body.decode()
    validator(document, response["content"][media_type]["schema"]).validate(body)


async def test_document_is_valid_openapi_3_1(service: Service) -> None:
    content = await document(service)
    assert content["openapi"].startswith("3.1.")
    for each in content, FILE:
        OpenAPIV31SpecValidator(each).validate()
    assert content["info"]["version"] == "1.2.3"
    operations = [operation["operationId"] for path in content["paths"].values() for operation in (path["get"],)]
    assert len(set(operations)) == len(operations)


async def test_every_route_is_described_and_nothing_else(service: Service) -> None:
    paths = {route.path for route in service.app().routes if isinstance(route, Route)}
    assert {ALIASES.get(path, path) for path in paths - NOT_OF_THE_API} == (await document(service))["paths"].keys()
    assert ALIASES.keys() <= paths


async def test_every_component_is_used(service: Service) -> None:
    content = await document(service)
    text = json.dumps(content)
    for kind, entries in content["components"].items():
        for name in entries:
            assert f'"#/components/{kind}/{name}"' in text, name


async def test_every_kind_of_answer_is_as_declared_and_every_declared_one_is_given(service: Service) -> None:
    content = await document(service)
    seen: set[tuple[str, str]] = set()

    async def ask(template: str, path: str, status: int, *lines: tuple[str, str], method: str = "GET") -> None:
        got = await service(path, method, *lines)
        assert got.status == status, path
        hold(content, template, got)
        seen.add((template, str(status)))

    any_tag = ("If-None-Match", "*")
    await ask_for_streams(service, ask)
    await ask(PRICE_TEMPLATE, PRICE, 503)
    await ask(PRICES, PRICES, 503)
    await ask(READINESS, READINESS, 503)
    service.price(ETH)
    await ask(PRICES, PRICES, 200)
    await ask(READINESS, READINESS, 200)
    await ask(READINESS, f"{READINESS}?strict=1", 503)
    service.reports = WELL, replace(UNLISTED, source="gate"), ILL, OVER
    service.price(BTC, price="61000.1", **NOTHING)
    for path, template in {
        PRICE: PRICE_TEMPLATE, BTC_PRICE: PRICE_TEMPLATE, f"{PRICE}?max_age_ms=100000": PRICE_TEMPLATE,
        SOURCES: SOURCES_TEMPLATE, f"{BTC_PRICE}/sources": SOURCES_TEMPLATE, RECENT: RECENT_TEMPLATE, **ALIASES,
        **{path: path for path in (PRICES, "/api/", LIVENESS, READINESS, "/metrics", "/openapi.json")},
    }.items():  # fmt: skip
        await ask(template, path, 200)
        await ask(template, path, 405, method="POST")
    for path, template in (PRICE, PRICE_TEMPLATE), (PRICES, PRICES):
        await ask(template, path, 304, any_tag)
    for query in "x", "86400001":
        await ask(PRICE_TEMPLATE, f"{PRICE}?max_age_ms={query}", 400)
    for path in content["paths"].keys() - {LIVENESS}:
        await ask(path, f"{path.replace('{pair}', 'eth-usdt')}?unknown", 400)
    await ask(PRICE_TEMPLATE, "/api/v1/prices/no-pair", 404)
    await ask(SOURCES_TEMPLATE, "/api/v1/prices/no-pair/sources", 404)
    await ask(RECENT_TEMPLATE, "/api/v1/prices/no-pair/recent", 404)
    await ask(PRICES, f"{PRICES}?pairs=eth-usdt", 200)
    await ask(PRICES, f"{PRICES}?pairs=eth-usdt,no-pair", 404)
    service.clock.now += 10
    await ask(PRICE_TEMPLATE, f"{PRICE}?max_age_ms=9999", 412)
    for path, template in (PRICE, PRICE_TEMPLATE), (PRICES, PRICES), (READINESS, READINESS):
        await ask(template, path, 200)
    service.clock.now += 51
    for path, template in (PRICE, PRICE_TEMPLATE), (PRICES, PRICES), (READINESS, READINESS):
        await ask(template, path, 503)
    service.broken = True
    for path, template in (SOURCES, SOURCES_TEMPLATE), (READINESS, READINESS), ("/metrics", "/metrics"):
        await ask(template, path, 500)
    paths, shared = FILE["paths"], FILE["x-every-operation"].keys()
    own = {(path, status) for path, item in paths.items() for status in item["get"]["responses"]}
    # Liveness accepts any parameter.
    assert seen - {(path, "500") for path in paths} == own | {(path, "405") for path in paths} | {
        (path, "400") for path in paths.keys() - {LIVENESS}
    }
    assert all(shared <= item["get"]["responses"].keys() for item in content["paths"].values())


async def test_what_layers_below_and_nginx_answer_to_any_request_is_declared_and_nothing_else(service: Service) -> None:
    content = await document(service)
    bodies = []
    for status in REFUSALS:
        head, _, body = refusal(status).partition(b"\r\n\r\n")
        assert not undeclared(status, [line.split(":")[0] for line in head.decode().split("\r\n")[1:]])
        bodies.append(json.loads(body))
    nginx = (ROOT / "docker/nginx/nginx.conf").read_text()
    bodies += [json.loads(body) for _, body in re.findall(r"return (\d{3}) '(\{.*\})'", nginx)]
    for body in bodies:
        told = declared(content, LIVENESS, body["status"])
        validator(content, told["content"]["application/problem+json"]["schema"]).validate(body)
    # An example must be a real answer, unless the application itself gives this status.
    for status, entry in FILE["x-every-operation"].items():
        [example] = [told["example"] for told in resolved(content, entry)["content"].values()]
        assert example in bodies or example["code"] in CODES.values(), status
    # The application itself answers 405 (read-only) and 500 (a defect).
    assert {str(body["status"]) for body in bodies} | {"405", "500"} == FILE["x-every-operation"].keys()


async def test_every_answer_has_an_example_and_every_example_is_one(service: Service) -> None:
    content = await document(service)
    for path, item in content["paths"].items():
        for status, entry in item["get"]["responses"].items():
            for media_type, told in resolved(content, entry).get("content", {}).items():
                validator(content, told["schema"]).validate(told["example"])
                if media_type == "application/problem+json":
                    assert str(told["example"]["status"]) == status, path


async def test_every_operation_has_a_tag_and_every_tag_is_explained(service: Service) -> None:
    content = await document(service)
    used = {tag for item in content["paths"].values() for tag in item["get"]["tags"]}
    assert used == {tag["name"] for tag in content["tags"] if tag["description"]}


async def ask_for_streams(service: Service, ask: Callable[..., Awaitable[None]]) -> None:
    """The bodies of streams have tests of their own."""
    for path in STREAM, STREAMS:
        template = path.replace("eth-usdt", "{pair}")
        await ask(template, path, 200, method="HEAD")
        await ask(template, path, 405, method="POST")
    service.streams._most = 0
    for path in STREAM, STREAMS:
        await ask(path.replace("eth-usdt", "{pair}"), path, 503)
    await ask(STREAM.replace("eth-usdt", "{pair}"), "/api/v1/prices/no-pair/stream", 404)
    await ask(STREAMS, f"{STREAMS}?pairs=no-pair", 404)


async def test_a_median_is_as_declared_and_never_says_only_half_of_what_it_is_made_of(service: Service) -> None:
    service.price(age=0.5, source=MEDIAN, agreement=AGREED, **NOTHING)
    content = await document(service)
    for template, path in (PRICE_TEMPLATE, PRICE), (PRICES, PRICES):
        got = await service(path)
        assert got.status == 200
        hold(content, template, got)
    body = (await service()).json
    schema = validator(content, {"$ref": "#/components/schemas/Price"})
    for name in "sources", "spread", "made_at_ms":
        assert not schema.is_valid({key: body[key] for key in body if key != name})
    assert not schema.is_valid(body | {"sources": []}) and not schema.is_valid(body | {"spread": 0.000321})


async def test_parameters_accept_what_is_declared_and_no_more(service: Service) -> None:
    service.price()
    content = await document(service)
    item = content["paths"][PRICE_TEMPLATE]
    [pair] = (resolved(content, each) for each in item["parameters"])
    limits = {each["name"]: each["schema"] for each in (resolved(content, each) for each in item["get"]["parameters"])}
    assert "enum" not in pair["schema"] and pair["schema"]["examples"] == ["eth-usdt", "btc-usdt"]
    assert all(re.fullmatch(pair["schema"]["pattern"], slug) for slug in ("eth-usdt", "1INCH-usd", "no-pair"))
    most = limits["max_age_ms"]
    for value, status in (most["minimum"], 200), (most["maximum"], 200), (most["minimum"] - 1, 400), (most["maximum"] + 1, 400):
        assert (await service(f"{PRICE}?max_age_ms={value}")).status == status
    assert "If-None-Match" in limits


async def test_every_code_that_can_come_is_named_and_one_that_comes_later_breaks_no_client(service: Service) -> None:
    content = await document(service)
    code = content["components"]["schemas"]["Problem"]["properties"]["code"]
    nginx = (ROOT / "docker/nginx/nginx.conf").read_text()
    below = {json.loads(refusal(status).partition(b"\r\n\r\n")[2])["code"] for status in REFUSALS}
    behind = {"unknown_pair", "price_unavailable", "price_too_old", "price_older_than_asked", "too_many_subscribers", *CODES.values()}
    assert set(code["x-extensible-enum"]) == behind | below | set(re.findall(r'"code":"(\w+)"', nginx))
    for page in "docs/endpoints.md", "docs/endpoints.ru.md":
        rows = re.findall(r"^\| \d{3} \| `(\w+)` \|", (ROOT / page).read_text(), re.M)
        assert set(rows) == set(code["x-extensible-enum"]) - {"internal_error"}, page
    schema = validator(content, {"$ref": "#/components/schemas/Problem"})
    for status in REFUSALS:
        schema.validate(json.loads(refusal(status).partition(b"\r\n\r\n")[2]))
    told = (await service("/nowhere")).json
    assert schema.is_valid(told | {"code": "a_later_one"}) and not schema.is_valid(told | {"code": 7})


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True), ({"bid": None}, True), ({"price": 3120.45}, False), ({"price": "3.1e3"}, False), ({"price": None}, False),
        ({"stale": None}, False), ({"fetched_at_ms": "1"}, False), ({"bid": 0}, False), ({"extra": 1}, False),
    ],
)  # fmt: skip
async def test_schema_of_a_price_refuses_what_is_none(service: Service, change: dict[str, Any], accepted: bool) -> None:
    service.price()
    body = (await service()).json
    schema = validator(await document(service), {"$ref": "#/components/schemas/Price"})
    assert schema.is_valid(body | change) is accepted
    assert not schema.is_valid({key: body[key] for key in body if key != "source"})
