"""The two shapes of ordinary answers: JSON, and application/problem+json (RFC 9457) with a stable `code`."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

CODES = {400: "bad_parameter", 404: "not_found", 405: "method_not_allowed", 500: "internal_error"}
SHARED_HEADERS = {
    "Cache-Control": "no-store",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Retry-After, Date",
}


def json_answer(
    content: Any, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = "application/json"
) -> Response:
    """JSON that describes this moment, so caches must not store it."""
    return Response(orjson.dumps(content), status, {**SHARED_HEADERS, **(headers or {})}, media_type)


def problem(
    status: int, detail: str, code: str | None = None, headers: Mapping[str, str] | None = None, **extra: Any
) -> Response:
    """What is wrong and what to do; `code` is for programs, `detail` for people."""
    told = {"status": status, "code": code or CODES.get(status, f"http_{status}"), "detail": detail, **extra}
    content = {"type": "about:blank", "title": HTTPStatus(status).phrase, **told}
    return json_answer(content, status, headers, "application/problem+json")


def unknown_pair(slugs: Iterable[str]) -> Response:
    """404, with the pairs that are served."""
    known = sorted(slugs)
    return problem(404, f"this pair is not served here; served: {', '.join(known)}", "unknown_pair", pairs=known)
