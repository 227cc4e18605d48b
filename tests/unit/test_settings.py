"""Every variable has its default, takes sensible values, and refuses anything else in one clear line."""

import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from fastprice.addresses import Proxies
from fastprice.domain.quote import Pair
from fastprice.infrastructure.exchanges import EXCHANGES, MOVABLE_STREAMS
from fastprice.settings import Settings, SettingsError

ETH, BTC = Pair("ETH", "USDT"), Pair("BTC", "USDT")
DEFAULTS: dict[str, Any] = {
    "HOST": "0.0.0.0", "PORT": 8000, "METRICS_PORT": 0, "WORKERS": 8, "LOG_LEVEL": "info", "LOG_FORMAT": "text", "ACCESS_LOG": False,
    "CACHE_TTL": 5.0, "REFRESH_INTERVAL": 1.0, "MAX_STALE": 60.0, "COLD_WAIT": 2.0, "PAIRS": (ETH,),
    "SOURCES": ("binance", "okx", "coinbase", "kraken", "bitget", "gate", "bybit", "kucoin", "bitstamp"),
    "SOURCE_URLS": {}, "STREAM_URLS": {}, "STREAMS": True, "STREAM_INTERVAL": 0.1, "SIMULATED": (), "PROXIES": Proxies({}, ""), "FETCH_TIMEOUT": 2.0, "ROUND_TIMEOUT": 5.0, "RETRY_ATTEMPTS": 3, "RETRY_BASE": 0.1,
    "BREAKER_FAIL_MAX": 5, "BREAKER_RESET": 30.0, "MAX_DEVIATION": 0.05, "PRICE_MODE": "failover",
    "MIN_SOURCES": 3, "CROSS_CHECK_INTERVAL": 10.0, "CROSS_CHECK_DEVIATION": 0.005, "REDIS_URL": "", "REDIS_TIMEOUT": 0.1,
    "CACHE_PREFIX": "fastprice", "STORE_DIR": "", "KEEP_ALIVE": 75, "GRACEFUL_TIMEOUT": 20, "FAST_LANE": True, "MAX_SUBSCRIBERS": 10_000, "PUSH_INTERVAL": 0.1,
}  # fmt: skip
NO_NUMBER = ("-1", "+1", "1e3", "NaN", "inf", "0x10", "1_0", "٣", "one", "1,5", "1 2", "9" * 400, "9" * 5000)
NO_WHOLE = (*NO_NUMBER, "1.5", "3.0", "²")
NO_URL = ("localhost", "//host", "https://", "http://", "https://host:99999", "https://host:x", "https://[::1", "https://a b", "ftp://host")
URLS = ("MARKET_URL", *(f"{source.upper()}_URL" for source in EXCHANGES))
STREAM_URLS = [f"{source.upper()}_STREAM_URL" for source in MOVABLE_STREAMS]
BAD: dict[str, tuple[str, ...]] = {
    "HOST": ("a b", "http://host", "[::1]", "host/24", "hôst", "a\nb"),
    "PORT": (*NO_WHOLE, "65536"),
    "METRICS_PORT": (*NO_WHOLE, "0", "65536"),
    "WORKERS": (*NO_WHOLE, "0", "257"),
    "LOG_LEVEL": ("verbose", "20", "info,debug"),
    "LOG_FORMAT": ("xml", "1"),
    "ACCESS_LOG": ("yes", "on", "2", "-1"),
    "CACHE_TTL": (*NO_NUMBER, "0", "0.04", "86401"),
    "REFRESH_INTERVAL": (*NO_NUMBER, "0", "0.01", "86401"),
    "MAX_STALE": (*NO_NUMBER, "0", "86401"),
    "COLD_WAIT": (*NO_NUMBER, "86401"),
    "PAIRS": ("eth", "eth/usdt", "eth-usdt,", ",", "eth-usdt,ETH-USDT", "eth-usdt;btc-usdt", "a" * 16 + "-usdt"),
    "SOURCES": ("mtgox", "binance,", "binance,okx,Binance", "binance okx", ","),
    "FETCH_TIMEOUT": (*NO_NUMBER, "0", "86401"),
    "ROUND_TIMEOUT": (*NO_NUMBER, "0", "86401"),
    "RETRY_ATTEMPTS": (*NO_WHOLE, "0", "11"),
    "RETRY_BASE": (*NO_NUMBER, "86401"),
    "BREAKER_FAIL_MAX": (*NO_WHOLE, "0", "1001"),
    "BREAKER_RESET": (*NO_NUMBER, "0", "86401"),
    "MAX_DEVIATION": (*NO_NUMBER, "0", "1.01", "5%"),
    "PRICE_MODE": ("mean", "failover,median", "1"),
    "MIN_SOURCES": (*NO_WHOLE, "0", "11"),
    "STREAMS": ("yes", "2", "10"),
    "STREAM_INTERVAL": (*NO_NUMBER, "86401"),
    "CROSS_CHECK_INTERVAL": (*NO_NUMBER, "86401"),
    "CROSS_CHECK_DEVIATION": (*NO_NUMBER, "0", "1.01", "5%"),
    "REDIS_URL": (
        *NO_URL, "http://host", "redis://", "redis://host:99999", "redis://host/db", "redis://host/0/1", "unix://",
        "redis://host?db=x", "redis://host?no_such_option=1", "redis://host?ssl_cert_reqs=none",
        "rediss://host?ssl_cert_reqs=maybe", "redis://host?db", "redis:host", "rediss://host?ssl_ca_certs=/no/such/file",
        "rediss://host?ssl_keyfile=/tmp", "redis://user:12#34@host", "redis://a:6379,b:6379", "redis+sentinel://host:26379",
        "rediss+sentinel://host", "sentinel://host/name", "redis-sentinel://host/name", "redis+sentinel://a,/name",
        "redis+sentinel://host/name/x", "redis+sentinel://host/name/0/1", "redis+sentinel://host:x/name", "redis+sentinel:///name",
        "redis+cluster://host/1", "redis+cluster://host/name", "redis+cluster://", "redis+cluster://a,b:99999",
        "redis+cluster://host?db=0", "redis://host?sentinel_password=x", "redis+srv://host", "redis+unix:///run/redis.sock",
    ),
    "REDIS_TIMEOUT": (*NO_NUMBER, "0", "86401"),
    "CACHE_PREFIX": ("a b", "a/b", "a" * 65, "é", "a*"),
    "STORE_DIR": ("/dev/null", "/dev/null/below", __file__),
    "KEEP_ALIVE": (*NO_WHOLE, "0", "3601"),
    "GRACEFUL_TIMEOUT": (*NO_WHOLE, "0", "601"),
    "FAST_LANE": ("yes", "on", "2", "-1"),
    "MAX_SUBSCRIBERS": ("-1", "many", "1.5", "1000001"),
    "PUSH_INTERVAL": ("0", "0.009", "soon", "-1"),
    **{name: (*NO_URL, "redis://host", "https://host/?key=1", "https://host/#a") for name in URLS},
    **{name: (*NO_URL, "https://host", "ws://", "wss://host/?key=1", "wss://host/#a") for name in STREAM_URLS},
}  # fmt: skip
GOOD: dict[str, dict[str, Any]] = {
    "HOST": {"127.0.0.1": "127.0.0.1", "::1": "::1", "price.internal": "price.internal"},
    "PORT": {"0": 0, "65535": 65535},
    "METRICS_PORT": {"1": 1, "65535": 65535},
    "WORKERS": {"1": 1, " 4 ": 4},
    "LOG_LEVEL": {"debug": "debug", "WARNING": "warning", "Error": "error", "warn": "warning"},
    "LOG_FORMAT": {"json": "json", "TEXT": "text"},
    "ACCESS_LOG": {"1": True, "0": False, "true": True, "False": False},
    "CACHE_TTL": {"1.5": 1.5, "60": 60.0},
    "REFRESH_INTERVAL": {".5": 0.5, "0.02": 0.02},
    "MAX_STALE": {"5": 5.0, "86400": 86_400.0},
    "COLD_WAIT": {"0": 0.0, "0.25": 0.25},
    "PAIRS": {"ETH-USDT, btc-usdt": (ETH, BTC)},
    "SOURCES": {"okx": ("okx",), "Kraken , okx": ("kraken", "okx")},
    "FETCH_TIMEOUT": {"0.5": 0.5, "5": 5.0},
    "ROUND_TIMEOUT": {"2": 2.0, "10": 10.0},
    "RETRY_ATTEMPTS": {"1": 1, "10": 10},
    "RETRY_BASE": {"0": 0.0},
    "BREAKER_FAIL_MAX": {"1": 1},
    "BREAKER_RESET": {"0.5": 0.5},
    "MAX_DEVIATION": {"1": 1.0, "0.0001": 0.0001},
    "PRICE_MODE": {"Median": "median"},
    "MIN_SOURCES": {"1": 1, "10": 10},
    "STREAMS": {"0": False, "1": True, "true": True},
    "STREAM_INTERVAL": {"0": 0.0, "0.25": 0.25},
    "CROSS_CHECK_INTERVAL": {"0": 0.0, "60": 60.0},
    "CROSS_CHECK_DEVIATION": {"1": 1.0, "0.0001": 0.0001},
    "REDIS_URL": {
        url: url for url in (
            "redis://redis", "redis://:pw@redis:6379/0", "redis://[::1]:6379", "redis://h/?db=2", "unix:///run/redis.sock?db=1",
            "redis+sentinel://a:26379,b/prices/0", "redis+cluster://:pw@a:7000,b:7001", "rediss+cluster://h",
            f"rediss://u:p@h:6380/1?ssl_cert_reqs=none&ssl_ca_certs={__file__}", "unix://u:p%40@/run/redis.sock",
        )
    },
    "REDIS_TIMEOUT": {"0.001": 0.001},
    "CACHE_PREFIX": {"price:v2_a.b-c": "price:v2_a.b-c"},
    "STORE_DIR": {"/tmp": "/tmp", "/tmp/not/made/yet": "/tmp/not/made/yet", "data": "data"},
    "KEEP_ALIVE": {"1": 1},
    "GRACEFUL_TIMEOUT": {"600": 600},
    "FAST_LANE": {"0": False},
    "MAX_SUBSCRIBERS": {"0": 0, "50000": 50_000},
    "PUSH_INTERVAL": {"0.05": 0.05, "2": 2.0},
}  # fmt: skip


def refusal(environ: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env(environ)
    line = str(caught.value)
    assert line.isprintable() and len(line.splitlines()) == 1
    return line


def test_defaults_are_those_of_the_table() -> None:
    settings = Settings.from_env({"UNRELATED": "1", "_URL": "x"})
    assert {name.upper(): getattr(settings, name.lower()) for name in DEFAULTS} == DEFAULTS
    assert (settings.age_limits.fresh_ms, settings.age_limits.stale_ms) == (5000, 60_000)


def test_tables_cover_every_variable() -> None:
    known = {field.name.upper() for field in fields(Settings)}
    assert DEFAULTS.keys() == known
    made_of_others = {"SOURCE_URLS", "STREAM_URLS", "SIMULATED", "PROXIES"}
    assert BAD.keys() == known - made_of_others | {*URLS, *STREAM_URLS}
    assert GOOD.keys() == known - made_of_others


def test_every_exchange_can_be_a_source_and_those_that_are_so_by_default_are_the_default() -> None:
    assert Settings.from_env({"SOURCES": ",".join(EXCHANGES)}).sources == tuple(EXCHANGES)
    assert Settings.from_env({}).sources == tuple(name for name in EXCHANGES if name != "htx")
    assert Settings.from_env({"SOURCES": "htx", "HTX_URL": "http://mirror.example"}).source_urls == {
        "htx": "http://mirror.example"
    }


@pytest.mark.parametrize("name", BAD)
def test_bad_value_is_refused_in_a_line_that_says_which_and_what_is_accepted(name: str) -> None:
    accepted: set[str] = set()
    for text in BAD[name]:
        line = refusal({name: text})
        start, _, rest = line.partition(" cannot be used: it must be ")
        assert start.startswith(f"{name}='") and rest
        if not name.endswith("_URL") and "://" not in text:
            assert start == f"{name}={text!r}"
        accepted.add(rest)
    assert len(accepted) == 1, "what is accepted does not depend on what was given"


@pytest.mark.parametrize("name", GOOD)
def test_good_value_is_taken(name: str) -> None:
    for text, value in GOOD[name].items():
        assert getattr(Settings.from_env({name: text}), name.lower()) == value


@pytest.mark.parametrize("name", BAD)
def test_empty_counts_as_not_set(name: str) -> None:
    for text in "", "  ":
        assert Settings.from_env({name: text}) == Settings.from_env({})


def test_each_source_can_be_asked_elsewhere() -> None:
    environ = {f"{source.upper()}_URL": f"https://mirror.example/{source}" for source in EXCHANGES}
    assert Settings.from_env(environ).source_urls == {
        source: f"https://mirror.example/{source}" for source in EXCHANGES
    }
    assert Settings.from_env({"OKX_URL": "http://[::1]:9000/okx"}).source_urls == {"okx": "http://[::1]:9000/okx"}


@pytest.mark.parametrize("market", ["http://market:9000", "http://market:9000/"])
def test_one_market_stands_for_every_source_that_has_no_url_of_its_own(market: str) -> None:
    urls = Settings.from_env({"MARKET_URL": market, "OKX_URL": "https://mirror.example"}).source_urls
    assert urls == {source: f"http://market:9000/{source}" for source in EXCHANGES} | {"okx": "https://mirror.example"}


@pytest.mark.parametrize(
    ("environ", "simulated"),
    [
        ({}, ()),
        ({"MARKET_URL": "https://market.example"}, ("binance", "okx")),
        ({"MARKET_URL": "http://market:9000", "OKX_URL": "https://mirror.example"}, ("binance",)),
        ({"OKX_URL": "http://127.0.0.1:9000/okx"}, ("okx",)),
        ({"BINANCE_URL": "https://api1.binance.com", "OKX_URL": "https://8.8.8.8"}, ()),
        ({"KRAKEN_URL": "http://localhost"}, ()),  # Kraken is not among SOURCES.
    ],
)
def test_simulated_are_the_sources_that_are_no_exchange(environ: dict[str, str], simulated: tuple[str, ...]) -> None:
    assert Settings.from_env({"SOURCES": "binance,okx", **environ}).simulated == simulated


def test_proxies_are_those_of_the_environment_in_any_case() -> None:
    environ = {"HTTPS_PROXY": "upper:1", "https_proxy": " http://u:p@lower:2 ", "HTTP_PROXY": "https://plain", "no_proxy": "a"}
    assert Settings.from_env(environ).proxies == Proxies({"https": "http://u:p@lower:2", "http": "https://plain"}, "a")
    assert Settings.from_env({"HTTPS_PROXY": "proxy:3128"}).proxies == Proxies({"https": "http://proxy:3128"}, "")


@pytest.mark.parametrize("url", ["socks5://u:hunter2@h:1", "http://u:hunter2", "u:hun#hunter2@h:1", "http://u:hunter2@h:x", "h:1/?hunter2"])
def test_proxy_that_cannot_be_used_is_refused_without_its_secrets(url: str) -> None:
    for name in "HTTPS_PROXY", "http_proxy":
        line = refusal({name: url})
        assert line.startswith(f"{name.upper()}=") and "hunter2" not in line


@pytest.mark.parametrize(
    ("name", "other", "good", "bad"),
    [
        ("REFRESH_INTERVAL", "CACHE_TTL", ("4.9", "5"), ("5", "5")),
        ("REFRESH_INTERVAL", "CACHE_TTL", ("0.5", "0.6"), ("1", "0.6")),
        ("MAX_STALE", "CACHE_TTL", ("5", "5"), ("4.9", "5")),
        ("ROUND_TIMEOUT", "FETCH_TIMEOUT", ("2", "2"), ("1.9", "2")),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    name: str, other: str, good: tuple[str, str], bad: tuple[str, str]
) -> None:
    assert Settings.from_env(dict(zip((name, other), good, strict=True)))
    line = refusal(dict(zip((name, other), bad, strict=True)))
    assert line.startswith(f"{name}='{bad[0]}' cannot be used: it must be ") and f"{other} ({bad[1]})" in line


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@host", "redis://:hunter2@host:99999", "redis://user:hunter2@", ":hunter2@host:6379",
        "redis//:hunter2@host", "redis://a:hunter2@b@host:x", "redis://a\n:hunter2@host", "unix:?password=hunter2",
        "host?password=hunter2&a\nb", "redis://host?foo=hunter2", "redis://:hun/hunter2@host/x", "user:hunter2@host",
        "redis://u:1#hunter2@host", "redis+sentinel://:hunter2@host/name/x", "redis+cluster://a:hunter2,b",
        "redis+sentinel://a:1,b:hunter2/name", "redis+sentinel://a/name?password=hunter2&x=1",
        "rediss://host?password=hunter2&ssl_ca_certs=/no/such/file",
        "host:6380,password=hunter2,ssl=True", "host,password=hunter2", "redis://host,password=hunter2",
        "redis://host:6380,password=hunter2", "redis://host/0,password=hunter2", "redis://host;password=hunter2",
        "redis://host?db=0,password=hunter2", "redis://host:hunter2/0", "redis://default:hunter2:6379/0",
        "redis://:hunter2", "redis://:hunter2/0", "redis://host/hunter2", "redis://12/hunter2@host", "hunter2://host",
        "redis://user:12/hunter2@host", "unix:///run/s;password=hunter2", "unix:///run/s:hunter2", "unix:///s,hunter2",
        "unix://hunter2/run/s", "unix://:hunter2/run/s", "unix:///run/hunter2@s", "unix:///s password=hunter2", "hunter2",
        "'redis://:hunter2@host'", "REDIS_URL=redis://:hunter2@host", "redis-cli -a hunter2",
    ],
)  # fmt: skip
def test_refused_url_does_not_show_its_secrets(url: str) -> None:
    for name in "REDIS_URL", "BINANCE_URL", "MARKET_URL":
        if name == "REDIS_URL" or not url.startswith("http://"):
            assert "hunter2" not in refusal({name: url})


@pytest.mark.parametrize(
    "url", ["https://host/hunter2?x=1", "https://host?token=hunter2", "https://user:12/hunter2@host", "http://h,hunter2"]
)
def test_refused_url_of_a_source_does_not_show_its_token(url: str) -> None:
    assert "hunter2" not in refusal({"OKX_URL": url})


def test_of_a_refused_url_the_scheme_is_shown_and_the_right_form_told() -> None:
    line = refusal({"REDIS_URL": "redis://default:hunter2:6379/0"})
    assert line.startswith("REDIS_URL='redis://***' cannot be used: it must be redis://NAME:PASSWORD@HOST:PORT/NUMBER")


def test_relative_store_directory_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert Settings.from_env({"STORE_DIR": str(tmp_path / "new")}).store_dir == str(tmp_path / "new")
    assert str(tmp_path / "file") in refusal({"STORE_DIR": str(tmp_path / "file" / "new")})
    assert list(tmp_path.iterdir()) == [tmp_path / "file"], "looking makes nothing"


def test_numbers_are_finite() -> None:
    settings = Settings.from_env({})
    assert all(math.isfinite(value) for field in fields(settings) if isinstance(value := getattr(settings, field.name), float))


def test_monitoring_has_another_port_than_prices_or_none() -> None:
    complaint = "METRICS_PORT='9000' cannot be used: it must be another port than PORT, or empty"
    assert complaint in refusal({"PORT": "9000", "METRICS_PORT": "9000"})
    assert Settings.from_env({"PORT": "0"}).metrics_port == 0


def test_a_median_cannot_need_more_sources_than_there_are() -> None:
    assert "MIN_SOURCES='3' cannot be used: it must be at most the number of SOURCES (2)" in refusal(
        {"PRICE_MODE": "median", "SOURCES": "okx,kraken"}
    )
    assert Settings.from_env({"SOURCES": "okx,kraken"}).min_sources == 3, "failover needs none of them"
