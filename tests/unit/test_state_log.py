"""The operator's log: one line for each change of state, and no line for events that are only counted."""

import logging
from typing import get_args

import pytest

from fastprice.application.events import (
    BreakerMoved, CacheRead, CoordinationBack, CoordinationLost, Event, FreshnessMoved, LeaderMoved, Refreshed,
    RefreshFailing, RefreshRecovered, SourceAsked, SourceBack, SourceCooling, SourceDistrusted, SourceLost,
    SourceSkipped, SourceTrusted, StoreAsked, StoreBack, StoreLost
)
from fastprice.application.live_events import StreamBack, StreamGivenUp, StreamHeard, StreamLost, StreamReconnected
from fastprice.domain.quote import Freshness, Pair
from fastprice.infrastructure.state_log import StateLog
from tests.fakes import BTC, ETH, START_MS

FIVE = tuple(Pair(base, "USDT") for base in ("ETH", "BTC", "SOL", "DOGE", "XRP"))
# The event, the level of its line, and words in that line; None: no line.
LINES: list[tuple[Event, int, list[str]] | tuple[Event, None, None]] = [
    (SourceLost("okx", (ETH,), "refused"), logging.WARNING, ["source lost", "okx, ETH-USDT", "refused"]),
    (SourceLost("okx", FIVE, "refused"), logging.WARNING, ["okx, ETH-USDT, BTC-USDT, SOL-USDT and 2 more: refused"]),
    (SourceBack("okx", (ETH,)), logging.INFO, ["source back", "okx", "ETH-USDT"]),
    (SourceDistrusted("okx", (ETH,), "100 is 4.00% off, others say 104"), logging.WARNING,
     ["source distrusted: okx, ETH-USDT: 100 is 4.00% off, others say 104; it is asked last"]),
    (SourceTrusted("okx", FIVE), logging.INFO, ["source trusted again: okx, ETH-USDT, BTC-USDT, SOL-USDT and 2 more"]),
    (SourceCooling("okx", START_MS), logging.WARNING, ["okx", "until 2025-07-23 19:46:40 UTC"]),
    (BreakerMoved("okx", "closed", "open"), logging.INFO, ["open", "okx"]),
    (BreakerMoved("okx", "half_open", "closed"), logging.INFO, ["closed", "okx"]),
    (BreakerMoved("okx", "open", "half_open"), None, None),
    (BreakerMoved("okx", "half_open", "open"), None, None),
    (RefreshFailing((ETH,), "okx: refused"), logging.ERROR, ["ETH-USDT", "okx: refused", "503", "make demo"]),
    (RefreshRecovered((ETH, BTC)), logging.INFO, ["ETH-USDT, BTC-USDT"]),
    (FreshnessMoved((ETH,), Freshness.FRESH, 40), logging.INFO, ["fresh", "ETH-USDT", "0.0 s old"]),
    (FreshnessMoved((ETH,), Freshness.STALE, 5_250), logging.WARNING, ["stale", "ETH-USDT", "5.2 s old"]),
    (FreshnessMoved((ETH,), None, 5_250), logging.WARNING, ["no price 5.2 s after the start", "ETH-USDT", "503 is served"]),
    (FreshnessMoved(FIVE, Freshness.EXPIRED, 60_400), logging.WARNING, ["expired", "ETH-USDT", "2 more", "60.4 s old"]),
    (StoreLost("no answer in time", announce=True), logging.WARNING, ["shared store lost", "no answer in time"]),
    (StoreLost("no answer in time", announce=False), None, None),
    (StoreBack(announce=True), logging.INFO, ["shared store back"]),
    (StoreBack(announce=False), None, None),
    (CoordinationLost("no such place"), logging.WARNING, ["no store works", "no such place"]),
    (CoordinationBack(), logging.INFO, ["store works again"]),
    (StreamLost("okx", "closed with 1006"), logging.WARNING, ["stream lost: okx: closed with 1006", "polled"]),
    (StreamBack("okx"), logging.INFO, ["stream back: okx"]),
    (StreamGivenUp("okx", "it is wrong", 60.0), logging.WARNING, ["stream given up: okx: it is wrong", "for 60 s"]),
    (StreamReconnected("okx", "lost"), None, None),
    (StreamHeard("okx", {"data": 7}, 0.1), None, None),
    (SourceAsked("okx", "timeout", 2.0), None, None),
    (SourceSkipped("okx"), None, None),
    (Refreshed("failed", 1), None, None),
    (CacheRead("l2", "miss"), None, None),
    (LeaderMoved(True), None, None),
    (StoreAsked("read", "error", 0.1), None, None),
]


@pytest.mark.parametrize(("event", "level", "words"), LINES, ids=lambda item: str(item)[:50])
def test_a_change_of_state_is_one_line_and_anything_else_none(
    caplog: pytest.LogCaptureFixture, event: Event, level: int | None, words: list[str] | None
) -> None:
    with caplog.at_level(logging.DEBUG, logger="fastprice"):
        StateLog()(event)
    assert [record.levelno for record in caplog.records] == ([] if level is None else [level])
    for record in caplog.records:
        line = record.getMessage()
        assert all(word in line for word in words or ()) and "\n" not in line
        assert (record.name, record.exc_info) == ("fastprice", None)


def test_of_a_replicas_workers_one_tells_how_prices_age(caplog: pytest.LogCaptureFixture) -> None:
    stale = FreshnessMoved((ETH,), Freshness.STALE, 5_250)
    with caplog.at_level(logging.DEBUG, logger="fastprice"):
        for tells_freshness in True, False, False:
            log = StateLog(tells_freshness)
            log(stale)
        log(StoreBack(announce=True))
    assert [record.getMessage().split(":")[0] for record in caplog.records] == ["price stale", "shared store back"]


def test_the_table_above_knows_every_event() -> None:
    assert {type(event) for event, _, _ in LINES} == set(get_args(Event))
