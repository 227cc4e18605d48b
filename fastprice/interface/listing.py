"""Several prices in one answer, rendered once per change of any price, and not once per request."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from fastprice.application.latest_price import LatestPrice
from fastprice.interface.parameters import BadParameter, UnknownPair, parameters
from fastprice.interface.prepared import NEVER, Prepared, Rendering, Served
from fastprice.interface.price_json import Answer
from fastprice.interface.price_snapshot import PricePlace, PriceSnapshot

PAIRS_PARAMETER = "pairs"


class Listing(Prepared):
    """The prices of these places, and the names of the pairs without a price that may be served."""

    def __init__(
        self, latest: LatestPrice[PriceSnapshot], places: Collection[PricePlace], rendering: Rendering
    ) -> None:
        self._latest, self._places, self._rendering = latest, places, rendering
        self._seen = -1

    @property
    def snapshot(self) -> Prepared:
        """The prepared answers, which a change of any price makes invalid."""
        if self._seen != self._latest.changes:
            self._seen, self.valid_until = self._latest.changes, NEVER
        return self

    def renew(self, now: float) -> bool:
        if served := listing(self._places, now):
            self.prepare(self._rendering, served, now)
        return served is not None


def listing(places: Iterable[PricePlace], now: float) -> Served | None:
    """What is served for these pairs at the monotonic second `now`; None if no pair has a price that may be served."""
    served, missing = [], []
    for place in places:
        if one := place.snapshot.current(now) if place.snapshot else None:
            served.append(one)
        else:
            missing.append(b'"%s"' % place.pair.symbol.encode())
    if not served:
        return None
    max_age, same_until = min(one.max_age for one in served), min(one.same_until for one in served)
    bodies = b",".join([one.answer.body for one in served])
    answer = Answer(b'{"prices":[%s],"unavailable":[%s]}' % (bodies, b",".join(missing)))
    return Served(answer, max_age, same_until, any(one.is_stale for one in served))


def chosen(query: bytes, by_slug: Mapping[str, PricePlace]) -> Sequence[PricePlace]:
    """The places of the pairs that a query names. Raises BadParameter, and UnknownPair."""
    return [by_slug[slug] for slug in named(parameters(query, PAIRS_PARAMETER).get(PAIRS_PARAMETER), by_slug)]


def named(text: str | None, by_slug: Mapping[str, PricePlace]) -> Sequence[str]:
    """The pairs in a comma-separated list, each once, in the order of the list; all pairs if there is no list.

    Raises BadParameter, and UnknownPair for a pair that is not served.
    """
    if text is None:
        return list(by_slug)
    slugs = list(dict.fromkeys(text.lower().split(",")))
    if slugs == [""]:
        raise BadParameter(f"{PAIRS_PARAMETER} must name one pair or several, separated by commas")
    if unknown := [slug for slug in slugs if slug not in by_slug]:
        raise UnknownPair(unknown[0])
    return slugs
