"""Carrying out a round: the loop that calls sources, waits for them, and passes their outcomes to the round."""

import asyncio
import logging
from collections.abc import Callable

from fastprice.application.ask import Ask, Outcome
from fastprice.application.ports import Call, Clock
from fastprice.application.round import Round
from fastprice.application.source_health import SourceHealth
from fastprice.domain.errors import InvalidReply, LocalFailure, SourceError, SourceTimeout

logger = logging.getLogger(__name__)


async def carry_out(round_: Round, clock: Clock, may_ask: Callable[[], bool]) -> None:
    """Ask until no pair is missing or no source is left; answers are kept, whatever a source does.

    `may_ask` says whether this worker still leads: a leader that was paused and resumes too late calls no source.
    """
    while asks := round_.next(clock.monotonic(), clock.wall_ms()):
        await asyncio.gather(*(_carry_out(round_, ask, clock, may_ask) for ask in asks))
        if not may_ask():
            break
    round_.close(clock.monotonic(), clock.wall_ms())


async def _carry_out(round_: Round, ask: Ask, clock: Clock, may_ask: Callable[[], bool]) -> None:
    if ask.pause_seconds:
        await clock.sleep(ask.pause_seconds)
    if may_ask():
        seconds = round_.deadline - clock.monotonic()
        outcomes = await asyncio.gather(*(_outcome(ask.health, call, seconds) for call in ask.calls))
        round_.answered(ask, outcomes, clock.monotonic(), clock.wall_ms())


async def _outcome(health: SourceHealth, call: Call, seconds: float) -> Outcome:
    try:
        async with asyncio.timeout(seconds):
            return await health.source.fetch(call)
    except SourceError as error:
        return error
    except TimeoutError:
        return SourceTimeout("no answer before the round ended")
    except MemoryError:
        return LocalFailure("this machine cannot ask it: it has no memory for the answer")
    except Exception:
        logger.exception("a defect in reading %s: it counts as a failure of this source", health.name)
        return InvalidReply("a defect of this service, see its log")
