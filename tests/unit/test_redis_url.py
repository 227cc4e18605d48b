"""What a Redis URL means, and which parts of it may be shown."""

import pytest

from fastprice.infrastructure.redis_url import RedisUrl


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://localhost", "localhost:6379"),
        ("redis://localhost/", "localhost:6379"),
        ("redis://:hunter2@10.0.0.1:6380/2", "10.0.0.1:6380/2"),
        ("rediss://user:hunter2@cache.example:7000/0?password=hunter2", "cache.example:7000/0"),
        ("unix:///run/redis.sock?db=1&password=hunter2", "unix:///run/redis.sock"),
        ("redis+sentinel://u:hunter2@a:1,[::1]/prices/2?sentinel_password=hunter2", "a:1,[::1]:26379/prices/2"),
        ("rediss+cluster://:hunter2@a,b:7001/", "a:6379,b:7001"),
        ("unix://user:hunter2@/run/redis.sock", "unix:///run/redis.sock"),
    ],
)
def test_the_place_of_redis_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert RedisUrl.parse(url).place == shown


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("redis://h", RedisUrl("redis", False, (("h", 6379),), "", "", 0, {})),
        ("redis://h/3", RedisUrl("redis", False, (("h", 6379),), "/3", "", 3, {})),
        ("redis://h/3?db=5", RedisUrl("redis", False, (("h", 6379),), "/3", "", 5, {})),
        ("redis://:a%40b@h", RedisUrl("redis", False, (("h", 6379),), "", "", 0, {"password": "a@b"})),
        (
            "rediss://u:p:q@h:1?password=other&ssl_cert_reqs=none",
            RedisUrl(
                "redis", True, (("h", 1),), "", "", 0, {"username": "u", "password": "p:q", "ssl_cert_reqs": "none"}
            ),
        ),
        ("unix://u:p@/run/r.sock?db=2", RedisUrl("unix", False, (), "/run/r.sock", "", 2, {"username": "u", "password": "p"})),
        ("redis+sentinel://a/7", RedisUrl("redis+sentinel", False, (("a", 26379),), "/7", "7", 0, {})),
        (
            "rediss+sentinel://a,b:1,[::1]:2/prices/4?sentinel_username=s",
            RedisUrl(
                "redis+sentinel", True, (("a", 26379), ("b", 1), ("::1", 2)), "/prices/4", "prices", 4,
                {"sentinel_username": "s"},
            ),
        ),
        ("redis+cluster://[fd00::1],[fd00::2]:7", RedisUrl("redis+cluster", False, (("fd00::1", 6379), ("fd00::2", 7)), "", "", 0, {})),
        ("rediss+cluster://a,b:1/0", RedisUrl("redis+cluster", True, (("a", 6379), ("b", 1)), "/0", "", 0, {})),
    ],
)  # fmt: skip
def test_a_url_is_taken_apart(url: str, meant: RedisUrl) -> None:
    assert RedisUrl.parse(url) == meant
