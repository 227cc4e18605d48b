"""Debian's Chromium for tests: opens a page and records its complaints, its requests and its accessibility problems."""

import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.service import PATIENCE

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser")
MISSING = "no Chromium is installed: `make chromium` installs it"
# As root, Chromium refuses to start with a sandbox, and a container has little shared memory.
OPTIONS = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
WATCH = "document.addEventListener('securitypolicyviolation', (event) => console.error('CSP', event.violatedDirective))"


@dataclass
class Visit:
    """An open page; `complaints` are the errors and warnings of its console and its scripts."""

    page: Page
    address: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def until(self, expression: str, *arguments: Any) -> None:
        """Wait until this JavaScript expression is true."""
        await self.page.wait_for_function(expression, arg=list(arguments), timeout=PATIENCE * 1000)

    async def until_state(self, state: str, slug: str = "eth-usdt") -> None:
        await self.page.wait_for_selector(f'[data-pair="{slug}"][data-state="{state}"]', timeout=PATIENCE * 1000)

    async def until_link(self, state: str) -> None:
        """Wait for a state of the page's link to the service: connecting, live, polling or lost."""
        await self.page.wait_for_selector(f'.link[data-link="{state}"]', timeout=PATIENCE * 1000)

    async def text(self, selector: str) -> str:
        return (await self.page.inner_text(selector)).strip()

    async def style(self, selector: str, name: str) -> str:
        """A computed property of the first element that matches."""
        script = "([selector, name]) => getComputedStyle(document.querySelector(selector))[name]"
        return str(await self.page.evaluate(script, [selector, name]))

    async def barriers(self) -> list[str]:
        """The accessibility violations that axe reports, except those that it rates minor or moderate."""
        found = (await Axe().run(self.page)).response["violations"]
        return [f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in ("serious", "critical")]

    def hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=PROGRAM, args=OPTIONS)
        try:
            yield browser
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def visiting(browser: Browser, address: str, **context: Any) -> AsyncIterator[Visit]:
    """Open a page in a new profile; `context` are playwright's options for width, language, colours and so on."""
    profile = await browser.new_context(**context)
    try:
        page = await profile.new_page()
        visit = Visit(page, address)
        page.on("console", visit.hear)
        page.on("pageerror", lambda error: visit.complaints.append(str(error)))
        page.on("request", lambda request: visit.asked.append(request.url))
        await page.add_init_script(WATCH)
        await page.goto(address)
        yield visit
    finally:
        await profile.close()
