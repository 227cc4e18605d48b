"""The deadline of an operation on Redis: it ends slow operations, and does not blame Redis for our own pauses."""

import asyncio
import time
from collections.abc import Callable

import pytest
import uvloop

from fastprice.infrastructure.redis_store.limit import SLICES, limit

SECONDS = 0.05
LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
each_loop = pytest.mark.parametrize("new_loop", LOOPS.values(), ids=LOOPS)


@each_loop
@pytest.mark.parametrize("pause", [0.0, SECONDS / SLICES, 2 * SECONDS], ids=["punctual", "a bit late", "late for ever"])
def test_what_never_ends_is_ended(new_loop: Callable[[], asyncio.AbstractEventLoop], pause: float) -> None:
    async def wait() -> float:
        began = time.monotonic()

        async def be_late() -> None:
            while True:
                time.sleep(pause)
                await asyncio.sleep(0.001)

        being_late = asyncio.create_task(be_late())
        with pytest.raises(TimeoutError):
            async with limit(SECONDS):
                await asyncio.Event().wait()
        being_late.cancel()
        return time.monotonic() - began

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(wait()) >= 0.9 * SECONDS


@each_loop
def test_an_answer_that_came_while_the_loop_did_not_run_is_in_time(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            while word := await reader.read(1):
                writer.write(word)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for pause in (0.0, 2 * SECONDS, 2 * SECONDS, 2 * SECONDS):
            async with limit(SECONDS):
                writer.write(b"?")
                asyncio.get_running_loop().call_later(SECONDS / 2, time.sleep, pause)
                await asyncio.sleep(SECONDS / 2)
                assert await reader.read(1) == b"?"
        writer.close()
        await writer.wait_closed()
        server.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


def test_what_is_cancelled_from_outside_is_cancelled_and_leaves_no_timer() -> None:
    async def run() -> None:
        async def wait() -> None:
            async with limit(SECONDS):
                await asyncio.Event().wait()

        waiting = asyncio.create_task(wait())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        async with limit(SECONDS):
            pass
        timers = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
        assert all(timer.cancelled() for timer in timers)

    asyncio.run(run())
