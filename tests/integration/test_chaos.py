"""`make chaos` itself: a few seconds of it run from end to end and find no violation."""

import asyncio
import re
import sys

import pytest

pytestmark = pytest.mark.anyio

COMMAND = (sys.executable, "-m", "bench.chaos", "--seed", "9", "--minutes", "0", "--trouble", "2")


async def test_a_few_seconds_of_chaos_judge_many_answers_and_find_nothing() -> None:
    chaos = await asyncio.create_subprocess_exec(
        *COMMAND, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said = (await chaos.communicate())[0].decode()
    assert chaos.returncode == 0, said
    assert said.endswith("nothing was found\n")
    counted = {name: int(number) for name, number in re.findall(r"'([a-z0-9 ]+)': (\d+)", said)}
    assert counted["answers 200"] > 50
    assert counted["troubles"] > 5
