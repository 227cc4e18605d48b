"""What a user sees of the settings: their values and origins, no secret, and hints for misspelt names."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastprice.settings import Settings
from fastprice.settings_table import NAMES, masked, nearly, rows


class Spy(dict[str, str]):
    """An environment that records which names are read."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.add(name)
        return default


def test_every_variable_that_the_settings_read_is_there_once() -> None:
    spy = Spy()
    Settings.from_env(spy)
    assert set(NAMES) == spy.asked and len(set(NAMES)) == len(NAMES)


def test_each_has_its_value_and_says_where_that_came_from() -> None:
    shown = {name: rest for name, *rest in rows({"CACHE_TTL": " 7 ", "PAIRS": "", "https_proxy": "http://proxy:3128"})}
    assert shown["CACHE_TTL"] == ["7", "environment"] and shown["PAIRS"] == ["eth-usdt", "default"]
    assert shown["HTTPS_PROXY"] == ["http://proxy:3128", "environment"] and shown["REDIS_URL"] == ["", "default"]


@pytest.mark.parametrize(("name", "text", "shown"), [
    ("REDIS_URL", "redis://:secret@redis:6379/0", "redis://***@redis:6379/0"),
    ("REDIS_URL", "rediss://u:secret@[::1]:6380/1?ssl_cert_reqs=none", "rediss://***@[::1]:6380/1/***"),
    ("REDIS_URL", "unix:///run/secret.sock?db=1", "unix:///***"),
    ("OKX_URL", "https://mirror.example/v1/secret-token/", "https://mirror.example/***"),
    ("OKX_URL", "https://mirror.example", "https://mirror.example"),
    ("HTTPS_PROXY", "u:secret@proxy:3128", "***@proxy:3128"),
    ("NO_PROXY", "localhost,.internal", "localhost,.internal"),
    ("CACHE_PREFIX", "prices", "prices"),
])
def test_what_may_be_a_secret_is_masked(name: str, text: str, shown: str) -> None:
    assert masked(name, text) == shown and "secret" not in shown


@given(st.from_regex(r"[A-Za-z0-9]{6,20}", fullmatch=True))
def test_no_password_and_no_token_is_ever_shown(secret: str) -> None:
    for url in f"redis://u:{secret}@h:1/0", f"https://h/{secret}", f"https://h/?key={secret}", f"http://{secret}@h":
        assert secret not in masked("OKX_URL", url).replace("https", "").replace("http", "").replace("redis", "")


@pytest.mark.parametrize(("name", "meant"), [
    ("CACHETTL", "CACHE_TTL"), ("CACHE_TLL", "CACHE_TTL"), ("PAIR", "PAIRS"), ("REFRESH_INTERVALL", "REFRESH_INTERVAL"),
    ("WORKER", "WORKERS"), ("MAX_STAEL", "MAX_STALE"), ("BINANCE_URI", "BINANCE_URL"),
])
def test_a_name_that_is_nearly_a_settings_is_told_with_what_may_be_meant(name: str, meant: str) -> None:
    assert list(nearly({name: "1", "CACHE_TTL": "5"})) == [(name, meant)]


@pytest.mark.parametrize("name", [
    "PATH", "HOME", "HOSTNAME", "LANG", "REDIS_PORT", "REDIS_SERVICE_HOST", "HTTP_HOST", "PYTHONPATH", "VIRTUAL_ENV",
    "KUBERNETES_SERVICE_PORT", "ALL_PROXY", "MAKELEVEL", "STOP_GRACE", "REPLICAS", "PROMETHEUS_MULTIPROC_DIR",
])
def test_what_others_call_their_variables_is_not_told(name: str) -> None:
    assert list(nearly({name: "1"})) == []
