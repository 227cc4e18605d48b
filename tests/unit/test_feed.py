"""Live prices in virtual time: what streams say between polls, which streams are open, and when one is given up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from fastprice.application.events import SourceCooling, SourceLost
from fastprice.application.feed import GIVE_UP_SECONDS, MOVE_SECONDS
from fastprice.application.latest_price import Snapshot
from fastprice.application.leader import CLAIM_TURNS
from fastprice.application.live_events import StreamGivenUp
from fastprice.application.live_ports import StreamReport
from fastprice.application.slices import SLICE
from fastprice.application.streamed import Streamed
from fastprice.domain.errors import RateLimited, SourceDown
from fastprice.domain.quote import Pair, Quote, SourceTime
from fastprice.engine import engine
from fastprice.settings import Settings
from tests.fakes import BTC, ETH, FakeClock, FakeSource, FakeStream, RecordingEvents, a_quote, settle
from tests.memory_store import MemoryStore, Shelf

pytestmark = pytest.mark.anyio

LAG_MS, TRADE_LAG_MS = 7_000, 3_600_000
# For sources whose feed only the leader runs: a claim outlives one missed turn.
CLAIM_SECONDS = CLAIM_TURNS


class Worker:
    """One worker that polls and streams; each source in `polled` gives one price for every pair."""

    def __init__(self, clock: FakeClock, shelf: Shelf, sources: str, **environ: str) -> None:
        self.clock, self.events = clock, RecordingEvents()
        self.polled = {name: FakeSource(name, clock, "100") for name in sources.split(",")}
        self.streams = {name: FakeStream(name, clock) for name in self.polled}
        self.store = MemoryStore(clock, shelf)
        settings = Settings.from_env({"SOURCES": sources, "CROSS_CHECK_INTERVAL": "0"} | environ)
        live = [
            Streamed(self.polled[name], stream, clock, LAG_MS, TRADE_LAG_MS) for name, stream in self.streams.items()
        ]
        name = f"worker {len(shelf.claims)}"
        made = engine(settings, live, self.store, self._snapshot, name, clock, self.events, lambda: 0.5)
        self.latest, self.rounds, self.feed, self.leader = made.latest, made.rounds, made.feed, made.leader
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self.leader.run()), asyncio.create_task(self.feed.run(self.rounds.renew))]

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def price(self, pair: Pair = ETH) -> str | None:
        quote = self.latest.held(pair)
        return quote.price if quote else None

    def open(self) -> set[str]:
        return {name for name, stream in self.streams.items() if stream.is_open}

    def answers(self, price: str) -> None:
        """Set what all sources answer from now on."""
        for source in self.polled.values():
            source.answers = [price]

    def _snapshot(self, quote: Quote, fetched_at: float, fresh_until: float, usable_until: float) -> Snapshot:
        return Snapshot(quote, fetched_at, fresh_until, usable_until)


MakeWorker = Callable[..., Any]


@pytest.fixture
async def a_worker() -> AsyncIterator[MakeWorker]:
    """Makes started workers with one clock and one shelf, which have had their first round and opened their streams."""
    clock, shelf, workers = FakeClock(), Shelf(), list[Worker]()

    async def make(sources: str = "binance,okx,kraken", **environ: str) -> Worker:
        workers.append(worker := Worker(clock, shelf, sources, **environ))
        worker.start()
        await clock.advance(2.05)
        return worker

    yield make
    for worker in workers:
        await worker.stop()


async def test_what_the_stream_says_is_served_and_stored_at_once(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    assert worker.open() == {"binance"}
    worker.streams["binance"].say("100.1")
    await settle()
    assert worker.price() == "100.1"
    assert [quote.price for quote in worker.store.shelf.stored.quotes] == ["100.1"]
    assert worker.store.shelf.stored.streams[0] == StreamReport("binance", "live")


async def test_followers_serve_what_the_leaders_stream_says_and_open_none(a_worker: MakeWorker) -> None:
    leader, follower = await a_worker(), await a_worker()
    leader.streams["binance"].say("100.1")
    await settle()
    assert follower.price() == "100.1" and not follower.open()
    assert follower.rounds.streams == leader.rounds.streams


async def test_others_have_turns_while_many_pairs_are_heard_and_looked_at(a_worker: MakeWorker) -> None:
    pairs = [Pair(f"C{number}", "USDT") for number in range(4 * SLICE)]
    worker, turns = await a_worker(PAIRS=",".join(pair.slug for pair in pairs)), 0
    for pair in pairs:
        worker.streams["binance"].say("100.1", pair)
    while worker.price(pairs[-1]) != "100.1":
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2 * len(pairs) / SLICE
    assert all(worker.price(pair) == "100.1" for pair in pairs)


async def test_a_pair_is_renewed_once_per_interval_with_the_newest_of_all_pairs(a_worker: MakeWorker) -> None:
    worker = await a_worker(PAIRS="eth-usdt,btc-usdt", STREAM_INTERVAL="0.5")
    writes = worker.store.shelf.writes
    for number in range(10):
        worker.streams["binance"].say(f"100.{number:02}")
        worker.streams["binance"].say(f"100.{number + 20:02}", BTC)
        await worker.clock.advance(0.03)
    assert worker.store.shelf.writes == writes + 1 and worker.price() == "100.00"
    await worker.clock.advance(0.3)
    assert worker.store.shelf.writes == writes + 2
    assert (worker.price(), worker.price(BTC)) == ("100.09", "100.29")


async def test_a_move_that_surprises_waits_for_the_next_round(a_worker: MakeWorker) -> None:
    worker = await a_worker(CROSS_CHECK_INTERVAL="10")
    worker.answers("101")
    worker.streams["binance"].say("101")
    await settle()
    assert worker.price() == "100"
    asked = len(worker.polled["okx"].asked)
    await worker.clock.advance(1.0)
    assert worker.price() == "101" and len(worker.polled["okx"].asked) > asked


async def test_a_message_that_is_too_old_by_its_own_stamp_is_left_out(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    worker.streams["binance"].say("100.1", time_ms=worker.clock.wall_ms() - LAG_MS - 1)
    await settle()
    assert worker.price() == "100"
    await worker.clock.advance(0.2)
    worker.streams["binance"].say("100.2", time_ms=worker.clock.wall_ms() - LAG_MS)
    await settle()
    assert worker.price() == "100.2"


async def test_the_stamp_of_a_last_trade_may_be_older(a_worker: MakeWorker) -> None:
    stream = FakeStream("binance", FakeClock())
    stream.source_time = SourceTime.TRADE
    streamed = Streamed(FakeSource("binance", FakeClock(), "100"), stream, FakeClock(), LAG_MS, TRADE_LAG_MS)
    assert streamed._lag_ms == TRADE_LAG_MS
    stream.source_time = SourceTime.NONE
    assert Streamed(FakeSource("b", FakeClock(), "1"), stream, FakeClock(), LAG_MS, TRADE_LAG_MS)._lag_ms is None


async def test_polls_that_are_behind_their_stream_do_not_run_backwards_even_when_it_is_closed() -> None:
    """1. The stream tells a price of now. 2. The answer to a poll is a second old, as all polls of this source are."""
    clock = FakeClock()
    source = FakeSource("kucoin", clock, source_time=SourceTime.PRICE)
    stream = FakeStream("kucoin", clock)
    streamed = Streamed(source, stream, clock, LAG_MS, TRADE_LAG_MS)
    streamed.open([ETH], lambda: None, lambda error: None)
    stamps = []

    async def poll() -> None:
        clock.now += 0.1
        quote = a_quote("100", clock.wall_ms(), source_time_ms=clock.wall_ms() - 1000)
        source.answers = [{ETH: quote}]
        answer = (await streamed.fetch(source.calls([ETH])[0]))[ETH]
        stamps.append(answer.source_time_ms if isinstance(answer, Quote) else None)

    await poll()
    stream.say("100.1", time_ms=clock.wall_ms())
    streamed.take()
    told_ms = clock.wall_ms()
    await poll()
    await streamed.close()
    await poll()
    assert stamps == [told_ms - 1000, told_ms, told_ms]


async def test_a_poll_asked_before_a_message_was_read_does_not_replace_it(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    source = worker.polled["binance"]
    source.gate = asyncio.Event()
    await worker.clock.advance(1.0)
    worker.streams["binance"].say("100.1")
    await settle()
    source.gate.set()
    source.gate = None
    await settle()
    assert worker.price() == "100.1"
    await worker.clock.advance(1.0)
    assert worker.price() == "100"


async def test_what_is_told_between_an_answer_and_its_consideration_does_not_make_it_run_backwards(
    a_worker: MakeWorker,
) -> None:
    """1. An answer is read. 2. The stream tells a newer price, which is served. 3. The round considers the answer."""
    worker = await a_worker()
    streamed, source = worker.streams["binance"], worker.polled["binance"]
    source.source_time, health = SourceTime.PRICE, worker.rounds._sources[0]
    health.source.source_time = SourceTime.PRICE
    source.answers = [{ETH: lambda: a_quote("100", worker.clock.wall_ms(), source_time_ms=worker.clock.wall_ms() - 10)}]
    fetch = health.source.fetch

    async def slowly(call: Any) -> Any:
        answers = await fetch(call)
        worker.clock.now += 0.2
        streamed.say("100.1", time_ms=worker.clock.wall_ms())
        await settle()
        return answers

    health.source.fetch = slowly
    await worker.clock.advance(1.0)
    assert worker.price() == "100.1" and not worker.events.of(SourceLost)


async def test_what_was_read_but_not_yet_served_is_not_lost_to_a_poll(a_worker: MakeWorker) -> None:
    """1. A message is served. 2. Another is read, and waits for its interval. 3. The answer to a poll arrives."""
    worker = await a_worker(STREAM_INTERVAL="0.9")
    await worker.clock.advance(0.8)
    worker.streams["binance"].say("100.1")
    await settle()
    source = worker.polled["binance"]
    source.gate = asyncio.Event()
    await worker.clock.advance(0.3)
    worker.streams["binance"].say("100.2")
    source.gate.set()
    source.gate = None
    await settle()
    assert worker.price() == "100.2"


async def test_the_stream_moves_when_the_rounds_have_taken_from_another_source_for_a_while(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    worker.polled["binance"].answers = [SourceDown("it is down")]
    await worker.clock.advance(1.5)
    worker.streams["binance"].say("100.1")
    await settle()
    # Rounds now use okx, so prices from binance's stream are not served, though it is still open.
    assert worker.price() == "100" and worker.open() == {"binance"}
    await worker.clock.advance(MOVE_SECONDS + 1)
    assert worker.open() == {"okx"} and worker.streams["binance"].asked[-1] == ("close", ())
    worker.streams["okx"].say("100.2")
    await settle()
    assert worker.price() == "100.2"


async def test_no_stream_is_open_without_the_lead_and_the_next_leader_opens_it(a_worker: MakeWorker) -> None:
    first, second = await a_worker(), await a_worker()
    assert first.open() and not second.open()
    for task in first.tasks:  # As after a kill: the claim is not released.
        task.cancel()
    first.leader.leads = False
    await first.clock.advance(CLAIM_SECONDS + 2.0)
    assert second.open() == {"binance"}


async def test_a_worker_that_lost_its_lease_serves_nothing_of_its_stream(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    worker.clock.now += CLAIM_SECONDS + 1  # The worker was stopped for this long.
    worker.streams["binance"].say("100.1")
    await settle()
    assert worker.store.shelf.stored.quotes[0].price == "100"


async def test_a_silent_stream_is_renewed_then_changed_then_given_up(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    stream = worker.streams["binance"]
    worker.answers("100.1")
    await worker.clock.advance(4.0)
    assert [what for what, _ in stream.asked] == ["open", "renew"]
    await worker.clock.advance(3.0)
    assert [what for what, _ in stream.asked] == ["open", "renew", "reconnect"]
    await worker.clock.advance(4.0)
    assert [what for what, _ in stream.asked] == ["open", "renew", "reconnect", "close"]
    given_up, = worker.events.of(StreamGivenUp)
    assert (given_up.source, given_up.seconds) == ("binance", GIVE_UP_SECONDS)
    assert worker.feed.reports()[0].state == "given_up" and worker.price() == "100.1"
    await worker.clock.advance(GIVE_UP_SECONDS)
    assert stream.is_open


async def test_a_stream_that_is_not_connected_is_not_silent(a_worker: MakeWorker, monkeypatch: Any) -> None:
    worker = await a_worker()
    monkeypatch.setattr(worker.streams["binance"], "tells", lambda pair: False)
    for number in range(60):
        worker.answers(f"100.{number:02}")
        await worker.clock.advance(1.0)
    assert [what for what, _ in worker.streams["binance"].asked] == ["open"]


async def test_a_round_that_is_being_stored_is_what_a_message_is_believed_beside(a_worker: MakeWorker) -> None:
    """1. A round takes okx and is being stored. 2. The stream of binance tells a price near the previous one."""
    worker = await a_worker()
    held = worker.latest.held(ETH)
    await worker.rounds._storing.acquire()
    worker.streams["binance"].say("100.1")
    await settle()
    worker.latest.offer(a_quote("104", worker.clock.wall_ms(), "okx"))
    worker.rounds._storing.release()
    await settle()
    assert held.price == "100" and worker.price() == "104"


async def test_one_silent_pair_among_others_does_not_end_the_stream(a_worker: MakeWorker) -> None:
    worker = await a_worker(PAIRS="eth-usdt,btc-usdt,sol-usdt")
    worker.polled["binance"].answers = [{pair: "100" for pair in worker.latest.pairs} | {BTC: "100.1"}]
    await worker.clock.advance(120.0)
    stream = worker.streams["binance"]
    assert stream.is_open and not worker.events.of(StreamGivenUp)
    assert {pairs for what, pairs in stream.asked if what != "open"} == {(BTC,)}
    assert [what for what, _ in stream.asked].count("reconnect") == 1 and len(stream.asked) < 9


async def test_a_stream_that_says_what_polls_do_not_see_is_given_up_longer_each_time(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    for _ in range(120 + 3 * round(GIVE_UP_SECONDS)):
        await worker.clock.advance(1.0)
        if worker.streams["binance"].is_open:
            worker.streams["binance"].say("100.3")
    pauses = [event.seconds for event in worker.events.of(StreamGivenUp)]
    assert pauses[:2] == [GIVE_UP_SECONDS, 2 * GIVE_UP_SECONDS]
    assert worker.price() == "100"


async def test_a_defect_in_how_a_message_is_read_costs_the_stream_and_no_poll(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    worker.answers("101")
    worker.streams["binance"].say(cast(str, object()))
    await worker.clock.advance(3.0)
    assert worker.price() == "101" and worker.latest.held(ETH).source == "binance"
    (given_up,) = worker.events.of(StreamGivenUp)
    assert "TypeError" in given_up.reason


async def test_an_exchange_that_refuses_a_stream_is_not_polled_either(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    worker.streams["binance"].refuse(RateLimited("too many connections", 30.0))
    worker.streams["binance"].refuse(SourceDown("it is down"))
    asked = len(worker.polled["binance"].asked)
    await worker.clock.advance(10.0)
    assert len(worker.polled["binance"].asked) <= asked + 1
    assert worker.open() == {"okx"} and len(worker.events.of(SourceCooling)) == 1


async def test_a_stream_that_is_refused_again_and_again_does_not_keep_its_source_from_being_polled(
    a_worker: MakeWorker,
) -> None:
    worker = await a_worker("binance")
    stream, source = worker.streams["binance"], worker.polled["binance"]
    for _ in range(1200):
        await worker.clock.advance(1.0)
        if stream.is_open:
            stream.refuse(RateLimited("too many connections", 30.0))
    assert len(source.asked) > 1000


async def test_in_median_mode_every_stream_counts_with_its_newest_quote(a_worker: MakeWorker) -> None:
    worker = await a_worker("binance,okx,kraken", PRICE_MODE="median")
    assert worker.open() == {"binance", "okx", "kraken"}
    for name, price in ("binance", "100.1"), ("okx", "100.2"), ("kraken", "100.3"):
        await worker.clock.advance(0.15)
        worker.streams[name].say(price)
    await settle()
    held = worker.latest.held(ETH)
    assert held.price == "100.2" and held.agreement.sources == ("binance", "okx", "kraken")


async def test_without_streams_nothing_is_open(a_worker: MakeWorker) -> None:
    worker = await a_worker()
    settings = Settings.from_env({})
    bare = [FakeSource("binance", worker.clock, "100")]
    made = engine(settings, bare, MemoryStore(worker.clock), worker._snapshot, "w", worker.clock, worker.events)
    made.feed.turn(lambda: True)
    assert made.feed.reports() == ()
