"""Calling an exchange over real HTTP: one call per fetch, one deadline, and only the answer to it is believed."""

import asyncio
import contextlib
import errno
import json
import re
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from fastprice.application.events import SourceAsked
from fastprice.application.ports import Clock
from fastprice.domain.errors import (
    Banned, Blocked, CoolDown, InvalidQuote, InvalidReply, LocalFailure, PairRefused, RateLimited, SourceDown,
    SourceError, SourceRefused, SourceTimeout, UnknownSymbol
)
from fastprice.domain.quote import Pair, Quote
from fastprice.infrastructure.clock import SystemClock
from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.exchanges.body import SMALL
from fastprice.infrastructure.exchanges.http import Session
from fastprice.infrastructure.exchanges.source import ExchangeSource
from fastprice.market import Market
from fastprice.market.call import POISON
from fastprice.market.floor import MEANINGS
from tests.conftest import free_port
from tests.fakes import BTC, ETH, START_MS, FakeClock, RecordingEvents

pytestmark = pytest.mark.anyio

PATIENT, HASTY = 10.0, 0.05

# The result of each fault; None if the quote is well formed, so that only its history or other sources can judge it.
OUTCOMES: dict[str, type[SourceError] | None] = {
    "rate_limited": RateLimited, "banned": RateLimited, "blocked": Blocked, "geo": Blocked,
    "error": SourceDown, "error_body": SourceDown, "html": InvalidReply, "unknown_symbol": UnknownSymbol,
    "redirect": SourceRefused,
    "zero": InvalidQuote, "negative": InvalidQuote, "nan": InvalidQuote, "exponent": InvalidQuote,
    "huge_price": InvalidQuote, "crossed": InvalidQuote, "wrong_symbol": InvalidQuote,
    "duplicate_keys": InvalidReply, "cut_json": InvalidReply, "bad_utf8": InvalidReply, "deep": InvalidReply,
    "huge": InvalidReply, "bomb": InvalidReply, "truncated": InvalidReply,
    "hang": SourceTimeout, "drip": SourceTimeout, "slow": SourceTimeout, "refuse": SourceDown,
    "jump": None, "odd_extras": None, "frozen": None, "old": None,
    "ahead": None, "extra": None, "halted": InvalidQuote,
}  # fmt: skip
# A rate limit's code outranks the status 418, except for these two; a body without a code is no complaint.
EXCEPTIONS: dict[tuple[str, str], type[SourceError] | None] = {
    ("banned", "binance"): Banned, ("banned", "coinbase"): Banned, ("error_body", "coinbase"): InvalidQuote,
    ("halted", "binance"): PairRefused,
    # In JSON a number may have an exponent.
    ("exponent", "htx"): None,
    **{("wrong_symbol", source): UnknownSymbol for source in ("coinbase", "kucoin", "bitstamp")},
}  # fmt: skip
SLOW = {"hang", "drip", "slow"}

MakeSource = Callable[..., ExchangeSource]


@pytest.fixture
async def source(events: RecordingEvents) -> AsyncIterator[MakeSource]:
    """Builds a source over one session: `source("okx", base_url, timeout)`."""
    async with Session("fastprice/test") as session:

        def make(name: str, url: str, timeout: float = PATIENT, clock: Clock | None = None) -> ExchangeSource:
            return ExchangeSource(EXCHANGES[name], url, timeout, session, clock or SystemClock(), events)

        yield make


async def quoted(source: ExchangeSource, pair: Pair = ETH) -> Quote:
    """The quote of a pair from a call for this pair alone."""
    (call,) = source.calls((pair,))
    quote = (await source.fetch(call))[pair]
    assert isinstance(quote, Quote), quote
    return quote


async def failure(source: ExchangeSource, *pairs: Pair) -> SourceError:
    """The error of one call that must fail, as a whole or for its only pair; anything else fails the test."""
    (call,) = source.calls(pairs or (ETH,))
    try:
        (error,) = (await source.fetch(call)).values()
    except SourceError as raised:
        error = raised
    assert isinstance(error, SourceError)
    assert str(error).isprintable() and 0 < len(str(error)) < 250, "one line for a person"
    return error


@pytest.mark.parametrize(
    "echo", [str, str.upper, lambda words: quote(words, safe=""), lambda words: unquote(words).title()], ids=range(4)
)
async def test_what_a_mirror_repeats_of_its_url_is_not_shown(source: MakeSource, echo: Callable[[str], str]) -> None:
    async def repeat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().splitlines()
        told = next(line for line in lines if line.startswith(part))
        body = json.dumps({"code": -1, "msg": echo(told)}).encode()
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        writer.close()

    async with await asyncio.start_server(repeat, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"http://user:hun%2Fter2@127.0.0.1:{port}/t0ken-1234/binance"
        for part in ("GET ", "Authorization: "):
            error = await failure(source("binance", url))
            assert isinstance(error, SourceRefused)
            assert str(error) == "its words are not shown, because they repeat a part of its URL"


def test_table_of_faults_is_complete() -> None:
    assert OUTCOMES.keys() == MEANINGS.keys()


# The simulated exchange, honest


@pytest.mark.parametrize("pair", [ETH, BTC], ids=str)
@pytest.mark.parametrize("name", EXCHANGES)
async def test_source_reads_the_price_that_was_sent_with_one_call(
    market: Market, source: MakeSource, events: RecordingEvents, name: str, pair: Pair
) -> None:
    quote = await quoted(source(name, f"{market.url}/{name}"), pair)
    assert [price for _, price in market.served[name]] == [quote.price]
    assert (quote.pair, quote.source) == (pair, name)
    assert quote.bid is not None and quote.ask is not None
    assert float(quote.bid) < float(quote.price) < float(quote.ask)
    assert (market.calls[name], market.total_calls) == (1, 1)
    assert [(asked.source, asked.outcome) for asked in events.of(SourceAsked)] == [(name, "ok")]


async def test_pair_that_is_not_listed_is_known_as_such_everywhere(market: Market, source: MakeSource) -> None:
    for name in EXCHANGES:
        error = await failure(source(name, f"{market.url}/{name}"), Pair("NO", "SUCH"))
        assert type(error) is UnknownSymbol, name
    assert {market.calls[name] for name in EXCHANGES} == {1}


# The simulated exchange, broken


@pytest.mark.parametrize("fault", OUTCOMES)
async def test_fault_becomes_one_of_our_errors_after_one_call(
    market: Market, source: MakeSource, events: RecordingEvents, fault: str
) -> None:
    market.set_fault("all", fault, 7.0 if fault in ("rate_limited", "banned") else None)
    for name in EXCHANGES:
        expected = EXCEPTIONS.get((fault, name), OUTCOMES[fault])
        asked = source(name, f"{market.url}/{name}", HASTY if fault in SLOW else PATIENT)
        if expected is None:
            assert (await quoted(asked)).price != POISON
            continue
        error = await failure(asked)
        assert type(error) is expected, name
        assert events.of(SourceAsked)[-1].outcome == error.outcome
        if isinstance(error, CoolDown):
            assert error.seconds == 7 if fault in ("rate_limited", "banned") else error.seconds > 3600
    # On a busy machine a short timeout may expire before the call is sent.
    asked_at_least = 0 if fault in SLOW else 1
    assert all(asked_at_least <= market.calls[name] <= 1 for name in EXCHANGES), "no retry, no redirect followed"
    assert len(events.all) == len(EXCHANGES)


async def test_answer_nobody_asked_for_never_answers_the_next_question(market: Market, source: MakeSource) -> None:
    okx = source("okx", f"{market.url}/okx")
    market.set_fault("okx", "extra")
    # The second call is under way when the poisoned extra answer to the first one arrives.
    market.latency = 0.06
    prices = [(await quoted(okx)).price for _ in range(3)]
    assert prices == [price for _, price in market.served["okx"]]


async def test_healed_source_is_believed_again(market: Market, source: MakeSource) -> None:
    okx = source("okx", f"{market.url}/okx", 1.0)
    for fault in MEANINGS.keys() - SLOW:
        market.set_fault("okx", fault)
        with contextlib.suppress(SourceError):
            await okx.fetch(*okx.calls((ETH,)))
        market.clear_fault()
        assert (await quoted(okx)).price == market.served["okx"][-1][1], fault


# A server that sends what the test wants, byte for byte


@dataclass
class Scripted:
    """Sends `reply` on every connection, then closes it, or keeps it open with `hold`; records the requests."""

    reply: bytes
    hold: bool = False
    requests: list[bytes] = field(default_factory=list)
    url: str = ""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Scripted"]:
        self._over = asyncio.Event()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            self._over.set()
            server.close()
            await server.wait_closed()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.reply)
            await writer.drain()
            if self.hold:
                await self._over.wait()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


BODY = b'{"code":"0","msg":"","data":[{"instId":"ETH-USDT","last":"3120.45","ts":"1753300000000"}]}'


def http(body: bytes = BODY, *lines: str, status: str = "200 OK", length: int | None = None) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *lines, "", ""]
    return "\r\n".join(head).encode() + body


@pytest.mark.parametrize(
    ("reply", "error", "seconds"),
    [
        (http(b"\x1f\x8b zip", "Retry-After: 600", "Content-Encoding: gzip", status="429 Slow down"), RateLimited, 600),
        (http(b"<html>" + b" " * 300_000, "Retry-After: 700", status="418 Teapot"), Banned, 700),
        (http(b"<html>" + b" " * 300_000, status="451 No"), Blocked, 6 * 3600),
        (http(b"broken off", "Retry-After: 800", status="429 Slow down", length=999), RateLimited, 800),
    ],
    ids=["compressed", "too long", "too long and blocked", "broken off"],
)
async def test_a_ban_is_obeyed_whatever_body_comes_with_it(
    source: MakeSource, reply: bytes, error: type[CoolDown], seconds: float
) -> None:
    async with Scripted(reply).running() as server:
        failed = await failure(source("okx", server.url))
        assert type(failed) is error
        assert isinstance(failed, CoolDown) and failed.seconds == seconds


async def test_request_says_who_asks_and_wants_no_compression(source: MakeSource) -> None:
    async with Scripted(http(BODY, "Set-Cookie: track=1; Path=/")).running() as server:
        okx = source("okx", f"{server.url}/base/")
        for _ in range(2):
            assert (await quoted(okx)).price == "3120.45"
    for request in server.requests:
        line, *rest = request.decode().split("\r\n")
        headers = {name.lower(): value for name, _, value in (header.partition(": ") for header in rest if header)}
        assert line == "GET /base/api/v5/market/ticker?instId=ETH-USDT HTTP/1.1"
        assert (headers["user-agent"], headers["accept-encoding"]) == ("fastprice/test", "identity")
        assert "cookie" not in headers, "what an exchange plants is not carried back"
        assert headers["connection"] == "close"
    assert len(server.requests) == 2


@pytest.mark.parametrize("framing", ["length", "chunked", "until closed"])
@pytest.mark.parametrize(("size", "accepted"), [(SMALL.most, True), (SMALL.most + 1, False)])
async def test_body_is_read_to_its_cap_and_no_further(
    source: MakeSource, size: int, accepted: bool, framing: str
) -> None:
    body = BODY.ljust(size)
    reply = {
        "length": http(body),
        "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (size, body),
        "until closed": b"HTTP/1.1 200 OK\r\n\r\n" + body,
    }[framing]
    async with Scripted(reply).running() as server:
        okx = source("okx", server.url)
        if accepted:
            assert (await quoted(okx)).price == "3120.45"
        else:
            assert "longer than 262144 bytes" in str(await failure(okx))


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (b"", SourceDown), (b"HTTP/1.1 200 OK\r\n", SourceDown), (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", SourceDown),
        (b"\x16\x03\x01\x00\xa5\r\n\r\n", SourceDown), (http(BODY[:20], length=len(BODY)), InvalidReply),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", SourceDown),
        (http(BODY, "X: " + "x" * 20_000), SourceDown), (http(BODY, "Content-Length: 5"), SourceDown),
        (http(BODY, "Content-Encoding: br"), InvalidReply), (http(b""), InvalidReply), (http(BODY + BODY), InvalidReply),
        (b"HTTP/1.1 204 No Content\r\n\r\n", InvalidReply), (http(status="404 Not Found"), SourceRefused),
        (http(status="503 Service Unavailable"), SourceDown), (http(status="999 Odd"), SourceDown),
        *((http(b"", "Location: /", status=f"{status} Moved"), SourceRefused) for status in (301, 302, 303, 307, 308)),
    ],
    ids=str,
)  # fmt: skip
async def test_no_reply_however_odd_raises_anything_but_ours(
    source: MakeSource, events: RecordingEvents, reply: bytes, expected: type[SourceError]
) -> None:
    async with Scripted(reply).running() as server:
        error = await failure(source("okx", server.url))
    assert type(error) is expected
    assert len(server.requests) == 1
    assert [asked.outcome for asked in events.of(SourceAsked)] == [error.outcome]


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\n", http(BODY[:20], length=len(BODY))], ids=str)
async def test_stalled_source_is_cut_at_the_deadline(source: MakeSource, reply: bytes) -> None:
    async with Scripted(reply, hold=True).running() as server, asyncio.timeout(PATIENT):
        error = await failure(source("okx", server.url, HASTY))
    assert type(error) is SourceTimeout and str(error) == "no answer within 0.05 s"


@dataclass
class Slow(Scripted):
    """Lets something happen between the request and the answer."""

    meanwhile: Callable[[], Awaitable[None]] = field(kw_only=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self.meanwhile()
        await super()._talk(reader, writer)


async def fetched_after(source: MakeSource, clock: FakeClock, meanwhile: Callable[[], Awaitable[None]]) -> int:
    """By how many ms `fetched_at_ms` is later than the request, if this happens between request and answer."""
    async with Slow(http(), meanwhile=meanwhile).running() as server:
        return (await quoted(source("okx", server.url, clock=clock))).fetched_at_ms - START_MS


@pytest.mark.parametrize(("seconds", "after_ms"), [(1.0, 0), (0.2, 0), (0.08, 80)])
async def test_an_answer_that_was_read_late_counts_from_when_it_was_asked_for(
    source: MakeSource, clock: FakeClock, seconds: float, after_ms: int
) -> None:
    async def stopped() -> None:
        clock.now += seconds

    assert await fetched_after(source, clock, stopped) == after_ms


async def test_a_stop_early_in_a_call_is_remembered_at_its_end(source: MakeSource, clock: FakeClock) -> None:
    async def stopped_and_then_attentive() -> None:
        await clock.advance(0.05)
        clock.now += 1.0
        for _ in range(10):
            await clock.advance(0.05)

    assert await fetched_after(source, clock, stopped_and_then_attentive) == 0


async def test_an_answer_that_is_slow_counts_from_when_it_came(source: MakeSource, clock: FakeClock) -> None:
    async def attentive() -> None:
        for _ in range(30):
            await clock.advance(0.05)

    assert await fetched_after(source, clock, attentive) == 1500


@pytest.mark.parametrize("step", [3600, -3600])
@pytest.mark.parametrize(("seconds", "after_ms"), [(1.0, 0), (0.08, 80)])
async def test_where_the_wall_clock_is_set_during_a_call_the_answer_is_told_in_the_new_time(
    source: MakeSource, clock: FakeClock, step: int, seconds: float, after_ms: int
) -> None:
    async def set_and_stopped() -> None:
        clock.step_wall(step)
        clock.now += seconds

    assert await fetched_after(source, clock, set_and_stopped) == step * 1000 + after_ms


class Napping(FakeClock):
    """The machine seems to sleep for a minute between any two readings of the clock."""

    def monotonic(self) -> float:
        self.now += 60.0
        return self.now


async def test_answer_that_was_slept_over_is_out_of_time(market: Market, source: MakeSource) -> None:
    error = await failure(source("binance", f"{market.url}/binance", clock=Napping()))
    assert isinstance(error, SourceTimeout) and "was read more than 10 s after the question" in str(error)


async def test_cancelled_fetch_counts_as_out_of_time_and_stays_cancelled(
    source: MakeSource, events: RecordingEvents
) -> None:
    async with Scripted(b"", hold=True).running() as server:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(HASTY):
                await quoted(source("okx", server.url))
    assert [asked.outcome for asked in events.of(SourceAsked)] == ["timeout"]


async def test_closed_port_is_a_source_that_is_down_and_the_text_says_why(source: MakeSource) -> None:
    port = free_port()
    error = await failure(source("okx", f"http://127.0.0.1:{port}"))
    assert type(error) is SourceDown and error.retryable
    assert str(error) == f"cannot connect to 127.0.0.1:{port} (Connection refused)"


# Failures of this machine


@pytest.fixture
def no_descriptor() -> Iterator[Callable[[], None]]:
    """Takes the descriptors away when called, as many clients would, and gives them back at the end."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take() -> None:
        # Three, for the standard streams, and not the number in use: if one of these closed meanwhile, a client could
        # connect to a server that cannot accept it.
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))

    yield take
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


async def test_want_of_descriptors_is_no_sources_fault(
    market: Market, source: MakeSource, events: RecordingEvents, no_descriptor: Callable[[], None]
) -> None:
    no_descriptor()
    error = await failure(source("okx", f"{market.url}/okx"))
    assert type(error) is LocalFailure and not error.retryable
    assert str(error).startswith("this machine cannot ask it: cannot connect to 127.0.0.1:")
    assert str(error).endswith("(Too many open files)")
    assert [asked.outcome for asked in events.of(SourceAsked)] == ["local"]


LOCAL = [
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL, errno.ENETDOWN, errno.ENETUNREACH,
    errno.EHOSTUNREACH, errno.EACCES, errno.EPERM,
]  # fmt: skip
THEIRS = [errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ETIMEDOUT]


@pytest.mark.parametrize("number", [*LOCAL, *THEIRS], ids=errno.errorcode.get)
async def test_what_the_system_says_tells_this_machines_failures_from_a_sources(source: MakeSource, number: int) -> None:
    async with Session("fastprice/test", resolver=FakeNames(OSError(number, "no"))) as session:
        okx = ExchangeSource(EXCHANGES["okx"], "http://okx.test", PATIENT, session, SystemClock(), RecordingEvents())
        # A failed name lookup for local reasons looks the same as a failed connect.
        assert type(await failure(okx)) is LocalFailure
    for error in OSError(number, "no"), aiohttp.ClientOSError(number, "no"):
        assert type(session.failure(error)) is (LocalFailure if number in LOCAL else SourceDown)


class FakeNames(AbstractResolver):
    """A name service that finds 127.0.0.1 for all names except some, or for none, or that never answers."""

    def __init__(self, *failures: OSError, only: str = "", hangs: bool = False) -> None:
        self.failures, self.only, self.hangs = failures, only, hangs

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if self.failures and host.startswith(self.only):
            if self.hangs:
                await asyncio.Event().wait()
            raise self.failures[0]
        return [ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


NOT_FOUND = socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")


@pytest.mark.parametrize("hangs", [False, True], ids=["says so", "hangs"])
async def test_when_no_name_is_found_no_source_is_to_blame(market: Market, hangs: bool) -> None:
    async with Session("fastprice/test", resolver=FakeNames(NOT_FOUND, hangs=hangs)) as session:
        for _ in range(3):
            for name in "okx", "kraken":
                error = await failure(named(session, name, market))
                assert type(error) is LocalFailure
                assert str(error).startswith(f"this machine cannot ask it: cannot find {name}.test")


@pytest.mark.parametrize(("hangs", "theirs"), [(False, SourceDown), (True, SourceTimeout)], ids=["says so", "hangs"])
async def test_a_name_that_alone_is_not_found_is_its_sources_fault_once_another_was_found(
    market: Market, hangs: bool, theirs: type[SourceError]
) -> None:
    names = FakeNames(NOT_FOUND, only="okx", hangs=hangs)
    async with Session("fastprice/test", resolver=names) as session:
        assert type(await failure(named(session, "okx", market))) is LocalFailure
        await quoted(named(session, "kraken", market, PATIENT))
        for _ in range(2):
            assert type(await failure(named(session, "okx", market))) is theirs


def named(session: Session, name: str, market: Market, timeout: float = HASTY) -> ExchangeSource:
    url = f"{market.url}/{name}".replace("127.0.0.1", f"{name}.test")
    return ExchangeSource(EXCHANGES[name], url, timeout, session, SystemClock(), RecordingEvents())


async def test_host_that_does_not_exist_is_named(source: MakeSource) -> None:
    error = await failure(source("okx", "http://no-such-host.invalid"))
    assert type(error) is LocalFailure and "cannot find no-such-host.invalid (no network, or no such host)" in str(error)


async def test_reset_connection_is_named_in_the_systems_words(market: Market, source: MakeSource) -> None:
    market.set_fault("okx", "refuse")
    assert str(await failure(source("okx", f"{market.url}/okx"))) == "Connection reset by peer"


async def test_failed_handshake_is_named_as_one(source: MakeSource) -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(http(status="400 Bad Request"))
        await reader.read(1)
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        error = await failure(source("okx", f"https://127.0.0.1:{port}"))
    assert type(error) is SourceDown
    assert re.fullmatch(rf"cannot connect to 127\.0\.0\.1:{port} \(TLS: [A-Z_]+\)", str(error))


@pytest.mark.parametrize("url", ["http://user:hunter2@127.0.0.1:99999", "http://user:hunter2@[::1", "hunter2"])
async def test_address_that_is_none_is_refused_without_showing_its_password(source: MakeSource, url: str) -> None:
    error = await failure(source("okx", url))
    assert type(error) is SourceRefused and "hunter2" not in str(error)


async def test_sources_answer_at_the_same_time_without_mixing_up(market: Market, source: MakeSource) -> None:
    asked = [source(name, f"{market.url}/{name}") for name in EXCHANGES]
    quotes = await asyncio.gather(*(quoted(one, pair) for one in asked for pair in (ETH, BTC) for _ in range(5)))
    assert [(quote.source, quote.pair) for quote in quotes] == [
        (name, pair) for name in EXCHANGES for pair in (ETH, BTC) for _ in range(5)
    ]
    assert all(quote.price in {price for _, price in market.served[quote.source]} for quote in quotes)


async def test_a_session_that_asks_nothing_makes_no_client() -> None:
    """Most workers follow and never call an exchange, and a client takes memory."""
    async with Session("fastprice/test") as session:
        assert session._client is None
