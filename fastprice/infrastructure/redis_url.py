"""What REDIS_URL may name: one server, a group that Sentinels watch, or a Cluster, each also with TLS."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

ACCEPTED = (
    "redis://NAME:PASSWORD@HOST:PORT/NUMBER with name and password percent-encoded for one server,"
    " redis+sentinel://HOST:PORT,HOST:PORT/PRIMARY/NUMBER for the one that Sentinels watch under a name,"
    " redis+cluster://HOST:PORT,HOST:PORT for a Cluster, rediss in place of redis for TLS, or unix://PATH, with files"
    " that can be read; or empty"
)
# Not parsed by urlsplit, which takes a list of hosts for one host: newer versions refuse an IPv6 bracket in its middle.
PARTS = r"(?P<scheme>[A-Za-z+]+):(?://(?P<places>[^/?]*))?(?P<path>[^?]*)(?:\?(?P<query>.*))?"
# Strict, because what they match is shown in public: a password in the wrong place must not pass for a host or a path.
HOST_NAME = r"[A-Za-z0-9._-]{1,253}|[0-9a-f:.]+(?:%[A-Za-z0-9._-]+)?"
_NUMBER = "(?:/(?P<number>[0-9]{1,5}))?"
PATHS = {
    "unix": r"/[A-Za-z0-9._/+-]+", "redis": f"/?|{_NUMBER}", "redis+cluster": "/?|/0",
    "redis+sentinel": rf"/(?P<primary>[A-Za-z0-9._-]{{1,64}}){_NUMBER}",
}  # fmt: skip
SCHEMES = (*PATHS, "rediss", "rediss+sentinel", "rediss+cluster")
# The options of each kind; any other option would be a mistake that shows only at the first connection.
LOGIN = {"username": ".+", "password": ".+"}
NUMBER = {"db": "[0-9]{1,5}"}
OPTIONS = {
    "unix": NUMBER | LOGIN, "redis": NUMBER | LOGIN, "redis+cluster": LOGIN,
    "redis+sentinel": NUMBER | LOGIN | {f"sentinel_{name}": pattern for name, pattern in LOGIN.items()},
}  # fmt: skip
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_OPTIONS = {"ssl_cert_reqs": "none|optional|required"} | dict.fromkeys(TLS_FILES, ".+")


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """A valid Redis URL, split into its parts.

    `kind` is its scheme without TLS, `hosts` are hosts and ports, and `path` is what follows them. `primary` is the
    name that Sentinels know, `number` that of the database. `options` have the names of the client library.
    """

    kind: str
    tls: bool
    hosts: tuple[tuple[str, int], ...]
    path: str
    primary: str
    number: int
    options: Mapping[str, str]

    @classmethod
    def parse(cls, text: str) -> "RedisUrl":
        """The parts of a URL; raises ValueError where it cannot be used."""
        parts = _match(PARTS, text)
        scheme, path = parts["scheme"].lower(), parts["path"]
        tls, kind = scheme.startswith("rediss"), scheme.replace("rediss", "redis")
        # Anything after a # would be dropped: most likely it belongs to a password that is not percent-encoded.
        if scheme not in SCHEMES or "#" in text or " " in text or not text.isprintable():
            raise ValueError(text)
        user, _, places = (parts["places"] or "").rpartition("@")
        hosts = tuple(_host(place, kind) for place in places.split(",")) if places or kind != "unix" else ()
        if len(hosts) != (kind != "unix") and kind in ("unix", "redis"):
            raise ValueError(text)
        found = _match(PATHS[kind], path).groupdict()
        options = dict(parse_qsl(parts["query"] or "", keep_blank_values=True))
        for name, value in options.items():
            _match((OPTIONS[kind] | (TLS_OPTIONS if tls else {})).get(name, "(?!)"), value)
            if name in TLS_FILES and not (Path(value).is_file() and os.access(value, os.R_OK)):
                raise ValueError(value)
        number = int(options.pop("db", found.get("number")) or 0)
        login = zip(LOGIN, map(unquote, user.split(":", 1)), strict=False)
        options |= {name: word for name, word in login if word}
        return cls(kind, tls, hosts, path.rstrip("/"), found.get("primary", ""), number, options)

    @property
    def place(self) -> str:
        """Where the URL leads, without the secrets that it may contain."""
        if self.kind == "unix":
            return f"unix://{self.path}"
        shown = ((f"[{host}]" if ":" in host else host, port) for host, port in self.hosts)
        return ",".join(f"{host}:{port}" for host, port in shown) + self.path


def _host(place: str, kind: str) -> tuple[str, int]:
    parts = urlsplit(f"//{place}")
    _match(HOST_NAME, parts.hostname or "")
    return parts.hostname or "", parts.port or (26379 if kind == "redis+sentinel" else 6379)


def _match(pattern: str, text: str) -> re.Match[str]:
    found = re.fullmatch(pattern, text)
    if not found:
        raise ValueError(text)
    return found
