"""The service described in OpenAPI 3.1; a test compares every kind of real answer with it."""

from collections.abc import Iterable
from typing import Any

from fastprice.domain.quote import Pair

Schema = dict[str, Any]

DECIMAL = {"type": "string", "pattern": r"^(0|[1-9][0-9]*)(\.[0-9]+)?$"}
# Every `code` that exists: those of the endpoints, of the server below them, and of docker/nginx in front of them.
PROBLEM_CODES = [
    "bad_parameter", "unknown_pair", "not_found", "method_not_allowed", "price_unavailable", "price_too_old",
    "price_older_than_asked", "internal_error",
    "bad_request", "request_timeout", "request_header_fields_too_large",
    "content_too_large", "not_implemented", "http_version_not_supported", "no_replica",
]  # fmt: skip
TIME_MS = {"type": "integer", "description": "Milliseconds since 1970-01-01 UTC."}


def describe(version: str, pairs: Iterable[Pair]) -> Schema:
    """The whole document, for the pairs that are served."""
    slugs = [pair.slug for pair in pairs]
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fastprice",
            "version": version,
            "summary": "The current price of a crypto pair, fast, and honest about its age.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "paths": {
            "/api/": {"get": _operation("index", "All addresses.", {"200": _json({"type": "object"})})},
            "/api/v1/prices": {"get": _every_price()},
            "/api/v1/prices/{pair}": {"parameters": [_pair_parameter(slugs)], "get": _price()},
            "/api/v1/prices/{pair}/sources": {"parameters": [_pair_parameter(slugs)], "get": _sources()},
            "/health/liveness": {"get": _operation("liveness", "Whether it is alive.", {"200": _ref("Liveness")})},
            "/health/readiness": {"get": _readiness()},
            "/metrics": {"get": _operation("metrics", "Metrics for Prometheus.", {"200": _metrics()})},
            "/openapi.json": {"get": _operation("openapi", "This document.", {"200": _json({"type": "object"})})},
        },
        "components": {"schemas": _schemas(), "headers": _headers()},
    }


def _operation(name: str, summary: str, responses: Schema, parameters: list[Schema] | None = None) -> Schema:
    told = "`method_not_allowed` for other methods than GET and HEAD, or any other `code`."
    other = _problem(told, ("Allow", "Retry-After"))
    if name != "liveness":
        responses = responses | {"400": _problem("`bad_parameter`: it is unknown here, or cannot be used.")}
    operation = {"operationId": name, "summary": summary, "responses": responses | {"default": other}}
    return operation | ({"parameters": parameters} if parameters else {})


def _json(schema: Schema, description: str = "OK", headers: Iterable[str] = ()) -> Schema:
    answer: Schema = {"description": description, "content": {"application/json": {"schema": schema}}}
    if headers:
        answer["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return answer


def _ref(name: str, description: str = "OK", headers: Iterable[str] = ()) -> Schema:
    return _json({"$ref": f"#/components/schemas/{name}"}, description, headers)


def _problem(description: str, headers: Iterable[str] = ()) -> Schema:
    answer = _ref("Problem", description, headers)
    answer["content"] = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return answer


def _not_modified(*names: str) -> Schema:
    return {
        "description": "The copy that you have is current.",
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }


def _pair_parameter(slugs: list[str]) -> Schema:
    return {
        "name": "pair",
        "in": "path",
        "required": True,
        "description": "Upper and lower case mean the same.",
        "schema": {"type": "string", "enum": slugs},
    }


def _condition() -> Schema:
    return {"name": "If-None-Match", "in": "header", "required": False, "schema": {"type": "string"}}


def _price() -> Schema:
    max_age = {
        "name": "max_age_ms",
        "in": "query",
        "required": False,
        "description": "The oldest price that you accept, in milliseconds; if the price is older, the answer is 412.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 86_400_000},
    }
    responses = {
        "200": _ref("Price", headers=("ETag", "Last-Modified", "Cache-Control")),
        "304": _not_modified("ETag", "Last-Modified", "Cache-Control"),
        "404": _problem("`unknown_pair`: not served here; no exchange was asked."),
        "412": _problem(
            "`price_older_than_asked`: there is a price, but it is older than your `max_age_ms`. HTTP defines this"
            " status for conditions in headers, and it fits one in the query too: the service has not failed, so a"
            " proxy does not need to retry. It is checked before If-None-Match."
        ),
        "503": _problem("`price_unavailable` or `price_too_old`: no price that may be served.", ("Retry-After",)),
    }
    return _operation("price", "The price now.", responses, [max_age, _condition()])


def _every_price() -> Schema:
    responses = {
        "200": _ref("Prices", headers=("ETag", "Cache-Control")),
        "304": _not_modified("ETag", "Cache-Control"),
        "503": _problem("`price_unavailable`: no pair has a price that may be served.", ("Retry-After",)),
    }
    return _operation("prices", "The price of every pair.", responses, [_condition()])


def _sources() -> Schema:
    responses = {"200": _ref("Sources"), "404": _problem("`unknown_pair`")}
    return _operation("sources", "How each source stands for a pair.", responses)


def _readiness() -> Schema:
    responses = {
        "200": _ref("Readiness", "At least one pair has a price that may be served; with `strict=1`, every pair."),
        "503": _ref("Readiness", "No pair has one; with `strict=1`, not every pair. See the body.", ("Retry-After",)),
    }
    strict = {"name": "strict", "in": "query", "required": False, "schema": {"type": "integer", "enum": [0, 1]}}
    return _operation("readiness", "Whether prices can be served.", responses, [strict])


def _metrics() -> Schema:
    return {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}


def _headers() -> Schema:
    def header(description: str, kind: str = "string") -> Schema:
        return {"description": description, "schema": {"type": kind}}

    return {
        "ETag": header("Strong: the same in every replica for the same body."),
        "Last-Modified": header("When the exchange answered, to the second."),
        "Cache-Control": header("max-age is in seconds: at most REFRESH_INTERVAL, and never past MAX_STALE."),
        "Retry-After": header("Seconds.", "integer"),
        "Allow": header("The methods that are allowed."),
    }


def _object(**properties: Any) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _or_null(schema: Schema) -> Schema:
    return schema | {"type": [schema["type"], "null"]}


def _quote_properties() -> Schema:
    optional = _or_null(DECIMAL)
    return {
        "symbol": {"type": "string", "examples": ["ETH-USDT"]},
        "base": {"type": "string"},
        "quote": {"type": "string"},
        "price": DECIMAL | {"description": "The last trade, digit for digit as the exchange sent it."},
        "bid": optional,
        "ask": optional,
        "volume_24h": optional | {"description": "In base, over 24 hours."},
        "high_24h": optional | {"description": "The highest price of the last 24 hours."},
        "low_24h": optional | {"description": "The lowest price of the last 24 hours."},
        "open_24h": optional | {"description": "The price 24 hours ago."},
        "source": {"type": "string"},
        "source_time_ms": _or_null(TIME_MS) | {"description": "The exchange's own time stamp; null if it gives none."},
        "fetched_at_ms": TIME_MS | {"description": "When the exchange answered us: age counts from here."},
    }


def _schemas() -> Schema:
    text, optional_text, optional_time = {"type": "string"}, {"type": ["string", "null"]}, _or_null(TIME_MS)
    standing = {
        "breaker": {"type": "string", "enum": ["closed", "half_open", "open"]},
        "cooldown_until_ms": optional_time,
        "cooldown_reason": optional_text,
        "last_error": optional_text,
        "last_error_at_ms": optional_time,
    }
    age = {"type": ["integer", "null"], "minimum": 0}
    last_quote = {"oneOf": [{"$ref": "#/components/schemas/Quote"}, {"type": "null"}]}
    source = _object(source=text, **standing, age_ms=age, last_quote=last_quote)
    state = {"type": "string", "enum": ["fresh", "stale", "expired", "no_price_yet"]}
    pair = _object(state=state, age_ms=age, source=optional_text)
    unlisted = {"type": "object", "additionalProperties": _object(until_ms=TIME_MS, reason=text)}
    pair["properties"]["unlisted"] = unlisted | {"description": "Sources that do not list the pair; absent if none."}
    return {
        "Quote": _object(**_quote_properties()),
        "Price": _object(**_quote_properties(), stale={"type": "boolean", "description": "Older than CACHE_TTL."}),
        "Prices": _object(
            prices={"type": "array", "items": {"$ref": "#/components/schemas/Price"}},
            unavailable={"type": "array", "items": text},
        ),
        "Sources": _object(symbol=text, sources={"type": "array", "items": source}),
        "Liveness": _object(status={"const": "alive"}),
        "Readiness": _object(
            status={"enum": ["ready", "degraded", "not_ready"], "description": "`degraded`: some pairs are missing."},
            missing={"type": "array", "items": text, "description": "The pairs that have no price that may be served."},
            simulated={"type": "boolean", "description": "Some prices are simulated."},
            simulated_sources={"type": "array", "items": text, "description": "Those whose prices are simulated."},
            pairs={"type": "object", "additionalProperties": pair},
            sources={"type": "object", "additionalProperties": _object(**standing)},
            redis=text | {"description": "`up`, `not_configured`, or `down: ` and why."},
        ),
        "Problem": _problem_schema(),
    }


def _problem_schema() -> Schema:
    text, number = {"type": "string"}, {"type": "integer"}
    return {
        "type": "object",
        "properties": {
            "type": text,
            "title": text,
            "status": number,
            "code": text | {"description": "Later versions may add others.", "x-extensible-enum": PROBLEM_CODES},
            "detail": text | {"description": "For people; programs look at `code`."},
            "pairs": {"type": "array", "items": text, "description": "With `unknown_pair`: the pairs that are served."},
            "age_ms": number | {"description": "With `price_older_than_asked`: the age of the price."},
            "retry_after_ms": number | {"description": "With `price_older_than_asked`: when to ask again."},
            "last_fetched_at_ms": TIME_MS | {"description": "With `price_too_old`: of the price that is too old."},
        },
        "required": ["type", "title", "status", "code", "detail"],
    }
