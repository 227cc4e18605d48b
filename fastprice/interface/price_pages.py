"""The other price answers: all pairs at once, and how each source stands for one pair."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastprice.application.ports import SourceReport
from fastprice.domain.quote import Pair
from fastprice.interface.parameters import parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_json import current, etag, matches, price_fields
from fastprice.interface.responses import json_answer, problem, unknown_pair


class PricePages:
    """Answers `/api/v1/prices` and `/api/v1/prices/{pair}/sources`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._pairs = {pair.slug: pair for pair in parts.latest.pairs}

    async def every_price(self, request: Request) -> Response:
        """All pairs that have an acceptable price, and the names of those that have none."""
        parameters(request.scope["query_string"])
        now = self._parts.clock.monotonic()
        bodies, missing, left = [], [], []
        for pair in self._parts.latest.pairs:
            snapshot = self._parts.latest.by_slug.get(pair.slug)
            served = current(snapshot, now, self._parts.longest_max_age) if snapshot else None
            if served is None:
                self._parts.tally["miss"] += 1
                missing.append(pair.symbol)
                continue
            answer, max_age, fresh = served
            self._parts.tally["hit" if fresh else "stale"] += 1
            bodies.append(answer.body)
            left.append(max_age)
        if not bodies:
            detail = "no pair has an acceptable price; /health/readiness says why"
            return problem(503, detail, "price_unavailable", {"Retry-After": self._parts.retry_after})
        names = ",".join(f'"{symbol}"' for symbol in missing)
        body = b'{"prices":[' + b",".join(bodies) + b'],"unavailable":[' + names.encode() + b"]}"
        return _cacheable(request, body, min(left))

    async def sources(self, request: Request) -> Response:
        """Each source's last quote, its age, its breaker and its cool-down, as the worker that asks it sees them."""
        pair = self._pairs.get(request.path_params["pair"].lower())
        if pair is None:
            return unknown_pair(self._pairs)
        parameters(request.scope["query_string"])
        return json_answer({"symbol": pair.symbol, "sources": self._rows(pair)})

    def _rows(self, pair: Pair) -> list[dict[str, Any]]:
        now_ms = self._parts.clock.wall_ms()
        return [source_row(report, now_ms) for report in self._parts.reports(pair)]


def source_row(report: SourceReport, now_ms: int) -> dict[str, Any]:
    """One source's report with what a reader wants to know now: ages, not stamps alone."""
    cooling = report.cooldown_until_ms is not None and report.cooldown_until_ms > now_ms
    quote = report.quote
    return {
        "source": report.source,
        "breaker": report.breaker,
        "cooldown_until_ms": report.cooldown_until_ms if cooling else None,
        "cooldown_reason": report.cooldown_reason if cooling else None,
        "last_error": report.last_error,
        "last_error_at_ms": report.last_error_at_ms,
        "age_ms": quote.age_ms(now_ms) if quote else None,
        "last_quote": _last_quote(quote) if quote else None,
    }


def _last_quote(quote: Any) -> dict[str, Any]:
    fields = price_fields(quote, stale=False)
    del fields["stale"]  # A word about the price that is served, not about one that a source gave.
    return fields


def _cacheable(request: Request, body: bytes, max_age: int) -> Response:
    tag = etag(body)
    headers = {
        "Cache-Control": f"public, max-age={max_age}",
        "ETag": tag.decode(),
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Expose-Headers": "ETag, Date, Retry-After",
    }
    condition = ",".join(request.headers.getlist("if-none-match")).encode("latin-1")
    if condition and matches(condition, tag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")
