"""What a client prefers: a page or JSON, and in which language (RFC 9110, 12.5)."""

import re
from collections.abc import Iterable

LANGUAGES = ("en", "ru")
# At most three decimals, as in the standard: "inf" and "nan" are not weights.
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def prefers_page(accept: str) -> bool:
    """Whether HTML is named, and preferred to JSON: so it is in browsers, but not in curl or most programs.

    A range like `*/*` does not name HTML: a client that accepts anything gets JSON.
    """
    weights = _weights(accept)
    page = _first(weights, ("text/html", "text/*"))
    return page > _first(weights, ("application/json", "application/*", "*/*"))


def language(accept_language: str) -> str:
    """The supported language that is wanted most, or the first one if several are wanted equally."""
    weights = _weights(accept_language)

    def wanted(ours: str) -> float:
        named = [weight for tag, weight in weights.items() if tag.split("-")[0] == ours]
        return max(named, default=weights.get("*", 0.0))

    return max(LANGUAGES, key=wanted)


def _first(weights: dict[str, float], names: Iterable[str]) -> float:
    """The weight of the most specific name that was given."""
    return next((weights[name] for name in names if name in weights), 0.0)


def _weights(field: str) -> dict[str, float]:
    """The names in a field with their q, which is 1 if it is missing, and 0 if it is invalid."""
    weights: dict[str, float] = {}
    for part in field.lower().split(","):
        name, *options = (word.strip() for word in part.split(";"))
        given = [option.removeprefix("q=") for option in options if option.startswith("q=")]
        if name:
            weights[name] = _weight(given[0]) if given else 1.0
    return weights


def _weight(text: str) -> float:
    return float(text) if _WEIGHT.fullmatch(text) else 0.0
