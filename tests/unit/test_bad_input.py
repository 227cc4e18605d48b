"""Whatever comes from outside is read as a fact, or as one of our own errors, and reading never takes long.

The limit is relative: an honest body of the largest allowed size is read on the same machine. That takes some 12 ms,
so anything that takes less than twice as long takes far less than 50 ms.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastprice.domain.errors import SourceError, StoreUnavailable
from fastprice.domain.quote import Quote
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.body import LARGE, SMALL, inflated
from fastprice.infrastructure.exchanges.frames import said_in
from fastprice.infrastructure.exchanges.reply import Reply
from fastprice.infrastructure.exchanges.spec import read
from fastprice.infrastructure.exchanges.stream import MAX_FRAME_BYTES
from fastprice.infrastructure.records import Records
from fastprice.infrastructure.sqlite_store import SqliteStore
from fastprice.interface.negotiation import language, prefers_page
from fastprice.interface.parameters import BadParameter, milliseconds, parameters
from fastprice.interface.price_json import matches
from fastprice.interface.quote_table import pair_of
from fastprice.settings import Settings, SettingsError
from tests.documented import EVERY, MANY, NOW_MS, form_of
from tests.fakes import BTC, ETH, FakeClock
from tests.hostile import cost, large, spoilt
from tests.unit.test_exchange_streams import FRAMES, STREAMS, heard_without_harm, parsed
from tests.unit.test_records import EVERYTHING, SOURCES, fresh

TIMES = 2
PLENTY = settings(deadline=None, suppress_health_check=list(HealthCheck))
STATUSES = st.sampled_from([200, 200, 200, 204, 302, 400, 403, 404, 418, 429, 451, 500, 503])
WORDS = st.text(max_size=40) | st.sampled_from(
    ["9" * 400, "-1", "1e5", "nan", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 1 Jan 1 0:0:0 +9999", "0, 0 0 0", "\u0661", "²"]
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "gw-ratelimit-reset", "x-bapi-limit-reset-timestamp", "x-gate-ratelimit-reset-timestamp"]), WORDS
)  # fmt: skip


def understood(key: str, body: bytes, status: int = 200, headers: Any = ()) -> None:
    """A reply gives a quote or an error for each pair, or an error of the call; any other exception is a failure."""
    name, form = form_of(key)
    pairs = (ETH, BTC) if key in MANY else (ETH,)
    try:
        answers = read(EXCHANGES[name], form, pairs, Reply(status, dict(headers), body, NOW_MS))
    except SourceError as error:
        assert str(error).isprintable()
        return
    assert set(answers) == set(pairs)
    for answer in answers.values():
        assert isinstance(answer, Quote) or isinstance(answer, SourceError) and str(answer).isprintable()


@pytest.mark.parametrize("key", EVERY)
@PLENTY
@given(st.data())
def test_any_reply_is_quotes_or_an_error_of_ours(key: str, data: st.DataObject) -> None:
    understood(key, data.draw(spoilt([EVERY[key].body.encode()])), data.draw(STATUSES), data.draw(HEADERS))


@PLENTY
@given(st.sampled_from(list(EVERY)), st.binary(max_size=60), STATUSES, HEADERS)
def test_any_bytes_are_a_reply_with_an_error_of_ours(key: str, body: bytes, status: int, headers: dict[str, str]) -> None:
    understood(key, body, status, headers)


@PLENTY
@given(st.binary(max_size=100) | st.binary(max_size=50).map(lambda tail: b"\x1f\x8b\x08" + tail))
def test_any_compressed_bytes_are_a_body_or_an_error_of_ours(body: bytes) -> None:
    with contextlib.suppress(SourceError):
        inflated(body)


@pytest.mark.parametrize("name", STREAMS)
@PLENTY
@given(st.data())
def test_any_frame_says_something_or_nothing(name: str, data: st.DataObject) -> None:
    own = [frame.encode("utf-8", "surrogatepass") for owner, frame in FRAMES if owner == name]
    with contextlib.suppress(SourceError):
        heard_without_harm(name, parsed(data.draw(spoilt(own))))


BULLET = b'{"code":"200000","data":{"token":"2neAi==","instanceServers":[{"endpoint":"wss://x/","pingInterval":18000}]}}'


@PLENTY
@given(spoilt([BULLET]), STATUSES)
@example(BULLET.replace(b"18000", b"9" * 40), 200)
def test_any_answer_with_a_token_is_an_address_or_an_error_of_ours(body: bytes, status: int) -> None:
    with contextlib.suppress(SourceError):
        token = STREAMS["kucoin"].token
        assert token and 0 <= token.read(Reply(status, {}, body, NOW_MS)).keep_alive_seconds <= 30


ROW = json.loads(EVERY["gate whole"].body)[0]
HONEST = json.dumps([ROW | {"currency_pair": f"A{number}_USDT"} for number in range(LARGE.most // 520)]).encode()


def is_slow(call: Callable[[], Any]) -> bool:
    """Whether it is too slow in each of several comparisons, because the machine may be busy during one of them."""
    honest = partial(understood, "gate whole", HONEST)
    return all(cost(call) > TIMES * cost(honest) for _ in range(3))


def slow(size: int, read_it: Callable[[bytes], Any]) -> list[str]:
    """The hostile bodies of this size that take too long to read."""
    return [label for label, body in large(size) if is_slow(partial(read_it, body))]


@pytest.mark.parametrize("key", EVERY)
def test_no_reply_is_read_for_long(key: str) -> None:
    assert LARGE.most * 0.8 < len(HONEST) < LARGE.most
    assert slow((LARGE if key in MANY else SMALL).most, lambda body: understood(key, body, 403)) == []


@pytest.mark.parametrize("name", STREAMS)
def test_no_frame_is_read_for_long(name: str) -> None:
    assert slow(MAX_FRAME_BYTES, partial(said_in, STREAMS[name])) == []


def test_no_record_is_read_for_long() -> None:
    assert slow(LARGE.most, lambda body: fresh().load([body] * 3)) == []


@PLENTY
@given(st.tuples(*(spoilt([record]) | st.none() for record in fresh().dump(EVERYTHING))))
def test_any_records_are_facts_of_ours_or_none(records: tuple[bytes | None, ...]) -> None:
    stored = fresh().load(records)
    assert {quote.pair for quote in stored.quotes} | stored.failing <= {ETH, BTC}
    assert {report.source for report in stored.reports} | {ban.source for ban in stored.bans} <= set(SOURCES)
    for report in stored.reports:
        assert set(report.pairs) <= {ETH, BTC} and all(said is not None for said in report.pairs.values())
    again = fresh().dump(stored)
    assert fresh().load(again) == stored


@PLENTY
@given(cuts=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=600)), min_size=1, max_size=5))
def test_any_file_is_a_store_or_is_replaced(tmp_path_factory: pytest.TempPathFactory, cuts: list[tuple[int, bytes]]) -> None:
    def cut(content: bytes) -> bytes:
        for at, other in cuts:
            at %= len(content)
            content = content[:at] + other + content[at + len(other) :]
        return content

    asyncio.run(reopened(tmp_path_factory.mktemp("any") / "store", cut))


def test_file_that_cannot_even_be_complained_of_is_replaced(tmp_path: Path) -> None:
    def spoil(content: bytes) -> bytes:
        assert content.count(b"tablerecordrecord") == content.count(b"CREATE TABLE record") == 1
        return content.replace(b"tablerecordrecord", b"table\x80ecordrecord").replace(b"CREATE TABLE record", b"CREATE TABLX record")

    asyncio.run(reopened(tmp_path / "store", spoil))


async def reopened(path: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Write a store, damage its file, and use it again."""
    first = SqliteStore(path, Records((ETH, BTC), SOURCES), FakeClock())
    assert await first.write("me", EVERYTHING)
    await first.close()
    path.write_bytes(spoil(path.read_bytes()))
    second = SqliteStore(path, Records((ETH, BTC), SOURCES), FakeClock())
    # The damage is found when that part of the file is read, and then the file is replaced.
    for _ in range(2):
        with contextlib.suppress(StoreUnavailable):
            await second.read()
            await second.claim("me", 5)
    await second.read()
    assert await second.claim("me", 5) in (True, False)
    await second.close()


VARIABLES = [name.upper() for name in Settings.__dataclass_fields__ if Settings.__dataclass_fields__[name].metadata]
VARIABLES += ["MARKET_URL", "BINANCE_URL", "OKX_STREAM_URL", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"]
VALUES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30) | st.sampled_from(
    ["1", "0.5", ".5", "1.", "²", "9" * 5_000, "-1", "nan", "inf", "1e3", "/", "/" + "a" * 300, "a/" * 3_000, "/proc/1/mem/x", "\udcff",
     "http://[::1", "http://[fe80::1%eth0]:80", "http://a:99999", "http://0x7f.1/", "ws://127.1", "redis://:p@h:1/99999",
     "rediss://h?ssl_ca_certs=" + "a" * 5_000, "unix:///tmp/x", "redis://h?db=1&db=2", "a,b,,c", "eth-usdt,eth-usdt", "İ-ß"]
)  # fmt: skip


@PLENTY
@given(st.dictionaries(st.sampled_from(VARIABLES), VALUES, min_size=1, max_size=3))
@example({"STORE_DIR": "/" + "a" * 300})
def test_any_environment_is_settings_or_one_line_that_names_a_variable(environ: dict[str, str]) -> None:
    try:
        found = Settings.from_env(environ)
    except SettingsError as error:
        assert str(error).isprintable() and any(name in str(error) for name in VARIABLES)
    else:
        assert found.pairs and found.sources and found.proxies.find("https://api.kraken.com") in (None, *found.proxies.by_scheme.values())


FIELDS = st.text(st.characters(max_codepoint=255)) | st.lists(
    st.sampled_from(["text/html", "*/*", "ru", "en", ";q=", "0.", "1", "²", "\xb2", "\xbd", ",", ";", "=", "-", "*", '"', "W/", " "]), max_size=12
).map("".join)  # fmt: skip


@PLENTY
@given(FIELDS)
@example("text/html;q=0.\xb2")
def test_any_field_of_a_head_is_read(text: str) -> None:
    assert prefers_page(text) in (True, False) and language(text) in ("en", "ru")
    assert matches(text.encode("latin-1"), b'"tag"') in (True, False)


@PLENTY
@given(FIELDS | st.lists(st.sampled_from(["pairs=", "max_age_ms=", "&", "%", "%00", "%ff", "1", "9" * 20, "eth-usdt", "+", ";"])).map("".join))
def test_any_query_is_parameters_or_is_refused(text: str) -> None:
    try:
        given_ = parameters(text.encode("latin-1"), "pairs", "max_age_ms")
        assert 0 <= milliseconds("max_age_ms", given_.get("max_age_ms", "0")) <= 86_400_000
    except BadParameter as error:
        assert str(error).isprintable()


@PLENTY
@given(st.text())
def test_any_word_is_a_pair_or_is_refused(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert pair_of(text).slug
