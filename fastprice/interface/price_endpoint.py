"""The hot path: one pair's price as a raw ASGI endpoint, a dict look-up, two comparisons and prepared bytes."""

import asyncio
import math

from starlette.types import ASGIApp, Receive, Scope, Send

from fastprice.application.latest_price import Snapshot
from fastprice.domain.quote import Pair, Quote
from fastprice.interface.parameters import BadParameter, parameters
from fastprice.interface.parts import Parts
from fastprice.interface.price_json import Answer, PriceAnswers, current, matches
from fastprice.interface.responses import problem, unknown_pair

METHODS = ("GET", "HEAD")
ALLOW = {"Allow": "GET, HEAD, OPTIONS"}
MAX_AGE_PARAMETER = "max_age_ms"
MAX_AGE_LIMIT_MS = 86_400_000

PriceSnapshot = Snapshot[PriceAnswers]


class PriceEndpoint:
    """Answers `/api/v1/prices/{pair}`."""

    def __init__(self, parts: Parts) -> None:
        self._latest = parts.latest
        self._pairs = {pair.slug: pair for pair in parts.latest.pairs}
        self._clock = parts.clock
        self._tally = parts.tally
        self._patience = parts.patience
        self._last_quote = parts.last_quote
        self._retry_after = {"Retry-After": parts.retry_after}
        self._longest_max_age = parts.longest_max_age
        self._interval_ms = math.ceil(parts.refresh_interval * 1000)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        snapshot = self._latest.by_slug.get(scope["path_params"]["pair"])
        if snapshot is None or scope["query_string"] or scope["method"] not in METHODS:
            await (await self._unusual(scope))(scope, receive, send)
            return
        served = current(snapshot, self._clock.monotonic(), self._longest_max_age)
        if served is None:
            await self._too_old(snapshot)(scope, receive, send)
            return
        answer, max_age, fresh = served
        self._tally["hit" if fresh else "stale"] += 1
        await _send(answer, max_age, scope, send)

    async def _unusual(self, scope: Scope) -> ASGIApp:
        """What answers everything but the plain question for a price that is there."""
        pair = self._pairs.get(scope["path_params"]["pair"].lower())
        if pair is None:
            return unknown_pair(self._pairs)
        if scope["method"] not in METHODS:
            return problem(405, "a price can only be read", headers=ALLOW)
        try:
            most_ms = _max_age_ms(scope["query_string"])
        except BadParameter as error:
            return problem(400, str(error))
        snapshot = await self._first(pair)
        if snapshot is None:
            return self._none_yet(pair)
        return self._within(snapshot, most_ms)

    async def _first(self, pair: Pair) -> PriceSnapshot | None:
        """The snapshot; before the first one there is the refresh to wait for, the only wait a request ever has."""
        if pair.slug not in self._latest.by_slug and (seconds := self._patience()) > 0:
            try:
                async with asyncio.timeout(seconds):
                    await self._latest.first(pair)
            except TimeoutError:
                return None
        return self._latest.by_slug.get(pair.slug)

    def _within(self, snapshot: PriceSnapshot, most_ms: int) -> ASGIApp:
        """An answer no older than the client accepts, and cacheable no longer than it would accept it."""
        now = self._clock.monotonic()
        acceptable_until = snapshot.fetched_at + most_ms / 1000
        served = current(snapshot, now, self._longest_max_age)
        if served is None:
            return self._too_old(snapshot)
        if now > acceptable_until:
            return self._older_than_asked(snapshot, now, most_ms)
        answer, max_age, fresh = served
        self._tally["hit" if fresh else "stale"] += 1

        async def respond(scope: Scope, receive: Receive, send: Send) -> None:
            await _send(answer, min(max_age, int(acceptable_until - now)), scope, send)

        return respond

    def _none_yet(self, pair: Pair) -> ASGIApp:
        if quote := self._last_quote(pair):
            return self._gone(quote)
        self._tally["miss"] += 1
        detail = f"no source has given a price for {pair.symbol} since this service started; /health/readiness says why"
        return problem(503, detail, "price_unavailable", self._retry_after)

    def _too_old(self, snapshot: PriceSnapshot) -> ASGIApp:
        return self._gone(snapshot.quote)

    def _gone(self, quote: Quote) -> ASGIApp:
        self._tally["miss"] += 1
        detail = f"the last price of {quote.pair.symbol} is too old to be served; /health/readiness says why"
        return problem(503, detail, "price_too_old", self._retry_after, last_fetched_at_ms=quote.fetched_at_ms)

    def _older_than_asked(self, snapshot: PriceSnapshot, now: float, most_ms: int) -> ASGIApp:
        """The condition of one client is not met: no failure of ours, so no 5xx, and nothing for a proxy to repeat."""
        self._tally["miss"] += 1
        age_ms = max(most_ms + 1, round((now - snapshot.fetched_at) * 1000))
        # A newer price may come once an interval.
        retry_ms = self._interval_ms - age_ms % self._interval_ms
        detail = f"the price of {snapshot.quote.pair.symbol} is {age_ms} ms old, and {MAX_AGE_PARAMETER} is {most_ms}"
        return problem(412, detail, "price_older_than_asked", age_ms=age_ms, retry_after_ms=retry_ms)


async def _send(answer: Answer, max_age: int, scope: Scope, send: Send) -> None:
    full, bare = answer.headers(max_age)
    condition = b",".join([value for name, value in scope["headers"] if name == b"if-none-match"])
    if condition and matches(condition, answer.etag):
        await send({"type": "http.response.start", "status": 304, "headers": bare})
        await send({"type": "http.response.body", "body": b""})
        return
    await send({"type": "http.response.start", "status": 200, "headers": full})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})


def _max_age_ms(query: bytes) -> int:
    """The age that the client accepts, by default any. Raises BadParameter."""
    text = parameters(query, MAX_AGE_PARAMETER).get(MAX_AGE_PARAMETER, str(MAX_AGE_LIMIT_MS))
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and int(text) <= MAX_AGE_LIMIT_MS):
        raise BadParameter(f"{MAX_AGE_PARAMETER} must be a whole number of milliseconds from 0 to {MAX_AGE_LIMIT_MS}")
    return int(text)
