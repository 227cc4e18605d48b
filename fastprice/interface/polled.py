"""What clients poll: every resource whose answers are prepared, found by the target of the request."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, Protocol

from starlette.responses import Response

from fastprice.application.latest_price import LatestPrice
from fastprice.application.ports import Clock
from fastprice.interface.health import ALIVE, Health
from fastprice.interface.listing import Listing, chosen
from fastprice.interface.middleware import LIVENESS, PRICE_ROUTE, PRICES, READINESS, SOURCES_ROUTE
from fastprice.interface.parameters import BadParameter, UnknownPair
from fastprice.interface.parts import Parts
from fastprice.interface.prepared import NEVER, Prepared, Rendering, Served
from fastprice.interface.price_endpoint import max_age_ms
from fastprice.interface.price_json import Answer, Headers
from fastprice.interface.price_pages import PricePages
from fastprice.interface.price_snapshot import PricePlace, PriceSnapshot
from fastprice.interface.responses import json_answer

# Answers for a choice of pairs are kept, and clients may make up any number of choices. Longer choices go the ordinary
# way, so that all kept answers together take only a few megabytes.
MAX_CHOSEN = 16
# Ages in an answer about this moment are wrong by at most this much, less than the network delay to most clients.
MOMENT_SECONDS = 0.01


class Holder(Protocol):
    """Holds the prepared answers of a resource; `snapshot` is None if there are none yet."""

    @property
    def snapshot(self) -> Prepared | None: ...


class Resource(NamedTuple):
    """The route it is counted under, where its answers are, and whether they are prices and so have an ETag."""

    route: str
    holder: Holder
    is_price: bool = True


class Polled:
    """Every resource of one worker that is polled. `refresh_interval` is in seconds."""

    def __init__(self, latest: LatestPrice[PriceSnapshot], clock: Clock, refresh_interval: float) -> None:
        self._latest = latest
        self._rendering = Rendering(clock, math.ceil(refresh_interval))
        self._paths: dict[bytes, Resource] = {
            f"{PRICES}/{slug}".encode(): Resource(PRICE_ROUTE, place) for slug, place in latest.by_slug.items()
        }
        self._paths[PRICES.encode()] = Resource(PRICES, Listing(latest, latest.by_slug.values(), self._rendering))
        self._add(LIVENESS, LIVENESS, partial(json_answer, ALIVE))

    def answer_moments(self, parts: Parts) -> None:
        """Also prepare answers about this moment: readiness, and the state of the sources for each pair."""
        if not parts.metrics_port:  # Otherwise the public port would answer it too.
            self._add(READINESS, READINESS, Health(parts).readiness_now)
        pages = PricePages(parts)
        for slug, place in self._latest.by_slug.items():
            self._add(f"{PRICES}/{slug}/sources", SOURCES_ROUTE, partial(pages.sources_now, place))

    def _add(self, path: str, route: str, render: Callable[[], Response]) -> None:
        self._paths[path.encode()] = Resource(route, Momentary(self._rendering, render), is_price=False)

    def find(self, target: bytes) -> Resource | None:
        """The resource that a request's target names; None where the ordinary way has to answer."""
        return self._paths.get(target) or (self._ask(*target.split(b"?", 1)) if b"?" in target else None)

    def _ask(self, path: bytes, query: bytes) -> Resource | None:
        resource = self._paths.get(path)
        try:
            if resource is None or b"#" in query:
                return None
            if resource.route == PRICES:
                places = chosen(query, self._latest.by_slug)
                if places == list(self._latest.by_slug.values()):
                    return resource
                if len(places) <= MAX_CHOSEN:
                    return Resource(PRICES, Listing(self._latest, places, self._rendering))
            elif resource.route == PRICE_ROUTE:
                place = self._latest.by_slug[path.rpartition(b"/")[2].decode()]
                return Resource(PRICE_ROUTE, YoungPrice(place, max_age_ms(query) / 1000, self._rendering))
        except (BadParameter, UnknownPair):
            pass
        return None


class YoungPrice(Prepared):
    """A pair's price for clients that accept none older than `most_seconds`."""

    def __init__(self, place: PricePlace, most_seconds: float, rendering: Rendering) -> None:
        self._place, self._most_seconds, self._rendering = place, most_seconds, rendering
        self._prepared: PriceSnapshot | None = None

    @property
    def snapshot(self) -> Prepared | None:
        snapshot = self._place.snapshot
        if snapshot is not self._prepared:
            self._prepared, self.valid_until = snapshot, NEVER
        return self if snapshot else None

    def renew(self, now: float) -> bool:
        served = self._prepared.current(now, self._most_seconds) if self._prepared else None
        if served:
            self.prepare(self._rendering, served, now)
        return served is not None


class Momentary(Prepared):
    """An answer about this moment, the same for all requests within MOMENT_SECONDS."""

    def __init__(self, rendering: Rendering, render: Callable[[], Response]) -> None:
        self._rendering, self._render = rendering, render

    @property
    def snapshot(self) -> Prepared:
        return self

    def renew(self, now: float) -> bool:
        try:
            response = self._render()
        except Exception:  # The ordinary way meets the same defect, and answers and logs it.
            return False
        if response.status_code == 200:
            self.prepare(self._rendering, Served(Fixed(response), 0, now + MOMENT_SECONDS, False), now)
        return response.status_code == 200


class Fixed(Answer):
    """An answer that has neither an ETag nor an age."""

    __slots__ = ("_headers",)

    def __init__(self, response: Response) -> None:
        self.body, self.etag, self._headers = bytes(response.body), b"", response.raw_headers

    def headers(self, max_age: int) -> tuple[Headers, Headers]:
        return self._headers, self._headers
