"""The secrets in the URL of a mirror, which its answers may repeat and nobody else should read."""

import base64
from collections.abc import Set
from urllib.parse import unquote, urlsplit

from fastprice.domain.errors import SourceError

# A shorter part of a path is not a secret.
MIN_TOKEN = 8


def secrets_of(url: str) -> set[str]:
    """The name, the password, and parts of the path that may be tokens."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return set()  # It is not a URL, so it is not sent to anybody.
    whole = unquote(parts.netloc.rpartition("@")[0])
    tokens = (step for step in unquote(parts.path).split("/") if len(step) >= MIN_TOKEN)
    words = {whole, *whole.split(":", 1), base64.b64encode(whole.encode()).decode(), *tokens}
    return {word.casefold() for word in words} - {""}


def keep_secrets(error: SourceError, secrets: Set[str]) -> None:
    """Replace the text of an error if it repeats a secret."""
    said = unquote(str(error)).casefold()
    if any(secret in said for secret in secrets):
        error.args = "its words are not shown, because they repeat a part of its URL", *error.args[1:]
