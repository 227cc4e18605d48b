"""Every setting of the service, read once from an explicit environment; a bad value is refused in one clear line."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import NoReturn, cast

from fastprice import kinds
from fastprice.addresses import Proxies, is_private
from fastprice.domain.errors import FastpriceError
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.infrastructure.exchanges import EXCHANGES, MOVABLE_STREAMS
from fastprice.infrastructure.redis_url import SCHEMES
from fastprice.kinds import Kind, Value, number, one_of, seconds, whole

SHOWN_SCHEMES = (*SCHEMES, "http", "https")
ORDER = (
    ("REFRESH_INTERVAL", "less than", "CACHE_TTL"), ("MAX_STALE", "at least", "CACHE_TTL"),
    ("ROUND_TIMEOUT", "at least", "FETCH_TIMEOUT"),
)  # fmt: skip


class SettingsError(FastpriceError):
    """A variable has a value that cannot be used; the text names the variable, the value and what is accepted."""


def _variable(default: str, kind: Kind[Value]) -> Value:
    """A setting that is read from the variable with its name in upper case."""
    return cast(Value, field(metadata={"default": default, "kind": kind}))


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, checked. Times are in seconds, as in the environment; README has the table."""

    source_urls: Mapping[str, str]
    stream_urls: Mapping[str, str]
    simulated: tuple[str, ...]
    proxies: Proxies
    host: str = _variable("0.0.0.0", kinds.HOST)
    port: int = _variable("8000", kinds.ANY_PORT)
    metrics_port: int = _variable("", kinds.OPTIONAL_PORT)
    workers: int = _variable("8", whole(1, 256))
    log_level: str = _variable("info", kinds.LOG_LEVEL)
    log_format: str = _variable("text", one_of("text", "json"))
    access_log: bool = _variable("0", kinds.SWITCH)
    cache_ttl: float = _variable("5", seconds(0.05))
    refresh_interval: float = _variable("1", seconds(0.02))
    max_stale: float = _variable("60", seconds(0.05))
    cold_wait: float = _variable("2", seconds())
    pairs: tuple[Pair, ...] = _variable("eth-usdt", kinds.PAIRS)
    sources: tuple[str, ...] = _variable(
        ",".join(name for name, exchange in EXCHANGES.items() if exchange.by_default),
        kinds.distinct(one_of(*EXCHANGES).parse, f"some of {', '.join(EXCHANGES)}"),
    )
    streams: bool = _variable("1", kinds.SWITCH)
    stream_interval: float = _variable("0.1", seconds())
    fetch_timeout: float = _variable("2", seconds(0.01))
    round_timeout: float = _variable("5", seconds(0.01))
    retry_attempts: int = _variable("3", whole(1, 10))
    retry_base: float = _variable("0.1", seconds())
    breaker_fail_max: int = _variable("5", whole(1, 1000))
    breaker_reset: float = _variable("30", seconds(0.01))
    max_deviation: float = _variable("0.05", number(float, 0.0001, 1.0, "a share"))
    price_mode: str = _variable("failover", one_of("failover", "median"))
    min_sources: int = _variable("3", whole(1, len(EXCHANGES)))
    cross_check_interval: float = _variable("10", seconds())
    cross_check_deviation: float = _variable("0.005", number(float, 0.0001, 1.0, "a share"))
    redis_url: str = _variable("", kinds.REDIS_URL)
    redis_timeout: float = _variable("0.1", seconds(0.001))
    cache_prefix: str = _variable("fastprice", kinds.PREFIX)
    store_dir: str = _variable("", kinds.DIRECTORY)
    keep_alive: int = _variable("75", whole(1, 3600, "whole seconds"))
    graceful_timeout: int = _variable("20", whole(1, 600, "whole seconds"))
    fast_lane: bool = _variable("1", kinds.SWITCH)
    max_subscribers: int = _variable("10000", whole(0, 1_000_000))
    push_interval: float = _variable("0.1", seconds(0.01))

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Read and check everything; raises SettingsError at the first value that cannot be used.

        An empty variable counts as not set. Proxies are found as other programs find them: if a variable is also set in
        lower case, that one takes precedence.
        """
        lower = {name.upper(): environ[name] for name in environ if name in ("http_proxy", "https_proxy", "no_proxy")}

        def read(name: str, default: str, kind: Kind[Value]) -> Value:
            text = lower.get(name, "").strip() or environ.get(name, "").strip() or default
            try:
                return kind.parse(text)
            except (ValueError, OSError):  # For example, a path may be too long.
                _refuse(name, text, kind.accepted)

        own = {each.name: read(each.name.upper(), **each.metadata) for each in fields(cls) if each.metadata}
        market = read("MARKET_URL", "", kinds.URL)
        urls = {source: read(f"{source.upper()}_URL", "", kinds.URL) for source in EXCHANGES}
        live = {name: read(f"{name.upper()}_STREAM_URL", "", kinds.STREAM_URL) for name in MOVABLE_STREAMS}
        direct = read("NO_PROXY", "", kinds.ANYTHING)
        proxies = {"http": read("HTTP_PROXY", "", kinds.PROXY), "https": read("HTTPS_PROXY", "", kinds.PROXY)}
        for name, relation, other in ORDER:
            value, limit = own[name.lower()], own[other.lower()]
            if value >= limit if relation == "less than" else value < limit:
                _refuse(name, f"{value:g}", f"{relation} {other} ({limit:g})")
        if own["metrics_port"] and own["metrics_port"] == own["port"]:
            _refuse("METRICS_PORT", str(own["metrics_port"]), "another port than PORT, or empty")
        if own["price_mode"] == "median" and own["min_sources"] > len(own["sources"]):
            _refuse("MIN_SOURCES", str(own["min_sources"]), f"at most the number of SOURCES ({len(own['sources'])})")
        return cls(
            # One URL per exchange, or one market for all; sources at a market or a private address are simulated.
            source_urls={name: url or f"{market.rstrip('/')}/{name}" for name, url in urls.items() if url or market},
            stream_urls={name: url for name, url in live.items() if url},
            simulated=tuple(name for name in own["sources"] if _is_simulated(market, urls[name], live.get(name, ""))),
            proxies=Proxies({scheme: url for scheme, url in proxies.items() if url}, direct),
            **own,
        )

    @property
    def age_limits(self) -> AgeLimits:
        return AgeLimits(fresh_ms=round(self.cache_ttl * 1000), stale_ms=round(self.max_stale * 1000))


def _is_simulated(market: str, *places: str) -> bool:
    """Whether a source's prices come from a market, or its polls or its stream from a private address."""
    return bool(market and not places[0]) or any(map(is_private, filter(None, places)))


def _refuse(name: str, text: str, accepted: str) -> NoReturn:
    """Raise SettingsError; of a URL it shows only the scheme: if it cannot be read, anything may be the password."""
    if name.endswith(("_URL", "_PROXY")) or re.search("[@?]|://", text):
        scheme = text.partition("://")[0]
        text = f"{scheme}://***" if scheme in SHOWN_SCHEMES else "***"
    raise SettingsError(f"{name}={text!r} cannot be used: it must be {accepted}")
