"""Every setting for a person to read, with its value and where that came from; and names that are nearly settings."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from difflib import get_close_matches
from urllib.parse import urlsplit

from fastprice.infrastructure.exchanges import EXCHANGES, MOVABLE_STREAMS
from fastprice.settings import Settings

# As alike as CACHETTL and CACHE_TTL are.
ALIKE = 0.87
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
DEFAULTS = {each.name.upper(): each.metadata["default"] for each in fields(Settings) if each.metadata}
URLS = [f"{source.upper()}_URL" for source in EXCHANGES]
STREAM_URLS = [f"{source.upper()}_STREAM_URL" for source in MOVABLE_STREAMS]
NAMES = (*DEFAULTS, "MARKET_URL", *URLS, *STREAM_URLS, *PROXIES)


def rows(environ: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Name, value and origin of every setting; what may be a secret is masked."""
    for name in NAMES:
        # As in other programs, a proxy variable in lower case takes precedence.
        given = environ.get(name.lower(), "").strip() if name in PROXIES else ""
        given = given or environ.get(name, "").strip()
        yield name, masked(name, given or DEFAULTS.get(name, "")), "environment" if given else "default"


def masked(name: str, text: str) -> str:
    """A URL without what may be a password or a token: its scheme, host and port, and `***` for what is left out."""
    if not name.endswith(("_URL", "_PROXY")) or name == "NO_PROXY" or not text:
        return text
    parts = urlsplit(text if "://" in text else f"//{text}")
    credentials, _, place = parts.netloc.rpartition("@")
    number = parts.path if re.fullmatch("/[0-9]{1,5}", parts.path) else ""
    hidden = "/***" if (parts.path.strip("/") and not number) or parts.query else ""
    scheme = f"{parts.scheme}://" if parts.scheme else ""
    return f"{scheme}{'***@' if credentials else ''}{place}{number}{hidden}"


def nearly(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that belong to no setting, each with the setting of a similar name that may be meant."""
    for name in sorted(environ):
        if name not in NAMES and (meant := get_close_matches(name, NAMES, 1, ALIKE)):
            yield name, meant[0]
