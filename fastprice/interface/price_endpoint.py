"""The hot path: one pair's price as a raw ASGI endpoint, a dict look-up, two comparisons and prepared bytes."""

import asyncio
import contextlib
import math

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from fastprice.domain.quote import Quote
from fastprice.interface.parameters import MAX_MILLISECONDS, UnknownPair, milliseconds, parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_snapshot import PricePlace, PriceSnapshot
from fastprice.interface.responses import problem

METHODS = ("GET", "HEAD")
MAX_AGE_PARAMETER = "max_age_ms"


class PriceEndpoint:
    """Answers `/api/v1/prices/{pair}`."""

    def __init__(self, parts: Parts) -> None:
        self._places = parts.latest.by_slug
        self._clock = parts.clock
        self._tally = parts.tally
        self._patience = parts.patience
        self._last_quote = parts.last_quote
        self._retry_after = parts.retry_after
        self._interval_ms = math.ceil(parts.refresh_interval * 1000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        place = self._places.get(scope["path_params"]["pair"])
        snapshot = place.snapshot if place else None
        if snapshot is None or scope["query_string"] or scope["method"] not in METHODS:
            await (await self._unusual(scope))(scope, receive, send)
            return
        served = snapshot.current(self._clock.monotonic())
        if served is None:
            await self._too_old(snapshot.quote)(scope, receive, send)
            return
        self._tally["stale" if served.is_stale else "hit"] += 1
        await served.answer.send(served.max_age, scope, send)

    async def _unusual(self, scope: Scope) -> ASGIApp:
        """The answer to everything but a plain request for a pair that has a price."""
        place = self._places.get(scope["path_params"]["pair"].lower())
        if place is None:
            raise UnknownPair
        if scope["method"] not in METHODS:
            raise HTTPException(405)
        most_ms = max_age_ms(scope["query_string"])
        await self._first_price(place)
        return self._within(place.snapshot, most_ms) if place.snapshot else self._none_yet(place)

    async def _first_price(self, place: PricePlace) -> None:
        """Before the first price, wait for a refresh; no request ever waits for anything else."""
        if place.snapshot is None and (seconds := self._patience()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await place.first()

    def _within(self, snapshot: PriceSnapshot, most_ms: int) -> ASGIApp:
        """An answer no older than the client accepts, which caches keep no longer than the client would accept it."""
        now = self._clock.monotonic()
        served = snapshot.current(now, most_ms / 1000)
        if served is None:
            if now > snapshot.usable_until:
                return self._too_old(snapshot.quote)
            return self._older_than_asked(snapshot, now, most_ms)
        self._tally["stale" if served.is_stale else "hit"] += 1
        return served.answer.app(served.max_age)

    def _none_yet(self, place: PricePlace) -> ASGIApp:
        if quote := self._last_quote(place):
            return self._too_old(quote)
        self._tally["miss"] += 1
        detail = (
            f"no price of {place.pair.symbol} has been accepted since this service started; "
            "/health/readiness says why"
        )
        return problem(503, detail, "price_unavailable", self._retry_after)

    def _too_old(self, quote: Quote) -> ASGIApp:
        self._tally["miss"] += 1
        detail = f"the last price of {quote.pair.symbol} is too old to be served; /health/readiness says why"
        return problem(503, detail, "price_too_old", self._retry_after, last_fetched_at_ms=quote.fetched_at_ms)

    def _older_than_asked(self, snapshot: PriceSnapshot, now: float, most_ms: int) -> ASGIApp:
        """One client's condition is not met; the service has not failed, and a 5xx would make proxies retry."""
        self._tally["miss"] += 1
        age_ms = max(most_ms + 1, snapshot.age_ms(now))
        # A newer price may come once an interval.
        retry_ms = self._interval_ms - age_ms % self._interval_ms
        detail = f"the price of {snapshot.quote.pair.symbol} is {age_ms} ms old, and {MAX_AGE_PARAMETER} is {most_ms}"
        return problem(412, detail, "price_older_than_asked", age_ms=age_ms, retry_after_ms=retry_ms)


def max_age_ms(query: bytes) -> int:
    """The age that the client accepts; by default any age. Raises BadParameter."""
    given = parameters(query, MAX_AGE_PARAMETER).get(MAX_AGE_PARAMETER)
    return MAX_MILLISECONDS if given is None else milliseconds(MAX_AGE_PARAMETER, given)
