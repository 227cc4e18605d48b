"""Liveness, which depends on nothing outside the process, and readiness, which says what is missing and why."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastprice.domain.quote import Freshness
from fastprice.interface.parameters import BadParameter, parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_pages import source_state
from fastprice.interface.price_snapshot import PricePlace
from fastprice.interface.responses import json_answer

ALIVE = {"status": "alive"}
SERVED = Freshness.FRESH, Freshness.STALE


class Health:
    """Answers `/health/liveness` and `/health/readiness`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def liveness(self, request: Request) -> Response:
        """200 while the event loop runs; a restart would repair neither Redis nor an exchange.

        It would not help with an unknown parameter either, so no parameter is refused here.
        """
        return json_answer(ALIVE)

    async def readiness(self, request: Request) -> Response:
        """200 while a pair has a price that may be served, else 503; the body says why.

        One pair without a price, because it is dead or mistyped, must not take the others out of service. With
        `?strict=1` the answer is 200 only while every pair has a price.
        """
        strict = parameters(request.scope["query_string"], "strict").get("strict", "0")
        if strict not in ("0", "1"):
            raise BadParameter("strict must be 0 or 1")
        return self.readiness_now(strict == "1")

    def readiness_now(self, is_strict: bool = False) -> Response:
        now_ms = self._parts.clock.wall_ms()
        pairs = self._pair_states(now_ms)
        missing = [slug for slug, state in pairs.items() if state["state"] not in SERVED]
        live = self._parts.live_by_source()
        status = "ready" if not missing else "degraded" if len(missing) < len(pairs) else "not_ready"
        content = {
            "status": status,
            "missing": missing,
            **self._parts.simulation,
            "pairs": pairs,
            "sources": {
                report.source: source_state(report, live.get(report.source), now_ms) for report in self._parts.reports()
            },
            "redis": self._parts.redis(),
        }
        ready = status == "ready" or (status == "degraded" and not is_strict)
        return json_answer(content, 200 if ready else 503, None if ready else self._parts.retry_after)

    def _pair_states(self, now_ms: int) -> dict[str, dict[str, Any]]:
        """Each pair's state, and which sources do not list it: until when they are not called, and what they said."""
        now = self._parts.clock.monotonic()
        states = {slug: self._pair_state(place, now, now_ms) for slug, place in self._parts.latest.by_slug.items()}
        # Only the few unlisted pairs are visited: checking every report for every pair would take most of the time.
        for report in self._parts.reports():
            for pair, (until_ms, reason) in report.unlisted.items():
                if until_ms > now_ms and (state := states.get(pair.slug)):
                    state.setdefault("unlisted", {})[report.source] = {"until_ms": until_ms, "reason": reason}
        return states

    def _pair_state(self, place: PricePlace, now: float, now_ms: int) -> dict[str, Any]:
        if snapshot := place.snapshot:
            source = snapshot.quote.source
            return {"state": snapshot.freshness(now), "age_ms": snapshot.age_ms(now), "source": source}
        if quote := self._parts.last_quote(place):
            return {"state": Freshness.EXPIRED, "age_ms": quote.age_ms(now_ms), "source": quote.source}
        return {"state": "no_price_yet", "age_ms": None, "source": None}
