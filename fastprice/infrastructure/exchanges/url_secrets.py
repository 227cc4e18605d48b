"""What a mirror may repeat of its URL, and nobody else should read."""

import base64
from collections.abc import Set
from urllib.parse import unquote, urlsplit

from fastprice.domain.errors import SourceError

# A shorter part of a path guards nothing.
MIN_TOKEN = 8


def secrets_of(url: str) -> set[str]:
    """Name, password, and what may be a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()  # It is no URL, so nobody is told of it.
    whole = unquote(parts.netloc.rpartition("@")[0])
    tokens = (step for step in unquote(parts.path).split("/") if len(step) >= MIN_TOKEN)
    words = {whole, *whole.split(":", 1), base64.b64encode(whole.encode()).decode(), *tokens}
    return {word.casefold() for word in words} - {""}


def keep_secrets(error: SourceError, secrets: Set[str]) -> None:
    """Take the words from an error that repeat a secret."""
    said = unquote(str(error)).casefold()
    if any(secret in said for secret in secrets):
        error.args = "its words are not shown, because they repeat a part of its URL", *error.args[1:]
