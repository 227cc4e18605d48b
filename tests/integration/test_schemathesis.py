"""Schemathesis sends a running service whatever /openapi.json allows or forbids, and checks every answer against it."""

import asyncio
import sys
from pathlib import Path

import pytest

from fastprice.market import Market
from tests.service import PATIENCE, running

pytestmark = pytest.mark.anyio

# A request that the document allows may still name a pair that is not served, or a smaller age than the price has.
CONFIG = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", 304, 404, 412, 503]
"""


async def test_it_finds_nothing(market: Market, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    async with running(market, tmp_path) as service:
        await service.until(200)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json",
            # A stream never ends; it has tests of its own.
            "--checks", "all", "--exclude-path-regex", "stream", "--max-examples", "30", "--seed", "1",
            "--continue-on-failure", "--no-color", "--request-timeout", "20",
            cwd=tmp_path, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        said, _ = await asyncio.wait_for(process.communicate(), 2 * PATIENCE)
        assert process.returncode == 0 and b"No issues found" in said, said.decode()
