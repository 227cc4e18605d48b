"""Liveness, which depends on nothing outside of the process, and readiness, which says what is missing and why."""

from collections import defaultdict
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from fastprice.domain.quote import Freshness, Pair
from fastprice.interface.parameters import BadParameter, parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_pages import source_state
from fastprice.interface.price_snapshot import PricePlace
from fastprice.interface.responses import json_answer

STRICT = "strict"
ALIVE = {"status": "alive"}


class Health:
    """Answers `/health/liveness` and `/health/readiness`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def liveness(self, request: Request) -> Response:
        """200 while the event loop runs; a restart would help neither Redis nor an exchange.

        It would not help against an unknown parameter either, so none is refused here.
        """
        return json_answer(ALIVE)

    async def readiness(self, request: Request) -> Response:
        """200 while a pair has a price that may be served, else 503; the body says why.

        One pair that has none, because it is dead or mistyped, must not take the others off the network. With
        `?strict=1` it is 200 only while every pair has one.
        """
        is_strict = _is_strict(request.scope["query_string"])
        places, unlisted = self._parts.latest.by_slug, self._unlisted()
        pairs = {slug: self._pair_state(place) | unlisted.get(place.pair, {}) for slug, place in places.items()}
        missing = [slug for slug, state in pairs.items() if state["state"] not in (Freshness.FRESH, Freshness.STALE)]
        ready = not missing or (len(missing) < len(pairs) and not is_strict)
        now_ms = self._parts.clock.wall_ms()
        content = {
            "status": "ready" if not missing else "degraded" if len(missing) < len(pairs) else "not_ready",
            "missing": missing,
            **self._parts.simulation,
            "pairs": pairs,
            "sources": {report.source: source_state(report, now_ms) for report in self._parts.reports()},
            "redis": self._parts.redis(),
        }
        return json_answer(content, 200 if ready else 503, None if ready else self._parts.retry_after)

    def _pair_state(self, place: PricePlace) -> dict[str, Any]:
        now, snapshot = self._parts.clock.monotonic(), place.snapshot
        if snapshot is not None:
            source = snapshot.quote.source
            return {"state": snapshot.freshness(now), "age_ms": snapshot.age_ms(now), "source": source}
        if quote := self._parts.last_quote(place):
            age_ms = quote.age_ms(self._parts.clock.wall_ms())
            return {"state": Freshness.EXPIRED, "age_ms": age_ms, "source": quote.source}
        return {"state": "no_price_yet", "age_ms": None, "source": None}

    def _unlisted(self) -> dict[Pair, dict[str, Any]]:
        """By pair, the sources that do not list it: until when they are not asked for it, and what they said."""
        now_ms = self._parts.clock.wall_ms()
        unlisted: defaultdict[Pair, dict[str, Any]] = defaultdict(lambda: {"unlisted": {}})
        for report in self._parts.reports():
            for pair, said in report.pairs.items():
                if (said.unlisted_until_ms or 0) > now_ms:
                    row = {"until_ms": said.unlisted_until_ms, "reason": said.error}
                    unlisted[pair]["unlisted"][report.source] = row
        return unlisted


def _is_strict(query: bytes) -> bool:
    text = parameters(query, STRICT).get(STRICT, "0")
    if text not in ("0", "1"):
        raise BadParameter(f"{STRICT} must be 0 or 1")
    return text == "1"
