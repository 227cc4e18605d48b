"""The live page as a client without a browser sees it: who gets it, what is in it, who may cache it."""

import json
import re
import string
from collections.abc import AsyncIterator
from html.parser import HTMLParser

import pytest

from fastprice.application.latest_price import LatestPrice
from fastprice.application.recent import RecentPrices
from fastprice.domain.quote import AgeLimits, Pair
from fastprice.interface.live_page import DIRECTORY, MOST_SHOWN
from fastprice.interface.price_snapshot import price_snapshots
from fastprice.interface.streams import Streams
from tests.fakes import BTC
from tests.integration.test_http import WELL, Got, Service, is_problem

pytestmark = pytest.mark.anyio

HTML, RUSSIAN = ("Accept", "text/html,application/xhtml+xml,*/*;q=0.8"), ("Accept-Language", "ru-RU,ru;q=0.9,en;q=0.8")
TEXTS = json.loads((DIRECTORY / "texts.json").read_text())


class Reader(HTMLParser):
    """Collects every element of a page with its attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str, name: str) -> list[str | None]:
        return [attributes[name] for found, attributes in self.elements if found == tag and name in attributes]

    @property
    def pairs(self) -> list[str]:
        """The pairs that are shown; the last article is the template that the script copies."""
        return [str(slug) for slug in self.all("article", "data-pair")][:-1]

    @property
    def states(self) -> list[str]:
        return [str(state) for state in self.all("article", "data-state")][:-1]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


def with_pairs(count: int) -> Service:
    service = Service()
    pairs = [Pair(f"P{number}", "USDT") for number in range(count)]
    make = price_snapshots(service.clock, service.refresh_interval)
    service.latest = LatestPrice(pairs, AgeLimits(5000, 60_000), make, service.clock)
    service.streams = Streams(service.latest, service.clock, 0.1, 100)
    service.recent = RecentPrices(service.latest, service.clock)
    return service


async def page(service: Service, query: str = "", *lines: tuple[str, str]) -> Reader:
    got = await service(f"/{query}", "GET", HTML, *lines)
    assert got.status == 200 and got.headers["Content-Type"] == "text/html; charset=utf-8"
    return Reader(got.body.decode())


async def test_a_browser_gets_the_page_and_everybody_else_the_index(service: Service) -> None:
    got = await service("/", "GET", HTML)
    assert got.headers["Content-Type"] == "text/html; charset=utf-8"
    for accept in "*/*", "application/json", "":
        index = await service("/", "GET", ("Accept", accept))
        assert index.headers["Content-Type"] == "application/json" and index.body == (await service("/api/")).body
        assert index.headers["Vary"] == got.headers["Vary"] == "Accept, Accept-Language"
    assert "Vary" not in (await service("/api/", "GET", HTML)).headers
    assert (await service("/", "HEAD", HTML)).body == b""
    assert (await service("/", "HEAD", HTML)).headers["ETag"] == got.headers["ETag"]
    assert is_problem(await service("/", "POST", HTML), 405, "method_not_allowed")
    assert is_problem(await service("/?x=1", "GET", HTML), 400, "bad_parameter")


async def test_nothing_may_run_in_it_or_be_asked_for_that_is_not_ours(service: Service) -> None:
    service.price()
    got = await service("/", "GET", HTML)
    policy = dict(part.strip().split(" ", 1) for part in got.headers["Content-Security-Policy"].split(";"))
    none = ("default-src", "base-uri", "form-action", "frame-ancestors")
    own = ("script-src", "style-src", "connect-src", "img-src")
    assert policy == dict.fromkeys(none, "'none'") | dict.fromkeys(own, "'self'")
    assert got.headers["X-Content-Type-Options"] == "nosniff" and got.headers["Referrer-Policy"] == "no-referrer"
    reader = Reader(got.body.decode())
    assert not [name for _, attributes in reader.elements for name in attributes if name == "style" or name.startswith("on")]
    assert not [tag for tag, attributes in reader.elements if tag == "style" or tag == "script" and "src" not in attributes]
    links = reader.all("script", "src") + reader.all("link", "href") + reader.all("a", "href")
    assert len(links) > 5 and not [link for link in links if link is None or ":" in link or link.startswith("/")]
    for name in "page.js", "page.css":
        assert "://" not in (DIRECTORY / name).read_text(), name


async def test_its_files_are_kept_for_ever_under_a_name_that_changes_with_them(service: Service) -> None:
    reader = await page(service)
    links = [str(link) for link in reader.all("script", "src") + reader.all("link", "href")]
    directory = links[0].rpartition("/")[0]
    kinds = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
    names = sorted(file.name for file in DIRECTORY.iterdir() if file.suffix[1:] in kinds)
    assert {link.rpartition("/")[2] for link in links} < set(names)
    for name in names:
        got = await service(f"/{directory}/{name}")
        assert got.body == (DIRECTORY / name).read_bytes() and got.headers["Content-Type"] == kinds[name.rpartition(".")[2]]
        assert got.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        other = await service(f"/page/000000000000/{name}")
        assert (other.body, other.headers["Cache-Control"]) == (got.body, "no-store"), "as during an upgrade"
    assert {route for route, _, _ in service.counted} == {"/", "/page/{digest}/{name}"}
    for path in f"/{directory}/texts.json", f"/{directory}/page.html", f"/{directory}/", f"/{directory}/..%2fapp.py", "/page/x":
        assert is_problem(await service(path), 404, "not_found"), path
    assert is_problem(await service(f"/{directory}/page.js", "POST"), 405, "method_not_allowed")
    assert is_problem(await service(f"/{directory}/page.js?x"), 400, "bad_parameter")


async def test_the_prices_of_the_moment_are_in_it(service: Service) -> None:
    service.price(age=1.2)
    service.price(BTC, age=6, price="61000.10", source="okx", bid=None, ask=None)
    reader = await page(service)
    assert (reader.pairs, reader.states) == (["eth-usdt", "btc-usdt"], ["fresh", "stale"])
    for text in "3120.45", "3120.44", "3120.46", "from binance", "61000.10", "from okx", "—":
        assert text in reader.text
    assert reader.all("time", "datetime")[0] == "2025-07-23T19:46:38.800+00:00"
    assert reader.all("body", "data-fresh-ms") == ["5000"] and reader.all("body", "data-stale-ms") == ["60000"]
    assert reader.all("meta", "http-equiv") == ["refresh"]


async def test_a_price_that_may_not_be_served_is_not_in_it(service: Service) -> None:
    service.price()
    service.clock.now += 60.1
    reader = await page(service)
    assert reader.states == ["expired", "none"] and "3120.45" not in reader.text and "no price yet" in reader.text


async def test_it_is_not_sent_again_until_it_changes(service: Service) -> None:
    service.price()
    first = await service("/", "GET", HTML)
    assert first.headers["Cache-Control"] == "no-cache"
    condition = "If-None-Match", first.headers["ETag"]
    same = await service("/", "GET", HTML, condition)
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", first.headers["ETag"])
    assert same.headers["Vary"] == first.headers["Vary"]
    assert (await service("/", "GET", HTML, RUSSIAN, condition)).status == 200
    service.clock.now += 3
    assert (await service("/", "GET", HTML, condition)).status == 304, "it says when the price was made, not its age"
    service.clock.now += 3
    assert (await service("/", "GET", HTML, condition)).status == 200, "it is stale by now"


async def test_it_speaks_english_and_russian(service: Service) -> None:
    service.price()
    for lines, language, word in ((), "en", "Sources"), ((RUSSIAN,), "ru", "источник"):
        got: Got = await service("/", "GET", HTML, *lines)
        reader = Reader(got.body.decode())
        assert (reader.all("html", "lang"), got.headers["Content-Language"]) == ([language], language)
        assert word.lower() in reader.text.lower()


def test_both_languages_say_everything_with_the_same_blanks_to_fill() -> None:
    def blanks(texts: dict[str, str]) -> dict[str, list[str]]:
        parsed = {key: string.Formatter().parse(text) for key, text in texts.items()}
        return {key: sorted(field for _, field, _, _ in parts if field) for key, parts in parsed.items()}

    english, russian = (dict(TEXTS[language]) for language in ("en", "ru"))
    assert blanks(english.pop("words")) == blanks(russian.pop("words")) and blanks(english) == blanks(russian)
    scripts = "".join(file.read_text() for file in DIRECTORY.glob("*.js"))
    used = set(re.findall(r"words\.(\w+)", scripts)) | {"fresh", "stale", "expired", "none", "live", "connecting", "polling", "lost"}
    used |= {"off", "connecting_stream", "live_stream", "given_up", "closed", "half_open", "open"}
    assert used == set(TEXTS["en"]["words"])


@pytest.mark.parametrize(("sources", "text"), [((), ""), (("binance",), "this is not the market"), (("okx",), "those of okx")])
async def test_what_is_simulated_says_so(sources: tuple[str, ...], text: str) -> None:
    service = Service()
    service.simulated, service.reports = sources, (WELL,)
    async with service.running():
        assert text in (reader := await page(service)).text
        assert bool(reader.all("p", "role").count("note")) is bool(sources)


async def test_of_many_pairs_it_shows_some_and_says_so() -> None:
    async with with_pairs(500).running() as service:
        reader = await page(service)
        assert reader.pairs == [f"p{number}-usdt" for number in range(MOST_SHOWN)]
        assert f"{MOST_SHOWN} of 500 pairs" in reader.text and len(reader.all("option", "value")) == 500
        reader = await page(service, "?pairs=P7-usdt,p499-usdt,p7-usdt,<b>,no-pair")
        assert reader.pairs == ["p7-usdt", "p499-usdt"]
        assert "2 of 500 pairs" in reader.text and "<b>, no-pair" in reader.text
        assert (await page(service, "?pairs=" + ",".join(f"p{number}-usdt" for number in range(100, 200)))).pairs == [
            f"p{number}-usdt" for number in range(100, 100 + MOST_SHOWN)
        ]


async def test_one_pair_needs_no_filter_and_no_word_about_others(service: Service) -> None:
    one = with_pairs(1)
    async with one.running():
        reader = await page(one)
        [hidden] = [attributes for tag, attributes in reader.elements if attributes.get("class") == "choose"]
        assert "hidden" in hidden and "pairs are shown" not in reader.text
    [shown] = [attributes for _, attributes in (await page(service)).elements if attributes.get("class") == "choose"]
    assert "hidden" not in shown
