"""The live page in a real browser: what a user sees while prices move, sources fail and the service restarts."""

import asyncio
import re
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Route

from fastprice.market import Market
from tests.browser import MISSING, PROGRAM, Visit, chromium, visiting
from tests.conftest import free_port
from tests.service import Service, polling, running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not PROGRAM, reason=MISSING)]

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
SHOWN = "() => document.querySelector('.digits').textContent"
SOURCES = ["binance", "okx", "coinbase", "kraken", "bitget", "gate", "bybit", "kucoin", "bitstamp"]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
async def calm(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Service]:
    """A service for all tests that only read from it: one pair, in an ordinary market."""
    market = Market(pairs=("eth-usdt",), seed=7)
    await market.start("127.0.0.1", 0)
    async with running(market, tmp_path_factory.mktemp("calm"), CACHE_TTL=30, MAX_STALE=60) as service:
        await service.until(200)
        yield service
    await market.stop()


def of_nothing_wrong(visit: Visit) -> bool:
    """Neither the console nor the policy has a complaint, and no other host was contacted."""
    assert visit.complaints == []
    assert {address.split("/")[2] for address in visit.asked} == {visit.address.split("/")[2]}
    return True


async def test_it_shows_the_price_of_the_service_as_it_moves(browser: Browser, market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path) as service:
        await service.until(200)
        async with visiting(browser, service.url) as visit:
            await visit.until_link("live")
            await visit.until_state("fresh")
            market.set_fault("all", "frozen")  # The same price again and again, with new time stamps.
            for _ in polling():  # A request from before the freeze may still be on its way.
                if (price := (await service.get()).json["price"]) == await visit.page.evaluate(SHOWN):
                    break
            assert await visit.text(".spoken") == price and "from binance" in await visit.text(".from")
            assert re.fullmatch(r"[0-9]+\.[0-9]\ss old", await visit.text(".age"))
            market.clear_fault()
            market.set_truth("eth-usdt", Decimal("3200"))
            await visit.until("() => Number(document.querySelector('.digits').textContent) > 3180")
            await visit.until("() => document.querySelector('.digits mark').textContent")
            market.set_truth("eth-usdt", Decimal("3150"))
            await visit.until("() => document.querySelector('.digits').dataset.move === 'down'")
            await visit.until("() => document.querySelector('.line').getAttribute('d').length > 30")
            assert re.fullmatch(r"Last 5 min: 31[0-9.]+ to 3[12][0-9.]+", await visit.text("figcaption"))
            assert of_nothing_wrong(visit)


async def test_the_clock_of_the_device_may_be_wrong(browser: Browser, calm: Service) -> None:
    async with visiting(browser, "about:blank") as visit:
        await visit.page.add_init_script("Date.now = () => 86400000")
        await visit.page.goto(calm.url)
        await visit.until("() => / old/.test(document.querySelector('.age').textContent)")
        seconds = float((await visit.text(".age")).split()[0])
        assert seconds < 10, "as old as the service says"
        assert "min" not in await visit.text(".age")


async def test_what_the_service_has_seen_before_is_in_the_chart_at_once(browser: Browser, calm: Service) -> None:
    while len((await calm.get("/api/v1/prices/eth-usdt/recent")).json["points"]) < 3:
        await asyncio.sleep(0.1)
    async with visiting(browser, calm.url) as visit:
        await visit.until("() => document.querySelector('.line').getAttribute('d')?.match(/H/g)?.length >= 2")


async def test_a_price_that_grows_stale_and_goes_says_so_and_comes_back(
    browser: Browser, market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path, WORKERS=1) as service:
        await service.until(200)
        async with visiting(browser, service.url) as visit:
            await visit.until_state("fresh")
            forms = {await visit.style(".pair", "borderTopStyle")}
            market.set_fault("all", "error")
            await visit.until_state("stale")
            assert await visit.text(".state") == "stale"
            forms.add(await visit.style(".pair", "borderTopStyle"))
            assert await visit.barriers() == []
            await visit.until_state("expired")
            assert (await visit.text(".state")).lower() == "no price" and await visit.text(".digits") == "—"
            forms.add(await visit.style(".pair", "borderTopStyle"))
            assert len(forms) == 3, "each looks different in more than its colour"
            assert "too old to be served" in await visit.text(".age")
            assert await visit.text(".link") == "Live", "the service is there: it is the sources that are not"
            assert await visit.barriers() == []
            market.clear_fault()
            await visit.until_state("fresh")
            # Chromium itself logs every error answer, such as a 503 when the page checks for a new price.
            assert not [each for each in visit.complaints if "503 (Service Unavailable)" not in each]


async def test_it_recovers_from_a_restart_of_the_service_by_itself(
    browser: Browser, market: Market, tmp_path: Path
) -> None:
    port = free_port()
    async with visiting(browser, "about:blank") as visit:
        async with running(market, tmp_path, PORT=port, GRACEFUL_TIMEOUT=1) as service:
            await service.until(200)
            await visit.page.goto(service.url)
            await visit.until_link("live")
        await visit.until_link("lost")
        assert "No connection" in await visit.text(".link")
        await visit.until_state("expired")
        market.set_truth("eth-usdt", Decimal("3050"))
        async with running(market, tmp_path, PORT=port):
            await visit.until_link("live")
            await visit.until_state("fresh")
            await visit.until("() => Number(document.querySelector('.digits').textContent) < 3100")


# The first stream is opened and stays silent forever, like one that a proxy has cut without a close.
SILENT = """
const Real = EventSource;
class Silent extends EventTarget {
  constructor() { super(); window.EventSource = Real; setTimeout(() => this.dispatchEvent(new Event("open")), 10); }
  close() { window.isFoundOut = true; }
}
window.EventSource = Silent;
"""


async def test_a_stream_that_is_silent_is_found_out_and_opened_anew(
    browser: Browser, market: Market, tmp_path: Path
) -> None:
    async with running(market, tmp_path) as service, visiting(browser, "about:blank") as visit:
        await service.until(200)
        await visit.page.add_init_script(SILENT)
        await visit.page.goto(service.url)
        await visit.until("() => window.isFoundOut")
        await visit.until_link("live")
        await visit.until_state("fresh")


async def test_where_no_stream_comes_through_it_polls_and_says_so(browser: Browser, market: Market, tmp_path: Path) -> None:
    async def refuse(route: Route) -> None:
        await route.fulfill(status=503, body="{}", content_type="application/problem+json")

    async with running(market, tmp_path, CACHE_TTL=30, MAX_STALE=60) as service:
        await service.until(200)
        async with visiting(browser, "about:blank") as visit:
            await visit.page.route("**/api/v1/stream*", refuse)
            await visit.page.goto(service.url)
            await visit.until_link("polling")
            before = await visit.page.evaluate(SHOWN)
            await visit.until(f"([before]) => ({SHOWN})() !== before", before)
            await visit.page.unroute("**/api/v1/stream*")
            await visit.until_link("live")


async def test_every_source_is_shown_in_the_order_of_failover(browser: Browser, market: Market, tmp_path: Path) -> None:
    market.set_fault("okx", "banned", seconds=100)
    # Within the limit of every source: one that may not be asked in every round takes turns with the next one.
    settings: dict[str, Any] = {"REFRESH_INTERVAL": 0.5, "CROSS_CHECK_INTERVAL": 0.4, "SOURCES": ",".join(SOURCES)}
    async with running(market, tmp_path, **settings) as service:
        await service.until(200)
        async with visiting(browser, service.url) as visit:
            await visit.until("() => /^for /.test(document.querySelector('tbody tr:nth-child(2) td:last-child')?.textContent)")
            rows = await visit.page.evaluate("[...document.querySelectorAll('tbody tr')].map((row) => row.innerText)")
            assert [row.split()[0] for row in rows] == SOURCES
            assert "served" in rows[0] and "closed" in rows[0] and "Too Many Requests" in rows[1]
            market.set_fault("binance", "error")
            await visit.until("() => /served/.test(document.querySelectorAll('tbody tr')[2].innerText)")
            await visit.until("() => /open/.test(document.querySelectorAll('tbody tr')[0].innerText)")
            assert of_nothing_wrong(visit)


async def test_a_median_tells_whose_prices_are_in_it(browser: Browser, market: Market, tmp_path: Path) -> None:
    async with running(market, tmp_path, PRICE_MODE="median", SOURCES="binance,okx,kraken") as service:
        await service.until(200)
        async with visiting(browser, service.url) as visit:
            await visit.until("() => /^median of 3: binance, okx, kraken; /.test(document.querySelector('.from').textContent)")
            await visit.until("() => document.querySelectorAll('.served').length === 3")


async def test_of_many_pairs_some_are_shown_and_the_filter_finds_the_others(browser: Browser, tmp_path: Path) -> None:
    slugs = [f"{base}-{quote}" for quote in ("usdt", "usdc") for base in "btc eth sol xrp ada doge ltc dot trx link".split()]
    market = Market(pairs=slugs, seed=7)
    await market.start("127.0.0.1", 0)
    async with running(market, tmp_path, PAIRS=",".join(slugs), WORKERS=1) as service:
        await service.until(200, "/api/v1/prices/link-usdc")
        async with visiting(browser, service.url) as visit:
            await visit.until("() => document.querySelectorAll('[data-state=fresh] mark').length >= 3")
            assert await visit.page.locator(".pair").count() == 12 and "12 of 20 pairs" in await visit.text("#note")
            await visit.page.fill("#filter", "LINK")
            await visit.until_state("fresh", "link-usdc")
            assert await visit.page.evaluate("[...document.querySelectorAll('h2')].map((each) => each.textContent)") == [
                "LINK/USDT", "LINK/USDC",
            ]  # fmt: skip
            assert visit.page.url.endswith("/?pairs=link-usdt,link-usdc") and "2 of 20" in await visit.text("#note")
            await visit.page.reload()
            await visit.until_state("fresh", "link-usdc")
            assert await visit.page.locator(".pair").count() == 2
            await visit.page.click("[data-pair=link-usdc] summary")
            await visit.until("() => document.querySelectorAll('[data-pair=link-usdc] tbody tr').length > 5")
            assert await visit.barriers() == [] and of_nothing_wrong(visit)
    await market.stop()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en-US", "ru-RU"])
async def test_on_a_phone_nothing_is_cut_off_and_nobody_is_kept_out(
    browser: Browser, calm: Service, scheme: Any, language: str
) -> None:
    async with visiting(browser, calm.url, **PHONE, color_scheme=scheme, locale=language) as visit:
        await visit.until("() => document.querySelectorAll('tbody tr').length > 5")
        await visit.until("() => document.querySelector('.digits mark')")
        assert await visit.page.evaluate("document.documentElement.scrollWidth") <= 360
        box = await visit.page.locator(".digits").bounding_box()
        assert box and box["x"] + box["width"] <= 360, "the price is on one line, all of it"
        red = int(re.findall(r"[0-9]+", await visit.style("body", "backgroundColor"))[0])
        assert red > 200 if scheme == "light" else red < 60
        words = {"en": "Live", "ru": "В реальном времени"}
        assert await visit.text(".link") == words[await visit.page.evaluate("document.documentElement.lang")]
        assert await visit.page.evaluate("document.documentElement.lang") == language[:2]
        assert await visit.barriers() == [] and of_nothing_wrong(visit)


async def test_everything_is_reached_by_keyboard_and_can_be_seen_to_be(browser: Browser, calm: Service) -> None:
    async with visiting(browser, calm.url) as visit:
        await visit.until_link("live")
        reached: list[str] = []
        for _ in range(8):
            await visit.page.keyboard.press("Tab")
            reached.append(await visit.page.evaluate("document.activeElement.className || document.activeElement.localName"))
            if reached[-1] == "summary":
                assert await visit.style("summary", "outlineStyle") == "solid"
                await visit.page.keyboard.press("Enter")
                assert not await visit.page.evaluate("document.querySelector('details').open")
                await visit.page.keyboard.press("Enter")
        assert [name for name in reached if name != "body"][:5] == ["summary", "scroll", "a", "a", "a"]
        marks = await visit.page.evaluate("[...document.querySelectorAll('header.top,main,footer,h1,h2')].map((each) => each.localName)")
        assert marks == ["header", "h1", "main", "h2", "footer"]
        talking = await visit.page.evaluate("[...document.querySelectorAll('[aria-live],[role=status],[role=alert]')].length")
        assert talking == 1, "the connection is announced, and no tick is"


async def test_who_wants_no_motion_gets_none(browser: Browser, calm: Service) -> None:
    async with visiting(browser, calm.url, reduced_motion="reduce") as visit:
        await visit.until("() => document.querySelector('.digits mark')")
        assert await visit.style("mark", "animationName") == "none"
        await visit.until("() => /^[0-9.]+\\ss old$/.test(document.querySelector('.age').textContent)")


async def test_without_javascript_the_prices_are_there(browser: Browser, calm: Service) -> None:
    async with visiting(browser, calm.url, java_script_enabled=False) as visit:
        assert re.fullmatch(r"3[0-9]{3}\.[0-9]+", await visit.text(".digits"))
        assert re.search(r"as of [0-9:]{8} UTC", await visit.text(".age"))
        assert "Without JavaScript" in await visit.text("body")
        assert not await visit.page.locator(".chart").is_visible() and not await visit.page.locator(".sources").is_visible()
        first = await visit.text(".digits")
        async with visit.page.expect_navigation(timeout=60_000):
            pass  # The page reloads itself.
        assert await visit.text(".digits") != first
