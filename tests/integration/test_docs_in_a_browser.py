"""/docs in a real browser: requests are sent, streams are started and stopped, also with the keyboard alone."""

from collections.abc import AsyncIterator

import pytest

from fastprice.market import Market
from tests.browser import MISSING, PROGRAM, Visit, chromium, visiting
from tests.service import running

pytestmark = [pytest.mark.anyio, pytest.mark.skipif(not PROGRAM, reason=MISSING)]


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def address(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    market = Market(pairs=("eth-usdt",), seed=7)
    await market.start("127.0.0.1", 0)
    async with running(market, tmp_path_factory.mktemp("docs")) as service:
        await service.until(200)
        yield f"{service.url}/docs"
    await market.stop()


@pytest.fixture
async def visit(address: str) -> AsyncIterator[Visit]:
    async with chromium() as browser, visiting(browser, address) as visit:
        await visit.page.wait_for_selector("#price")
        yield visit


async def opened(visit: Visit, name: str) -> str:
    """Open an operation; returns the selector of its form."""
    await visit.page.click(f"#{name} > summary")
    return f"#{name} form"


async def until_told(visit: Visit, form: str, *words: str) -> None:
    """Wait until the shown answer contains all of these words."""
    script = "([form, ...words]) => words.every((word) => document.querySelector(`${form} pre`).textContent.includes(word))"
    await visit.until(script, form, *words)


async def test_a_request_is_sent_and_what_comes_is_shown_whether_it_is_a_price_or_an_error(visit: Visit) -> None:
    form = await opened(visit, "price")
    await visit.page.click(f"{form} button >> text=Send")
    await until_told(visit, form, "200 OK", '"symbol": "ETH-USDT"', '"stale": false', "etag: ")
    assert visit.complaints == []
    await visit.page.fill(f"{form} input[name=pair]", "no-pair")
    await visit.page.click(f"{form} button >> text=Send")
    await until_told(visit, form, "404 Not Found", '"code": "unknown_pair"')
    await visit.page.fill(f"{form} input[name=pair]", "ETH-usdt")
    await visit.page.fill(f"{form} input[name=max_age_ms]", "-1")
    await visit.page.click(f"{form} button >> text=Send")
    await until_told(visit, form, "400 Bad Request", '"code": "bad_parameter"')
    # The browser itself logs a failed request in its console.
    assert all("Failed to load resource" in complaint for complaint in visit.complaints)
    assert {asked.split("/")[2] for asked in visit.asked} == {visit.address.split("/")[2]}


async def test_a_stream_is_shown_as_it_comes_until_it_is_stopped(visit: Visit) -> None:
    form = await opened(visit, "stream")
    await visit.page.click(f"{form} button >> text=Send")
    await until_told(visit, form, "200 OK", "text/event-stream", "event: price")
    shown = f"document.querySelector('{form} pre').textContent"
    await visit.until(f"() => {shown}.split('event: price').length > 3")
    await visit.page.click(f"{form} button >> text=Stop")
    before = await visit.page.evaluate(f"() => {shown}")
    await visit.page.wait_for_timeout(1500)
    assert await visit.page.evaluate(f"() => {shown}") == before, "the service goes on to push"
    assert visit.complaints == []


async def test_all_of_it_works_by_keyboard_and_nothing_keeps_people_out(visit: Visit) -> None:
    await visit.page.focus("#readiness > summary")
    for key in "Enter", "Tab", "1", "Enter":
        await visit.page.keyboard.press(key)
    form = "#readiness form"
    await until_told(visit, form, "200 OK", '"status": "ready"')
    assert "/health/readiness?strict=1" in visit.asked[-1]
    assert await visit.barriers() == []


async def test_each_group_explains_itself_and_each_answer_has_an_example(visit: Visit) -> None:
    assert await visit.page.locator("#operations h2").all_inner_texts() == ["prices", "streams", "operations", "about"]
    await opened(visit, "price")
    example = visit.page.locator("#price dl details", has_text="application/json").first
    await example.locator("summary").click()
    assert '"price": "3120.16000000"' in await example.locator("pre").inner_text()
    assert "`" not in str(await visit.page.text_content("main"))
    # A header that every answer has is described only once.
    assert await visit.page.locator("#price dd", has_text="X-Request-ID").count() == 1
    assert visit.complaints == []
