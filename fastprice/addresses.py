"""Which URLs are private, and so not those of an exchange, and through which proxy the others are reached."""

import errno
import ipaddress
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

# Names that no public resolver knows: reserved for private networks, or used by containers and clusters.
PRIVATE_DOMAINS = (".localhost", ".localdomain", ".local", ".internal", ".svc", ".lan", ".test", ".home.arpa")

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

LISTEN_ADVICE = {
    errno.EADDRINUSE: "something listens there already; stop it, or set {name} to another one",
    errno.EACCES: "ports below 1024 need more rights; set {name} to a higher one",
}


def is_private(url: str) -> bool:
    """Whether a URL names this machine or its network, judged by its text alone: no name is resolved."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if address := _ip(host):
        return not address.is_global
    return "." not in host or host.endswith(PRIVATE_DOMAINS)


@dataclass(frozen=True, slots=True)
class Proxies:
    """The proxies by the scheme of the requested URL, and the hosts that need none, as in NO_PROXY."""

    by_scheme: Mapping[str, str]
    but_for: str

    def find(self, url: str) -> str | None:
        """The proxy for a URL; None for private ones, which an external proxy would look for in its own network."""
        parts = urlsplit(url)
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        proxy = self.by_scheme.get(scheme)
        if not proxy or is_private(url):
            return None
        host, port = parts.hostname or "", parts.port or (443 if scheme == "https" else 80)
        excepted = any(_covers(word.strip().lower(), host, port) for word in self.but_for.split(","))
        return None if excepted else proxy


def host_and_port(url: str) -> str:
    """The part of a proxy's URL that may be shown."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _covers(word: str, host: str, port: int) -> bool:
    """Whether a word of NO_PROXY covers a host: `*`, a name and its subdomains, an address, a network; or with port."""
    name, colon, digits = word.rpartition(":")
    if colon and digits.isdecimal() and (":" not in name or name.endswith("]")):
        if int(digits) != port:
            return False
        word = name
    try:
        network, address = ipaddress.ip_network(word.strip("[]"), strict=False), _ip(host)
    except ValueError:
        name = word.removeprefix("*").strip(".")
        return word == "*" or bool(name) and f".{host}".endswith(f".{name}")
    return address is not None and address in network


def _ip(host: str) -> IpAddress | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            # Also the other forms that resolvers accept: 127.1, 0x7f000001, 2130706433.
            return ipaddress.ip_address(socket.inet_aton(host))
        except (OSError, ValueError):
            return None
    return getattr(address, "ipv4_mapped", None) or address


def listening_at(host: str, port: int) -> str:
    """An address to listen on, in the form that servers accept."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def cannot_listen(host: str, port: int, name: str = "PORT") -> str | None:
    """Why it is impossible to listen there, and what to do; gunicorn would find out only after five seconds.

    `name` is the variable that the port was read from.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        other = f"{error.strerror or error}; set HOST to an address of this machine"
        advice = LISTEN_ADVICE.get(error.errno or 0, other).format(name=name)
        return f"cannot listen on {listening_at(host, port)}: {advice}"
    return None
