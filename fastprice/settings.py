"""Every setting of the service, read once from an explicit environment; a bad value is refused in one clear line."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

from fastprice.addresses import Proxies, is_private
from fastprice.domain.errors import FastpriceError
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.infrastructure.exchanges import EXCHANGES

Value = TypeVar("Value")

LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
REDIS_SCHEMES = ("redis", "rediss", "unix")
SHOWN_SCHEMES = (*REDIS_SCHEMES, "redis+sentinel", "redis+cluster", "http", "https")
# Options of a Redis URL; any other one would be a mistake that shows only at the first connection.
REDIS_OPTIONS = {"db": "[0-9]{1,5}", "username": ".+", "password": ".+"}
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_OPTIONS = {"ssl_cert_reqs": "none|optional|required"} | dict.fromkeys(TLS_FILES, ".+")
REDIS_ACCEPTED = (
    "redis://NAME:PASSWORD@HOST:PORT/NUMBER with name and password percent-encoded, the same with rediss:// for TLS, or"
    " unix://PATH, for one server, neither Sentinel nor Cluster, with files that can be read; or empty"
)
MAX_SECONDS = 86_400.0

# Strict, because what they match is shown in public: a password that was put in the wrong place must not pass for one.
_HOST_NAME = r"[A-Za-z0-9._-]{1,253}|[0-9a-f:.]+(?:%[A-Za-z0-9._-]+)?"
_SOCKET_PATH = r"/[A-Za-z0-9._/+-]+"
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+", re.ASCII)


class SettingsError(FastpriceError):
    """A variable has a value that cannot be used; the text names the variable, the value and what is accepted."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, checked. Times are in seconds, as in the environment; README has the table."""

    host: str
    port: int
    workers: int
    log_level: str
    log_format: str
    access_log: bool
    cache_ttl: float
    refresh_interval: float
    max_stale: float
    cold_wait: float
    pairs: tuple[Pair, ...]
    sources: tuple[str, ...]
    source_urls: Mapping[str, str]
    simulated: tuple[str, ...]
    proxies: Proxies
    fetch_timeout: float
    round_timeout: float
    retry_attempts: int
    retry_base: float
    breaker_fail_max: int
    breaker_reset: float
    max_deviation: float
    redis_url: str
    redis_timeout: float
    cache_prefix: str
    store_dir: str
    keep_alive: int
    graceful_timeout: int
    fast_lane: bool

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and check everything; raises SettingsError at the first value that cannot be used."""
        read = _Reader(environ)
        default = ",".join(name for name, exchange in EXCHANGES.items() if exchange.by_default)
        sources = read("SOURCES", default, _sources, f"some of {', '.join(EXCHANGES)}, none twice")
        settings = cls(
            host=read("HOST", "0.0.0.0", _host, "an address or a host name"),
            port=read("PORT", "8000", _whole(0, 65535), "a whole number from 0 (any free port) to 65535"),
            workers=read("WORKERS", "8", _whole(1, 256), "a whole number from 1 to 256"),
            log_level=read("LOG_LEVEL", "info", _one_of(LOG_LEVELS), f"one of {', '.join(LOG_LEVELS)}"),
            log_format=read("LOG_FORMAT", "text", _one_of(LOG_FORMATS), f"one of {', '.join(LOG_FORMATS)}"),
            access_log=read("ACCESS_LOG", "0", _switch, "0 or 1"),
            cache_ttl=read.seconds("CACHE_TTL", "5", least=0.05),
            refresh_interval=read.seconds("REFRESH_INTERVAL", "1", least=0.02),
            max_stale=read.seconds("MAX_STALE", "60", least=0.05),
            cold_wait=read.seconds("COLD_WAIT", "2"),
            pairs=read("PAIRS", "eth-usdt", _pairs, "pairs like eth-usdt, separated by commas, none twice"),
            sources=sources,
            source_urls=read.source_urls(),
            simulated=read.simulated(sources),
            proxies=read.proxies(),
            fetch_timeout=read.seconds("FETCH_TIMEOUT", "2", least=0.01),
            round_timeout=read.seconds("ROUND_TIMEOUT", "5", least=0.01),
            retry_attempts=read("RETRY_ATTEMPTS", "3", _whole(1, 10), "a whole number from 1 to 10"),
            retry_base=read.seconds("RETRY_BASE", "0.1"),
            breaker_fail_max=read("BREAKER_FAIL_MAX", "5", _whole(1, 1000), "a whole number from 1 to 1000"),
            breaker_reset=read.seconds("BREAKER_RESET", "30", least=0.01),
            max_deviation=read("MAX_DEVIATION", "0.05", _number(0.0001, 1), "a share from 0.0001 to 1"),
            redis_url=read("REDIS_URL", "", _redis_url, REDIS_ACCEPTED),
            redis_timeout=read.seconds("REDIS_TIMEOUT", "0.1", least=0.001),
            cache_prefix=read("CACHE_PREFIX", "fastprice", _prefix, "1 to 64 letters, digits, and any of . _ : -"),
            store_dir=read("STORE_DIR", "", _directory, "a directory of this user that can be written to, or made"),
            keep_alive=read("KEEP_ALIVE", "75", _whole(1, 3600), "whole seconds from 1 to 3600"),
            graceful_timeout=read("GRACEFUL_TIMEOUT", "20", _whole(1, 600), "whole seconds from 1 to 600"),
            fast_lane=read("FAST_LANE", "1", _switch, "0 or 1"),
        )
        settings._check_order()
        return settings

    @property
    def age_limits(self) -> AgeLimits:
        return AgeLimits(fresh_ms=round(self.cache_ttl * 1000), stale_ms=round(self.max_stale * 1000))

    def _check_order(self) -> None:
        if self.refresh_interval >= self.cache_ttl:
            _refuse("REFRESH_INTERVAL", f"{self.refresh_interval:g}", f"less than CACHE_TTL ({self.cache_ttl:g})")
        if self.max_stale < self.cache_ttl:
            _refuse("MAX_STALE", f"{self.max_stale:g}", f"at least CACHE_TTL ({self.cache_ttl:g})")
        if self.round_timeout < self.fetch_timeout:
            _refuse("ROUND_TIMEOUT", f"{self.round_timeout:g}", f"at least FETCH_TIMEOUT ({self.fetch_timeout:g})")


class _Reader:
    """Reads one variable after the other; an empty one counts as not set."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(self, name: str, default: str, parse: Callable[[str], Value], accepted: str) -> Value:
        text = self._environ.get(name, "").strip() or default
        try:
            return parse(text)
        except ValueError:
            _refuse(name, text, accepted)

    def seconds(self, name: str, default: str, least: float = 0.0) -> float:
        return self(name, default, _number(least, MAX_SECONDS), f"seconds from {least:g} to {MAX_SECONDS:g}")

    def source_urls(self) -> dict[str, str]:
        """The base URLs that replace the exchanges' own, by source: one each, or all of them at one market."""
        market, urls = self._url("MARKET_URL"), {}
        for source in EXCHANGES:
            if url := self._url(f"{source.upper()}_URL") or (market and f"{market.rstrip('/')}/{source}"):
                urls[source] = url
        return urls

    def simulated(self, sources: Iterable[str]) -> tuple[str, ...]:
        """The sources whose prices are no exchange's: asked at MARKET_URL, or at a private address."""
        own = {source: self._url(f"{source.upper()}_URL") for source in sources}
        market = bool(self._url("MARKET_URL"))
        return tuple(source for source, url in own.items() if (is_private(url) if url else market))

    def proxies(self) -> Proxies:
        """What other programs take from the same variables; where one is set in lower case too, that goes first."""
        found = {"http": self._proxy("HTTP_PROXY"), "https": self._proxy("HTTPS_PROXY")}
        return Proxies({scheme: proxy for scheme, proxy in found.items() if proxy}, self._either("NO_PROXY"))

    def _proxy(self, name: str) -> str:
        text = self._either(name)
        url = text if "://" in text or not text else f"http://{text}"
        try:
            return _http_url(url)
        except ValueError:
            # Of a URL that cannot be read nobody can say where its password is.
            shown = f"{text.partition('://')[0]}://***" if "://" in text else "***"
            _refuse(name, shown, "the URL of an http:// or https:// proxy, its name and password percent-encoded")

    def _either(self, name: str) -> str:
        lower = next((value for key, value in self._environ.items() if key == name.lower()), "").strip()
        return lower or self._environ.get(name, "").strip()

    def _url(self, name: str) -> str:
        return self(name, "", _http_url, "an http:// or https:// URL")


def _refuse(name: str, text: str, accepted: str) -> NoReturn:
    raise SettingsError(f"{name}={_shown(name, text)!r} cannot be used: it must be {accepted}")


def _shown(name: str, text: str) -> str:
    """The value, but of a URL only the scheme: in one that cannot be read, anything may be the password."""
    if not name.endswith("_URL") and not re.search("[@?]|://", text):
        return text
    scheme = text.partition("://")[0]
    return f"{scheme}://***" if scheme in SHOWN_SCHEMES else "***"


def _number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not _NUMBER.fullmatch(text) or not least <= float(text) <= most:
            raise ValueError(text)
        return float(text)

    return parse


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not (text.isascii() and text.isdigit() and least <= int(text) <= most):
            raise ValueError(text)
        return int(text)

    return parse


def _one_of(words: tuple[str, ...]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return text.lower()

    return parse


def _switch(text: str) -> bool:
    return _whole(0, 1)(text) == 1


def _host(text: str) -> str:
    return _matching(r"[A-Za-z0-9.:_-]+", text)


def _prefix(text: str) -> str:
    return _matching(r"[A-Za-z0-9._:-]{1,64}", text)


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(text)
    return text


def _pairs(text: str) -> tuple[Pair, ...]:
    return _distinct(Pair.parse(word) for word in _words(text))


def _sources(text: str) -> tuple[str, ...]:
    return _distinct(_one_of(tuple(EXCHANGES))(word) for word in _words(text))


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",")]


def _distinct(items: Iterable[Value]) -> tuple[Value, ...]:
    found = tuple(items)
    if len(set(found)) != len(found):
        raise ValueError("one stands twice")
    return found


def _directory(text: str) -> str:
    wanted = Path(text).absolute()
    nearest = next(path for path in (wanted, *wanted.parents) if path.exists())
    if text and not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        raise ValueError(text)
    if text and nearest == wanted and nearest.stat().st_uid != os.getuid():
        raise ValueError("what somebody else can write to could hold somebody else's prices")
    return text


def _http_url(text: str) -> str:
    parts = _url(text)
    # A path is appended to it, so it cannot have a query.
    if text and (parts.scheme not in ("http", "https") or parts.query or parts.fragment or "@" in parts.path):
        raise ValueError(text)
    if text:
        _matching(_HOST_NAME, parts.hostname or "")
    return text


def _redis_url(text: str) -> str:
    parts = _url(text)
    local, options = parts.scheme == "unix", REDIS_OPTIONS | (TLS_OPTIONS if parts.scheme == "rediss" else {})
    # What stands behind a # would be dropped: most likely it belongs to a password that is not encoded.
    if text and (parts.scheme not in REDIS_SCHEMES or "#" in text or local and (parts.hostname or parts.port)):
        raise ValueError(text)
    if text:
        _matching(_SOCKET_PATH if local else "/?|/[0-9]{1,5}", parts.path)
        _matching("" if local else _HOST_NAME, parts.hostname or "")
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        _matching(options.get(name, "(?!)"), value)
        if name in TLS_FILES and not (Path(value).is_file() and os.access(value, os.R_OK)):
            raise ValueError(value)
    return text


def _url(text: str) -> SplitResult:
    parts = urlsplit(text)
    _ = parts.port  # Raises ValueError where it is no port.
    if not text.isprintable() or " " in text:
        raise ValueError(text)
    return parts
