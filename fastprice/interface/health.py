"""Liveness, which asks nothing of the world, and readiness, which says what is missing and why."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastprice.application.ports import BREAKER_STATES, SourceReport
from fastprice.domain.quote import Freshness, Pair
from fastprice.interface.parameters import BadParameter, parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_pages import source_row
from fastprice.interface.responses import json_answer

STRICT = "strict"
SOURCE_KEYS = ("breaker", "cooldown_until_ms", "cooldown_reason", "last_error", "last_error_at_ms")


class Health:
    """Answers `/health/liveness` and `/health/readiness`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def liveness(self, request: Request) -> Response:
        """200 for as long as the event loop turns; a restart would cure neither Redis nor an exchange.

        Nor a parameter that is not known, so here none is refused.
        """
        return json_answer({"status": "alive"})

    async def readiness(self, request: Request) -> Response:
        """200 while a pair has a price that may be served, else 503; the body says why.

        One pair that has none, because it is dead or mistyped, must not take the others off the network. With
        `?strict=1` it is 200 only while every pair has one.
        """
        is_strict = _is_strict(request.scope["query_string"])
        latest = self._parts.latest
        now = self._parts.clock.monotonic()
        pairs = {pair.slug: self._pair_state(pair, now) for pair in latest.pairs}
        missing = [slug for slug, state in pairs.items() if state["state"] not in (Freshness.FRESH, Freshness.STALE)]
        ready = not missing or (len(missing) < len(pairs) and not is_strict)
        content = {
            "status": "ready" if not missing else "degraded" if len(missing) < len(pairs) else "not_ready",
            "missing": missing,
            **self._parts.simulation,
            "pairs": pairs,
            "sources": self._source_states(),
            "redis": self._parts.redis(),
        }
        return json_answer(content, 200 if ready else 503, None if ready else {"Retry-After": self._parts.retry_after})

    def _pair_state(self, pair: Pair, now: float) -> dict[str, Any]:
        unlisted = self._unlisted(pair)
        return self._age_state(pair, now) | ({"unlisted": unlisted} if unlisted else {})

    def _age_state(self, pair: Pair, now: float) -> dict[str, Any]:
        snapshot = self._parts.latest.by_slug.get(pair.slug)
        if snapshot is not None:
            age_ms = max(0, round((now - snapshot.fetched_at) * 1000))
            return {"state": snapshot.freshness(now), "age_ms": age_ms, "source": snapshot.quote.source}
        if quote := self._parts.last_quote(pair):
            age_ms = quote.age_ms(self._parts.clock.wall_ms())
            return {"state": Freshness.EXPIRED, "age_ms": age_ms, "source": quote.source}
        return {"state": "no_price_yet", "age_ms": None, "source": None}

    def _unlisted(self, pair: Pair) -> dict[str, Any]:
        """The sources that do not list the pair: until when they are not asked for it, and what they said."""
        now_ms = self._parts.clock.wall_ms()
        reports = [report for report in self._parts.reports(pair) if report.cooldown_scope == "pair"]
        rows = {report.source: source_row(report, now_ms) for report in reports}
        return {
            source: {"until_ms": row["cooldown_until_ms"], "reason": row["cooldown_reason"]}
            for source, row in rows.items() if row["cooldown_until_ms"] is not None
        }

    def _source_states(self) -> dict[str, dict[str, Any]]:
        states: dict[str, dict[str, Any]] = {}
        for pair in self._parts.latest.pairs:
            for report in self._parts.reports(pair):
                state = self._source_state(report)
                known = states.get(report.source)
                if known is None or _worry(state) > _worry(known):
                    states[report.source] = state
        return states

    def _source_state(self, report: SourceReport) -> dict[str, Any]:
        row = source_row(report, self._parts.clock.wall_ms())
        if report.cooldown_scope == "pair":  # That is said of the pair; the source is asked for others.
            row |= {"cooldown_until_ms": None, "cooldown_reason": None}
        return {key: row[key] for key in SOURCE_KEYS}


def _is_strict(query: bytes) -> bool:
    text = parameters(query, STRICT).get(STRICT, "0")
    if text not in ("0", "1"):
        raise BadParameter(f"{STRICT} must be 0 or 1")
    return text == "1"


def _worry(state: dict[str, Any]) -> tuple[int, int, int]:
    return (
        BREAKER_STATES.index(state["breaker"]) if state["breaker"] in BREAKER_STATES else 0,
        state["cooldown_until_ms"] or 0,
        state["last_error_at_ms"] or 0,
    )
