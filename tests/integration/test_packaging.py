"""The sdist and the wheel: their contents, what a package index shows, and the service running from the wheel alone."""

import asyncio
import contextlib
import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.conftest import free_port
from tests.service import PATIENCE, PRICE, polling

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
FILES = {
    str(path.relative_to(ROOT)) for path in (ROOT / "fastprice").rglob("*") if path.is_file() and path.suffix != ".pyc"
}
BESIDE = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "setup.py")


def run(*words: str | Path, directory: Path) -> str:
    done = subprocess.run(words, cwd=directory, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both, built from a copy of the files that go into them, the wheel from the sdist."""
    source = tmp_path_factory.mktemp("source")
    for name in BESIDE:
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "fastprice", source / "fastprice")
    run(sys.executable, "-m", "build", "--no-isolation", directory=source)
    return source / "dist"


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return next(dist.glob("*.whl"))


def metadata(wheel: Path) -> email.message.Message:
    with zipfile.ZipFile(wheel) as content:
        name = next(name for name in content.namelist() if name.endswith("/METADATA"))
        return email.parser.BytesParser().parsebytes(content.read(name))


def test_wheel_has_the_package_and_its_licence_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as content:
        names = {name for name in content.namelist() if ".dist-info/" not in name}
        infos = {name.split(".dist-info/")[1] for name in content.namelist() if ".dist-info/" in name}
    assert names == FILES
    assert infos == {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}


def test_sdist_has_what_the_wheel_is_built_of_and_nothing_else(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as content:
        names = {member.name.partition("/")[2] for member in content.getmembers() if member.isfile()}
    assert {name for name in names if not name.startswith("fastprice.egg-info/")} == {*FILES, *BESIDE, "PKG-INFO"}


def test_an_index_would_take_both_and_show_what_they_are(dist: Path) -> None:
    checked = run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir(), directory=dist)
    assert checked.count("PASSED") == 2


def test_classifiers_name_the_versions_that_the_tests_run_on(wheel: Path) -> None:
    told = [value.split(" :: ")[-1] for value in metadata(wheel).get_all("Classifier", []) if ":: Python ::" in value]
    tested = re.search(r"for version in ([\d. ]+);", (ROOT / "Makefile").read_text())
    assert tested and told == tested[1].split()


def test_every_link_of_the_long_description_leads_to_a_file_of_this_version(wheel: Path) -> None:
    told = metadata(wheel)
    addresses = dict(value.split(", ") for value in told.get_all("Project-URL", []))
    assert set(addresses) == {"Source", "Documentation", "Changes", "Issues"}
    assert all(address.startswith(addresses["Source"]) for address in addresses.values())
    links = re.findall(r"\]\(([^)#]+)", str(told.get_payload()))
    assert len(links) > 20
    for link in links:
        kind, tag, name = link.removeprefix(f"{addresses['Source']}/").split("/", 2)
        assert kind == ("raw" if name.endswith(".png") else "blob") and tag == f"v{told['Version']}"
        assert (ROOT / name).is_file()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment with the wheel and this one's packages, but not its fastprice."""
    place = tmp_path_factory.mktemp("installed")
    venv.create(place / "venv")
    python = place / "venv/bin/python"
    words = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *words, wheel, directory=place)
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", directory=place).strip())
    # .pth files in these directories, such as that of the checkout, are not followed.
    (packages / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    return python.parent


@contextlib.asynccontextmanager
async def started(program: Path, *words: str, directory: Path, **environ: object) -> AsyncIterator[Any]:
    """The program, run outside the repository until the end of the test."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(
        program, *words, cwd=directory, env={**inherited, **{name: str(value) for name, value in environ.items()}},
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait_for(process.wait(), PATIENCE)


async def answer(url: str, process: Any, **headers: str) -> str:
    """The body of the first answer with status 200."""
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in polling():
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as response:
                    if response.status == 200:
                        return await response.text()
            assert process.returncode is None, "it has ended"
            await asyncio.sleep(0.05)
    raise AssertionError(f"{url} was never answered")


async def test_the_service_runs_from_the_wheel_alone(installed: Path, tmp_path: Path) -> None:
    where = run(installed / "python", "-c", "import fastprice; print(fastprice.__file__)", directory=tmp_path)
    assert where.startswith(str(installed.parent))
    program, market, port = installed / "fastprice", free_port(), free_port()
    given = {"MARKET_URL": f"http://127.0.0.1:{market}", "WORKERS": 1, "STORE_DIR": tmp_path / "store"}
    async with started(program, "market", "--port", str(market), directory=tmp_path):
        async with started(program, "serve", "--port", str(port), directory=tmp_path, **given) as process:
            url = f"http://127.0.0.1:{port}"
            assert '"symbol":"ETH-USDT"' in await answer(url + PRICE, process)
            for path in "/", "/docs":
                assert "<!doctype html>" in (await answer(url + path, process, Accept="text/html")).lower()
            assert '"openapi":"3.1' in await answer(url + "/openapi.json", process)
