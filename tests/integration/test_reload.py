"""`fastprice serve --reload` restarts after a change, and survives a change with which it cannot start."""

import asyncio
import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import aiohttp
import pytest

import fastprice
from fastprice.server.reload import _files
from tests.conftest import free_port
from tests.service import PATIENCE, polling

pytestmark = pytest.mark.anyio


async def said(port: int, path: str, *keys: str) -> str | None:
    """What the service says of itself at this path; None while it does not answer."""
    try:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as response:
            found = await response.json()
    except aiohttp.ClientError:
        return None
    for key in keys:
        found = found[key]
    return str(found)


async def version(port: int) -> str | None:
    return await said(port, "/api/", "version")


async def until(told: Callable[[], Awaitable[str | None]], wanted: str | None) -> None:
    for _ in polling():
        if await told() == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"never became {wanted}")


@contextlib.asynccontextmanager
async def reloading(tmp_path: Path) -> AsyncIterator[tuple[Path, int]]:
    """A copy of the package, and the port on which it is served with --reload."""
    ignored = shutil.ignore_patterns("__pycache__")
    package, port = shutil.copytree(Path(fastprice.__file__).parent, tmp_path / "fastprice", ignore=ignored), free_port()
    environ = {"PYTHONPATH": str(tmp_path), "PORT": str(port), "WORKERS": "1", "STORE_DIR": str(tmp_path / "store")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fastprice.cli", "serve", "--reload", cwd=tmp_path,
        env={**os.environ, **environ, "HOST": "127.0.0.1", "MARKET_URL": f"http://127.0.0.1:{free_port()}"},
    )
    try:
        await until(lambda: version(port), fastprice.__version__)
        yield package, port
    finally:
        process.terminate()
        code = await asyncio.wait_for(process.wait(), PATIENCE)
    assert code == 0


async def test_a_change_of_the_source_is_served_and_a_broken_one_is_survived(tmp_path: Path) -> None:
    async with reloading(tmp_path) as (package, port):
        text = package / "__init__.py"
        original = text.read_text()
        text.write_text("this is no Python")
        await until(lambda: version(port), None)
        text.write_text(original.replace(f'"{fastprice.__version__}"', '"9.9.9"'))
        await until(lambda: version(port), "9.9.9")


async def test_a_change_of_a_file_that_is_no_python_is_served(tmp_path: Path) -> None:
    async with reloading(tmp_path) as (package, port):
        document = package / "interface" / "openapi.json"
        title = json.loads(document.read_bytes())["info"]["title"]
        document.write_text(document.read_text().replace(f'"{title}"', '"changed"', 1))
        await until(lambda: said(port, "/openapi.json", "info", "title"), "changed")


def test_caches_and_hidden_files_are_not_watched(tmp_path: Path) -> None:
    """Otherwise each start, and each file opened in an editor, would cause a restart."""
    for name in "a.py", "b.json", ".a.py.swp", "__pycache__/a.cpython-311.pyc", "__pycache__/a.cpython-311.pyc.140":
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert sorted(path.name for path in _files(tmp_path)) == ["a.py", "b.json"]
