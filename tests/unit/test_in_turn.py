"""`fastprice quote` and `fastprice watch` keep within each source's limit, and stop calling a source that says so."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from fastprice.application.ask_each import Asked, ask_each
from fastprice.application.ports import Limit
from fastprice.application.watching import AGAIN_SECONDS, POLL_SECONDS, Watching
from fastprice.domain.errors import RateLimited, SourceDown, UnknownSymbol, UnlistedAmong
from fastprice.domain.quote import Pair
from tests.fakes import FakeClock, FakeSource

pytestmark = pytest.mark.anyio

PAIRS = tuple(Pair(f"C{number}", "USDT") for number in range(9))
# A burst of three, and two calls a second.
LIMIT = Limit(3.0, 2.0)
AWAY = RateLimited("HTTP 429: too many requests", 60.0)


class Each(FakeSource):
    """A source of one call for each pair; `at` records when it was called."""

    def __init__(self, clock: FakeClock, *answers: Any, per_call: int = 1) -> None:
        super().__init__("each", clock, *answers, limit=LIMIT, per_call=per_call)
        self.at: list[float] = []

    def answer(self, call: Any) -> Any:
        self.at.append(self._clock.now - 1000.0)
        return super().answer(call)


async def asked(clock: FakeClock, *sources: FakeSource) -> dict[Pair, list[Asked]]:
    asking = asyncio.create_task(ask_each(sources, PAIRS, clock))
    await clock.advance(60.0)
    return asking.result()


@pytest.fixture
async def watched(clock: FakeClock) -> Any:
    """Watch sources until the test ends."""
    tasks = []

    def watch(*sources: FakeSource) -> Watching:
        watching = Watching(sources, PAIRS, clock)
        tasks.append(asyncio.create_task(watching.run()))
        return watching

    yield watch
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_calls_are_as_far_apart_as_the_limit_says_and_others_do_not_wait_for_them(clock: FakeClock) -> None:
    each, whole = Each(clock, "100"), FakeSource("whole", clock, "101")
    said = await asked(clock, each, whole)
    assert each.at == [0, 0, 0, 0.5, 1, 1.5, 2, 2.5, 3] and whole.asked == [PAIRS]
    assert list(said) == list(PAIRS)
    for rows in said.values():
        assert [(row.source, row.quote.price) for row in rows if row.quote] == [("each", "100"), ("whole", "101")]
        assert {row.seconds for row in rows} == {0.0}, "it is the source's time, without ours"


async def test_what_a_call_costs_counts(clock: FakeClock) -> None:
    each = Each(clock, "100", per_call=3)
    calls = each.calls
    each.calls = lambda pairs: [type(call)(call.pairs, 3.0) for call in calls(pairs)]  # type: ignore[method-assign]
    await asked(clock, each)
    assert each.at == [0, 1.5, 3]


async def test_who_says_stay_away_is_asked_no_further_and_that_stands_for_the_other_pairs(clock: FakeClock) -> None:
    each = Each(clock, "100", "100", SourceDown("reset"), AWAY)
    rows = [row for [row] in (await asked(clock, each)).values()]
    assert [row.error for row in rows] == [None, None, "reset", *[str(AWAY)] * 6]
    assert each.asked == [(pair,) for pair in PAIRS[:4]]


async def test_who_refuses_a_list_for_one_of_its_pairs_is_asked_once_more_within_the_limit(clock: FakeClock) -> None:
    spoilt = UnlistedAmong("not listed (one of 9 pairs, not said which)")
    each = Each(clock, spoilt, {PAIRS[0]: UnknownSymbol("not listed")} | dict.fromkeys(PAIRS[1:], "100"), per_call=9)
    [first], *others = (await asked(clock, each)).values()
    assert first.is_unlisted and all(row.quote for [row] in others) and len(each.asked) == 2
    each = Each(clock, spoilt, per_call=9)
    rows = [row for [row] in (await asked(clock, each)).values()]
    assert {row.error for row in rows} == {str(spoilt)} and len(each.asked) == 2


async def test_one_who_watches_keeps_within_the_limit_poll_after_poll(
    clock: FakeClock, watched: Callable[..., Watching]
) -> None:
    each = Each(clock, "100")
    watching = watched(each)
    await clock.advance(3.0 + POLL_SECONDS + 3.0)
    once = [0, 0, 0, 0.5, 1, 1.5, 2, 2.5, 3]
    assert each.at == once + [at + 3.0 + POLL_SECONDS for at in once]
    assert len(watching.said) == len(PAIRS) and not watching.errors


async def test_one_who_watches_obeys_who_says_stay_away(clock: FakeClock, watched: Callable[..., Watching]) -> None:
    each = Each(clock, "100", AWAY, "100")
    watching = watched(each)
    await clock.advance(59.0)
    assert len(each.asked) == 2 and list(watching.said) == [("each", PAIRS[0])]
    assert watching.errors == {("each", pair): str(AWAY) for pair in PAIRS[1:]}
    await clock.advance(5.0)
    assert each.at[2] == 60.0 and len(watching.said) == len(PAIRS) and not watching.errors


async def test_one_who_watches_asks_a_refused_list_again_within_the_limit(
    clock: FakeClock, watched: Callable[..., Watching]
) -> None:
    each = Each(clock, UnlistedAmong("one of them"), per_call=9)
    watched(each)
    await clock.advance(2.0)
    assert each.at[1] == pytest.approx(AGAIN_SECONDS) and len(each.at) > LIMIT.burst
    for number, at in enumerate(each.at, 1):
        assert number <= LIMIT.burst + LIMIT.per_second * at + 1e-6
