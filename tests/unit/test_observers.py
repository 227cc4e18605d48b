"""An observer that fails is logged and skipped; its error never reaches the code that emitted the event."""

import logging

import pytest

from fastprice.application.events import CoordinationBack, Event, SourceSkipped
from fastprice.bootstrap import tell_all
from tests.fakes import RecordingEvents


def test_one_observer_that_raises_keeps_no_event_from_the_others_and_is_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(event: Event) -> None:
        raise ValueError("broken")

    first, last = RecordingEvents(), RecordingEvents()
    tell = tell_all([first, broken, last])
    told: list[Event] = [SourceSkipped("okx"), SourceSkipped("gate"), CoordinationBack(), SourceSkipped("okx")]
    for event in told:
        tell(event)
    assert first.all == last.all == told
    lines = [(record.levelno, "SourceSkipped" in record.getMessage()) for record in caplog.records]
    assert lines == [(logging.ERROR, True), (logging.ERROR, False)], "once for each kind of event"


def test_an_observer_that_fails_over_one_event_is_told_of_the_next() -> None:
    seen: list[Event] = []

    def choosy(event: Event) -> None:
        if event == SourceSkipped("okx"):
            raise ValueError("choosy")
        seen.append(event)

    tell = tell_all([choosy])
    for source in ("okx", "gate", "okx", "bybit"):
        tell(SourceSkipped(source))
    assert seen == [SourceSkipped("gate"), SourceSkipped("bybit")]
