"""Query parameters: each endpoint says which ones it knows; any other is an error, and not ignored."""

from urllib.parse import parse_qs

MAX_MILLISECONDS = 86_400_000


class BadParameter(ValueError):
    """A request has a parameter that cannot be used; the text is one line for the person who wrote the request."""


class UnknownPair(LookupError):
    """A request names a pair that is not served."""


def parameters(query: bytes, *known: str) -> dict[str, str]:
    """The parameters of a query by name, all values of one name joined by commas. Raises BadParameter."""
    given = parse_qs(query.decode("latin-1"), keep_blank_values=True)
    for name in given:
        if name not in known:
            raise BadParameter(f"{name[:40]!a} is not a parameter here; known: {', '.join(known) or 'none'}")
    return {name: ",".join(values) for name, values in given.items()}


def milliseconds(name: str, text: str) -> int:
    """The value of a parameter that is a time. Raises BadParameter."""
    if not (text.isascii() and text.isdigit() and len(text) <= 8 and int(text) <= MAX_MILLISECONDS):
        raise BadParameter(f"{name} must be a whole number of milliseconds from 0 to {MAX_MILLISECONDS}")
    return int(text)
