"""What a client prefers according to its headers: page or JSON, and which language."""

import pytest

from fastprice.interface.negotiation import language, prefers_page

CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (CHROMIUM, True), ("text/html", True), ("TEXT/HTML", True), ("text/*", True), ("text/html;level=1", True),
        ("application/json;q=0.9, text/html", True), ("text/html;q=0.9, */*;q=0.8", True),
        ("text/html ; q=0.5 , application/json ; q=0.4", True),
        ("", False), ("*/*", False), ("application/json", False), ("application/json, text/html", False),
        ("application/json, text/plain, */*", False), ("text/html;q=0.5, application/json", False),
        ("text/html;q=0, */*", False), ("text/html;q=0", False), ("text/html, */*", False), ("image/avif,*/*", False),
        ("text/html;q=0.8, application/*", False), ("text/html;q=nan, */*;q=0", False), ("text/html;q=inf", False),
        ("text/html;q=", False), (";;,,q=1", False), ("application/json;q=0, text/html;q=0.001, */*", True),
    ],
)  # fmt: skip
def test_who_names_html_and_wants_it_more_than_json_gets_the_page(accept: str, page: bool) -> None:
    assert prefers_page(accept) is page


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("ru", "ru"), ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", "ru"), ("RU-ru", "ru"), ("de, ru;q=0.5, en;q=0.3", "ru"),
        ("en;q=0.5, ru;q=0.6", "ru"), ("uk,ru;q=0.1", "ru"), ("en;q=0, *", "ru"),
        ("", "en"), ("*", "en"), ("de", "en"), ("en", "en"), ("en-GB,ru;q=0.9", "en"), ("ru;q=0", "en"), ("en,ru", "en"),
        ("rus", "en"), ("ru;q=0.2,*;q=0.5", "en"), ("ru;q=x", "en"), ("\x00,\xff;q=1", "en"),
    ],
)  # fmt: skip
def test_the_page_speaks_the_language_that_is_wanted_most_and_english_where_neither_is(accept: str, wanted: str) -> None:
    assert language(accept) == wanted
