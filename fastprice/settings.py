"""Every setting of the service, read once from an explicit environment; a bad value is refused in one clear line."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Generic, NoReturn, TypeVar, cast
from urllib.parse import SplitResult, urlsplit

from fastprice.addresses import Proxies, is_private
from fastprice.domain.errors import FastpriceError
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.infrastructure import redis_url
from fastprice.infrastructure.exchanges import EXCHANGES, MOVABLE_STREAMS

Value = TypeVar("Value")
Number = TypeVar("Number", int, float)

SHOWN_SCHEMES = (*redis_url.SCHEMES, "http", "https")
MAX_SECONDS = 86_400.0
LOG_LEVELS = ("debug", "info", "warning", "error")
ORDER = (
    ("REFRESH_INTERVAL", "less than", "CACHE_TTL"), ("MAX_STALE", "at least", "CACHE_TTL"),
    ("ROUND_TIMEOUT", "at least", "FETCH_TIMEOUT"),
)  # fmt: skip


class SettingsError(FastpriceError):
    """A variable has a value that cannot be used; the text names the variable, the value and what is accepted."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[Value]):
    """What a variable may say: `parse` reads it, with ValueError where it cannot be used."""

    parse: Callable[[str], Value]
    accepted: str


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(text)
    return text


def _number(convert: Callable[[str], Number], least: Number, most: Number, what: str) -> Kind[Number]:
    def parse(text: str) -> Number:
        number = convert(_matching(r"([0-9]*\.)?[0-9]+", text))
        if not least <= number <= most:
            raise ValueError(text)
        return number

    return Kind(parse, f"{what} from {least:g} to {most:g}")


def _whole(least: int, most: int, what: str = "a whole number") -> Kind[int]:
    return _number(int, least, most, what)


def _seconds(least: float = 0.0) -> Kind[float]:
    return _number(float, least, MAX_SECONDS, "seconds")


def _one_of(*words: str) -> Kind[str]:
    return Kind(lambda text: _matching("|".join(words), text.lower()), f"one of {', '.join(words)}")


def _distinct(parse: Callable[[str], Value], accepted: str) -> Kind[tuple[Value, ...]]:
    def parse_each(text: str) -> tuple[Value, ...]:
        found = tuple(parse(word.strip().lower()) for word in text.split(","))
        if len(set(found)) != len(found):
            raise ValueError(text)
        return found

    return Kind(parse_each, f"{accepted}, none twice")


def _or_empty(parse: Callable[[str], str], accepted: str) -> Kind[str]:
    return Kind(lambda text: text and parse(text), accepted)


def _directory(text: str) -> str:
    wanted = Path(text).absolute()
    nearest = next(path for path in (wanted, *wanted.parents) if path.exists())
    # What somebody else can write to could hold somebody else's prices.
    is_ours = nearest != wanted or nearest.stat().st_uid == os.getuid()
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK) and is_ours):
        raise ValueError(text)
    return text


def _url(text: str) -> SplitResult:
    parts = urlsplit(text)
    _ = parts.port  # Raises ValueError where it is no port.
    if not text.isprintable() or " " in text:
        raise ValueError(text)
    return parts


def _http_url(text: str, schemes: Sequence[str] = ("http", "https")) -> str:
    parts = _url(text)
    # A path is appended to it, so it cannot have a query.
    if parts.scheme not in schemes or parts.query or parts.fragment or "@" in parts.path:
        raise ValueError(text)
    _matching(redis_url.HOST_NAME, parts.hostname or "")
    return text


def _redis_url(text: str) -> str:
    redis_url.RedisUrl.parse(text)
    return text


def _switch(text: str) -> bool:
    return _matching("0|1|true|false", text.lower()) in ("1", "true")


def _log_level(text: str) -> str:
    """As the logging module has it; `warn` is what many write."""
    return _matching("|".join(LOG_LEVELS), {"warn": "warning"}.get(text.lower(), text.lower()))


SWITCH = Kind(_switch, "0 or 1")
URL = _or_empty(_http_url, "an http:// or https:// URL")
STREAM_URL = _or_empty(partial(_http_url, schemes=("ws", "wss")), "a ws:// or wss:// URL")
PORT = _whole(1, 65535, "a port: a whole number")
HOST = Kind(partial(_matching, r"[A-Za-z0-9.:_-]+"), "an address or a host name")
PREFIX = Kind(partial(_matching, r"[A-Za-z0-9._:-]{1,64}"), "1 to 64 letters, digits, and any of . _ : -")
ANYTHING = Kind(str, "anything")
PROXY = _or_empty(
    lambda text: _http_url(text if "://" in text else f"http://{text}"),
    "the URL of an http:// or https:// proxy, its name and password percent-encoded",
)


def _variable(default: str, kind: Kind[Value]) -> Value:
    """A setting that is read from the variable of its name in upper case."""
    return cast(Value, field(metadata={"default": default, "kind": kind}))


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, checked. Times are in seconds, as in the environment; README has the table."""

    source_urls: Mapping[str, str]
    stream_urls: Mapping[str, str]
    simulated: tuple[str, ...]
    proxies: Proxies
    host: str = _variable("0.0.0.0", HOST)
    port: int = _variable("8000", _whole(0, 65535, "a port, or 0 for any free one: a whole number"))
    metrics_port: int = _variable("", Kind(lambda text: PORT.parse(text) if text else 0, f"{PORT.accepted}; or empty"))
    workers: int = _variable("8", _whole(1, 256))
    log_level: str = _variable("info", Kind(_log_level, f"one of {', '.join(LOG_LEVELS)}"))
    log_format: str = _variable("text", _one_of("text", "json"))
    access_log: bool = _variable("0", SWITCH)
    cache_ttl: float = _variable("5", _seconds(0.05))
    refresh_interval: float = _variable("1", _seconds(0.02))
    max_stale: float = _variable("60", _seconds(0.05))
    cold_wait: float = _variable("2", _seconds())
    pairs: tuple[Pair, ...] = _variable("eth-usdt", _distinct(Pair.parse, "pairs like eth-usdt, separated by commas"))
    sources: tuple[str, ...] = _variable(
        ",".join(name for name, exchange in EXCHANGES.items() if exchange.by_default),
        _distinct(_one_of(*EXCHANGES).parse, f"some of {', '.join(EXCHANGES)}"),
    )
    streams: bool = _variable("1", SWITCH)
    stream_interval: float = _variable("0.1", _seconds())
    fetch_timeout: float = _variable("2", _seconds(0.01))
    round_timeout: float = _variable("5", _seconds(0.01))
    retry_attempts: int = _variable("3", _whole(1, 10))
    retry_base: float = _variable("0.1", _seconds())
    breaker_fail_max: int = _variable("5", _whole(1, 1000))
    breaker_reset: float = _variable("30", _seconds(0.01))
    max_deviation: float = _variable("0.05", _number(float, 0.0001, 1.0, "a share"))
    price_mode: str = _variable("failover", _one_of("failover", "median"))
    min_sources: int = _variable("3", _whole(1, len(EXCHANGES)))
    cross_check_interval: float = _variable("10", _seconds())
    cross_check_deviation: float = _variable("0.005", _number(float, 0.0001, 1.0, "a share"))
    redis_url: str = _variable("", _or_empty(_redis_url, redis_url.ACCEPTED))
    redis_timeout: float = _variable("0.1", _seconds(0.001))
    cache_prefix: str = _variable("fastprice", PREFIX)
    store_dir: str = _variable("", _or_empty(_directory, "a directory of this user that can be written to, or made"))
    keep_alive: int = _variable("75", _whole(1, 3600, "whole seconds"))
    graceful_timeout: int = _variable("20", _whole(1, 600, "whole seconds"))
    fast_lane: bool = _variable("1", SWITCH)
    max_subscribers: int = _variable("10000", _whole(0, 1_000_000))
    push_interval: float = _variable("0.1", _seconds(0.01))

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and check everything; raises SettingsError at the first value that cannot be used.

        An empty variable counts as not set. Proxies are found as other programs find them: where a variable is set in
        lower case too, that goes first.
        """
        lower = {name.upper(): environ[name] for name in environ if name in ("http_proxy", "https_proxy", "no_proxy")}

        def read(name: str, default: str, kind: Kind[Value]) -> Value:
            text = lower.get(name, "").strip() or environ.get(name, "").strip() or default
            try:
                return kind.parse(text)
            except (ValueError, OSError):  # A path may be too long to look at, say.
                _refuse(name, text, kind.accepted)

        own = {each.name: read(each.name.upper(), **each.metadata) for each in fields(cls) if each.metadata}
        market = read("MARKET_URL", "", URL)
        urls = {source: read(f"{source.upper()}_URL", "", URL) for source in EXCHANGES}
        live = {name: read(f"{name.upper()}_STREAM_URL", "", STREAM_URL) for name in MOVABLE_STREAMS}
        proxies = {"http": read("HTTP_PROXY", "", PROXY), "https": read("HTTPS_PROXY", "", PROXY)}
        for name, relation, other in ORDER:
            value, limit = own[name.lower()], own[other.lower()]
            if value >= limit if relation == "less than" else value < limit:
                _refuse(name, f"{value:g}", f"{relation} {other} ({limit:g})")
        if own["metrics_port"] and own["metrics_port"] == own["port"]:
            _refuse("METRICS_PORT", str(own["metrics_port"]), "another port than PORT, or empty")
        if own["price_mode"] == "median" and own["min_sources"] > len(own["sources"]):
            _refuse("MIN_SOURCES", str(own["min_sources"]), f"at most the number of SOURCES ({len(own['sources'])})")
        return cls(
            # Those of the exchanges, or all of one market; sources at a market or a private address are simulated.
            source_urls={name: url or f"{market.rstrip('/')}/{name}" for name, url in urls.items() if url or market},
            stream_urls={name: url for name, url in live.items() if url},
            simulated=tuple(name for name in own["sources"] if _is_simulated(market, urls[name], live.get(name, ""))),
            proxies=Proxies({scheme: url for scheme, url in proxies.items() if url}, read("NO_PROXY", "", ANYTHING)),
            **own,
        )

    @property
    def age_limits(self) -> AgeLimits:
        return AgeLimits(fresh_ms=round(self.cache_ttl * 1000), stale_ms=round(self.max_stale * 1000))


def _is_simulated(market: str, *places: str) -> bool:
    """Whether a source's prices come from a market, or its polls or its stream from a private address."""
    return bool(market and not places[0]) or any(map(is_private, filter(None, places)))


def _refuse(name: str, text: str, accepted: str) -> NoReturn:
    """Of a URL show only the scheme: in one that cannot be read, anything may be the password."""
    if name.endswith(("_URL", "_PROXY")) or re.search("[@?]|://", text):
        scheme = text.partition("://")[0]
        text = f"{scheme}://***" if scheme in SHOWN_SCHEMES else "***"
    raise SettingsError(f"{name}={text!r} cannot be used: it must be {accepted}")
