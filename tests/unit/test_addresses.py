"""Which addresses are private, and which are reached through a proxy."""

import pytest

from fastprice.addresses import Proxies, is_private

PRIVATE = (
    "127.0.0.1:9000", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.0.9", "169.254.1.1",
    "100.64.0.1", "[::1]:9000", "[::]", "[fd00::1]", "[fe80::1]", "[::ffff:10.0.0.1]", "u:p@127.0.0.1", "localhost", "LOCALHOST.",
    "api.localhost", "market", "market:9000", "mirror.local", "host.docker.internal", "market.default.svc", "market.default.svc.cluster.local",
)
PUBLIC = (
    "api.binance.com", "api.binance.com.", "8.8.8.8", "[2606:4700::1111]", "[::ffff:8.8.8.8]", "172.32.0.1", "mylocal.com", "local.example",
    "127.0.0.1.example.com", "localhost.example.com",
)
PROXY = "http://u:p@proxy:3128"


@pytest.mark.parametrize("host", PRIVATE)
def test_private_addresses_are_known_by_their_text(host: str) -> None:
    assert is_private(f"http://{host}/okx")
    assert Proxies({"http": PROXY}, "").find(f"http://{host}/okx") is None, "an outer proxy knows no inner address"


@pytest.mark.parametrize("host", PUBLIC)
def test_all_others_are_public(host: str) -> None:
    assert not is_private(f"https://{host}/")
    assert Proxies({"https": PROXY}, "").find(f"https://{host}/") == PROXY


def test_each_scheme_has_a_proxy_of_its_own_or_none() -> None:
    proxies = Proxies({"https": PROXY}, "")
    assert (proxies.find("https://a.example"), proxies.find("http://a.example")) == (PROXY, None)


@pytest.mark.parametrize(
    ("word", "url", "covered"),
    [
        ("*", "https://a.example", True), ("a.example", "https://a.example", True), (".example", "https://a.example", True),
        ("example", "https://a.example", True), ("*.example", "https://a.example", True), ("A.EXAMPLE", "https://a.example", True),
        ("x, a.example ,y", "https://a.example", True), ("b.example", "https://a.example", False), ("ample", "https://a.example", False),
        ("a.example:443", "https://a.example", True), ("a.example:80", "https://a.example", False), ("", "https://a.example", False),
        ("8.8.0.0/16", "https://8.8.8.8", True), ("8.8.8.8", "https://8.8.8.8", True), ("9.0.0.0/8", "https://8.8.8.8", False),
        ("2606::/16", "https://[2606::1]", True), ("[2606::1]:443", "https://[2606::1]", True), ("8.8.8.8", "https://a.example", False),
        (".", "https://a.example", False), ("*.", "https://a.example", False),
    ],
)  # fmt: skip
def test_what_no_proxy_names_is_asked_directly(word: str, url: str, covered: bool) -> None:
    assert Proxies({"https": PROXY}, word).find(url) == (None if covered else PROXY)
