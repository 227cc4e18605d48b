"""README and the pages behind it are true, in both languages: commands work, tables are complete, links are valid."""

import ast
import asyncio
import contextlib
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from aiohttp import web

from fastprice.infrastructure.exchanges import EXCHANGES
from fastprice.infrastructure.prometheus import Metrics
from fastprice.market import Market
from fastprice.settings import Settings
from tests.conftest import free_port
from tests.service import running

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
READMES = ("README.md", "README.ru.md")
# The pages that README.md and README.ru.md have in common exist with both of these endings.
PAGES = (".md", ".ru.md")
BOTH = ("README", "docs/endpoints", "docs/settings", "docs/metrics", "docs/commands", "docs/troubleshooting")


class Spy(Mapping[str, str]):
    """An empty environment that records which names are read."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def text(name: str) -> str:
    return (ROOT / name).read_text()


def rows(page: str, *, after: str = "") -> list[list[str]]:
    """The cells of the first table after a heading that starts with `after`, or of the first table of the page."""
    table = text(page).split(f"\n{after}", 1)[1].split("\n|", 1)[1].split("\n\n", 1)[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", cell)


def commands(page: str) -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", text(page), re.S)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("end", PAGES)
def test_settings_table_has_every_variable_with_its_default(end: str) -> None:
    spy = Spy()
    Settings.from_env(spy)
    table = {name: names(row[1]) for row in rows(f"docs/settings{end}") for name in names(row[0])}
    assert set(table) == set(spy.asked)
    shown = {name: default[0] if default else "" for name, default in table.items()}
    as_shown = Settings.from_env({name: value for name, value in shown.items() if not name.endswith("_URL")})
    assert as_shown == Settings.from_env({})


@pytest.mark.parametrize("end", PAGES)
def test_metrics_table_has_every_metric_with_its_labels(end: str) -> None:
    metrics = Metrics("1")
    real = {}
    for family in metrics.registry.collect():
        collector = metrics.registry._names_to_collectors[family.name]
        total = "_total" if family.type == "counter" else ""
        real[family.name.removeprefix("fastprice_") + total] = set(collector._labelnames)  # type: ignore[attr-defined]
    table = {names(row[0])[0]: set(names(row[1])) for row in rows(f"docs/metrics{end}")}
    assert table == real


def test_operations_names_the_place_of_every_stream_and_how_many_pairs_a_connection_carries() -> None:
    real = {}
    for exchange in EXCHANGES.values():
        if stream := exchange.stream:
            place = urlsplit(stream.host)
            real[exchange.name] = place.hostname, place.port or 443, stream.limits.pairs
    table = rows("docs/operations.md", after="## Streams of the exchanges")
    assert {names(row[0])[0]: (names(row[1])[0], int(row[2]), int(row[3])) for row in table} == real


@pytest.mark.parametrize("end", PAGES)
def test_targets_table_is_the_makefiles(end: str) -> None:
    real = set(re.findall(r"^([a-z-]+):.*## ", text("Makefile"), re.M)) - {"help"}
    told = {name.removeprefix("make ") for name in names(text(f"docs/commands{end}")) if name.startswith("make ")}
    assert told == real


@pytest.mark.parametrize("page", BOTH)
def test_both_languages_have_the_same_commands_and_names(page: str) -> None:
    assert commands(f"{page}.md") == commands(f"{page}.ru.md")
    first, second = (set(names(text(f"{page}{end}"))) for end in PAGES)
    assert first == second


def test_every_link_leads_to_a_page_and_a_heading_that_exist() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
    assert len(pages) > 15
    for page in pages:
        for link in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
            target = page.parent / link[0] if link[0] else page
            if not link[0].startswith("http"):
                assert target.exists(), (page.name, link)
                assert not link[1] or link[1] in anchors(target), (page.name, link)


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_of_docs_is_in_its_index() -> None:
    linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", text("docs/README.md")))
    assert linked == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


async def test_the_commands_of_the_quick_start_and_the_examples_work(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        curls = [line for page in BOTH for line in commands(f"{page}.md") if line.startswith("curl ")]
        assert len(curls) > 15
        for line in curls:
            here = line.replace("http://localhost:8000", service.url).replace("http://localhost:9000", market.url)
            fails = here.replace("curl ", "curl --fail ", 1)
            process = await asyncio.create_subprocess_shell(fails, stdout=asyncio.subprocess.PIPE)
            output, _ = await process.communicate()
            assert process.returncode == 0, line
            assert output, line


async def test_every_endpoint_of_the_table_answers(market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        for row in rows("docs/endpoints.md"):
            path = names(row[0])[0].removeprefix("GET ")
            await service.until(200, "/api/v1/prices" if path.endswith("stream") else path)
            async with service.session.get(service.url + path) as answer:
                assert answer.status == 200, path


@pytest.mark.parametrize("readme", READMES)
async def test_the_example_in_python_prints_what_a_stream_sends(market: Market, tmp_path: Path, readme: str) -> None:
    [example] = re.findall(r"```python\n(.*?)```", text(readme), re.S)
    async with running(market, tmp_path, REFRESH_INTERVAL="0.2") as service:
        await service.until(200)
        (tmp_path / "example.py").write_text(example.replace("http://localhost:8000", service.url))
        process = await asyncio.create_subprocess_exec(
            sys.executable, str(tmp_path / "example.py"), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        lines = [await asyncio.wait_for(process.stdout.readline(), 30) for _ in range(3)]
        process.kill()
        await process.wait()
    stamps = [ast.literal_eval(line.decode())["fetched_at_ms"] for line in lines]
    assert stamps == sorted(set(stamps))


@pytest.mark.skipif(not shutil.which("chromium"), reason="no Chromium is installed")
@pytest.mark.parametrize("readme", READMES)
async def test_the_example_for_browsers_works_in_one(market: Market, tmp_path: Path, readme: str) -> None:
    [example] = re.findall(r"```js\n(.*?)```", text(readme), re.S)
    seen: asyncio.Queue[str] = asyncio.Queue()
    async with running(market, tmp_path, REFRESH_INTERVAL="0.2") as service, pages(seen) as (app, address):
        await service.until(200)
        script = example.replace("http://localhost:8000", service.url).replace("console.log(", "show(")
        app["page"] = f"<!doctype html><script>const show = (text) => fetch('/seen?' + text);\n{script}</script>"
        process = await asyncio.create_subprocess_exec(
            "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run",
            f"--user-data-dir={tmp_path / 'profile'}", address,
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        prices = [float(await asyncio.wait_for(seen.get(), 60)) for _ in range(3)]
        process.terminate()
        await process.wait()
    assert len(set(prices)) > 1 and min(prices) > 0


@contextlib.asynccontextmanager
async def pages(seen: asyncio.Queue[str]) -> AsyncIterator[tuple[dict[str, str], str]]:
    """A site with one page, and an address where the page reports what it has seen."""
    site = {"page": ""}

    async def page(request: web.Request) -> web.Response:
        return web.Response(text=site["page"], content_type="text/html")

    async def told(request: web.Request) -> web.Response:
        seen.put_nowait(request.query_string)
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/", page), web.get("/seen", told)])
    runner = web.AppRunner(app)
    await runner.setup()
    listener = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await listener.start()
    yield site, f"http://127.0.0.1:{port}/"
    await runner.cleanup()


@pytest.mark.parametrize(("name", "heading"), [("README.md", "## Performance"), ("README.ru.md", "## Производительность")])
def test_every_figure_of_speed_is_one_that_was_measured(name: str, heading: str) -> None:
    text = (ROOT / name).read_text()
    assert heading in text
    section = text.partition(heading)[2].partition("\n## ")[0].replace(",", ".")
    targets = json.loads((ROOT / "bench/results/peers.json").read_text())["targets"]
    measured = {f"{target['ratio']:.2f}" for target in targets}
    told = re.findall(r"\b\d\.\d\d\b", section)
    assert len(told) >= 5 and set(told) <= measured
