"""Long work lets other tasks run in between, and leaves nothing out."""

import asyncio

import pytest

from fastprice.application.slices import SLICE, in_slices


@pytest.mark.parametrize("count", [0, 1, SLICE - 1, SLICE, SLICE + 1, 7 * SLICE + 3])
def test_everything_is_given_in_its_order_and_others_have_a_turn_after_each_slice(count: int) -> None:
    async def work() -> tuple[list[int], int]:
        turns = 0

        async def count_turns() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        other = asyncio.create_task(count_turns())
        given = [number async for number in in_slices(range(count))]
        other.cancel()
        return given, turns

    assert asyncio.run(work()) == (list(range(count)), count // SLICE)
