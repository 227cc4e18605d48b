"""What a client would rather have: a page or JSON, and in which language (RFC 9110, 12.5)."""

import re
from collections.abc import Iterable

LANGUAGES = ("en", "ru")
# Three digits at most, as the standard has it: "inf" and "nan" are no weights.
_WEIGHT = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")


def prefers_page(accept: str) -> bool:
    """Whether HTML is named, and wanted more than JSON, as browsers do it, and neither curl nor most programs.

    A range like `*/*` names no HTML: whoever takes anything gets JSON.
    """
    weights = _weights(accept)
    page = _first(weights, ("text/html", "text/*"))
    return page > _first(weights, ("application/json", "application/*", "*/*"))


def language(accept_language: str) -> str:
    """The one of our languages that is wanted most, the first of them where it is all the same."""
    weights = _weights(accept_language)

    def wanted(ours: str) -> float:
        named = [weight for tag, weight in weights.items() if tag.split("-")[0] == ours]
        return max(named, default=weights.get("*", 0.0))

    return max(LANGUAGES, key=wanted)


def _first(weights: dict[str, float], names: Iterable[str]) -> float:
    """The weight of the most specific name that was given."""
    return next((weights[name] for name in names if name in weights), 0.0)


def _weights(field: str) -> dict[str, float]:
    """The names in a field with their q, which is 1 where there is none, and 0 where it is none."""
    weights: dict[str, float] = {}
    for part in field.lower().split(","):
        name, *options = (word.strip() for word in part.split(";"))
        given = [option.removeprefix("q=") for option in options if option.startswith("q=")]
        if name:
            weights[name] = _weight(given[0]) if given else 1.0
    return weights


def _weight(text: str) -> float:
    return float(text) if _WEIGHT.fullmatch(text) else 0.0
