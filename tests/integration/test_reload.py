"""`fastprice serve --reload` starts anew what has changed, and outlives a text that cannot start."""

import asyncio
import os
import shutil
import sys
from pathlib import Path

import aiohttp
import pytest

import fastprice
from tests.conftest import free_port
from tests.service import PATIENCE, polling

pytestmark = pytest.mark.anyio


async def version(port: int) -> str | None:
    """What the service says that it is; None while it does not answer."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/api/") as response:
            return str((await response.json())["version"])
    except aiohttp.ClientError:
        return None


async def until_version(port: int, wanted: str) -> None:
    for _ in polling():
        if await version(port) == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never became {wanted}")


async def test_a_change_of_the_source_is_served_and_a_broken_one_is_survived(tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__")
    text = shutil.copytree(Path(fastprice.__file__).parent, tmp_path / "fastprice", ignore=ignored) / "__init__.py"
    original, port = text.read_text(), free_port()
    environ = {"PYTHONPATH": str(tmp_path), "PORT": str(port), "WORKERS": "1", "STORE_DIR": str(tmp_path / "store")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fastprice.cli", "serve", "--reload", cwd=tmp_path,
        env={**os.environ, **environ, "HOST": "127.0.0.1", "MARKET_URL": f"http://127.0.0.1:{free_port()}"},
    )
    try:
        await until_version(port, fastprice.__version__)
        text.write_text("this is no Python")
        for _ in polling():
            if await version(port) is None:
                break
        text.write_text(original.replace(f'"{fastprice.__version__}"', '"9.9.9"'))
        await until_version(port, "9.9.9")
    finally:
        process.terminate()
        code = await asyncio.wait_for(process.wait(), PATIENCE)
    assert code == 0
