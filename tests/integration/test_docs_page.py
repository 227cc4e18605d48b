"""/docs is a page that uses only our own files: a strict policy, an ETag, and every file that it names exists."""

import re
from collections.abc import AsyncIterator

import pytest

from fastprice.interface.docs_page import DIRECTORY, POLICY
from tests.integration.test_http import Service

pytestmark = pytest.mark.anyio


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    async with Service().running() as service:
        yield service


async def test_the_page_and_its_files_come_with_a_policy_and_are_not_sent_twice(service: Service) -> None:
    for path in "/docs", *(f"/docs/{file.name}" for file in DIRECTORY.iterdir()):
        got = await service(path)
        assert got.status == 200 and got.headers["Content-Security-Policy"] == POLICY, path
        assert (await service(path, "GET", ("If-None-Match", got.headers["ETag"]))).status == 304
        head = await service(path, "HEAD")
        assert (head.status, head.body, head.headers["ETag"]) == (200, b"", got.headers["ETag"])
        assert (await service(path, "POST")).status == 405
    assert (await service("/docs/none.js")).status == 404 and (await service("/docs?x")).status == 400


async def test_the_page_names_nothing_inline_and_nothing_elsewhere(service: Service) -> None:
    page = (await service("/docs")).body.decode()
    named = re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page)
    assert {"docs/docs.css", "docs/docs.js", "openapi.json"} == set(named)
    for path in named:
        assert (await service(f"/{path}")).status == 200
    assert "unsafe" not in POLICY and not re.search(r"<style|\son\w+=|\sstyle=|<script(?![^>]* src=)", page)
    for file in DIRECTORY.iterdir():
        assert "://" not in file.read_text() and "innerHTML" not in file.read_text(), file.name
