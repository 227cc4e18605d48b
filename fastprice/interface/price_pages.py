"""The other price answers: all pairs at once; for one pair, its last minutes and the state of each source."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp

from fastprice.application.live_ports import StreamReport
from fastprice.application.ports import PairReport, SourceReport
from fastprice.interface.listing import chosen, listing
from fastprice.interface.parameters import UnknownPair, parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_json import price_fields
from fastprice.interface.price_snapshot import PricePlace
from fastprice.interface.responses import json_answer, problem

# There is one point per second, so a new one may come after one second.
RECENT_HEADERS = {"Cache-Control": "public, max-age=1"}


class PricePages:
    """Answers `/api/v1/prices`, and `/sources` and `/recent` of each pair."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def every_price(self, request: Request) -> ASGIApp:
        """The acceptable prices of all pairs, or of the named ones, and the names of the pairs that have none."""
        places = chosen(request.scope["query_string"], self._parts.latest.by_slug)
        served = listing(places, self._parts.clock.monotonic())
        if served is None:
            self._parts.tally["miss"] += 1
            detail = "none of these pairs has an acceptable price; /health/readiness says why"
            return problem(503, detail, "price_unavailable", self._parts.retry_after)
        self._parts.tally["stale" if served.is_stale else "hit"] += 1
        return served.answer.app(served.max_age)

    async def sources(self, request: Request) -> Response:
        """Each source's last quote, its age, its breaker and its cool-down, as the worker that calls it sees them."""
        return self.sources_now(self._place(request))

    async def recent(self, request: Request) -> Response:
        """The prices of the last minutes, one per second, as this worker has served them."""
        pair, recent = self._place(request).pair, self._parts.recent
        points = [point._asdict() for point in recent.points(pair)]
        # `now_ms` is for clients that show ages: their own clocks may be wrong.
        told = {"symbol": pair.symbol, "now_ms": self._parts.clock.wall_ms(), "seconds": recent.seconds}
        return json_answer({**told, "points": points}, headers=RECENT_HEADERS)

    def _place(self, request: Request) -> PricePlace:
        """The place of the pair in the request's path; the request may have no parameters."""
        place = self._parts.latest.by_slug.get(request.path_params["pair"].lower())
        if place is None:
            raise UnknownPair
        parameters(request.scope["query_string"])
        return place

    def sources_now(self, place: PricePlace) -> Response:
        now_ms = self._parts.clock.wall_ms()
        live = self._parts.live_by_source()
        rows = [
            _source_row(report, said, live.get(report.source), now_ms)
            for report, said in self._parts.standing(place.pair)
        ]
        return json_answer({"symbol": place.pair.symbol, "sources": rows})


def source_state(report: SourceReport, live: StreamReport | None, now_ms: int) -> dict[str, Any]:
    """The state of a source for all pairs, and of its stream if it has one; a cool-down that is over is left out."""
    is_cooling = (report.cooldown_until_ms or 0) > now_ms
    return {
        "breaker": report.breaker,
        "cooldown_until_ms": report.cooldown_until_ms if is_cooling else None,
        "cooldown_reason": report.cooldown_reason if is_cooling else None,
        "last_error": report.error,
        "last_error_at_ms": report.error_at_ms,
        "stream": _stream_state(live, now_ms) if live else None,
    }


def _stream_state(live: StreamReport, now_ms: int) -> dict[str, Any]:
    frame_age_ms = None if live.frame_at_ms is None else max(0, now_ms - live.frame_at_ms)
    since_ms, until_ms = (None, live.since_ms) if live.state == "given_up" else (live.since_ms, None)
    return {"state": live.state, "since_ms": since_ms, "until_ms": until_ms, "frame_age_ms": frame_age_ms}


def _source_row(
    report: SourceReport, said: PairReport, live: StreamReport | None, now_ms: int
) -> dict[str, Any]:
    """The state of a source for one pair, with ages, because time stamps alone do not help a reader."""
    state, quote = source_state(report, live, now_ms), said.quote
    state |= {"last_error": said.error, "last_error_at_ms": said.error_at_ms}
    if (said.unlisted_until_ms or 0) > max(now_ms, state["cooldown_until_ms"] or 0):
        state |= {"cooldown_until_ms": said.unlisted_until_ms, "cooldown_reason": said.error}
    return {
        "source": report.source,
        **state,
        "age_ms": quote.age_ms(now_ms) if quote else None,
        "deviation": None if said.deviation is None else round(said.deviation, 6),
        "distrusted": said.distrusted,
        "last_quote": price_fields(quote) if quote else None,
    }
